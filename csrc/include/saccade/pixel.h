// What happens to one value and one pixel, for every backend. The floating-point steps are single IEEE operations in a
// fixed order (compile without contraction), the integer ones are exact; engine/render/reference.py has the same.
#pragma once

#include <cstdint>

#include "saccade/views.h"

#if defined(__CUDACC__)
#define SACCADE_HD __host__ __device__
#else
#define SACCADE_HD
#endif

namespace saccade {

/// A Range made ready: index = (value × pre − low) / span × 255.
struct Scale {
    float pre, low, span;
    /// No value can be told from another: everything is index 0. True of NaN limits too.
    SACCADE_HD bool blank() const { return !(span > 0.0f); }
};

SACCADE_HD inline Scale scale_of(Range range) {
    const float span = range.high - range.low;
    // Between −3e38 and 3e38 the difference overflows; that of the halves does not.
    const float pre = span <= 3.4028234663852886e38f ? 1.0f : 0.5f;
    return {pre, range.low * pre, range.high * pre - range.low * pre};
}

/// The index 0..255 of a value, on a scale that is not blank. NaN is 0.
SACCADE_HD inline uint8_t index_of(float value, Scale scale) {
    const float t = (value * scale.pre - scale.low) / scale.span;
    const float clamped = t > 0.0f ? (t < 1.0f ? t : 1.0f) : 0.0f;
    return static_cast<uint8_t>(static_cast<int>(clamped * 255.0f + 0.5f));
}

/// Opacity runs from 0 (the photo alone) to 256 (the colour alone); the result fits 16 bits before its shift.
SACCADE_HD inline uint8_t blend(uint8_t photo, uint8_t colour, int opacity) {
    return static_cast<uint8_t>((photo * (256 - opacity) + colour * opacity + 128) >> 8);
}

/// Between which two source elements an output element lies, and how near to the second.
struct Tap {
    int64_t first, second;
    float weight;
};

/// Half-pixel centres, edge clamped. `origin` and `extent` say where the source lies on the output axis.
SACCADE_HD inline Tap linear_tap(int64_t out, double origin, double extent, int64_t source) {
    const double at = (static_cast<double>(out) + 0.5 - origin) * static_cast<double>(source) / extent - 0.5;
    if (!(at > 0.0)) return {0, 0, 0.0f};
    if (at >= static_cast<double>(source - 1)) return {source - 1, source - 1, 0.0f};
    const int64_t first = static_cast<int64_t>(at);
    return {first, first + 1, static_cast<float>(at - static_cast<double>(first))};
}

/// The source element that the output element's centre falls into.
SACCADE_HD inline Tap nearest_tap(int64_t out, double origin, double extent, int64_t source) {
    const double at = (static_cast<double>(out) + 0.5 - origin) * static_cast<double>(source) / extent;
    if (!(at > 0.0)) return {0, 0, 0.0f};
    const int64_t index = at >= static_cast<double>(source - 1) ? source - 1 : static_cast<int64_t>(at);
    return {index, index, 0.0f};
}

/// A weight of 0 gives `first` itself, so that a NaN or an infinity beside it does not spread.
SACCADE_HD inline float interpolate(float first, float second, float weight) {
    return weight == 0.0f ? first : first * (1.0f - weight) + second * weight;
}

}  // namespace saccade
