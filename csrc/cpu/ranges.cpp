#include "ranges.h"

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <vector>

#include "checks.h"
#include "load.h"
#include "parallel.h"
#include "rows.h"

namespace saccade {
namespace {

/// Smallest and largest finite value; low > high while there is none.
struct Extremes {
    float low = FLT_MAX;
    float high = -FLT_MAX;

    bool any() const { return low <= high; }

    void add(const Extremes& other) {
        low = std::min(low, other.low);
        high = std::max(high, other.high);
    }
};

const char* map_at(const MapStack& maps, int64_t n, int64_t c) {
    return reinterpret_cast<const char*>(maps.data) + n * maps.stride_n + c * maps.stride_c;
}

Extremes extremes_of_map(const MapStack& maps, int64_t n, int64_t c, std::vector<float>& row) {
    Extremes result;
    const char* map = map_at(maps, n, c);
    const bool in_order = maps.stride_w == sizeof(float) && reinterpret_cast<uintptr_t>(map) % alignof(float) == 0;
    if (in_order && maps.stride_h == maps.w * maps.stride_w) {
        rows().extremes(reinterpret_cast<const float*>(map), maps.h * maps.w, &result.low, &result.high);
        return result;
    }
    row.resize(static_cast<size_t>(maps.w));
    for (int64_t y = 0; y < maps.h; ++y) {
        load_floats(map + y * maps.stride_h, maps.stride_w, maps.w, row.data());
        rows().extremes(row.data(), maps.w, &result.low, &result.high);
    }
    return result;
}

/// Linear between order statistics; `values` is reordered and not empty.
float percentile(std::vector<float>& values, double percent) {
    const double at = percent / 100.0 * static_cast<double>(values.size() - 1);
    const auto first = values.begin() + static_cast<int64_t>(at);
    std::nth_element(values.begin(), first, values.end());
    const double weight = at - std::floor(at);
    if (weight == 0.0) return *first;
    const double second = *std::min_element(first + 1, values.end());
    return static_cast<float>(*first + (second - *first) * weight);
}

Range range_from(const Extremes& extremes, const RangeOptions& options, std::vector<float>* values) {
    if (!extremes.any()) return {0.0f, 0.0f};
    Range range{extremes.low, extremes.high};
    if (values != nullptr) {
        range = {percentile(*values, options.low_percentile), percentile(*values, options.high_percentile)};
        if (options.zero && range.high <= 0.0f) range.high = extremes.high;
        if (!options.zero && range.low >= range.high) range = {extremes.low, extremes.high};
    }
    if (options.zero) range = {0.0f, std::max(range.high, 0.0f)};
    return {range.low + 0.0f, range.high + 0.0f};  // −0 becomes 0
}

void gather_finite(const MapStack& maps, int64_t n, int64_t c, std::vector<float>& row, std::vector<float>& values) {
    row.resize(static_cast<size_t>(maps.w));
    for (int64_t y = 0; y < maps.h; ++y) {
        load_floats(map_at(maps, n, c) + y * maps.stride_h, maps.stride_w, maps.w, row.data());
        for (const float value : row) {
            if (std::isfinite(value)) values.push_back(value);
        }
    }
}

}  // namespace

Range own_range(const Maps& maps, int64_t index) {
    const MapStack stack{maps.data, maps.n, 1, maps.h, maps.w, maps.stride_n, 0, maps.stride_h, maps.stride_w};
    std::vector<float> row;
    return range_from(extremes_of_map(stack, index, 0, row), RangeOptions{}, nullptr);
}

void value_ranges(const MapStack& maps, const RangeOptions& options, Range* ranges, int threads) {
    check_range_options(options);
    const int64_t count = maps.n * maps.c, group = group_size(maps, options.scope);
    const int workers = useful_threads(threads, count * maps.h * maps.w, 1 << 16);
    if (group == 0 || count == 0) return;

    if (options.low_percentile > 0.0 || options.high_percentile < 100.0) {
        parallel_for(count / group, workers, [&](int64_t part) {
            std::vector<float> row, values;
            values.reserve(static_cast<size_t>(group * maps.h * maps.w));
            for (int64_t i = part * group; i < (part + 1) * group; ++i) {
                gather_finite(maps, i / maps.c, i % maps.c, row, values);
            }
            Extremes extremes;
            rows().extremes(values.data(), static_cast<int64_t>(values.size()), &extremes.low, &extremes.high);
            std::fill_n(ranges + part * group, group, range_from(extremes, options, &values));
        });
        return;
    }
    std::vector<Extremes> extremes(static_cast<size_t>(count));
    const int64_t parts = std::min<int64_t>(count, workers * 8);  // a part of its own for a 7×7 map would not pay
    parallel_for(parts, workers, [&](int64_t part) {
        std::vector<float> row;
        for (int64_t i = count * part / parts; i < count * (part + 1) / parts; ++i) {
            extremes[i] = extremes_of_map(maps, i / maps.c, i % maps.c, row);
        }
    });
    for (int64_t start = 0; start < count; start += group) {
        Extremes all;
        for (int64_t i = start; i < start + group; ++i) all.add(extremes[i]);
        std::fill_n(ranges + start, group, range_from(all, options, nullptr));
    }
}

}  // namespace saccade
