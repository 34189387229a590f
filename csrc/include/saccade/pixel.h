// What happens to one value and one pixel, for every backend. The floating-point steps are single IEEE operations in a
// fixed order (compile without contraction), the integer ones are exact; engine/render/reference.py has the same.
#pragma once

#include <cstdint>

#include "saccade/views.h"

// Internal linkage: a file compiled for another CPU path must keep its own copies (csrc/cpu/rows.h).
#if defined(__CUDACC__)
#define SACCADE_HD __host__ __device__ static inline
#else
#define SACCADE_HD static inline
#endif

namespace saccade {

/// A Range made ready: level = (value × pre − low) × gain. A gain of 0 is a blank scale, on which no value can be told
/// from another: everything is index 0.
struct Scale {
    float pre, low, gain;
};

/// Blank where the range is empty, or a limit is NaN or infinite.
SACCADE_HD Scale scale_of(Range range) {
    const float span = range.high - range.low;
    if (!(span > 0.0f)) return {1.0f, 0.0f, 0.0f};
    // A power of two, so that it rounds nothing: between −3e38 and 3e38 the difference overflows, that of the halves
    // does not; and 255 ÷ span overflows where the span is tiny.
    const float pre = span > 3.4028234663852886e38f ? 0.5f : span < 1e-30f ? 1.2676506002282294e30f : 1.0f;
    const float low = range.low * pre, spread = range.high * pre - low;
    return {pre, low, spread <= 3.4028234663852886e38f ? 255.0f / spread : 0.0f};
}

SACCADE_HD bool is_blank(Scale scale) { return scale.gain == 0.0f; }

/// Where a value lies on the scale: 0 at low, 255 at high, beyond them outside. It is a straight line, so that the
/// values of a map are put on it before they are interpolated, which for a 7×7 map at 224×224 is 49 times instead of
/// 50,176. And it has one division for each scale: with one for each value the tiles of a layer took half as long
/// again.
SACCADE_HD float level_of(float value, Scale scale) { return (value * scale.pre - scale.low) * scale.gain; }

/// The index 0..255 of a level. NaN is 0. `most` is 255; a loop gives it as a variable (csrc/cpu/rows.cpp says why).
SACCADE_HD uint8_t index_of(float level, float most = 255.0f) {
    const float above = level > 0.0f ? level : 0.0f;
    const float within = above < most ? above : most;
    return static_cast<uint8_t>(static_cast<int>(within + 0.5f));
}

/// Opacity runs from 0 (the photo alone) to 256 (the colour alone). The sum fits 16 bits, and saying so lets a loop
/// take twice as many at once.
SACCADE_HD uint8_t blend(uint8_t photo, uint8_t colour, uint16_t opacity) {
    const auto sum = static_cast<uint16_t>(photo * (256 - opacity) + colour * opacity + 128);
    return static_cast<uint8_t>(sum >> 8);
}

/// Between which two source elements an output element lies, and how near to the second.
struct Tap {
    int64_t first, second;
    float weight;
};

/// Half-pixel centres, edge clamped. `origin` and `extent` say where the source lies on the output axis.
SACCADE_HD Tap linear_tap(int64_t out, double origin, double extent, int64_t source) {
    const double at = (static_cast<double>(out) + 0.5 - origin) * static_cast<double>(source) / extent - 0.5;
    if (!(at > 0.0)) return {0, 0, 0.0f};
    if (at >= static_cast<double>(source - 1)) return {source - 1, source - 1, 0.0f};
    const int64_t first = static_cast<int64_t>(at);
    return {first, first + 1, static_cast<float>(at - static_cast<double>(first))};
}

/// The source element that the output element's centre falls into.
SACCADE_HD Tap nearest_tap(int64_t out, double origin, double extent, int64_t source) {
    const double at = (static_cast<double>(out) + 0.5 - origin) * static_cast<double>(source) / extent;
    if (!(at > 0.0)) return {0, 0, 0.0f};
    const int64_t index = at >= static_cast<double>(source - 1) ? source - 1 : static_cast<int64_t>(at);
    return {index, index, 0.0f};
}

/// A weight of 0 gives `first` itself, so that a NaN or an infinity beside it does not spread.
SACCADE_HD float interpolate(float first, float second, float weight) {
    return weight == 0.0f ? first : first * (1.0f - weight) + second * weight;
}

}  // namespace saccade
