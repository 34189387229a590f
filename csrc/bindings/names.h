// From Python's words and tables to the library's types.
#pragma once

#include <pybind11/pybind11.h>

#include <array>
#include <cstring>
#include <string>

#include "buffers.h"
#include "saccade/colormap.h"
#include "saccade/render.h"
#include "saccade/resize.h"

namespace saccade::bindings {

inline Scope scope_named(const std::string& name) {
    if (name == "map") return Scope::kMap;
    if (name == "image") return Scope::kImage;
    if (name == "batch") return Scope::kBatch;
    fail("render: scope must be map, image or batch, not '", name, "'");
}

inline Sampling sampling_named(const std::string& name) {
    if (name == "bilinear") return Sampling::kBilinear;
    if (name == "nearest") return Sampling::kNearest;
    fail("render: sampling must be bilinear or nearest, not '", name, "'");
}

inline Filter filter_named(const std::string& name) {
    if (name == "bilinear") return Filter::kBilinear;
    if (name == "bicubic") return Filter::kBicubic;
    fail("resize: filter must be bilinear or bicubic, not '", name, "'");
}

inline Colormap colours_from(const py::buffer& buffer) {
    const py::buffer_info info = request<uint8_t>(buffer, "the colour table", "[256, 3]", 2);
    using Rgb = std::array<uint8_t, 3>;
    Colormap colours;
    std::memcpy(colours.data(), table<Rgb, uint8_t>(info, "the colour table", 256), colours.size());
    return colours;
}

inline Grid grid_from(int64_t columns, int64_t gap, const std::array<uint8_t, 3>& background) {
    return {columns, gap, {background[0], background[1], background[2]}};
}

}  // namespace saccade::bindings
