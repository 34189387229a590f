// The loops over rows, compiled once per path into the namespace SACCADE_PATH. They are plain loops that the compiler
// makes vectors of. No templates of the C++ library here, nor any other function that two objects could share: see
// rows.h.
#include "rows.h"

#include <cfloat>
#include <cstring>

#include "saccade/pixel.h"

#if defined(__GNUC__) || defined(_MSC_VER)
#define SACCADE_RESTRICT __restrict
#else
#define SACCADE_RESTRICT
#endif

namespace saccade::SACCADE_PATH {
namespace {

#if defined(__AVX512BW__)
constexpr const char* kIsa = "avx512";
#elif defined(__AVX2__)
constexpr const char* kIsa = "avx2";
#else
constexpr const char* kIsa = "baseline";
#endif

/// Running results side by side: without them the loop is one long chain of comparisons. A NaN is never less or more.
template <bool kFinite>
void extremes_among(const float* SACCADE_RESTRICT values, int64_t count, float* low, float* high) {
    constexpr int kLanes = 32;
    float lows[kLanes], highs[kLanes];
    for (int lane = 0; lane < kLanes; ++lane) {
        lows[lane] = *low;
        highs[lane] = *high;
    }
    const auto take = [&](int lane, float value) {
        const float below = kFinite && !(value >= -FLT_MAX) ? FLT_MAX : value;
        const float above = kFinite && !(value <= FLT_MAX) ? -FLT_MAX : value;
        lows[lane] = below < lows[lane] ? below : lows[lane];
        highs[lane] = above > highs[lane] ? above : highs[lane];
    };
    int64_t i = 0;
    for (; i + kLanes <= count; i += kLanes) {
        for (int lane = 0; lane < kLanes; ++lane) take(lane, values[i + lane]);
    }
    for (int lane = 0; i < count; ++i, ++lane) take(lane, values[i]);
    for (int half = kLanes / 2; half > 0; half /= 2) {
        for (int lane = 0; lane < half; ++lane) {
            lows[lane] = lows[lane + half] < lows[lane] ? lows[lane + half] : lows[lane];
            highs[lane] = highs[lane + half] > highs[lane] ? highs[lane + half] : highs[lane];
        }
    }
    *low = lows[0];
    *high = highs[0];
}

/// Infinities are seldom: they are looked for only where one was found, since that takes three times the instructions.
void extremes(const float* values, int64_t count, float* low, float* high) {
    float lowest = *low, highest = *high;
    extremes_among<false>(values, count, &lowest, &highest);
    if (lowest < -FLT_MAX || highest > FLT_MAX) {
        return extremes_among<true>(values, count, low, high);
    }
    *low = lowest;
    *high = highest;
}

void levels(const float* SACCADE_RESTRICT values, Scale scale, int64_t count, float* SACCADE_RESTRICT out) {
    for (int64_t x = 0; x < count; ++x) out[x] = level_of(values[x], scale);
}

void stretch(const float* SACCADE_RESTRICT source, const int32_t* SACCADE_RESTRICT first,
             const int32_t* SACCADE_RESTRICT second, const float* SACCADE_RESTRICT weight, int64_t count,
             float* SACCADE_RESTRICT out) {
    for (int64_t x = 0; x < count; ++x) out[x] = interpolate(source[first[x]], source[second[x]], weight[x]);
}

/// 255 that the compiler must read: where it knows the number, GCC carries both ends of the clamp through the
/// conversion to bytes as cases of their own, and an index takes 1.0 ns instead of 0.3 (AVX2: 0.31 instead of 0.07).
const volatile float kMost = 255.0f;

void index(const float* SACCADE_RESTRICT level, int64_t count, uint8_t* SACCADE_RESTRICT out) {
    const float most = kMost;
    for (int64_t x = 0; x < count; ++x) out[x] = index_of(level[x], most);
}

void index_between(const float* SACCADE_RESTRICT first, const float* SACCADE_RESTRICT second, float weight,
                   int64_t count, uint8_t* SACCADE_RESTRICT out) {
    const float keep = 1.0f - weight, most = kMost;
    for (int64_t x = 0; x < count; ++x) out[x] = index_of(first[x] * keep + second[x] * weight, most);
}

void index_values(const float* SACCADE_RESTRICT values, Scale scale, int64_t count, uint8_t* SACCADE_RESTRICT out) {
    const float most = kMost;
    for (int64_t x = 0; x < count; ++x) out[x] = index_of(level_of(values[x], scale), most);
}

void grey(const uint8_t* SACCADE_RESTRICT index, int64_t count, uint8_t* SACCADE_RESTRICT out) {
    for (int64_t x = 0; x < count; ++x) out[x * 3] = out[x * 3 + 1] = out[x * 3 + 2] = index[x];
}

void colour(const uint8_t* SACCADE_RESTRICT index, const Colour* SACCADE_RESTRICT table, bool is_grey, int64_t count,
            uint8_t* SACCADE_RESTRICT out) {
    if (is_grey) return grey(index, count, out);
    // Four bytes at once, of which the next pixel overwrites the last: one load and one store for each pixel, and eight
    // to a turn leave little to the loop itself.
    constexpr int kTurn = 8;
    int64_t x = 0;
    for (; x + kTurn < count; x += kTurn) {
        for (int i = 0; i < kTurn; ++i) std::memcpy(out + (x + i) * 3, table[index[x + i]].rgba, 4);
    }
    for (; x + 1 < count; ++x) std::memcpy(out + x * 3, table[index[x]].rgba, 4);
    for (; x < count; ++x) std::memcpy(out + x * 3, table[index[x]].rgba, 3);
}

void blend_over(const uint8_t* SACCADE_RESTRICT photo, int opacity, int64_t bytes, uint8_t* SACCADE_RESTRICT out) {
    // Half and half, what most people ask for, is an instruction of its own nearly everywhere: a fifth of the time.
    if (opacity == 128) {
        for (int64_t i = 0; i < bytes; ++i) out[i] = static_cast<uint8_t>((photo[i] + out[i] + 1) >> 1);
        return;
    }
    const auto share = static_cast<uint16_t>(opacity);
    for (int64_t i = 0; i < bytes; ++i) out[i] = blend(photo[i], out[i], share);
}

constexpr int32_t kHalf = 1 << (kFilterBits - 1);

uint8_t to_pixel(int32_t sum) {
    const int32_t level = sum >> kFilterBits;
    return static_cast<uint8_t>(level < 0 ? 0 : level > 255 ? 255 : level);
}

template <int kChannels>
void filter_pixels(const uint8_t* SACCADE_RESTRICT in, const Window* SACCADE_RESTRICT windows,
                   const int32_t* SACCADE_RESTRICT weights, int64_t longest, int64_t count,
                   uint8_t* SACCADE_RESTRICT out) {
    for (int64_t x = 0; x < count; ++x) {
        const int32_t* weight = weights + x * longest;
        const uint8_t* pixel = in + windows[x].start * kChannels;
        int32_t sum[kChannels];
        for (int c = 0; c < kChannels; ++c) sum[c] = kHalf;
        for (int64_t i = 0; i < windows[x].count; ++i) {
            for (int c = 0; c < kChannels; ++c) sum[c] += pixel[i * kChannels + c] * weight[i];
        }
        for (int c = 0; c < kChannels; ++c) out[x * kChannels + c] = to_pixel(sum[c]);
    }
}

void filter_across(const uint8_t* in, const Window* windows, const int32_t* weights, int64_t longest, int64_t channels,
                   int64_t count, uint8_t* out) {
    if (channels == 1) filter_pixels<1>(in, windows, weights, longest, count, out);
    if (channels == 3) filter_pixels<3>(in, windows, weights, longest, count, out);
    if (channels == 4) filter_pixels<4>(in, windows, weights, longest, count, out);
}

/// All bytes of an output row at once: it runs over source rows, each of which is read in order.
void filter_down(const uint8_t* SACCADE_RESTRICT in, int64_t stride, const int32_t* SACCADE_RESTRICT weights,
                 int64_t count, int64_t bytes, int32_t* SACCADE_RESTRICT sums, uint8_t* SACCADE_RESTRICT out) {
    for (int64_t b = 0; b < bytes; ++b) sums[b] = kHalf;
    for (int64_t i = 0; i < count; ++i) {
        const uint8_t* SACCADE_RESTRICT row = in + i * stride;
        const int32_t share = weights[i];
        for (int64_t b = 0; b < bytes; ++b) sums[b] += row[b] * share;
    }
    for (int64_t b = 0; b < bytes; ++b) out[b] = to_pixel(sums[b]);
}

}  // namespace

const Rows kRows{kIsa,         extremes, levels,     stretch,       index,      index_between,
                 index_values, colour,   blend_over, filter_across, filter_down};

}  // namespace saccade::SACCADE_PATH
