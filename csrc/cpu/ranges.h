// The limits of one map, for functions that find them while they draw it.
#pragma once

#include "saccade/render.h"

namespace saccade {

/// Minimum and maximum of the finite values of a map, (0, 0) where there are none: value_ranges() at its defaults.
Range own_range(const Maps& maps, int64_t index);

}  // namespace saccade
