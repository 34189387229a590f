#include <cmath>
#include <limits>
#include <vector>

#include "check.h"
#include "saccade/session.h"

using namespace saccade;

namespace {

Maps map_of(const std::vector<float>& values, int64_t h, int64_t w) {
    return {values.data(), 1, h, w, h * w * 4, w * 4, 4};
}

}  // namespace

TEST(a_region_at_the_maps_own_size) {
    const std::vector<float> values{0, 1, 0, 0,  //
                                    0, 4, 2, 0,  //
                                    0, 0, 1, -3};
    const Region region = find_region(map_of(values, 3, 4), 2.0f, {3, 4}, {100, 50, 500, 350});
    EQUAL(region.box.left, 200.0);  // a cell is 100 × 100 pixels of the frame
    EQUAL(region.box.top, 150.0);
    EQUAL(region.box.right, 400.0);
    EQUAL(region.box.bottom, 250.0);
    EQUAL(region.area, 2.0 / 12.0);
    EQUAL(region.evidence, 6.0 / 8.0);
    EQUAL(region.peak, 4.0f);
    EQUAL(region.peak_x, 250.0);
    EQUAL(region.peak_y, 200.0);
}

TEST(a_map_is_drawn_before_it_is_cut) {
    const std::vector<float> values{0, 1};  // at 8 columns: 0, 0, 1/8, 3/8, 5/8, 7/8, 1, 1
    const Region region = find_region(map_of(values, 1, 2), 0.5f, {2, 8}, {0, 0, 8, 2});
    EQUAL(region.box.left, 4.0);
    EQUAL(region.box.right, 8.0);
    EQUAL(region.area, 0.5);
    EQUAL(region.evidence, 3.5 / 4.0);
    EQUAL(region.peak_x, 6.5);
}

TEST(nothing_above_the_threshold_is_an_empty_region) {
    const std::vector<float> values(6, 0.0f);
    const Region region = find_region(map_of(values, 2, 3), 0.1f, {4, 6}, {0, 0, 6, 4});
    EQUAL(region.area, 0.0);
    EQUAL(region.evidence, 0.0);
    EQUAL(region.box.right, 0.0);
}

TEST(values_that_are_no_numbers_are_left_out) {
    const float nan = std::numeric_limits<float>::quiet_NaN(), inf = std::numeric_limits<float>::infinity();
    const std::vector<float> values{nan, inf, 3, 1};
    const Region region = find_region(map_of(values, 2, 2), 2.0f, {2, 2}, {0, 0, 2, 2});
    EQUAL(region.area, 0.25);
    EQUAL(region.evidence, 0.75);
    EQUAL(region.peak, 3.0f);
    const std::vector<float> none{nan, nan};
    EQUAL(find_region(map_of(none, 1, 2), 0.0f, {2, 2}, {0, 0, 2, 2}).area, 0.0);
}

TEST(regions_of_nothing_are_refused) {
    const std::vector<float> values(4, 1.0f);
    const Maps map = map_of(values, 2, 2);
    const Box view{0, 0, 2, 2};
    FAILS(find_region(map, std::nanf(""), {2, 2}, view), "the threshold is NaN");
    FAILS(find_region(map, 1.0f, {0, 2}, view), "at least 1x1");
    FAILS(find_region(map, 1.0f, {2, 1 << 20}, view), "at most 32768x32768");
    FAILS(find_region(map, 1.0f, {2, 2}, {2, 0, 2, 2}), "has no area");
    FAILS(find_region(map, 1.0f, {2, 2}, {0, 0, INFINITY, 2}), "has no area");
}
