#include "pictures.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <stdexcept>

#include "saccade/render.h"

namespace {

void frame_region(std::vector<uint8_t>& rgb, int64_t height, int64_t width, const saccade::Box& box) {
    const auto inside = [](double at, int64_t size) {
        return std::clamp<int64_t>(static_cast<int64_t>(std::floor(at)), 0, size - 1);
    };
    const int64_t left = inside(box.left, width), right = inside(box.right - 1, width);
    const int64_t top = inside(box.top, height), bottom = inside(box.bottom - 1, height);
    const auto dot = [&](int64_t y, int64_t x) {
        uint8_t* pixel = rgb.data() + (y * width + x) * 3;
        pixel[0] = pixel[1] = pixel[2] = 255;
    };
    const int64_t thick = std::max<int64_t>(1, std::min(height, width) / 300);
    for (int64_t t = 0; t < thick && left + t <= right - t && top + t <= bottom - t; ++t) {
        for (int64_t x = left + t; x <= right - t; ++x) dot(top + t, x), dot(bottom - t, x);
        for (int64_t y = top + t; y <= bottom - t; ++y) dot(y, left + t), dot(y, right - t);
    }
}

}  // namespace

std::vector<uint8_t> draw(const saccade::Frame& frame, const saccade::Maps& map, const saccade::Range& limits,
                          const saccade::Box& view, const saccade::Box& region) {
    const int64_t h = frame.height, w = frame.width;
    std::vector<uint8_t> rgb(static_cast<size_t>(h * w * 3));
    const int64_t step = frame.pixels == saccade::Pixels::kGray                                           ? 1
                         : frame.pixels == saccade::Pixels::kRgb || frame.pixels == saccade::Pixels::kBgr ? 3
                                                                                                          : 4;
    const bool blue_first = frame.pixels == saccade::Pixels::kBgr || frame.pixels == saccade::Pixels::kBgra;
    const int64_t stride = frame.stride ? frame.stride : w * step;
    const saccade::Images photo{
        blue_first ? frame.data + 2 : frame.data, 1, h, w, step == 1 ? 1 : 3, 0, stride, step, blue_first ? -1 : 1};
    const saccade::Style style{&saccade::colormap("viridis")};
    const saccade::Place place{0, 0};
    saccade::overlay({rgb.data(), h, w, 3, w * 3}, map, &limits, &photo, {h, w}, &place, &view, style);
    if (region.right > region.left) frame_region(rgb, h, w, region);
    return rgb;
}

void write_bmp(const std::string& path, const std::vector<uint8_t>& rgb, int64_t height, int64_t width) {
    const int64_t stride = (width * 3 + 3) / 4 * 4, size = 54 + stride * height;
    uint8_t header[54] = {'B', 'M'};
    const auto put = [&](int at, int64_t value) {
        for (int i = 0; i < 4; ++i) header[at + i] = static_cast<uint8_t>(value >> (8 * i));
    };
    put(2, size), put(10, 54), put(14, 40), put(18, width), put(22, height), put(26, 1 | 24 << 16);
    std::vector<char> row(static_cast<size_t>(stride));
    const std::string part = path + ".part";
    {
        std::ofstream out(part, std::ios::binary);
        out.write(reinterpret_cast<const char*>(header), sizeof header);
        for (int64_t y = height; y-- > 0;) {
            for (int64_t x = 0; x < width; ++x) {
                const uint8_t* pixel = rgb.data() + (y * width + x) * 3;
                for (int c = 0; c < 3; ++c) row[static_cast<size_t>(x * 3 + c)] = static_cast<char>(pixel[2 - c]);
            }
            out.write(row.data(), stride);
        }
        if (!out.flush()) throw std::runtime_error(path + ": cannot be written; free some space");
    }
    if (std::rename(part.c_str(), path.c_str())) throw std::runtime_error(path + ": cannot be renamed to");
}
