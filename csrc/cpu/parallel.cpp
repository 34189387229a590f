#include "parallel.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#include "saccade/error.h"

namespace saccade {

int useful_threads(int threads, int64_t work, int64_t grain) {
    if (threads < 0) fail("render: threads must be 0 (one per core) or more, not ", threads);
    if (work < 2 * grain) return 1;  // asking how many cores there are takes as long as drawing a small map
    const int64_t wanted = threads > 0 ? threads : std::max(1u, std::thread::hardware_concurrency());
    return static_cast<int>(std::min(work / grain, wanted));
}

void parallel_for(int64_t parts, int threads, const std::function<void(int64_t)>& body) {
    std::atomic<int64_t> next{0};
    std::exception_ptr error;
    std::mutex error_lock;
    const auto work = [&] {
        try {
            for (int64_t part = next++; part < parts; part = next++) body(part);
        } catch (...) {
            next = parts;
            const std::lock_guard<std::mutex> held(error_lock);
            if (!error) error = std::current_exception();
        }
    };
    std::vector<std::thread> helpers;
    const int64_t wanted = std::min<int64_t>(threads, parts) - 1;
    try {
        for (int64_t i = 0; i < wanted; ++i) helpers.emplace_back(work);
    } catch (...) {
        // The system gives no more threads, or no memory for one: those that there are do the work.
    }
    work();
    for (std::thread& helper : helpers) helper.join();
    if (error) std::rethrow_exception(error);
}

}  // namespace saccade
