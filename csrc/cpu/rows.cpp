// The loops over rows, compiled once per path into the namespace SACCADE_PATH. They are plain loops that the compiler
// makes vectors of. No templates of the C++ library here, nor any other function that two objects could share: see
// rows.h.
#include "rows.h"

#if defined(__AVX2__)
#include <immintrin.h>
#endif

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

/// body(x, last) for blocks of a row, of which the last ends where the row does, some of it for the second time: in a
/// row of 56, a tile's, single pixels at the end took as long as a block. Unless it is `last`, at least two more pixels
/// follow a block. False for a row that is shorter than a block.
template <int kBlock, typename Body>
bool in_blocks(int64_t count, const Body& body) {
    if (count < kBlock) return false;
    int64_t x = 0;
    for (; x + kBlock + 1 < count; x += kBlock) body(x, false);
    if (x + kBlock < count) body(x, true);
    body(count - kBlock, true);
    return true;
}

void grey(const uint8_t* SACCADE_RESTRICT index, int64_t count, uint8_t* SACCADE_RESTRICT out) {
    const auto some = [&](int64_t first, int64_t end) {
        for (int64_t x = first; x < end; ++x) out[x * 3] = out[x * 3 + 1] = out[x * 3 + 2] = index[x];
    };
    constexpr int kBlock = 32;
    if (!in_blocks<kBlock>(count, [&](int64_t x, bool) { some(x, x + kBlock); })) some(0, count);
}

constexpr int kEight = 8;  // indices that are read at once

#if defined(__AVX2__)
// Four pixels side by side in a vector, which no compiler makes of the loop below: 0.26 ns a pixel instead of 0.32
// there, and 0.45 with gathers; half and half over a photo 0.27 instead of 0.37 in two loops.
constexpr bool kOverAtOnce = true;

__m128i pixel(const Colour* table, uint32_t index) {
    int32_t rgb;
    std::memcpy(&rgb, table[static_cast<uint8_t>(index)].rgba, sizeof rgb);
    return _mm_cvtsi32_si128(rgb);
}

/// Of four indices; the last 4 bytes are 0.
__m128i four_pixels(const Colour* table, uint32_t four) {
    const __m128i closer = _mm_setr_epi8(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1);
    const __m128i front = _mm_unpacklo_epi32(pixel(table, four), pixel(table, four >> 8));
    const __m128i back = _mm_unpacklo_epi32(pixel(table, four >> 16), pixel(table, four >> 24));
    return _mm_shuffle_epi8(_mm_unpacklo_epi64(front, back), closer);
}

/// The last four of a row are 12 bytes; before them, the 4 bytes that follow belong to the row as well.
__m128i load_four(const uint8_t* from, bool last) {
    if (!last) return _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
    int32_t back;
    std::memcpy(&back, from + 8, sizeof back);
    return _mm_insert_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(from)), back, 2);
}

void store_four(__m128i four, bool last, uint8_t* to) {
    if (!last) return _mm_storeu_si128(reinterpret_cast<__m128i*>(to), four);
    const int32_t back = _mm_extract_epi32(four, 2);
    _mm_storel_epi64(reinterpret_cast<__m128i*>(to), four);
    std::memcpy(to + 8, &back, sizeof back);
}

/// False for a row that is too short; kOver: half and half with the photo.
template <bool kOver>
bool colour_blocks(const uint8_t* SACCADE_RESTRICT index, const Colour* SACCADE_RESTRICT table,
                   const uint8_t* SACCADE_RESTRICT photo, int64_t count, uint8_t* SACCADE_RESTRICT out) {
    return in_blocks<kEight>(count, [&](int64_t x, bool last) {
        uint64_t eight;
        std::memcpy(&eight, index + x, sizeof eight);
        for (int half = 0; half < kEight; half += 4) {
            const bool end = last && half != 0;
            const int64_t at = (x + half) * 3;
            const __m128i colours = four_pixels(table, static_cast<uint32_t>(eight >> (8 * half)));
            store_four(kOver ? _mm_avg_epu8(colours, load_four(photo + at, end)) : colours, end, out + at);
        }
    });
}
#else
constexpr bool kOverAtOnce = false;

/// Element i of 8 bytes that were read as one number.
uint8_t byte_of(uint64_t eight, int i) {
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    i = kEight - 1 - i;
#endif
    return static_cast<uint8_t>(eight >> (8 * i));
}

/// False for a row that is too short. What counts are accesses to memory, three of them a cycle: so the indices are
/// read eight at once, and a pixel is written as four bytes, of which the next one overwrites the last.
template <bool>
bool colour_blocks(const uint8_t* SACCADE_RESTRICT index, const Colour* SACCADE_RESTRICT table, const uint8_t*,
                   int64_t count, uint8_t* SACCADE_RESTRICT out) {
    return in_blocks<kEight>(count, [&](int64_t x, bool last) {
        uint64_t eight;
        std::memcpy(&eight, index + x, sizeof eight);
        for (int i = 0; i < kEight - 1; ++i) std::memcpy(out + (x + i) * 3, table[byte_of(eight, i)].rgba, 4);
        std::memcpy(out + (x + kEight - 1) * 3, table[byte_of(eight, kEight - 1)].rgba, last ? 3 : 4);
    });
}
#endif

void colour(const uint8_t* SACCADE_RESTRICT index, const Colour* SACCADE_RESTRICT table, bool is_grey, int64_t count,
            uint8_t* SACCADE_RESTRICT out) {
    if (is_grey) return grey(index, count, out);
    if (colour_blocks<false>(index, table, nullptr, count, out)) return;
    for (int64_t x = 0; x < count; ++x) std::memcpy(out + x * 3, table[index[x]].rgba, 3);
}

void colour_over(const uint8_t* SACCADE_RESTRICT index, const Colour* SACCADE_RESTRICT table, bool is_grey,
                 const uint8_t* SACCADE_RESTRICT photo, int opacity, int64_t count, uint8_t* SACCADE_RESTRICT out) {
    if (kOverAtOnce && opacity == 128 && !is_grey && colour_blocks<true>(index, table, photo, count, out)) return;
    colour(index, table, is_grey, count, out);
    // Half and half, what most people ask for, is an instruction of its own nearly everywhere: a fifth of the time.
    if (opacity == 128) {
        for (int64_t i = 0; i < count * 3; ++i) out[i] = static_cast<uint8_t>((photo[i] + out[i] + 1) >> 1);
        return;
    }
    const auto share = static_cast<uint16_t>(opacity);
    for (int64_t i = 0; i < count * 3; ++i) out[i] = blend(photo[i], out[i], share);
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

const Rows kRows{kIsa,         extremes, levels,      stretch,       index,      index_between,
                 index_values, colour,   colour_over, filter_across, filter_down};

}  // namespace saccade::SACCADE_PATH
