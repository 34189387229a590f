// Says stop when a deadline passes.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>
#include <utility>

namespace saccade {

/// A thread that waits for deadlines, one at a time. It is woken only where a deadline comes before what it waits for:
/// calls one after the other, each with the same time, cost two locks of a mutex each.
class Watchdog {
  public:
    using Clock = std::chrono::steady_clock;

    /// `late` is called in the watchdog's thread when a deadline passes, never after `disarm` has returned; it throws
    /// nothing. Throws std::system_error where the system gives no thread.
    explicit Watchdog(std::function<void()> late) : late_(std::move(late)), thread_([this] { watch(); }) {}
    ~Watchdog() {
        {
            const std::lock_guard<std::mutex> held(lock_);
            ends_ = true;
        }
        changed_.notify_one();
        thread_.join();
    }
    Watchdog(const Watchdog&) = delete;
    Watchdog& operator=(const Watchdog&) = delete;

    void arm(Clock::time_point deadline) {
        const std::lock_guard<std::mutex> held(lock_);
        armed_ = true;
        passed_ = false;
        deadline_ = deadline;
        if (deadline < wakes_) changed_.notify_one();
    }

    /// Whether the deadline has passed.
    bool disarm() {
        const std::lock_guard<std::mutex> held(lock_);
        armed_ = false;
        return passed_ || Clock::now() >= deadline_;
    }

  private:
    void watch() {
        std::unique_lock<std::mutex> held(lock_);
        while (!ends_) {
            if (armed_ && Clock::now() >= deadline_) {
                armed_ = false;
                passed_ = true;
                late_();
            }
            wakes_ = armed_ ? deadline_ : Clock::time_point::max();
            if (armed_) {
                changed_.wait_until(held, deadline_);
            } else {
                changed_.wait(held);
            }
        }
    }

    std::function<void()> late_;
    std::mutex lock_;
    std::condition_variable changed_;
    bool armed_ = false, passed_ = false, ends_ = false;
    Clock::time_point deadline_, wakes_ = Clock::time_point::max();
    std::thread thread_;  // last: it reads what is above
};

}  // namespace saccade
