#include "saccade/isa.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "check.h"
#include "rows.h"

using namespace saccade;

namespace {

/// The paths that this CPU has; what the objects themselves say of their flags, not what the build calls them.
std::vector<const Rows*> paths() {
    std::vector<const Rows*> found{&baseline::kRows};
#if defined(SACCADE_X86_PATHS)
    if (__builtin_cpu_supports("avx2")) found.push_back(&avx2::kRows);
    if (__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl")) {
        found.push_back(&avx512::kRows);
    }
#endif
    return found;
}

std::vector<float> values(int64_t count, float spread) {
    std::mt19937 random(7);
    std::uniform_real_distribution<float> of(-spread, spread);
    std::vector<float> out(static_cast<size_t>(count));
    for (float& value : out) value = of(random);
    if (count > 3) out[1] = 0.0f / (out[0] - out[0]), out[2] = 1e30f * 1e30f;
    return out;
}

std::vector<uint8_t> bytes(int64_t count) {
    std::mt19937 random(9);
    std::vector<uint8_t> out(static_cast<size_t>(count));
    for (uint8_t& byte : out) byte = static_cast<uint8_t>(random());
    return out;
}

/// All that the loops of one path make of the same input, one result after the other.
std::vector<uint8_t> everything(const Rows& loops, int64_t count) {
    std::vector<uint8_t> all;
    const auto keep = [&](const void* data, size_t size) {
        const auto* from = static_cast<const uint8_t*>(data);
        all.insert(all.end(), from, from + size);
    };
    const auto n = static_cast<size_t>(count);
    const std::vector<float> a = values(count, 400.0f), b = values(count, 300.0f);
    const Scale scale = scale_of({-50.0f, 270.0f});
    float low = 3e38f, high = -3e38f;
    loops.extremes(a.data(), count, &low, &high);
    keep(&low, sizeof low);
    keep(&high, sizeof high);

    std::vector<float> floats(n);
    loops.levels(a.data(), scale, count, floats.data());
    for (float& f : floats) f = f == f ? f : -1.0f;  // one NaN is as good as another
    keep(floats.data(), n * sizeof(float));
    std::vector<int32_t> first(n), second(n);
    std::vector<float> weight(n);
    for (size_t i = 0; i < n; ++i) {
        first[i] = static_cast<int32_t>(i / 3);
        second[i] = static_cast<int32_t>(n - 1 - i / 2);
        weight[i] = static_cast<float>(i % 4) / 4.0f;
    }
    loops.stretch(b.data(), first.data(), second.data(), weight.data(), count, floats.data());
    for (float& f : floats) f = f == f ? f : -1.0f;
    keep(floats.data(), n * sizeof(float));

    std::vector<uint8_t> index(n);
    loops.index(a.data(), count, index.data());
    keep(index.data(), n);
    loops.index_between(a.data(), b.data(), 0.3f, count, index.data());
    keep(index.data(), n);
    loops.index_values(a.data(), scale, count, index.data());
    keep(index.data(), n);

    std::vector<Colour> table(256);
    for (int i = 0; i < 256; ++i) {
        for (int c = 0; c < 3; ++c) table[i].rgba[c] = static_cast<uint8_t>(i * (c + 3));
    }
    const std::vector<uint8_t> photo = bytes(count * 4), random_index = bytes(count);
    std::vector<uint8_t> rgb(n * 3);
    // A photo of no byte more than the row has, so that AddressSanitizer sees one that is read beyond it.
    const std::vector<uint8_t> row(photo.begin(), photo.begin() + count * 3);
    for (const bool grey : {true, false}) {
        loops.colour(random_index.data(), table.data(), grey, count, rgb.data());
        keep(rgb.data(), rgb.size());
        for (const int opacity : {0, 77, 128, 256}) {
            std::fill(rgb.begin(), rgb.end(), uint8_t{0});
            loops.colour_over(random_index.data(), table.data(), grey, row.data(), opacity, count, rgb.data());
            keep(rgb.data(), rgb.size());
        }
    }

    constexpr int64_t kLongest = 5;
    std::vector<Window> windows(n);
    std::vector<int32_t> weights(n * kLongest);
    for (size_t i = 0; i < weights.size(); ++i) weights[i] = static_cast<int32_t>(i * 977 % (1 << 20)) - (1 << 17);
    for (int64_t x = 0; x < count; ++x) windows[x] = {x * 2 / 3, std::min<int64_t>(kLongest, count - x * 2 / 3)};
    for (const int64_t channels : {1, 3, 4}) {
        std::vector<uint8_t> pixels(n * channels);
        loops.filter_across(photo.data(), windows.data(), weights.data(), kLongest, channels, count, pixels.data());
        keep(pixels.data(), pixels.size());
    }
    std::vector<int32_t> sums(n);
    loops.filter_down(photo.data(), count, weights.data(), 4, count, sums.data(), index.data());
    keep(index.data(), n);
    return all;
}

}  // namespace

TEST(each_path_was_compiled_for_what_it_is_called) {
    const std::vector<const Rows*> found = paths();
    const std::vector<std::string> names{"baseline", "avx2", "avx512"};
    for (size_t i = 0; i < found.size(); ++i) HOLDS(found[i]->isa == names[i]);
}

TEST(the_path_in_use_is_one_of_them_or_the_one_that_was_asked_for) {
    bool known = false;
    for (const Rows* path : paths()) known = known || path == &rows();
    HOLDS(known);
    HOLDS(std::strcmp(isa(), rows().isa) == 0);
    const char* forced = std::getenv("SACCADE_ISA");
    HOLDS(forced == nullptr || *forced == '\0' || std::strcmp(forced, isa()) == 0);
}

TEST(a_row_is_coloured_pixel_by_pixel_and_nothing_beyond_it_is_written) {
    std::vector<Colour> table(256);
    for (int i = 0; i < 256; ++i) table[i] = {{uint8_t(i), uint8_t(255 - i), uint8_t(i * 7), 0}};
    for (const int64_t count : {1, 5, 8, 9, 24, 31, 32, 50, 224}) {
        const std::vector<uint8_t> index = bytes(count), photo = bytes(count * 3);
        std::vector<uint8_t> plain, over;
        for (int64_t i = 0; i < count * 3; ++i) plain.push_back(table[index[i / 3]].rgba[i % 3]);
        for (int64_t i = 0; i < count * 3; ++i) over.push_back(blend(photo[i], plain[i], 128));
        for (const Rows* path : paths()) {
            std::vector<uint8_t> row(count * 3 + 32, 77);
            path->colour(index.data(), table.data(), false, count, row.data());
            HOLDS(std::equal(plain.begin(), plain.end(), row.begin()));
            path->colour_over(index.data(), table.data(), false, photo.data(), 128, count, row.data());
            HOLDS(std::equal(over.begin(), over.end(), row.begin()));
            HOLDS(std::all_of(row.begin() + count * 3, row.end(), [](uint8_t byte) { return byte == 77; }));
        }
    }
}

TEST(all_paths_make_the_same_of_the_same) {
    for (const int64_t count : {1, 2, 7, 8, 9, 16, 31, 32, 33, 56, 64, 100, 257}) {
        const std::vector<uint8_t> expected = everything(baseline::kRows, count);
        for (const Rows* path : paths()) HOLDS(everything(*path, count) == expected);
    }
}
