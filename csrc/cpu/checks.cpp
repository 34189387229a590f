#include "checks.h"

#include <algorithm>
#include <cmath>

#include "saccade/error.h"

namespace saccade {

void check_maps(const Maps& maps, Size size, const Style& style) {
    if (maps.h < 1 || maps.w < 1) fail("render: maps must have values; these are ", maps.h, "x", maps.w);
    if (size.height < 1 || size.width < 1) {
        fail("render: the size must be at least 1x1 pixels, not ", size.width, "x", size.height);
    }
    if (style.opacity < 0 || style.opacity > 256) fail("render: opacity must be 0 to 256, not ", style.opacity);
}

void check_canvas(const Canvas& canvas) {
    if (canvas.c != 3) fail("render: the canvas must be RGB [H, W, 3]; it has ", canvas.c, " channels");
}

void check_photos(const Images& photos, const Maps& maps, Size size) {
    if (photos.n != maps.n) fail("render: ", maps.n, " maps came with ", photos.n, " photos; give one for each map");
    if (photos.h != size.height || photos.w != size.width) {
        fail("render: the photos are ", photos.w, "x", photos.h, " pixels and the pictures ", size.width, "x",
             size.height, "; resize the photos first");
    }
    if (photos.c != 1 && photos.c != 3) fail("render: photos must have 1 or 3 channels, not ", photos.c);
}

void check_place(const Canvas& canvas, Size size, const Place& place, int64_t index) {
    if (place.x >= 0 && place.y >= 0 && place.x <= canvas.w - size.width && place.y <= canvas.h - size.height) return;
    fail("render: places[", index, "] = (", place.x, ", ", place.y, ") puts a ", size.width, "x", size.height,
         " picture outside a ", canvas.w, "x", canvas.h, " canvas; give (x, y) of a corner that leaves room for it");
}

void check_box(const Box& box, int64_t index) {
    const double width = box.right - box.left, height = box.bottom - box.top;
    if (width > 0.0 && height > 0.0 && std::isfinite(width) && std::isfinite(height)) return;
    fail("render: boxes[", index, "] = (", box.left, ", ", box.top, ", ", box.right, ", ", box.bottom,
         ") has no area; expected left < right and top < bottom");
}

void check_grid(const Canvas& canvas, int64_t count, Size size, const Grid& grid) {
    const Size needed = grid_size(count, size, grid);
    if (canvas.h == needed.height && canvas.w == needed.width) return;
    fail("render: the grid needs a ", needed.width, "x", needed.height, " canvas, not ", canvas.w, "x", canvas.h);
}

void check_range_options(const RangeOptions& options) {
    const double low = options.low_percentile, high = options.high_percentile;
    if (low >= 0.0 && low < high && high <= 100.0) return;
    fail("render: percentiles must be 0 <= low < high <= 100, not (", low, ", ", high, ")");
}

int64_t group_size(const MapStack& maps, Scope scope) {
    return scope == Scope::kMap ? 1 : scope == Scope::kImage ? maps.c : maps.n * maps.c;
}

Size grid_size(int64_t count, Size size, const Grid& grid) {
    if (grid.columns < 1) fail("render: a grid needs at least 1 column, not ", grid.columns);
    if (grid.gap < 0 || grid.gap > 4096) fail("render: the gap must be 0 to 4096 pixels, not ", grid.gap);
    const int64_t columns = std::min(grid.columns, std::max<int64_t>(count, 1));
    const int64_t rows = (count + columns - 1) / columns;
    return {rows * (size.height + grid.gap) + grid.gap, columns * (size.width + grid.gap) + grid.gap};
}

}  // namespace saccade
