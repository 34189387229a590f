// Sampling one map row by row at another size.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "saccade/pixel.h"
#include "saccade/render.h"

namespace saccade {

/// Gives the rows of a map at the size of its picture. Each source row is stretched to the picture's width once, while
/// it is needed, and the output rows between two of them are mixed from these two: for a 7×7 map at 224×224 that is 7
/// stretched rows instead of 224, and the mixing vectorises. Not for use by several threads at once.
class Sampler {
  public:
    Sampler(const Maps& maps, Size size, Sampling sampling);

    /// Goes on with map `index`, which lies at `box` in its picture; null: it covers it.
    void start(int64_t index, const Box* box);

    /// Row y, float [size.width], valid until the next call. After start(), ask for rows in ascending order.
    const float* row(int64_t y);

  private:
    const float* stretched(int64_t source_row);
    Tap tap(int64_t out, double origin, double extent, int64_t source) const;
    void set_columns(double origin, double extent);

    struct Line {
        int64_t source_row = -1;
        std::vector<float> values;
    };

    Maps maps_;
    Size size_;
    Sampling sampling_;
    const char* map_ = nullptr;
    double column_origin_ = 0.0, column_extent_ = 0.0, row_origin_ = 0.0, row_extent_ = 0.0;
    std::vector<Tap> columns_;
    std::array<Line, 2> lines_;
    std::vector<float> source_;
    std::vector<float> mixed_;
};

}  // namespace saccade
