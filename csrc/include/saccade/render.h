// From raw maps to pixels. Every function throws Error on sizes that do not fit together, and touches nothing then.
// `threads` is the most threads to use, 0 for one per core; the result does not depend on it.
#pragma once

#include "saccade/colormap.h"
#include "saccade/views.h"

namespace saccade {

/// Over what the limits are taken: each map alone, the C maps of an image together, or all of the batch.
enum class Scope { kMap, kImage, kBatch };

enum class Sampling { kNearest, kBilinear };

struct RangeOptions {
    Scope scope = Scope::kMap;
    /// Percentiles in 0..100, linear between order statistics; 0 and 100 are minimum and maximum.
    double low_percentile = 0.0;
    double high_percentile = 100.0;
    /// Fix low at 0, for evidence that is never negative; high is then at least 0.
    bool zero = false;
};

/// Writes `ranges` [N × C]. NaN and infinities are left out; a scope with no finite value gives (0, 0). Percentiles
/// that fall together while the values differ (a map that is nearly everywhere 0) fall back to minimum and maximum.
void value_ranges(const MapStack& maps, const RangeOptions& options, Range* ranges, int threads = 0);

/// Writes `indices` uint8 [N × height × width], contiguous: each map sampled at `size` and scaled by its range [N].
void index_maps(const Maps& maps, const Range* ranges, Size size, Sampling sampling, uint8_t* indices, int threads = 0);

/// How overlay() draws each map.
struct Style {
    const Colormap* colours;
    /// 0 (the photo alone) to 256 (the map alone). Without photos the map is drawn alone.
    int opacity = 128;
    Sampling sampling = Sampling::kBilinear;
};

/// Draws each map at `size` with its top-left corner at its place [N] in the canvas (C = 3), blended over its photo
/// where `photos` (N pictures of `size`, C = 1 or 3) is not null, in one pass from floats to final pixels. `boxes` [N]
/// says where the map lies in its picture; null: it covers it. Where pictures overlap the later one is on top.
void overlay(const Canvas& canvas, const Maps& maps, const Range* ranges, const Images* photos, Size size,
             const Place* places, const Box* boxes, const Style& style, int threads = 0);

/// How tile() lays the maps out: row by row, `gap` pixels between neighbours and around the whole.
struct Grid {
    int64_t columns;
    int64_t gap;
    uint8_t background[3];
};

/// The canvas that tile() needs for `count` pictures.
Size grid_size(int64_t count, Size size, const Grid& grid);

/// Fills the canvas, which must have grid_size(), with the background and draws the maps side by side. `ranges` [N];
/// null: each map between its own minimum and maximum, which are found while it is in the cache, so that it is read
/// once.
void tile(const Canvas& canvas, const Maps& maps, const Range* ranges, Size size, const Grid& grid, const Style& style,
          int threads = 0);

}  // namespace saccade
