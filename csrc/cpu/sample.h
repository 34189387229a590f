// Sampling one map row by row at another size.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "rows.h"
#include "saccade/pixel.h"
#include "saccade/render.h"

namespace saccade {

/// Gives the rows of a map at the size of its picture, as indices. Each source row is stretched to the picture's width
/// once, while it is needed, and the output rows between two of them are mixed from these two: for a 7×7 map at 224×224
/// that is 7 stretched rows instead of 224, and the mixing vectorises. Not for use by several threads at once.
class Sampler {
  public:
    Sampler(const Maps& maps, Size size, Sampling sampling);

    /// Goes on with map `index`, scaled by `range`, which lies at `box` in its picture; null: it covers it.
    void start(int64_t index, Range range, const Box* box);

    /// Row y, uint8 [size.width], valid until the next call. After start(), ask for rows in ascending order.
    const uint8_t* row(int64_t y);

    /// All rows, uint8 [size.height × size.width].
    void whole(uint8_t* out);

    /// Whether row y is the one before it again, in every map with this box.
    bool repeats(int64_t y) const;

  private:
    void set_columns(double origin, double extent);
    void set_rows(double origin, double extent);
    Tap tap(int64_t out, double origin, double extent, int64_t source) const;
    bool in_order() const;
    const float* source(int64_t source_row);
    const float* stretched(int64_t source_row);

    struct Line {
        int64_t source_row = -1;
        std::vector<float> levels;
    };

    const Rows& rows_;
    Maps maps_;
    Size size_;
    Sampling sampling_;
    const char* map_ = nullptr;
    Scale scale_{};
    // The taps of the box before, which mostly is this one's too: in a grid of small maps they would cost as much as
    // the drawing.
    double column_origin_ = 0.0, column_extent_ = 0.0, row_origin_ = 0.0, row_extent_ = 0.0;
    std::vector<int32_t> first_, second_;
    std::vector<float> weight_;
    bool columns_are_source_ = false;
    std::vector<Tap> row_taps_;
    std::array<Line, 2> lines_;
    std::vector<float> source_, levels_;
    std::vector<uint8_t> index_;
};

}  // namespace saccade
