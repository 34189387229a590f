// Running the parts of a job on several threads.
#pragma once

#include <cstdint>
#include <functional>

namespace saccade {

/// How many threads are worth starting: `threads` (0: one per core), but no more than one per `grain` units of work,
/// since starting a thread costs about as much as drawing ten thousand pixels.
int useful_threads(int threads, int64_t work, int64_t grain);

/// Calls body(0) … body(parts − 1), each once, on up to `threads` threads, and returns when all are done. The first
/// exception is thrown again here. No threads outlive the call: an embedding program forks and exits when it likes.
void parallel_for(int64_t parts, int threads, const std::function<void(int64_t)>& body);

}  // namespace saccade
