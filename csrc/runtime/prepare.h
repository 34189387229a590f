// From a frame to the network's input.
#pragma once

#include <string>
#include <vector>

#include "saccade/session.h"

namespace saccade {

/// The whole frame after scaling, and where the network's input begins in it; negative where the input is larger and
/// zeros pad it. The conventions are those of engine/decode/framing.py.
struct Framing {
    int64_t width, height, left, top;
};

Framing framing_of(const Preprocessing& preprocessing, Size frame);

/// Throws Error where rows of `row` bytes would lie in one another, or further apart than any memory reaches; 0 is for
/// rows without gaps. `name` is what the message calls the picture.
void check_stride(int64_t stride, int64_t row, const std::string& name);

/// Throws Error where a frame is none; `name` is what the message calls it.
void check_frame(const Frame& frame, const std::string& name);

/// Whether the frame's memory is the network's input as it lies there.
bool is_ready(const Preprocessing& preprocessing, const Frame& frame);

/// As prepare() of session.h; `gray` is memory that is kept from call to call.
Box prepare_into(const Preprocessing& preprocessing, const Frame& frame, uint8_t* pixels, int threads,
                 std::vector<uint8_t>& gray);

/// Of one pixel, in bytes.
int64_t channels_of(Pixels pixels);

/// The frame as a picture of 3 channels, RGB, or of the 1 that it has; nothing is copied. Its stride is said.
Images picture_of(const Frame& frame);

}  // namespace saccade
