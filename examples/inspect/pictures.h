// The operator's picture of a frame.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "saccade/session.h"

/// The frame with its map over it and its region framed: RGB [height, width, 3], contiguous.
std::vector<uint8_t> draw(const saccade::Frame& frame, const saccade::Maps& map, const saccade::Range& limits,
                          const saccade::Box& view, const saccade::Box& region);

/// Writes RGB pixels as a BMP, which every system shows, under a temporary name first. Throws std::runtime_error.
void write_bmp(const std::string& path, const std::vector<uint8_t>& rgb, int64_t height, int64_t width);
