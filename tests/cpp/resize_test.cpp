#include "saccade/resize.h"

#include <algorithm>
#include <vector>

#include "check.h"

using namespace saccade;

namespace {

Images image_of(const std::vector<uint8_t>& bytes, int64_t h, int64_t w, int64_t c) {
    return {bytes.data(), 1, h, w, c, 0, w * c, c, 1};
}

std::vector<uint8_t> resized(const Images& image, int64_t h, int64_t w, Filter filter, const Box* box = nullptr,
                             int threads = 1) {
    std::vector<uint8_t> out(static_cast<size_t>(std::max<int64_t>(h, 0) * w * image.c));
    resize(image, {out.data(), h, w, image.c, w * image.c}, filter, box, threads);
    return out;
}

std::vector<uint8_t> noise(size_t count) {
    std::vector<uint8_t> bytes(count);
    for (size_t i = 0; i < count; ++i) bytes[i] = static_cast<uint8_t>(i * i * 31 + i * 7);
    return bytes;
}

}  // namespace

TEST(the_same_size_is_the_same_picture) {
    const auto bytes = noise(5 * 7 * 3);
    HOLDS(resized(image_of(bytes, 5, 7, 3), 5, 7, Filter::kBicubic) == bytes);
}

TEST(a_flat_picture_stays_flat) {
    const std::vector<uint8_t> bytes(40 * 30, 200);
    for (const Filter filter : {Filter::kBilinear, Filter::kBicubic}) {
        for (const int64_t size : {1, 3, 29, 31, 200}) {
            const auto out = resized(image_of(bytes, 40, 30, 1), size, size, filter);
            HOLDS(std::all_of(out.begin(), out.end(), [](uint8_t b) { return b == 200; }));
        }
    }
}

TEST(halving_averages_with_a_triangle) {
    const std::vector<uint8_t> bytes{0, 0, 80, 80};  // weights 1 3 3 1 of 8, cut and renormalised at the edge
    const auto out = resized(image_of(bytes, 1, 4, 1), 1, 2, Filter::kBilinear);
    EQUAL(out[0], 11);
    EQUAL(out[1], 69);
}

TEST(threads_do_not_change_the_pixels) {
    const auto bytes = noise(300 * 400 * 4);
    const Box box{10.5, 3.25, 390.0, 290.75};
    const Images image = image_of(bytes, 300, 400, 4);
    HOLDS(resized(image, 200, 500, Filter::kBicubic, &box, 1) == resized(image, 200, 500, Filter::kBicubic, &box, 5));
}

TEST(boxes_and_shapes_are_checked) {
    const auto bytes = noise(5 * 7 * 3);
    const Images image = image_of(bytes, 5, 7, 3);
    const Box outside{0, 0, 7.5, 5}, empty{3, 0, 3, 5}, negative{-0.1, 0, 7, 5};
    for (const Box* box : {&outside, &empty, &negative}) {
        FAILS(resized(image, 2, 2, Filter::kBilinear, box), "must lie in the 7x5 picture");
    }
    FAILS(resized(image, 0, 2, Filter::kBilinear), "at least 1x1");
    FAILS(resized(image_of(bytes, 5, 7, 2), 2, 2, Filter::kBilinear), "1, 3 or 4 channels");
    std::vector<uint8_t> out(12);
    FAILS(resize(image, {out.data(), 2, 2, 1, 2}, Filter::kBilinear, nullptr), "cannot be written");
}

TEST(the_far_corner_of_a_fractional_box_reads_no_pixel_beyond) {
    const auto bytes = noise(9 * 9);
    for (const double left : {8.0, 8.5, 8.999999999}) {
        const Box box{left, left, 9.0, 9.0};
        const auto out = resized(image_of(bytes, 9, 9, 1), 4, 4, Filter::kBicubic, &box);
        EQUAL(out.size(), size_t{16});
    }
}
