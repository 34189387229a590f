// Colour tables.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace saccade {

/// uint8 [256][3], red, green, blue for each index.
using Colormap = std::array<uint8_t, 256 * 3>;

/// The table named `name`. Throws Error for a name that colormap_names() does not have.
const Colormap& colormap(const std::string& name);

/// gray, inferno, jet, turbo, viridis.
std::vector<std::string> colormap_names();

}  // namespace saccade
