#include "saccade/colormap.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "saccade/error.h"

namespace saccade {
namespace {

#include "colormaps.inc"

Colormap unpack(const uint32_t (&packed)[256]) {
    Colormap table{};
    for (int i = 0; i < 256; ++i) {
        for (int c = 0; c < 3; ++c) table[i * 3 + c] = static_cast<uint8_t>(packed[i] >> (16 - 8 * c));
    }
    return table;
}

Colormap gray() {
    Colormap table{};
    for (int i = 0; i < 256 * 3; ++i) table[i] = static_cast<uint8_t>(i / 3);
    return table;
}

/// Three trapezoids centred on 1/4 (blue), 1/2 (green) and 3/4 (red) of the scale, with slopes of 4.
Colormap jet() {
    Colormap table{};
    for (int i = 0; i < 256; ++i) {
        for (int c = 0; c < 3; ++c) {
            const double level = std::clamp(1.5 - std::abs(4.0 * i / 255.0 - (3 - c)), 0.0, 1.0);
            table[i * 3 + c] = static_cast<uint8_t>(level * 255.0 + 0.5);
        }
    }
    return table;
}

using Named = std::pair<const char*, Colormap>;

const std::array<Named, 5>& tables() {
    static const std::array<Named, 5> all{Named{"gray", gray()}, Named{"inferno", unpack(kInferno)},
                                          Named{"jet", jet()}, Named{"turbo", unpack(kTurbo)},
                                          Named{"viridis", unpack(kViridis)}};
    return all;
}

}  // namespace

const Colormap& colormap(const std::string& name) {
    for (const Named& table : tables()) {
        if (table.first == name) return table.second;
    }
    std::string names;
    for (const std::string& known : colormap_names()) names += (names.empty() ? "" : ", ") + known;
    fail("render: colormap '", name.substr(0, 40), "' does not exist; choose one of ", names);
}

std::vector<std::string> colormap_names() {
    std::vector<std::string> names;
    for (const Named& table : tables()) names.emplace_back(table.first);
    return names;
}

}  // namespace saccade
