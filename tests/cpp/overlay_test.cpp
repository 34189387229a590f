#include <algorithm>
#include <vector>

#include "check.h"
#include "saccade/render.h"

using namespace saccade;

namespace {

struct Sheet {
    int64_t h, w;
    std::vector<uint8_t> bytes = std::vector<uint8_t>(static_cast<size_t>(h * w * 3), 9);
    Canvas canvas() { return {bytes.data(), h, w, 3, w * 3}; }
    uint8_t at(int64_t x, int64_t y) const { return bytes[(y * w + x) * 3]; }
};

const std::vector<float> kRamp{0, 1, 2, 3};  // one map, or four, or …

Maps maps_of(const std::vector<float>& values, int64_t n, int64_t h, int64_t w) {
    return {values.data(), n, h, w, h * w * 4, w * 4, 4};
}

Style grey() { return {&colormap("gray"), 128, Sampling::kBilinear}; }

}  // namespace

TEST(a_map_alone_is_drawn_at_its_place) {
    Sheet sheet{6, 8};
    const Range range{0.0f, 3.0f};
    const Place place{3, 2};
    overlay(sheet.canvas(), maps_of(kRamp, 1, 2, 2), &range, nullptr, {2, 2}, &place, nullptr, grey());
    EQUAL(sheet.at(3, 2), 0);
    EQUAL(sheet.at(4, 2), 85);
    EQUAL(sheet.at(3, 3), 170);
    EQUAL(sheet.at(4, 3), 255);
    EQUAL(std::count(sheet.bytes.begin(), sheet.bytes.end(), uint8_t{9}), 6 * 8 * 3 - 4 * 3);
}

TEST(threads_do_not_change_the_picture) {
    std::vector<float> values(5 * 9 * 11);
    for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i * 7919 % 1000);
    const std::vector<Range> ranges(5, Range{100.0f, 900.0f});
    // Pictures that overlap: the later one is on top, whoever draws.
    const std::vector<Place> places{{0, 0}, {30, 40}, {60, 300}, {10, 200}, {11, 210}};
    std::vector<uint8_t> photos(5 * 200 * 100);
    for (size_t i = 0; i < photos.size(); ++i) photos[i] = static_cast<uint8_t>(i * 31);
    const Images grey_photos{photos.data(), 5, 200, 100, 1, 200 * 100, 100, 1, 1};
    Sheet one{500, 200}, many{500, 200};
    for (Sheet* sheet : {&one, &many}) {
        overlay(sheet->canvas(), maps_of(values, 5, 9, 11), ranges.data(), &grey_photos, {200, 100}, places.data(),
                nullptr, grey(), sheet == &one ? 1 : 7);
    }
    HOLDS(one.bytes == many.bytes);
}

TEST(strides_may_be_negative_and_memory_unaligned) {
    std::vector<char> bytes(1 + 4 * sizeof(float));
    std::copy_n(reinterpret_cast<const char*>(kRamp.data()), 4 * sizeof(float), bytes.data() + 1);
    // The last element of each axis first; the pointer is only ever copied from, never read through.
    const auto* last = reinterpret_cast<const float*>(bytes.data() + 1 + 3 * sizeof(float));
    const Maps flipped{last, 1, 2, 2, 0, -8, -4};
    const Range range{0.0f, 3.0f};
    std::vector<uint8_t> indices(4);
    index_maps(flipped, &range, {2, 2}, Sampling::kBilinear, indices.data());
    EQUAL(indices[0], 255);
    EQUAL(indices[3], 0);
}

TEST(a_box_moves_the_map) {
    Sheet sheet{1, 8};
    const Range range{0.0f, 1.0f};
    const Place place{0, 0};
    const Box box{4.0, 0.0, 8.0, 1.0};
    overlay(sheet.canvas(), maps_of(kRamp, 1, 1, 2), &range, nullptr, {1, 8}, &place, &box, grey());
    EQUAL(sheet.at(0, 0), 0);
    EQUAL(sheet.at(4, 0), 0);
    EQUAL(sheet.at(5, 0), 64);
    EQUAL(sheet.at(7, 0), 255);
}

TEST(tiles_have_gaps_and_background) {
    const std::vector<Range> ranges(4, Range{0.0f, 3.0f});
    const Grid grid{3, 1, {20, 20, 20}};
    const Size size = grid_size(4, {2, 2}, grid);
    EQUAL(size.height, int64_t{7});
    EQUAL(size.width, int64_t{10});
    Sheet sheet{size.height, size.width};
    tile(sheet.canvas(), maps_of(kRamp, 4, 1, 1), ranges.data(), {2, 2}, grid, grey());
    EQUAL(sheet.at(0, 0), 20);
    EQUAL(sheet.at(1, 1), 0);
    EQUAL(sheet.at(8, 2), 170);
    EQUAL(sheet.at(1, 4), 255);
    EQUAL(sheet.at(9, 6), 20);
    Sheet wrong{7, 9};
    FAILS(tile(wrong.canvas(), maps_of(kRamp, 4, 1, 1), ranges.data(), {2, 2}, grid, grey()), "10x7 canvas");
}

TEST(what_does_not_fit_is_refused_before_anything_is_drawn) {
    Sheet sheet{4, 4};
    const std::vector<Range> ranges(2, Range{0.0f, 3.0f});
    const Maps maps = maps_of(kRamp, 2, 1, 2);
    const auto draw = [&](Place second, Size size, const Images* photos, const Box* boxes, int opacity) {
        const std::vector<Place> places{{0, 0}, second};
        Style style = grey();
        style.opacity = opacity;
        overlay(sheet.canvas(), maps, ranges.data(), photos, size, places.data(), boxes, style);
    };
    const std::vector<uint8_t> bytes(64);
    const Images one_photo{bytes.data(), 1, 2, 2, 3, 12, 6, 3, 1};
    const Images small{bytes.data(), 2, 1, 2, 3, 6, 6, 3, 1};
    const Images pairs{bytes.data(), 2, 2, 2, 2, 8, 4, 2, 1};
    const std::vector<Box> boxes{{0, 0, 1, 1}, {0, 0, 0, 1}};
    FAILS(draw({3, 0}, {2, 2}, nullptr, nullptr, 128), "places[1] = (3, 0) puts a 2x2 picture outside a 4x4 canvas");
    FAILS(draw({0, -1}, {2, 2}, nullptr, nullptr, 128), "places[1]");
    FAILS(draw({INT64_MAX, 0}, {2, 2}, nullptr, nullptr, 128), "places[1]");
    FAILS(draw({0, 0}, {0, 2}, nullptr, nullptr, 128), "at least 1x1");
    FAILS(draw({0, 0}, {2, 2}, nullptr, nullptr, 257), "opacity");
    FAILS(draw({0, 0}, {2, 2}, &one_photo, nullptr, 128), "one for each map");
    FAILS(draw({0, 0}, {2, 2}, &small, nullptr, 128), "resize the photos first");
    FAILS(draw({0, 0}, {2, 2}, &pairs, nullptr, 128), "1 or 3 channels");
    FAILS(draw({0, 0}, {2, 2}, nullptr, boxes.data(), 128), "boxes[1]");
    HOLDS(std::all_of(sheet.bytes.begin(), sheet.bytes.end(), [](uint8_t b) { return b == 9; }));
    FAILS(colormap("rainbow"), "gray, inferno, jet, turbo, viridis");
}
