// Frames as a camera would give them: pictures of a folder or of a pipe.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "options.h"
#include "saccade/session.h"

using Clock = std::chrono::steady_clock;

/// One frame, or why there is none.
struct Taken {
    std::string name;
    std::vector<uint8_t> pixels;
    int64_t height = 0, width = 0, stride = 0;
    saccade::Pixels kind = saccade::Pixels::kRgb;
    std::string error;
    Clock::time_point arrived;

    /// `pixels` as the library takes it: BMP has its last row first.
    saccade::Frame frame() const;
};

/// Reads pictures on a thread of its own, a few ahead. A frame of a pipe arrives when it has been read, one of a folder
/// when it is asked for; or, at a fixed rate, when its time has come, whether the last one is done or not: what waits
/// is late the sooner, and nothing is left out in silence.
class Camera {
  public:
    /// Throws UsageError where the folder cannot be read or is empty.
    explicit Camera(const Options& options);
    ~Camera();
    /// The next frame; none at the end.
    std::optional<Taken> next();

  private:
    void read_folder();
    void read_pipe();
    bool hand_over(Taken taken);

    Options options_;
    std::vector<std::string> files_;
    std::mutex mutex_;
    std::condition_variable changed_;
    std::deque<Taken> waiting_;
    bool ended_ = false, stopped_ = false;
    Clock::time_point first_, due_;
    bool held_up_ = false;
    std::thread thread_;
};
