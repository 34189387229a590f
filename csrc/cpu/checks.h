// What render.h's functions ask of their arguments, on the CPU and on a GPU. Each check throws Error.
#pragma once

#include "saccade/render.h"

namespace saccade {

void check_maps(const Maps& maps, Size size, const Style& style);
void check_canvas(const Canvas& canvas);
void check_photos(const Images& photos, const Maps& maps, Size size);
void check_place(const Canvas& canvas, Size size, const Place& place, int64_t index);
void check_box(const Box& box, int64_t index);
void check_grid(const Canvas& canvas, int64_t count, Size size, const Grid& grid);
void check_range_options(const RangeOptions& options);

/// How many maps, one after the other, share a range.
int64_t group_size(const MapStack& maps, Scope scope);

}  // namespace saccade
