// Plain views of somebody else's memory: a pointer, sizes and strides. Strides are in bytes and may be negative, so a
// crop, a flip or a permuted tensor needs no copy. Elements need not be aligned.
#pragma once

#include <cstdint>

namespace saccade {

/// float32 [N, C, h, w], values of any sign; NaN and infinities are allowed.
struct MapStack {
    const float* data;
    int64_t n, c, h, w;
    int64_t stride_n, stride_c, stride_h, stride_w;
};

/// float32 [N, h, w].
struct Maps {
    const float* data;
    int64_t n, h, w;
    int64_t stride_n, stride_h, stride_w;
};

/// uint8 [N, H, W, C].
struct Images {
    const uint8_t* data;
    int64_t n, h, w, c;
    int64_t stride_n, stride_h, stride_w, stride_c;
};

/// uint8 [H, W, C] to write to. Within a row the pixels lie side by side; rows are stride_h bytes apart.
struct Canvas {
    uint8_t* data;
    int64_t h, w, c;
    int64_t stride_h;
};

/// Width and height in pixels of the picture that is drawn for each map.
struct Size {
    int64_t height, width;
};

/// Top-left corner in the canvas, in pixels.
struct Place {
    int64_t x, y;
};

/// What a map's values are shown as: `low` and everything below as index 0, `high` and everything above as 255.
struct Range {
    float low, high;
};

/// Where the map lies in its picture, in the picture's pixels: the map's corner on (left, top), its far corner on
/// (right, bottom). Pixels beyond it repeat the map's edge.
struct Box {
    double left, top, right, bottom;
};

}  // namespace saccade
