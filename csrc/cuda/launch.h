// What one thread of a launch does, as functions of the block and the thread, so that a test without a GPU can run a
// whole launch in loops (tests/cpp/cuda_test.cpp). render.cu has the launches themselves.
#pragma once

#include <cfloat>
#include <cstdint>
#include <cstring>

#include "saccade/colormap.h"
#include "saccade/pixel.h"
#include "saccade/render.h"

namespace saccade::cuda {

struct Index {
    int64_t x, y, z;
};

// ---- pictures -----------------------------------------------------------------------------------------------------

// A thread owns 16 bytes of a row, aligned in memory: one store, whatever the canvas's strides. A block is 32 × 8
// threads over 32 rows. Where its columns and rows fall in the map is worked out once per block, since that takes a
// division in double, which most GPUs are slow at.
constexpr int kBytes = 16, kAcross = 32, kDown = 8, kRows = 32;
constexpr int kBlockBytes = kBytes * kAcross;
constexpr int kColumns = (kBlockBytes + kBytes - 1) / 3 + 2;  // a row may begin up to 15 bytes into its first 16

/// Everything that a launch needs to know; it travels as the kernel's argument.
struct Job {
    Canvas canvas;
    Maps maps;
    const Range* ranges;
    Images photos;  // data is null where there are none
    Size size;
    const Place* places;  // null: the maps lie in `grid`
    const Box* boxes;
    Grid grid;
    Sampling sampling;
    int opacity;
    uint8_t colours[256][4];
};

/// Where a column or a row of the canvas falls: in which cell of the grid (−1: a gap), and between which elements.
struct Fall {
    int32_t cell, first, second, at;
    float weight;
};

/// What the threads of a block share.
struct Shared {
    uint8_t colours[256][4];
    Fall columns[kColumns];
    Fall rows[kRows];
};

struct alignas(kBytes) Words {
    uint8_t bytes[kBytes];
};

SACCADE_HD int64_t region_width(const Job& job) { return job.places != nullptr ? job.size.width : job.canvas.w; }
SACCADE_HD int64_t region_height(const Job& job) { return job.places != nullptr ? job.size.height : job.canvas.h; }

/// How many blocks the launch needs.
SACCADE_HD Index blocks(const Job& job) {
    const int64_t bytes = region_width(job) * 3 + kBytes - 1;
    return {(bytes + kBlockBytes - 1) / kBlockBytes, (region_height(job) + kRows - 1) / kRows,
            job.places != nullptr ? job.maps.n : 1};
}

SACCADE_HD int64_t first_column(const Index& block) {
    const int64_t byte = block.x * kBlockBytes - (kBytes - 1);
    return byte > 0 ? byte / 3 : 0;
}

SACCADE_HD Fall fall_of(int64_t at, int64_t cell_size, int64_t gap, double origin, double extent, int64_t source,
                        Sampling sampling) {
    const int64_t pitch = cell_size + gap, cell = at / pitch, within = at % pitch - gap;
    if (within < 0) return {-1, 0, 0, 0, 0.0f};
    const Tap tap = sampling == Sampling::kNearest ? nearest_tap(within, origin, extent, source)
                                                   : linear_tap(within, origin, extent, source);
    return {static_cast<int32_t>(cell), static_cast<int32_t>(tap.first), static_cast<int32_t>(tap.second),
            static_cast<int32_t>(within), tap.weight};
}

/// Whether this block's picture can be drawn at all.
SACCADE_HD bool fits(const Job& job, const Index& block) {
    if (job.places == nullptr) return true;
    const Place place = job.places[block.z];
    if (job.boxes != nullptr) {
        const Box box = job.boxes[block.z];
        const double width = box.right - box.left, height = box.bottom - box.top;
        if (!(width > 0.0 && height > 0.0 && width <= DBL_MAX && height <= DBL_MAX)) return false;
    }
    return place.x >= 0 && place.y >= 0 && place.x <= job.canvas.w - job.size.width &&
           place.y <= job.canvas.h - job.size.height;
}

/// The first half of a block's work, after which its threads wait for each other.
SACCADE_HD void prepare(const Job& job, const Index& block, int thread, Shared& shared) {
    const bool placed = job.places != nullptr;
    Box box{0.0, 0.0, static_cast<double>(job.size.width), static_cast<double>(job.size.height)};
    if (placed && job.boxes != nullptr) box = job.boxes[block.z];
    const int64_t gap = placed ? 0 : job.grid.gap, left = first_column(block), top = block.y * kRows;
    for (int i = thread; i < 256; i += kAcross * kDown) std::memcpy(shared.colours[i], job.colours[i], 4);
    for (int i = thread; i < kColumns; i += kAcross * kDown) {
        shared.columns[i] =
            fall_of(left + i, job.size.width, gap, box.left, box.right - box.left, job.maps.w, job.sampling);
    }
    for (int i = thread; i < kRows; i += kAcross * kDown) {
        shared.rows[i] =
            fall_of(top + i, job.size.height, gap, box.top, box.bottom - box.top, job.maps.h, job.sampling);
    }
}

SACCADE_HD float level_at(const Job& job, const char* map, int64_t row, int64_t column, Scale scale) {
    float value;
    std::memcpy(&value, map + row * job.maps.stride_h + column * job.maps.stride_w, sizeof value);
    return level_of(value, scale);
}

/// The index of the pixel at this column and row of a map: the steps of csrc/cpu/sample.cpp, in the same order.
SACCADE_HD uint8_t index_at(const Job& job, const char* map, const Fall& column, const Fall& row, Scale scale) {
    if (is_blank(scale)) return 0;
    const float first = interpolate(level_at(job, map, row.first, column.first, scale),
                                    level_at(job, map, row.first, column.second, scale), column.weight);
    if (row.weight == 0.0f) return index_of(first);
    const float second = interpolate(level_at(job, map, row.second, column.first, scale),
                                     level_at(job, map, row.second, column.second, scale), column.weight);
    return index_of(first * (1.0f - row.weight) + second * row.weight);
}

/// The colours of the pixels that bytes [begin, end) of a row belong to, the first one's first byte at out[0].
SACCADE_HD void colour_pixels(const Job& job, const Index& block, const Fall& row, const Shared& shared, int64_t begin,
                              int64_t end, uint8_t* out) {
    const int64_t left = first_column(block);
    int64_t drawn = -1;
    Scale scale{};
    const char* map = nullptr;
    for (int64_t x = begin / 3; x * 3 < end; ++x, out += 3) {
        const Fall& column = shared.columns[x - left];
        const int64_t in_grid = row.cell < 0 || column.cell < 0 ? -1 : row.cell * job.grid.columns + column.cell;
        const int64_t n = job.places != nullptr ? block.z : in_grid < job.maps.n ? in_grid : -1;
        if (n < 0) {
            for (int c = 0; c < 3; ++c) out[c] = job.grid.background[c];
            continue;
        }
        if (n != drawn) {
            drawn = n;
            scale = scale_of(job.ranges[n]);
            map = reinterpret_cast<const char*>(job.maps.data) + n * job.maps.stride_n;
        }
        const uint8_t* colour = shared.colours[index_at(job, map, column, row, scale)];
        for (int c = 0; c < 3; ++c) out[c] = colour[c];
    }
}

/// Blends `count` colour bytes, from byte `begin` of row y on, with the photo's.
SACCADE_HD void blend_photo(const Job& job, int64_t n, int64_t y, int64_t begin, int64_t count, uint8_t* colours) {
    const Images& photos = job.photos;
    const uint8_t* row = photos.data + n * photos.stride_n + y * photos.stride_h;
    const bool packed = photos.c == 3 && photos.stride_c == 1 && photos.stride_w == 3;
    Words photo;
    if (packed && count == kBytes && reinterpret_cast<uintptr_t>(row + begin) % kBytes == 0) {
        photo = *reinterpret_cast<const Words*>(row + begin);
    } else {
        for (int64_t i = 0; i < count; ++i) {
            const int64_t x = (begin + i) / 3, c = photos.c == 1 ? 0 : (begin + i) % 3;
            photo.bytes[i] = row[x * photos.stride_w + c * photos.stride_c];
        }
    }
    const auto opacity = static_cast<uint16_t>(job.opacity);
    for (int64_t i = 0; i < count; ++i) colours[i] = blend(photo.bytes[i], colours[i], opacity);
}

/// The second half: this thread's 16 bytes of every eighth row of the block.
SACCADE_HD void draw(const Job& job, const Index& block, int thread, const Shared& shared) {
    const int64_t chunk = block.x * kAcross + thread % kAcross;
    const Place corner = job.places != nullptr ? job.places[block.z] : Place{0, 0};
    const int64_t row_bytes = region_width(job) * 3;
    for (int r = thread / kAcross; r < kRows; r += kDown) {
        const int64_t y = block.y * kRows + r;
        if (y >= region_height(job)) return;
        uint8_t* row = job.canvas.data + (corner.y + y) * job.canvas.stride_h + corner.x * 3;
        const auto into = static_cast<int64_t>(reinterpret_cast<uintptr_t>(row) % kBytes);
        const int64_t from = chunk * kBytes - into, to = from + kBytes;
        const int64_t begin = from > 0 ? from : 0, end = to < row_bytes ? to : row_bytes;
        if (begin >= end) continue;
        uint8_t pixels[kBytes + 5];  // whole pixels: up to 2 bytes more at either end
        colour_pixels(job, block, shared.rows[r], shared, begin, end, pixels);
        uint8_t* bytes = pixels + begin % 3;
        if (job.photos.data != nullptr) blend_photo(job, block.z, y, begin, end - begin, bytes);
        if (end - begin == kBytes) {
            Words words;
            for (int i = 0; i < kBytes; ++i) words.bytes[i] = bytes[i];
            *reinterpret_cast<Words*>(row + begin) = words;
        } else {
            for (int64_t i = 0; i < end - begin; ++i) row[begin + i] = bytes[i];
        }
    }
}

// ---- ranges -------------------------------------------------------------------------------------------------------

constexpr int kReducers = 256;  // threads of a block that looks for extremes

struct Extremes {
    float low, high;
};

SACCADE_HD Extremes none() { return {FLT_MAX, -FLT_MAX}; }

SACCADE_HD Extremes merged(Extremes a, Extremes b) {
    return {b.low < a.low ? b.low : a.low, b.high > a.high ? b.high : a.high};
}

SACCADE_HD Extremes with(Extremes found, float value) {
    // A NaN fails both comparisons; an infinity is stopped by the limits.
    return value >= -FLT_MAX && value <= FLT_MAX ? merged(found, {value, value}) : found;
}

/// A thread's share of map `index` of the stack, four values at once where they lie side by side.
SACCADE_HD Extremes extremes_of_share(const MapStack& maps, int64_t index, int thread) {
    const char* map =
        reinterpret_cast<const char*>(maps.data) + index / maps.c * maps.stride_n + index % maps.c * maps.stride_c;
    const int64_t count = maps.h * maps.w;
    const bool packed = maps.stride_w == sizeof(float) && maps.stride_h == maps.w * maps.stride_w &&
                        reinterpret_cast<uintptr_t>(map) % kBytes == 0;
    struct alignas(kBytes) Four {
        float values[4];
    };
    Extremes found = none();
    const int64_t fours = packed ? count / 4 : 0;
    for (int64_t i = thread; i < fours; i += kReducers) {
        const Four four = reinterpret_cast<const Four*>(map)[i];
        for (const float value : four.values) found = with(found, value);
    }
    for (int64_t i = fours * 4 + thread; i < count; i += kReducers) {
        float value;
        std::memcpy(&value, map + i / maps.w * maps.stride_h + i % maps.w * maps.stride_w, sizeof value);
        found = with(found, value);
    }
    return found;
}

/// A thread's share of the extremes of a group of maps, which lie in `ranges` from the launch before.
SACCADE_HD Extremes extremes_of_group(const Range* ranges, int64_t group, int thread) {
    Extremes found = none();
    for (int64_t i = thread; i < group; i += kReducers) found = merged(found, {ranges[i].low, ranges[i].high});
    return found;
}

/// What is shown: (0, 0) without a finite value; −0 becomes 0.
SACCADE_HD Range range_of(Extremes found, bool zero) {
    if (!(found.low <= found.high)) return {0.0f, 0.0f};
    if (zero) return {0.0f, (found.high > 0.0f ? found.high : 0.0f) + 0.0f};
    return {found.low + 0.0f, found.high + 0.0f};
}

}  // namespace saccade::cuda
