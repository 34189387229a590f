#include <algorithm>
#include <cmath>
#include <vector>

#include "check.h"
#include "saccade/session.h"

using namespace saccade;

// That the bytes are those of the Python package is held by tests/embedding/test_prepare.py.

namespace {

Preprocessing cropped(int64_t side, int64_t shorter, int64_t channels = 3) {
    return {side, side, channels, true, shorter, Filter::kBilinear, {}, {}};
}

std::vector<uint8_t> noise(size_t count) {
    std::vector<uint8_t> bytes(count);
    for (size_t i = 0; i < count; ++i) bytes[i] = static_cast<uint8_t>(i * i * 31 + i * 7);
    return bytes;
}

struct Prepared {
    std::vector<uint8_t> pixels;
    Box view;
};

Prepared prepared(const Preprocessing& p, const Frame& frame, int threads = 1) {
    Prepared made{std::vector<uint8_t>(static_cast<size_t>(p.height * p.width * p.channels), 99), {}};
    made.view = prepare(p, frame, made.pixels.data(), threads);
    return made;
}

}  // namespace

TEST(a_frame_of_the_networks_size_is_itself) {
    const auto bytes = noise(8 * 8 * 3);
    const Prepared made = prepared(cropped(8, 8), {bytes.data(), 8, 8});
    HOLDS(made.pixels == bytes);
    EQUAL(made.view.bottom, 8.0);
}

TEST(every_layout_of_the_same_picture_gives_the_same_pixels) {
    constexpr int64_t kHeight = 37, kWidth = 51;
    const auto rgb = noise(kHeight * kWidth * 3);
    for (const Preprocessing& p : {cropped(16, 20), cropped(16, 20, 1), cropped(60, 50), cropped(30, 37)}) {
        const auto wanted = prepared(p, {rgb.data(), kHeight, kWidth}).pixels;
        for (const Pixels pixels : {Pixels::kRgb, Pixels::kBgr, Pixels::kRgba, Pixels::kBgra}) {
            const bool reversed = pixels == Pixels::kBgr || pixels == Pixels::kBgra;
            const size_t each = pixels == Pixels::kRgba || pixels == Pixels::kBgra ? 4 : 3;
            const int64_t stride = kWidth * static_cast<int64_t>(each) + 5;
            std::vector<uint8_t> flipped(static_cast<size_t>(kHeight * stride), 0xAB);
            for (size_t i = 0; i < kHeight * kWidth; ++i) {
                const auto y = static_cast<int64_t>(i) / kWidth, x = static_cast<int64_t>(i) % kWidth;
                uint8_t* to = flipped.data() + (kHeight - 1 - y) * stride + x * static_cast<int64_t>(each);
                for (size_t c = 0; c < 3; ++c) to[c] = rgb[i * 3 + (reversed ? 2 - c : c)];
            }
            const Frame frame{flipped.data() + (kHeight - 1) * stride, kHeight, kWidth, -stride, pixels};
            HOLDS(prepared(p, frame).pixels == wanted);
            HOLDS(prepared(p, frame, 3).pixels == wanted);
        }
    }
}

TEST(grey_becomes_colour_and_colour_grey) {
    const auto gray = noise(20 * 20);
    const auto colour = prepared(cropped(10, 10), {gray.data(), 20, 20, 0, Pixels::kGray}).pixels;
    const auto plane = prepared(cropped(10, 10, 1), {gray.data(), 20, 20, 0, Pixels::kGray}).pixels;
    for (size_t i = 0; i < colour.size(); ++i) EQUAL(colour[i], plane[i / 3]);
    const std::vector<uint8_t> red{255, 0, 0};
    EQUAL(prepared(cropped(1, 1, 1), {red.data(), 1, 1}).pixels[0], 76);
}

TEST(zeros_pad_a_crop_that_is_larger) {
    const std::vector<uint8_t> white(4 * 4 * 3, 255);
    const Prepared made = prepared(cropped(7, 4), {white.data(), 4, 4});
    for (int64_t y = 0; y < 7; ++y) {
        for (int64_t x = 0; x < 7; ++x) {
            const bool inside = x >= 1 && x < 5 && y >= 1 && y < 5;  // the odd column goes to the right
            EQUAL(made.pixels[static_cast<size_t>((y * 7 + x) * 3)], inside ? 255 : 0);
        }
    }
    EQUAL(made.view.left, -1.0);
    EQUAL(made.view.right, 6.0);
}

TEST(a_line_of_a_frame_takes_no_memory_to_speak_of) {
    const std::vector<uint8_t> line(30000, 7);  // scaled whole it would have 2 gigapixels
    const Prepared made = prepared(cropped(224, 256, 1), {line.data(), 1, 30000, 0, Pixels::kGray});
    HOLDS(std::all_of(made.pixels.begin(), made.pixels.end(), [](uint8_t b) { return b == 7; }));
}

TEST(frames_that_are_none_are_refused) {
    const auto bytes = noise(48);
    std::vector<uint8_t> out(48);
    FAILS(prepare(cropped(4, 4), {bytes.data(), 4, -4}, out.data()), "prepare: the frame is -4x4 pixels");
    FAILS(prepare(cropped(4, 4), {bytes.data(), 4, 4}, nullptr), "the pixels are a null pointer");
}
