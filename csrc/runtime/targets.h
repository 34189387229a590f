// From what is asked to a program's inputs beside its images.
#pragma once

#include <cstdint>
#include <vector>

#include "saccade/session.h"

namespace saccade {

/// Memory of a program's inputs beside `images`, kept from call to call; by its kind of target only some are used.
struct Asked {
    std::vector<int64_t> target;   // [N], [N, k] or, of a unit, [N, 3]
    std::vector<float> weights;    // [N, K]
    std::vector<uint8_t> regions;  // [N, H, W], 0 or 1
};

/// Fills what the contract's kind of target needs, for `count` images: the defaults where the request has null. Throws
/// Error for what the network does not have.
void read_targets(const Contract& contract, int64_t count, const Request& request, Asked& asked);

}  // namespace saccade
