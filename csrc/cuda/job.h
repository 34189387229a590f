// From the arguments of overlay() and tile() to a launch's job; on the host, and without CUDA's headers.
#pragma once

#include <algorithm>

#include "../cpu/checks.h"
#include "launch.h"

namespace saccade::cuda {

inline Job job_of(const Canvas& canvas, const Maps& maps, const Range* ranges, Size size, const Style& style) {
    check_canvas(canvas);
    check_maps(maps, size, style);
    Job job{};
    job.canvas = canvas;
    job.maps = maps;
    job.ranges = ranges;
    job.size = size;
    job.sampling = style.sampling;
    job.opacity = style.opacity;
    for (int i = 0; i < 256 * 3; ++i) job.colours[i / 3][i % 3] = (*style.colours)[static_cast<size_t>(i)];
    return job;
}

inline Job overlay_job(const Canvas& canvas, const Maps& maps, const Range* ranges, const Images* photos, Size size,
                       const Place* places, const Box* boxes, const Style& style) {
    Job job = job_of(canvas, maps, ranges, size, style);
    if (photos != nullptr) {
        check_photos(*photos, maps, size);
        job.photos = *photos;
    }
    job.places = places;
    job.boxes = boxes;
    return job;
}

inline Job tile_job(const Canvas& canvas, const Maps& maps, const Range* ranges, Size size, const Grid& grid,
                    const Style& style) {
    Job job = job_of(canvas, maps, ranges, size, style);
    check_grid(canvas, maps.n, size, grid);
    job.grid = grid;
    job.grid.columns = std::min(grid.columns, std::max<int64_t>(maps.n, 1));
    return job;
}

}  // namespace saccade::cuda
