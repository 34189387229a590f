#include <algorithm>
#include <cmath>
#include <cstring>

#include "load.h"
#include "parallel.h"
#include "saccade/error.h"
#include "saccade/pixel.h"
#include "saccade/render.h"
#include "sample.h"

namespace saccade {
namespace {

constexpr int64_t kGrain = 1 << 15;  // pixels that are worth a thread

/// A colour table with its half of the blend done: colour × opacity + 128, which leaves one product per byte.
struct Inks {
    uint16_t rgb[256][3];
    uint16_t photo_share;

    Inks(const Colormap& colours, int opacity) : photo_share(static_cast<uint16_t>(256 - opacity)) {
        for (int i = 0; i < 256 * 3; ++i) rgb[i / 3][i % 3] = static_cast<uint16_t>(colours[i] * opacity + 128);
    }
};

/// One thread's rows in the making.
struct Scratch {
    std::vector<uint8_t> index;
    std::vector<uint16_t> ink;
    std::vector<uint8_t> photo;

    explicit Scratch(int64_t width)
        : index(static_cast<size_t>(width)),
          ink(static_cast<size_t>(width) * 3),
          photo(static_cast<size_t>(width) * 3) {}
};

void index_row(const float* values, Scale scale, int64_t count, uint8_t* out) {
    for (int64_t x = 0; x < count; ++x) out[x] = index_of(values[x], scale);
}

/// RGB bytes of one row of a photo: its own memory where it is RGB and contiguous, else a copy in `scratch`.
const uint8_t* photo_row(const Images& photos, int64_t n, int64_t y, std::vector<uint8_t>& scratch) {
    const uint8_t* row = photos.data + n * photos.stride_n + y * photos.stride_h;
    if (photos.c == 3 && photos.stride_c == 1 && photos.stride_w == 3) return row;
    // A grey channel is read three times by a channel stride of 0.
    load_pixels(row, photos.stride_w, photos.c == 1 ? 0 : photos.stride_c, photos.w, 3, scratch.data());
    return scratch.data();
}

void ink_row(const uint8_t* index, const Inks& inks, int64_t count, uint16_t* ink) {
    for (int64_t x = 0; x < count; ++x) {
        const uint16_t* colour = inks.rgb[index[x]];
        ink[x * 3] = colour[0];
        ink[x * 3 + 1] = colour[1];
        ink[x * 3 + 2] = colour[2];
    }
}

void blend_row(const uint8_t* photo, const uint16_t* ink, uint16_t photo_share, int64_t bytes, uint8_t* out) {
    for (int64_t i = 0; i < bytes; ++i) out[i] = static_cast<uint8_t>((photo[i] * photo_share + ink[i]) >> 8);
}

void colour_row(const uint8_t* index, const Colormap& colours, int64_t count, uint8_t* out) {
    for (int64_t x = 0; x < count; ++x) {
        const uint8_t* colour = &colours[static_cast<size_t>(index[x]) * 3];
        out[x * 3] = colour[0];
        out[x * 3 + 1] = colour[1];
        out[x * 3 + 2] = colour[2];
    }
}

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

}  // namespace

void index_maps(const Maps& maps, const Range* ranges, Size size, Sampling sampling, uint8_t* indices, int threads) {
    check_maps(maps, size, Style{});
    const int64_t pixels = size.height * size.width;
    parallel_for(maps.n, useful_threads(threads, maps.n * pixels, kGrain), [&](int64_t n) {
        const Scale scale = scale_of(ranges[n]);
        uint8_t* out = indices + n * pixels;
        if (scale.blank()) {
            std::memset(out, 0, static_cast<size_t>(pixels));
            return;
        }
        Sampler sampler(maps, size, sampling);
        sampler.start(n, nullptr);
        for (int64_t y = 0; y < size.height; ++y) {
            index_row(sampler.row(y), scale, size.width, out + y * size.width);
        }
    });
}

void overlay(const Canvas& canvas, const Maps& maps, const Range* ranges, const Images* photos, Size size,
             const Place* places, const Box* boxes, const Style& style, int threads) {
    check_canvas(canvas);
    check_maps(maps, size, style);
    if (photos != nullptr) check_photos(*photos, maps, size);
    for (int64_t n = 0; n < maps.n; ++n) {
        check_place(canvas, size, places[n], n);
        if (boxes != nullptr) check_box(boxes[n], n);
    }
    const Colormap& colours = *style.colours;
    const Inks inks(colours, style.opacity);

    // The threads share the canvas by bands of rows, not by pictures: pictures that overlap cannot race, and one large
    // photo is drawn by all of them.
    const int workers = useful_threads(threads, maps.n * size.height * size.width, kGrain);
    const int64_t band = std::max<int64_t>(16, canvas.h / (workers * 8));
    parallel_for((canvas.h + band - 1) / band, workers, [&](int64_t part) {
        const int64_t band_top = part * band, band_bottom = std::min(canvas.h, band_top + band);
        Sampler sampler(maps, size, style.sampling);
        Scratch scratch(size.width);
        for (int64_t n = 0; n < maps.n; ++n) {
            const Place& place = places[n];
            const int64_t top = std::max<int64_t>(band_top - place.y, 0);
            const int64_t bottom = std::min(band_bottom - place.y, size.height);
            if (top >= bottom) continue;
            const Scale scale = scale_of(ranges[n]);
            sampler.start(n, boxes != nullptr ? &boxes[n] : nullptr);
            if (scale.blank()) std::fill(scratch.index.begin(), scratch.index.end(), uint8_t{0});
            for (int64_t y = top; y < bottom; ++y) {
                if (!scale.blank()) index_row(sampler.row(y), scale, size.width, scratch.index.data());
                uint8_t* out = canvas.data + (place.y + y) * canvas.stride_h + place.x * 3;
                if (photos == nullptr) {
                    colour_row(scratch.index.data(), colours, size.width, out);
                    continue;
                }
                ink_row(scratch.index.data(), inks, size.width, scratch.ink.data());
                const uint8_t* photo = photo_row(*photos, n, y, scratch.photo);
                blend_row(photo, scratch.ink.data(), inks.photo_share, size.width * 3, out);
            }
        }
    });
}

Size grid_size(int64_t count, Size size, const Grid& grid) {
    if (grid.columns < 1) fail("render: a grid needs at least 1 column, not ", grid.columns);
    if (grid.gap < 0 || grid.gap > 4096) fail("render: the gap must be 0 to 4096 pixels, not ", grid.gap);
    const int64_t columns = std::min(grid.columns, std::max<int64_t>(count, 1));
    const int64_t rows = (count + columns - 1) / columns;
    return {rows * (size.height + grid.gap) + grid.gap, columns * (size.width + grid.gap) + grid.gap};
}

void tile(const Canvas& canvas, const Maps& maps, const Range* ranges, Size size, const Grid& grid, const Style& style,
          int threads) {
    check_canvas(canvas);
    check_maps(maps, size, style);
    const Size needed = grid_size(maps.n, size, grid);
    if (canvas.h != needed.height || canvas.w != needed.width) {
        fail("render: the grid needs a ", needed.width, "x", needed.height, " canvas, not ", canvas.w, "x", canvas.h);
    }
    for (int64_t y = 0; y < canvas.h; ++y) {
        uint8_t* row = canvas.data + y * canvas.stride_h;
        for (int64_t i = 0; i < canvas.w * 3; ++i) row[i] = grid.background[i % 3];
    }
    const int64_t columns = std::min(grid.columns, std::max<int64_t>(maps.n, 1));
    std::vector<Place> places(static_cast<size_t>(maps.n));
    for (int64_t n = 0; n < maps.n; ++n) {
        places[n] = {grid.gap + n % columns * (size.width + grid.gap),
                     grid.gap + n / columns * (size.height + grid.gap)};
    }
    overlay(canvas, maps, ranges, nullptr, size, places.data(), nullptr, style, threads);
}

}  // namespace saccade
