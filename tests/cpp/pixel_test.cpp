#include "saccade/pixel.h"

#include <cfloat>
#include <limits>

#include "check.h"

using namespace saccade;

namespace {
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();

int index_of_value(float value, Scale scale) { return index_of(level_of(value, scale)); }
}  // namespace

TEST(index_covers_the_scale) {
    const Scale scale = scale_of({-1.0f, 3.0f});
    HOLDS(!is_blank(scale));
    EQUAL(index_of_value(-5.0f, scale), 0);
    EQUAL(index_of_value(-1.0f, scale), 0);
    EQUAL(index_of_value(1.0f, scale), 128);
    EQUAL(index_of_value(3.0f, scale), 255);
    EQUAL(index_of_value(kInf, scale), 255);
    EQUAL(index_of_value(-kInf, scale), 0);
    EQUAL(index_of_value(kNan, scale), 0);
}

TEST(ranges_without_extent_are_blank) {
    HOLDS(is_blank(scale_of({0.0f, 0.0f})));
    HOLDS(is_blank(scale_of({1.0f, 0.0f})));
    HOLDS(is_blank(scale_of({kNan, 1.0f})));
    HOLDS(is_blank(scale_of({0.0f, kNan})));
    HOLDS(is_blank(scale_of({kInf, kInf})));
    HOLDS(is_blank(scale_of({0.0f, kInf})));
    HOLDS(is_blank(scale_of({-kInf, 0.0f})));
}

TEST(the_widest_range_does_not_overflow) {
    const Scale scale = scale_of({-FLT_MAX, FLT_MAX});
    EQUAL(index_of_value(-FLT_MAX, scale), 0);
    EQUAL(index_of_value(0.0f, scale), 128);
    EQUAL(index_of_value(FLT_MAX, scale), 255);
}

TEST(the_narrowest_range_has_its_steps) {
    const float least = std::numeric_limits<float>::denorm_min();
    const Scale scale = scale_of({0.0f, 4 * least});
    EQUAL(index_of_value(0.0f, scale), 0);
    EQUAL(index_of_value(2 * least, scale), 128);
    EQUAL(index_of_value(4 * least, scale), 255);
}

TEST(blend_is_exact_at_its_ends) {
    for (int photo = 0; photo < 256; ++photo) {
        for (int colour = 0; colour < 256; colour += 5) {
            const auto p = static_cast<uint8_t>(photo), c = static_cast<uint8_t>(colour);
            EQUAL(blend(p, c, 0), p);
            EQUAL(blend(p, c, 256), c);
            EQUAL(blend(p, p, 77), p);
        }
    }
}

TEST(taps_have_half_pixel_centres) {
    // Two elements to four: centres at −0.25, 0.25, 0.75 and 1.25 of the source, the ends clamped.
    EQUAL(linear_tap(0, 0.0, 4.0, 2).weight, 0.0f);
    EQUAL(linear_tap(1, 0.0, 4.0, 2).weight, 0.25f);
    EQUAL(linear_tap(2, 0.0, 4.0, 2).weight, 0.75f);
    EQUAL(linear_tap(3, 0.0, 4.0, 2).first, int64_t{1});
    EQUAL(linear_tap(3, 0.0, 4.0, 2).weight, 0.0f);
    EQUAL(nearest_tap(1, 0.0, 4.0, 2).first, int64_t{0});
    EQUAL(nearest_tap(2, 0.0, 4.0, 2).first, int64_t{1});
    EQUAL(nearest_tap(99, 0.0, 4.0, 2).first, int64_t{1});
    EQUAL(nearest_tap(0, 50.0, 4.0, 2).first, int64_t{0});
}

TEST(an_exact_hit_keeps_its_value_beside_a_nan) {
    EQUAL(interpolate(2.0f, kNan, 0.0f), 2.0f);
    EQUAL(interpolate(2.0f, 4.0f, 0.5f), 3.0f);
}
