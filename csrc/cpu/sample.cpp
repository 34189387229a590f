#include "sample.h"

#include <algorithm>
#include <cstring>

#include "load.h"

namespace saccade {

Sampler::Sampler(const Maps& maps, Size size, Sampling sampling)
    : rows_(rows()),
      maps_(maps),
      size_(size),
      sampling_(sampling),
      first_(static_cast<size_t>(size.width)),
      second_(static_cast<size_t>(size.width)),
      weight_(static_cast<size_t>(size.width)),
      row_taps_(static_cast<size_t>(size.height)),
      source_(static_cast<size_t>(maps.w)),
      levels_(static_cast<size_t>(std::max(maps.w, size.width))),
      index_(static_cast<size_t>(size.width)) {
    for (Line& line : lines_) line.levels.resize(static_cast<size_t>(size.width));
}

void Sampler::start(int64_t index, Range range, const Box* box) {
    const Box whole{0.0, 0.0, static_cast<double>(size_.width), static_cast<double>(size_.height)};
    const Box& at = box != nullptr ? *box : whole;
    map_ = reinterpret_cast<const char*>(maps_.data) + index * maps_.stride_n;
    scale_ = scale_of(range);
    for (Line& line : lines_) line.source_row = -1;
    set_columns(at.left, at.right - at.left);
    set_rows(at.top, at.bottom - at.top);
    if (is_blank(scale_)) std::fill(index_.begin(), index_.end(), uint8_t{0});
}

Tap Sampler::tap(int64_t out, double origin, double extent, int64_t source) const {
    return sampling_ == Sampling::kNearest ? nearest_tap(out, origin, extent, source)
                                           : linear_tap(out, origin, extent, source);
}

void Sampler::set_columns(double origin, double extent) {
    if (origin == column_origin_ && extent == column_extent_) return;
    column_origin_ = origin;
    column_extent_ = extent;
    columns_are_source_ = size_.width == maps_.w;
    for (int64_t x = 0; x < size_.width; ++x) {
        const Tap at = tap(x, origin, extent, maps_.w);
        first_[x] = static_cast<int32_t>(at.first);
        second_[x] = static_cast<int32_t>(at.second);
        weight_[x] = at.weight;
        columns_are_source_ = columns_are_source_ && at.first == x && at.weight == 0.0f;
    }
}

void Sampler::set_rows(double origin, double extent) {
    if (origin == row_origin_ && extent == row_extent_) return;
    row_origin_ = origin;
    row_extent_ = extent;
    for (int64_t y = 0; y < size_.height; ++y) row_taps_[y] = tap(y, origin, extent, maps_.h);
}

/// Whether the values of a row lie side by side and aligned, to be read in place.
bool Sampler::in_order() const {
    const bool aligned = (reinterpret_cast<uintptr_t>(map_) | maps_.stride_h) % alignof(float) == 0;
    return maps_.stride_w == sizeof(float) && aligned;
}

/// A source row as floats side by side: itself, or a copy.
const float* Sampler::source(int64_t source_row) {
    const char* from = map_ + source_row * maps_.stride_h;
    if (in_order()) return reinterpret_cast<const float*>(from);
    load_floats(from, maps_.stride_w, maps_.w, source_.data());
    return source_.data();
}

const float* Sampler::stretched(int64_t source_row) {
    for (const Line& line : lines_) {
        if (line.source_row == source_row) return line.levels.data();
    }
    // Rows come in order, so the line with the smaller row is the one that is done with.
    Line& line = lines_[0].source_row < lines_[1].source_row ? lines_[0] : lines_[1];
    line.source_row = source_row;
    float* levels = columns_are_source_ ? line.levels.data() : levels_.data();
    rows_.levels(source(source_row), scale_, maps_.w, levels);
    if (!columns_are_source_) {
        rows_.stretch(levels, first_.data(), second_.data(), weight_.data(), size_.width, line.levels.data());
    }
    return line.levels.data();
}

const uint8_t* Sampler::row(int64_t y) {
    if (is_blank(scale_)) return index_.data();
    const Tap& at = row_taps_[y];
    if (sampling_ == Sampling::kNearest) {
        const float* values = source(at.first);
        if (!columns_are_source_) {
            for (int64_t x = 0; x < size_.width; ++x) levels_[x] = values[first_[x]];
            values = levels_.data();
        }
        rows_.index_values(values, scale_, size_.width, index_.data());
        return index_.data();
    }
    const float* first = stretched(at.first);
    if (at.weight == 0.0f) {
        rows_.index(first, size_.width, index_.data());
    } else {
        rows_.index_between(first, stretched(at.second), at.weight, size_.width, index_.data());
    }
    return index_.data();
}

void Sampler::whole(uint8_t* out) {
    const int64_t width = size_.width;
    const bool as_it_is = sampling_ == Sampling::kNearest && columns_are_source_ && size_.height == maps_.h;
    // A map at its own size is one row to the loops: at 56×56 that halves the time.
    if (as_it_is && !is_blank(scale_) && in_order() && maps_.stride_h == width * maps_.stride_w) {
        rows_.index_values(source(0), scale_, width * size_.height, out);
        return;
    }
    for (int64_t y = 0; y < size_.height; ++y, out += width) {
        const uint8_t* from = y > 0 && repeats(y) ? out - width : row(y);
        std::memcpy(out, from, static_cast<size_t>(width));
    }
}

bool Sampler::repeats(int64_t y) const {
    if (y == 0) return false;
    const Tap &at = row_taps_[y], &before = row_taps_[y - 1];
    return at.first == before.first && at.weight == 0.0f && before.weight == 0.0f;
}

}  // namespace saccade
