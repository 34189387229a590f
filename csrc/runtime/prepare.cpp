#include "prepare.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "../cpu/load.h"
#include "saccade/error.h"
#include "saccade/resize.h"

namespace saccade {
namespace {

/// Whole numbers up to here are exact in the float32 that the resizing counts pixels in.
constexpr int64_t kMaxSide = 1 << 24;

/// A frame scaled to more pixels than this is cut before it is scaled, as engine/decode/photo.py does it: 30000×1 with
/// a shorter side of 256 would become 2 gigapixels. The bytes differ a little from cutting afterwards.
constexpr int64_t kExactPixels = 1 << 24;

/// Half of what is left over, rounded to even as Python rounds; where zeros pad, the odd one goes to the far side.
int64_t offset_of(int64_t scaled, int64_t crop) {
    const int64_t over = scaled - crop;
    if (over < 0) return -(-over / 2);
    const int64_t half = over / 2;
    return over % 2 == 0 || half % 2 == 0 ? half : half + 1;
}

/// int(shorter · side / other): one division in float64.
int64_t scaled_side(int64_t shorter, int64_t side, int64_t other) {
    return static_cast<int64_t>(static_cast<double>(shorter * side) / static_cast<double>(other));
}

Box view_of(const Preprocessing& p, const Framing& framing, const Frame& frame) {
    const double across = static_cast<double>(frame.width) / static_cast<double>(framing.width);
    const double down = static_cast<double>(frame.height) / static_cast<double>(framing.height);
    return {static_cast<double>(framing.left) * across, static_cast<double>(framing.top) * down,
            static_cast<double>(framing.left + p.width) * across, static_cast<double>(framing.top + p.height) * down};
}

/// ITU-R 601 luma in Pillow's whole numbers.
uint8_t luma(const uint8_t* pixel, int64_t stride) {
    const int sum = pixel[0] * 19595 + pixel[stride] * 38470 + pixel[2 * stride] * 7471 + 0x8000;
    return static_cast<uint8_t>(sum >> 16);
}

/// The frame as a picture of 1 or 3 channels; RGB is turned to grey before it is scaled.
Images in_colours(const Frame& frame, int64_t channels, std::vector<uint8_t>& gray) {
    const Images image = picture_of(frame);
    if (image.c == channels) return image;
    gray.resize(static_cast<size_t>(image.h * image.w));
    uint8_t* to = gray.data();
    for (int64_t y = 0; y < image.h; ++y) {
        const uint8_t* from = image.data + y * image.stride_h;
        for (int64_t x = 0; x < image.w; ++x, from += image.stride_w) *to++ = luma(from, image.stride_c);
    }
    return {gray.data(), 1, image.h, image.w, 1, image.h * image.w, image.w, 1, 1};
}

void copy_part(const Images& image, Place corner, const Canvas& out) {
    const bool as_it_is = image.stride_c == 1 && image.stride_w == image.c;
    for (int64_t y = 0; y < out.h; ++y) {
        const uint8_t* from = image.data + (corner.y + y) * image.stride_h + corner.x * image.stride_w;
        uint8_t* to = out.data + y * out.stride_h;
        if (as_it_is) {
            std::memcpy(to, from, static_cast<size_t>(out.w * out.c));
        } else {
            load_pixels(from, image.stride_w, image.stride_c, out.w, out.c, to);
        }
    }
}

/// Scales without the order of the channels, which the filters do not look at: BGR is read as it lies, and the small
/// picture is turned around. Reading it pixel by pixel took four times as long.
void scale(const Images& image, const Framing& framing, Place corner, const Canvas& out, Filter filter, int threads) {
    Images as_read = image;
    const bool reversed = image.stride_c == -1 && image.stride_w == image.c;
    if (reversed) {
        as_read.data -= image.c - 1;
        as_read.stride_c = 1;
    }
    if (framing.width * framing.height <= kExactPixels) {
        resize_part(as_read, {framing.height, framing.width}, corner, out, filter, threads);
    } else {
        const double across = static_cast<double>(image.w) / static_cast<double>(framing.width);
        const double down = static_cast<double>(image.h) / static_cast<double>(framing.height);
        const double right = static_cast<double>(corner.x + out.w) * across;
        const double bottom = static_cast<double>(corner.y + out.h) * down;
        const Box box{static_cast<double>(corner.x) * across, static_cast<double>(corner.y) * down,
                      std::min(right, static_cast<double>(image.w)), std::min(bottom, static_cast<double>(image.h))};
        resize(as_read, out, filter, &box, threads);
    }
    if (!reversed) return;
    for (int64_t y = 0; y < out.h; ++y) {
        uint8_t* pixel = out.data + y * out.stride_h;
        for (int64_t x = 0; x < out.w; ++x, pixel += 3) std::swap(pixel[0], pixel[2]);
    }
}

/// Scales and crops a frame to the network's height and width, as 1 or 3 channels.
Box place(const Preprocessing& p, int64_t channels, const Frame& frame, uint8_t* pixels, int threads,
          std::vector<uint8_t>& gray) {
    const Framing framing = framing_of(p, {frame.height, frame.width});
    // The part of the scaled frame that shows.
    const Place corner{std::max<int64_t>(framing.left, 0), std::max<int64_t>(framing.top, 0)};
    const int64_t width = std::min(framing.left + p.width, framing.width) - corner.x;
    const int64_t height = std::min(framing.top + p.height, framing.height) - corner.y;
    const int64_t stride = p.width * channels;
    if (width < p.width || height < p.height) std::memset(pixels, 0, static_cast<size_t>(p.height * stride));
    uint8_t* first = pixels + (corner.y - framing.top) * stride + (corner.x - framing.left) * channels;
    const Canvas out{first, height, width, channels, stride};

    const Images image = in_colours(frame, channels, gray);
    if (framing.width == frame.width && framing.height == frame.height) {
        copy_part(image, corner, out);
    } else {
        scale(image, framing, corner, out, p.filter, threads);
    }
    return view_of(p, framing, frame);
}

}  // namespace

int64_t channels_of(Pixels pixels) {
    switch (pixels) {
        case Pixels::kGray:
            return 1;
        case Pixels::kRgb:
        case Pixels::kBgr:
            return 3;
        case Pixels::kRgba:
        case Pixels::kBgra:
            return 4;
    }
    return 0;
}

void check_stride(int64_t stride, int64_t row, const std::string& name) {
    constexpr int64_t kMaxStride = int64_t{1} << 40;
    const bool apart = stride >= row || stride <= -row;
    if (stride == 0 || (apart && stride <= kMaxStride && stride >= -kMaxStride)) return;
    fail(name, " has a stride of ", stride, " bytes, but its rows have ", row, "; give 0 for rows without gaps");
}

void check_frame(const Frame& frame, const std::string& name) {
    const int64_t channels = channels_of(frame.pixels);
    if (channels == 0) fail(name, " has pixels of kind ", static_cast<int>(frame.pixels), "; expected 0 (gray) to 4");
    if (frame.data == nullptr) fail(name, " is a null pointer; expected ", frame.width, "x", frame.height, " pixels");
    if (frame.height < 1 || frame.width < 1 || frame.height > kMaxSide || frame.width > kMaxSide) {
        fail(name, " is ", frame.width, "x", frame.height, " pixels; expected sides of 1 to ", kMaxSide);
    }
    check_stride(frame.stride, frame.width * channels, name);
}

Images picture_of(const Frame& frame) {
    const int64_t bytes = channels_of(frame.pixels);
    const int64_t stride = frame.stride != 0 ? frame.stride : frame.width * bytes;
    const bool reversed = frame.pixels == Pixels::kBgr || frame.pixels == Pixels::kBgra;
    return {reversed ? frame.data + 2 : frame.data,
            1,
            frame.height,
            frame.width,
            bytes == 1 ? 1 : 3,
            frame.height * stride,
            stride,
            bytes,
            reversed ? -1 : 1};
}

Framing framing_of(const Preprocessing& p, Size frame) {
    if (!p.crop) return {p.width, p.height, 0, 0};
    Framing framing{p.shorter, p.shorter, 0, 0};
    if (frame.width <= frame.height) {
        framing.height = scaled_side(p.shorter, frame.height, frame.width);
    } else {
        framing.width = scaled_side(p.shorter, frame.width, frame.height);
    }
    framing.left = offset_of(framing.width, p.width);
    framing.top = offset_of(framing.height, p.height);
    return framing;
}

bool is_ready(const Preprocessing& p, const Frame& frame) {
    if (frame.width != p.width || frame.height != p.height) return false;
    if (frame.pixels != (p.channels == 1 ? Pixels::kGray : Pixels::kRgb)) return false;
    if (frame.stride != 0 && frame.stride != p.width * p.channels) return false;
    const Framing framing = framing_of(p, {frame.height, frame.width});
    return framing.width == p.width && framing.height == p.height;
}

Box prepare_into(const Preprocessing& p, const Frame& frame, uint8_t* pixels, int threads, std::vector<uint8_t>& gray) {
    if (p.channels == 1 || frame.pixels != Pixels::kGray) return place(p, p.channels, frame, pixels, threads, gray);
    // Scaled as one channel and repeated then: a third of the work, and the same bytes.
    gray.resize(static_cast<size_t>(p.height * p.width));
    std::vector<uint8_t> none;
    const Box view = place(p, 1, frame, gray.data(), threads, none);
    for (const uint8_t value : gray) {
        for (int c = 0; c < 3; ++c) *pixels++ = value;
    }
    return view;
}

Box prepare(const Preprocessing& preprocessing, const Frame& frame, uint8_t* pixels, int threads) {
    check_frame(frame, "prepare: the frame");
    if (pixels == nullptr) fail("prepare: the pixels are a null pointer; expected memory for the network's input");
    std::vector<uint8_t> gray;
    return prepare_into(preprocessing, frame, pixels, threads, gray);
}

}  // namespace saccade
