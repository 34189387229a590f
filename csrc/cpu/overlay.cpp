#include <algorithm>
#include <cstring>
#include <functional>
#include <memory>
#include <vector>

#include "checks.h"
#include "load.h"
#include "parallel.h"
#include "ranges.h"
#include "rows.h"
#include "saccade/pixel.h"
#include "saccade/render.h"
#include "sample.h"

namespace saccade {
namespace {

constexpr int64_t kGrain = 1 << 15;       // pixels that are worth a thread
constexpr int64_t kStripBytes = 1 << 17;  // of indices at once: they stay in the second-level cache

/// A colour table as the row loops read it.
struct Palette {
    Colour colours[256];
    bool grey = true;

    explicit Palette(const Colormap& table) {
        for (int i = 0; i < 256; ++i) {
            const uint8_t* rgb = &table[static_cast<size_t>(i) * 3];
            colours[i] = {{rgb[0], rgb[1], rgb[2], 0}};
            grey = grey && rgb[0] == i && rgb[1] == i && rgb[2] == i;
        }
    }
};

/// Draws rows of maps, one thread's at a time.
class Pen {
  public:
    Pen(const Maps& maps, const Images* photos, Size size, const Palette& palette, const Style& style)
        : sampler_(maps, size, style.sampling),
          photos_(photos),
          size_(size),
          palette_(palette),
          opacity_(style.opacity),
          photo_(photos != nullptr ? static_cast<size_t>(size.width) * 3 : 0) {}

    /// Rows top to bottom of picture n, whose row 0 would be at `out`, `stride` bytes apart.
    void draw(int64_t n, Range range, const Box* box, int64_t top, int64_t bottom, uint8_t* out, int64_t stride);

  private:
    Sampler sampler_;
    const Images* photos_;
    Size size_;
    const Palette& palette_;
    int opacity_;
    std::vector<uint8_t> photo_;
};

/// RGB bytes of one row of a photo: its own memory where it is RGB, contiguous and not the row `to` that is about to be
/// written (a photo drawn on in place), else a copy in `scratch`.
const uint8_t* photo_row(const Images& photos, int64_t n, int64_t y, const uint8_t* to, std::vector<uint8_t>& scratch) {
    const uint8_t* row = photos.data + n * photos.stride_n + y * photos.stride_h;
    const int64_t bytes = photos.w * 3;
    const std::less<const uint8_t*> before;
    const bool apart = !before(row, to + bytes) || !before(to, row + bytes);
    if (apart && photos.c == 3 && photos.stride_c == 1 && photos.stride_w == 3) return row;
    // A grey channel is read three times by a channel stride of 0.
    load_pixels(row, photos.stride_w, photos.c == 1 ? 0 : photos.stride_c, photos.w, 3, scratch.data());
    return scratch.data();
}

void Pen::draw(int64_t n, Range range, const Box* box, int64_t top, int64_t bottom, uint8_t* out, int64_t stride) {
    const Rows& loops = rows();
    sampler_.start(n, range, box);
    for (int64_t y = top; y < bottom; ++y) {
        uint8_t* to = out + y * stride;
        if (photos_ == nullptr && y > top && sampler_.repeats(y)) {
            std::memcpy(to, to - stride, static_cast<size_t>(size_.width) * 3);
            continue;
        }
        const uint8_t* photo = photos_ != nullptr ? photo_row(*photos_, n, y, to, photo_) : nullptr;
        const uint8_t* index = sampler_.row(y);
        if (photo == nullptr) {
            loops.colour(index, palette_.colours, palette_.grey, size_.width, to);
        } else {
            loops.colour_over(index, palette_.colours, palette_.grey, photo, opacity_, size_.width, to);
        }
    }
}

}  // namespace

void index_maps(const Maps& maps, const Range* ranges, Size size, Sampling sampling, uint8_t* indices, int threads) {
    check_maps(maps, size, Style{});
    const int64_t pixels = size.height * size.width;
    parallel_for(maps.n, useful_threads(threads, maps.n * pixels, kGrain), [&](int64_t n) {
        Sampler sampler(maps, size, sampling);
        sampler.start(n, ranges[n], nullptr);
        sampler.whole(indices + n * pixels);
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
    const Palette palette(*style.colours);

    // The threads share the canvas by bands of rows, not by pictures: pictures that overlap cannot race, and one large
    // photo is drawn by all of them. One thread takes it whole, so that no map's rows are stretched twice.
    const int workers = useful_threads(threads, maps.n * size.height * size.width, kGrain);
    const int64_t band =
        workers == 1 ? std::max<int64_t>(canvas.h, 1) : std::max<int64_t>(16, canvas.h / (workers * 8));
    parallel_for((canvas.h + band - 1) / band, workers, [&](int64_t part) {
        const int64_t band_top = part * band, band_bottom = std::min(canvas.h, band_top + band);
        Pen pen(maps, photos, size, palette, style);
        for (int64_t n = 0; n < maps.n; ++n) {
            const Place& place = places[n];
            const int64_t top = std::max<int64_t>(band_top - place.y, 0);
            const int64_t bottom = std::min(band_bottom - place.y, size.height);
            if (top >= bottom) continue;
            uint8_t* corner = canvas.data + place.y * canvas.stride_h + place.x * 3;
            pen.draw(n, ranges[n], boxes != nullptr ? &boxes[n] : nullptr, top, bottom, corner, canvas.stride_h);
        }
    });
}

void tile(const Canvas& canvas, const Maps& maps, const Range* ranges, Size size, const Grid& grid, const Style& style,
          int threads) {
    check_canvas(canvas);
    check_maps(maps, size, style);
    check_grid(canvas, maps.n, size, grid);
    const int64_t columns = std::min(grid.columns, std::max<int64_t>(maps.n, 1));
    const Palette palette(*style.colours);
    const Colour background{{grid.background[0], grid.background[1], grid.background[2], 0}};
    std::vector<uint8_t> line(static_cast<size_t>(canvas.w) * 3);
    for (size_t i = 0; i < line.size(); ++i) line[i] = grid.background[i % 3];
    const auto fill = [&](int64_t top, int64_t bottom, int64_t left, int64_t right) {
        for (int64_t y = top; y < bottom; ++y) {
            std::memcpy(canvas.data + y * canvas.stride_h + left * 3, line.data(),
                        static_cast<size_t>(right - left) * 3);
        }
    };
    const int64_t drawn_rows = (maps.n + columns - 1) / columns;
    const int64_t cell_height = size.height + grid.gap, cell_width = size.width + grid.gap;
    for (int64_t row = 0; row <= drawn_rows; ++row) fill(row * cell_height, row * cell_height + grid.gap, 0, canvas.w);
    if (drawn_rows == 0) return;
    const int64_t last = maps.n - (drawn_rows - 1) * columns;  // maps in the last row
    fill(canvas.h - cell_height, canvas.h - grid.gap, last * cell_width, canvas.w);

    // Neighbours in a row of the grid are scaled first and coloured then, row of pixels by row of pixels, so that the
    // canvas is written in its own order: picture after picture the tiles of a layer took twice as long.
    const Rows& loops = rows();
    const int64_t strip = std::clamp<int64_t>(kStripBytes / (size.height * size.width), 1, columns);
    const int64_t strips = (columns + strip - 1) / strip;
    const int workers = useful_threads(threads, canvas.h * canvas.w, kGrain);
    parallel_for(drawn_rows * strips, workers, [&](int64_t part) {
        const int64_t row = part / strips, first = part % strips * strip;
        const int64_t end = std::min({first + strip, columns, maps.n - row * columns});
        if (first >= end) return;
        const int64_t area = size.height * size.width;
        const std::unique_ptr<uint8_t[]> indices(new uint8_t[static_cast<size_t>((end - first) * area)]);
        Sampler sampler(maps, size, style.sampling);
        for (int64_t column = first; column < end; ++column) {
            const int64_t n = row * columns + column;
            sampler.start(n, ranges != nullptr ? ranges[n] : own_range(maps, n), nullptr);
            sampler.whole(indices.get() + (column - first) * area);
        }
        const int64_t top = row * cell_height + grid.gap, left = first * cell_width, right = end * cell_width;
        for (int64_t y = 0; y < size.height; ++y) {
            uint8_t* to = canvas.data + (top + y) * canvas.stride_h + left * 3;
            if (y > 0 && sampler.repeats(y)) {
                std::memcpy(to, to - canvas.stride_h, static_cast<size_t>(right - left) * 3);
                continue;
            }
            for (int64_t column = first; column < end; ++column) {
                // Four bytes at once, of which the picture overwrites the last.
                for (int64_t x = 0; x < grid.gap; ++x, to += 3) std::memcpy(to, background.rgba, 4);
                const uint8_t* index = indices.get() + (column - first) * area + y * size.width;
                loops.colour(index, palette.colours, palette.grey, size.width, to);
                to += size.width * 3;
            }
        }
    });
    fill(0, canvas.h, canvas.w - grid.gap, canvas.w);
}

}  // namespace saccade
