#include <limits>
#include <vector>

#include "check.h"
#include "saccade/render.h"

using namespace saccade;

namespace {

MapStack stack_of(const std::vector<float>& values, int64_t n, int64_t c, int64_t h, int64_t w) {
    return {values.data(), n, c, h, w, c * h * w * 4, h * w * 4, w * 4, 4};
}

std::vector<Range> ranges_of(const MapStack& maps, const RangeOptions& options, int threads = 1) {
    std::vector<Range> ranges(static_cast<size_t>(maps.n * maps.c));
    value_ranges(maps, options, ranges.data(), threads);
    return ranges;
}

}  // namespace

TEST(scopes_group_maps) {
    const std::vector<float> values{1, 2, 3, 4, -5, 6, 7, 8};  // two images of two maps of 1×2
    const MapStack maps = stack_of(values, 2, 2, 1, 2);
    const auto each = ranges_of(maps, {Scope::kMap});
    EQUAL(each[2].low, -5.0f);
    EQUAL(each[2].high, 6.0f);
    const auto image = ranges_of(maps, {Scope::kImage});
    EQUAL(image[0].high, 4.0f);
    EQUAL(image[1].low, 1.0f);
    EQUAL(image[3].low, -5.0f);
    const auto batch = ranges_of(maps, {Scope::kBatch}, 4);
    EQUAL(batch[0].low, -5.0f);
    EQUAL(batch[3].high, 8.0f);
}

TEST(percentiles_are_linear) {
    const std::vector<float> values{40, 10, 30, 20, 50};
    const auto ranges = ranges_of(stack_of(values, 1, 1, 1, 5), {Scope::kMap, 10.0, 75.0});
    EQUAL(ranges[0].low, 14.0f);
    EQUAL(ranges[0].high, 40.0f);
}

TEST(what_is_not_finite_is_left_out) {
    const float nan = std::numeric_limits<float>::quiet_NaN(), inf = std::numeric_limits<float>::infinity();
    const std::vector<float> values{nan, 3, -inf, inf, 1, nan, nan, nan, nan, 2};
    for (const double high : {100.0, 99.0}) {
        const auto ranges = ranges_of(stack_of(values, 2, 1, 1, 5), {Scope::kMap, 0.0, high});
        EQUAL(ranges[0].low, 1.0f);
        HOLDS(ranges[0].high > 2.9f && ranges[0].high <= 3.0f);
        EQUAL(ranges[1].low, 2.0f);
        EQUAL(ranges[1].high, 2.0f);
        const auto none = ranges_of(stack_of({nan, inf}, 1, 1, 1, 2), {Scope::kMap, 0.0, high});
        EQUAL(none[0].low, 0.0f);
        EQUAL(none[0].high, 0.0f);
    }
}

TEST(evidence_starts_at_zero) {
    const auto negative = ranges_of(stack_of({-2, -1}, 1, 1, 1, 2), {Scope::kMap, 0.0, 100.0, true});
    EQUAL(negative[0].low, 0.0f);
    EQUAL(negative[0].high, 0.0f);
    std::vector<float> sparse(1000, 0.0f);
    sparse[7] = 5.0f;  // the 99th percentile is 0, but there is evidence
    const auto ranges = ranges_of(stack_of(sparse, 1, 1, 10, 100), {Scope::kMap, 0.0, 99.0, true});
    EQUAL(ranges[0].high, 5.0f);
}

TEST(empty_batches_are_fine_and_wrong_percentiles_are_not) {
    const std::vector<float> nothing;
    HOLDS(ranges_of(stack_of(nothing, 0, 3, 2, 2), {Scope::kBatch}).empty());
    const std::vector<float> one{1};
    FAILS(ranges_of(stack_of(one, 1, 1, 1, 1), {Scope::kMap, 50.0, 50.0}), "percentiles");
    FAILS(ranges_of(stack_of(one, 1, 1, 1, 1), {Scope::kMap}, -1), "threads");
}
