// What is done to one row, in machine code for each kind of CPU: rows.cpp is compiled once per path, and the first call
// chooses. Everything above these loops is compiled once, for any CPU.
#pragma once

#include <cstdint>

#include "saccade/pixel.h"

namespace saccade {

/// Red, green, blue and a byte that fills the entry to 4.
struct Colour {
    uint8_t rgba[4];
};

/// The filter of resize() for one output element: `count` source elements from `start` on.
struct Window {
    int64_t start, count;
};

/// Weights of resize() are integers in units of 2^-22: with 8 bits of pixel and 2 of headroom for overshoot a sum fits
/// 32 bits. Pillow rounds its weights and sums in the same places; to give its pixels, this must too.
constexpr int kFilterBits = 32 - 8 - 2;

/// The loops of one path. No output may overlap an input; `count` may be 0.
struct Rows {
    /// "baseline", "avx2" or "avx512": what the compiler says that it was told to compile for.
    const char* isa;

    /// Widens [*low, *high] to the finite values.
    void (*extremes)(const float* values, int64_t count, float* low, float* high);
    /// level_of for each value.
    void (*levels)(const float* values, Scale scale, int64_t count, float* out);
    /// source[first[x]] mixed with source[second[x]] by weight[x].
    void (*stretch)(const float* source, const int32_t* first, const int32_t* second, const float* weight,
                    int64_t count, float* out);
    /// index_of each level.
    void (*index)(const float* levels, int64_t count, uint8_t* out);
    /// index_of the levels between two rows; the weight is not 0.
    void (*index_between)(const float* first, const float* second, float weight, int64_t count, uint8_t* out);
    /// index_of(level_of) of each value.
    void (*index_values)(const float* values, Scale scale, int64_t count, uint8_t* out);

    /// RGB [count × 3]. `grey`: table entry i is (i, i, i).
    void (*colour)(const uint8_t* index, const Colour* table, bool grey, int64_t count, uint8_t* out);
    /// The same, blended over the photo, RGB [count × 3].
    void (*colour_over)(const uint8_t* index, const Colour* table, bool grey, const uint8_t* photo, int opacity,
                        int64_t count, uint8_t* out);

    /// resize() across: each pixel of `channels` (1, 3 or 4) from its window; weights [count][longest].
    void (*filter_across)(const uint8_t* in, const Window* windows, const int32_t* weights, int64_t longest,
                          int64_t channels, int64_t count, uint8_t* out);
    /// resize() down: `count` rows, `stride` apart, mixed byte by byte; `sums` [bytes] is scratch.
    void (*filter_down)(const uint8_t* rows, int64_t stride, const int32_t* weights, int64_t count, int64_t bytes,
                        int32_t* sums, uint8_t* out);
};

/// The loops for this CPU, or those that the environment variable SACCADE_ISA names, chosen by the first call. Throws
/// Error where it names a path that does not exist, or that this build or CPU lacks.
const Rows& rows();

// One for each path, in its own namespace. Nothing else in those objects may have a name that the linker can see: a
// shared inline function compiled for AVX2 could be the copy that the baseline gets.
namespace baseline {
extern const Rows kRows;
}
namespace avx2 {
extern const Rows kRows;
}
namespace avx512 {
extern const Rows kRows;
}

}  // namespace saccade
