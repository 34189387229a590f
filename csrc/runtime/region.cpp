#include <algorithm>
#include <cmath>
#include <vector>

#include "../cpu/checks.h"
#include "../cpu/load.h"
#include "saccade/error.h"
#include "saccade/pixel.h"
#include "saccade/render.h"
#include "saccade/session.h"

namespace saccade {
namespace {

constexpr int64_t kMaxSide = 1 << 15;  // of the map as it is drawn

/// The rows of a map at another size, from top to bottom. Unlike the renderer's Sampler it gives values, not indices.
class DrawnRows {
  public:
    DrawnRows(const Maps& map, Size size)
        : map_(map), size_(size), source_(static_cast<size_t>(map.w)), taps_(static_cast<size_t>(size.width)) {
        for (int64_t x = 0; x < size.width; ++x) taps_[x] = linear_tap(x, 0.0, static_cast<double>(size.width), map.w);
        for (std::vector<float>* line : {&upper_, &lower_, &mixed_}) line->resize(static_cast<size_t>(size.width));
    }

    const std::vector<float>& row(int64_t y) {
        const Tap tap = linear_tap(y, 0.0, static_cast<double>(size_.height), map_.h);
        if (tap.first != upper_row_) {
            if (tap.first == lower_row_) {
                upper_.swap(lower_);
                lower_row_ = -1;
            } else {
                stretch(tap.first, upper_);
            }
            upper_row_ = tap.first;
        }
        if (tap.weight == 0.0f) return upper_;
        if (tap.second != lower_row_) stretch(tap.second, lower_);
        lower_row_ = tap.second;
        for (size_t x = 0; x < mixed_.size(); ++x) mixed_[x] = interpolate(upper_[x], lower_[x], tap.weight);
        return mixed_;
    }

  private:
    void stretch(int64_t source_row, std::vector<float>& out) {
        const char* from = reinterpret_cast<const char*>(map_.data) + source_row * map_.stride_h;
        load_floats(from, map_.stride_w, map_.w, source_.data());
        for (size_t x = 0; x < out.size(); ++x) {
            out[x] = interpolate(source_[taps_[x].first], source_[taps_[x].second], taps_[x].weight);
        }
    }

    const Maps& map_;
    Size size_;
    std::vector<float> source_, upper_, lower_, mixed_;
    std::vector<Tap> taps_;
    int64_t upper_row_ = -1, lower_row_ = -1;
};

}  // namespace

Region find_region(const Maps& map, float threshold, Size size, const Box& view) {
    if (map.n != 1 || map.data == nullptr) fail("region: expected one map [1, h, w], got ", map.n);
    check_maps(map, size, Style{});
    if (size.height > kMaxSide || size.width > kMaxSide) {
        fail("region: expected a size of at most ", kMaxSide, "x", kMaxSide, ", got ", size.width, "x", size.height);
    }
    if (std::isnan(threshold)) fail("region: the threshold is NaN; expected a number");
    const double view_width = view.right - view.left, view_height = view.bottom - view.top;
    if (!(view_width > 0.0 && view_height > 0.0 && std::isfinite(view_width) && std::isfinite(view_height))) {
        fail("region: the view (", view.left, ", ", view.top, ", ", view.right, ", ", view.bottom,
             ") has no area; expected left < right and top < bottom");
    }
    int64_t left = size.width, top = size.height, right = 0, bottom = 0, count = 0;
    int64_t peak_x = 0, peak_y = 0;
    float peak = 0.0f;
    bool any = false;
    double inside = 0.0, whole = 0.0;
    DrawnRows rows(map, size);
    for (int64_t y = 0; y < size.height; ++y) {
        const std::vector<float>& values = rows.row(y);
        int64_t first = size.width, last = -1;
        for (int64_t x = 0; x < size.width; ++x) {
            const float value = values[x];
            if (!std::isfinite(value)) continue;
            const double evidence = value > 0.0f ? value : 0.0;
            whole += evidence;
            if (!any || value > peak) {
                any = true;
                peak = value;
                peak_x = x;
                peak_y = y;
            }
            if (value < threshold) continue;
            inside += evidence;
            ++count;
            first = std::min(first, x);
            last = x;
        }
        if (last < 0) continue;
        left = std::min(left, first);
        right = std::max(right, last + 1);
        top = std::min(top, y);
        bottom = y + 1;
    }
    const double across = view_width / static_cast<double>(size.width);
    const double down = view_height / static_cast<double>(size.height);
    Region region{};
    region.area = static_cast<double>(count) / (static_cast<double>(size.width) * static_cast<double>(size.height));
    region.evidence = whole > 0.0 ? inside / whole : 0.0;
    region.peak = peak;
    region.peak_x = view.left + (static_cast<double>(peak_x) + 0.5) * across;
    region.peak_y = view.top + (static_cast<double>(peak_y) + 0.5) * down;
    if (count > 0) {
        region.box = {view.left + static_cast<double>(left) * across, view.top + static_cast<double>(top) * down,
                      view.left + static_cast<double>(right) * across, view.top + static_cast<double>(bottom) * down};
    }
    return region;
}

}  // namespace saccade
