// Reading rows of strided views.
#pragma once

#include <cstdint>
#include <cstring>

namespace saccade {

/// `count` floats, `stride` bytes apart and perhaps unaligned, copied to `out`.
inline void load_floats(const char* from, int64_t stride, int64_t count, float* out) {
    if (stride == sizeof(float)) {
        std::memcpy(out, from, static_cast<size_t>(count) * sizeof(float));
        return;
    }
    for (int64_t i = 0; i < count; ++i) std::memcpy(out + i, from + i * stride, sizeof(float));
}

/// `count` pixels of `channels` bytes, at these strides, copied side by side to `out`.
inline void load_pixels(const uint8_t* from, int64_t stride_pixel, int64_t stride_channel, int64_t count,
                        int64_t channels, uint8_t* out) {
    for (int64_t i = 0; i < count; ++i) {
        for (int64_t c = 0; c < channels; ++c) out[i * channels + c] = from[i * stride_pixel + c * stride_channel];
    }
}

}  // namespace saccade
