#include "sample.h"

#include "load.h"

namespace saccade {

Sampler::Sampler(const Maps& maps, Size size, Sampling sampling)
    : maps_(maps),
      size_(size),
      sampling_(sampling),
      columns_(static_cast<size_t>(size.width)),
      source_(static_cast<size_t>(maps.w)),
      mixed_(static_cast<size_t>(size.width)) {
    for (Line& line : lines_) line.values.resize(static_cast<size_t>(size.width));
}

void Sampler::start(int64_t index, const Box* box) {
    const Box whole{0.0, 0.0, static_cast<double>(size_.width), static_cast<double>(size_.height)};
    const Box& at = box != nullptr ? *box : whole;
    map_ = reinterpret_cast<const char*>(maps_.data) + index * maps_.stride_n;
    for (Line& line : lines_) line.source_row = -1;
    set_columns(at.left, at.right - at.left);
    row_origin_ = at.top;
    row_extent_ = at.bottom - at.top;
}

Tap Sampler::tap(int64_t out, double origin, double extent, int64_t source) const {
    return sampling_ == Sampling::kNearest ? nearest_tap(out, origin, extent, source)
                                           : linear_tap(out, origin, extent, source);
}

void Sampler::set_columns(double origin, double extent) {
    if (origin == column_origin_ && extent == column_extent_) return;  // as for the map before
    column_origin_ = origin;
    column_extent_ = extent;
    for (int64_t x = 0; x < size_.width; ++x) columns_[x] = tap(x, origin, extent, maps_.w);
}

const float* Sampler::stretched(int64_t source_row) {
    for (const Line& line : lines_) {
        if (line.source_row == source_row) return line.values.data();
    }
    // Rows come in order, so the line with the smaller row is the one that is done with.
    Line& line = lines_[0].source_row < lines_[1].source_row ? lines_[0] : lines_[1];
    line.source_row = source_row;
    load_floats(map_ + source_row * maps_.stride_h, maps_.stride_w, maps_.w, source_.data());
    for (int64_t x = 0; x < size_.width; ++x) {
        const Tap& column = columns_[x];
        line.values[x] = interpolate(source_[column.first], source_[column.second], column.weight);
    }
    return line.values.data();
}

const float* Sampler::row(int64_t y) {
    const Tap at = tap(y, row_origin_, row_extent_, maps_.h);
    const float* first = stretched(at.first);
    if (at.weight == 0.0f) return first;
    const float* second = stretched(at.second);
    const float keep = 1.0f - at.weight;
    for (int64_t x = 0; x < size_.width; ++x) mixed_[x] = first[x] * keep + second[x] * at.weight;
    return mixed_.data();
}

}  // namespace saccade
