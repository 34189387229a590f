// Runs each row loop of one path once over a row of 1000, each in a function of its own name, for
// benchmarks/instructions.py to count: saccade_count baseline|avx2.
#include <cstdio>
#include <cstring>
#include <vector>

#include "rows.h"

using namespace saccade;

namespace {

constexpr int64_t kCount = 1000;
constexpr int64_t kLongest = 8;

const Rows* loops = nullptr;
std::vector<float> first(kCount), second(kCount), weight(kCount), floats(kCount);
std::vector<int32_t> from(kCount), to(kCount), sums(kCount), weights(kCount* kLongest, 1 << 19);
std::vector<Window> windows(kCount);
std::vector<uint8_t> indices(kCount), photo(kCount * 8, 99), out(kCount * 4);
std::vector<Colour> table(256);
constexpr Scale kScale{1.0f, -1.0f, 80.0f};
float low = 3e38f, high = -3e38f;

}  // namespace

#define COUNTED extern "C" __attribute__((noinline)) void

COUNTED count_extremes() { loops->extremes(first.data(), kCount, &low, &high); }
COUNTED count_levels() { loops->levels(first.data(), kScale, kCount, floats.data()); }
COUNTED count_stretch() { loops->stretch(first.data(), from.data(), to.data(), weight.data(), kCount, floats.data()); }
COUNTED count_index() { loops->index(first.data(), kCount, indices.data()); }
COUNTED count_index_between() { loops->index_between(first.data(), second.data(), 0.3f, kCount, indices.data()); }
COUNTED count_index_values() { loops->index_values(first.data(), kScale, kCount, indices.data()); }
COUNTED count_grey() { loops->colour(indices.data(), table.data(), true, kCount, out.data()); }
COUNTED count_colour() { loops->colour(indices.data(), table.data(), false, kCount, out.data()); }
COUNTED count_over() { loops->colour_over(indices.data(), table.data(), false, photo.data(), 100, kCount, out.data()); }
COUNTED count_over_half() {
    loops->colour_over(indices.data(), table.data(), false, photo.data(), 128, kCount, out.data());
}
COUNTED count_filter_across() {
    loops->filter_across(photo.data(), windows.data(), weights.data(), kLongest, 3, kCount, out.data());
}
COUNTED count_filter_down() {
    loops->filter_down(photo.data(), kCount, weights.data(), kLongest, kCount, sums.data(), out.data());
}

int main(int argc, char** argv) {
    const bool wide = argc > 1 && std::strcmp(argv[1], "avx2") == 0;
    loops = wide ? &avx2::kRows : &baseline::kRows;
    for (int64_t i = 0; i < kCount; ++i) {
        first[i] = static_cast<float>(i * 7919 % 1000) / 300.0f - 1.0f;
        second[i] = static_cast<float>(i * 31 % 1000) / 300.0f;
        weight[i] = static_cast<float>(i % 4) / 4.0f;
        from[i] = static_cast<int32_t>(i / 8);
        to[i] = static_cast<int32_t>(i / 8 + 1);
        windows[i] = {i * 2, kLongest};
    }
    count_extremes();
    count_levels();
    count_stretch();
    count_index();
    count_index_between();
    count_index_values();
    count_grey();
    count_colour();
    count_over();
    count_over_half();
    count_filter_across();
    count_filter_down();
    std::printf("%s %g\n", loops->isa, static_cast<double>(low + high) + floats[9] + out[9] + indices[9]);
}
