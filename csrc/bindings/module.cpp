// The extension module saccade._native: thin functions over buffers, wrapped and documented by engine/render/native.py.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <optional>
#include <vector>

#include "buffers.h"
#include "cuda.h"
#include "names.h"
#include "saccade/colormap.h"
#include "saccade/isa.h"
#include "saccade/render.h"
#include "saccade/resize.h"

namespace saccade::bindings {
namespace {

using Release = py::gil_scoped_release;

void bind_value_ranges(const py::buffer& maps_buffer, const std::string& scope, double low, double high, bool zero,
                       const py::buffer& out, int threads) {
    const auto maps_info = request<float>(maps_buffer, "maps", "[N, C, h, w]", 4);
    const auto out_info = request<float>(out, "ranges", "[N*C, 2]", 2, true);
    const MapStack stack = map_stack(maps_info);
    auto* ranges = const_cast<Range*>(table<Range, float>(out_info, "ranges", stack.n * stack.c));
    const RangeOptions options{scope_named(scope), low, high, zero};
    const Release nogil;
    value_ranges(stack, options, ranges, threads);
}

void bind_index_maps(const py::buffer& maps_buffer, const py::buffer& ranges_buffer, const std::string& sampling,
                     const py::buffer& out, int threads) {
    const auto maps_info = request<float>(maps_buffer, "maps", "[N, h, w]", 3);
    const auto ranges_info = request<float>(ranges_buffer, "ranges", "[N, 2]", 2);
    const auto out_info = request<uint8_t>(out, "indices", "[N, H, W]", 3, true);
    const Maps view = maps(maps_info);
    const Range* ranges = table<Range, float>(ranges_info, "ranges", view.n);
    const Size size{out_info.shape[1], out_info.shape[2]};
    if (out_info.shape[0] != view.n || out_info.strides[2] != 1 || out_info.strides[1] != size.width ||
        out_info.strides[0] != size.width * size.height) {
        fail("render: indices must be a contiguous [", view.n, ", H, W], not ", shape_text(out_info));
    }
    const Sampling how = sampling_named(sampling);
    const Release nogil;
    index_maps(view, ranges, size, how, static_cast<uint8_t*>(out_info.ptr), threads);
}

void bind_overlay(const py::buffer& canvas_buffer, const py::buffer& maps_buffer, const py::buffer& ranges_buffer,
                  const std::optional<py::buffer>& photos_buffer, int64_t height, int64_t width,
                  const py::buffer& places_buffer, const std::optional<py::buffer>& boxes_buffer,
                  const py::buffer& table_buffer, int opacity, const std::string& sampling, int threads) {
    const auto canvas_info = request<uint8_t>(canvas_buffer, "the canvas", "[H, W, 3]", 3, true);
    const auto maps_info = request<float>(maps_buffer, "maps", "[N, h, w]", 3);
    const auto ranges_info = request<float>(ranges_buffer, "ranges", "[N, 2]", 2);
    const auto places_info = request<int64_t>(places_buffer, "places", "[N, 2]", 2);
    const Maps view = maps(maps_info);
    const Range* ranges = table<Range, float>(ranges_info, "ranges", view.n);
    const Place* places = table<Place, int64_t>(places_info, "places", view.n);
    py::buffer_info photos_info, boxes_info;
    std::optional<Images> photos;
    if (photos_buffer) {
        photos_info = request<uint8_t>(*photos_buffer, "photos", "[N, H, W, C]", 4);
        photos = images(photos_info);
    }
    const Box* boxes = nullptr;
    if (boxes_buffer) {
        boxes_info = request<double>(*boxes_buffer, "boxes", "[N, 4]", 2);
        boxes = table<Box, double>(boxes_info, "boxes", view.n);
    }
    const Colormap colours = colours_from(table_buffer);
    const Style style{&colours, opacity, sampling_named(sampling)};
    const Canvas target = canvas(canvas_info);
    const Release nogil;
    overlay(target, view, ranges, photos ? &*photos : nullptr, {height, width}, places, boxes, style, threads);
}

void bind_tile(const py::buffer& canvas_buffer, const py::buffer& maps_buffer,
               const std::optional<py::buffer>& ranges_buffer, int64_t height, int64_t width, int64_t columns,
               int64_t gap, const std::array<uint8_t, 3>& background, const py::buffer& table_buffer,
               const std::string& sampling, int threads) {
    const auto canvas_info = request<uint8_t>(canvas_buffer, "the canvas", "[H, W, 3]", 3, true);
    const auto maps_info = request<float>(maps_buffer, "maps", "[N, h, w]", 3);
    const Maps view = maps(maps_info);
    py::buffer_info ranges_info;
    const Range* ranges = nullptr;
    if (ranges_buffer) {
        ranges_info = request<float>(*ranges_buffer, "ranges", "[N, 2]", 2);
        ranges = table<Range, float>(ranges_info, "ranges", view.n);
    }
    const Colormap colours = colours_from(table_buffer);
    const Style style{&colours, 256, sampling_named(sampling)};
    const Canvas target = canvas(canvas_info);
    const Grid grid = grid_from(columns, gap, background);
    const Release nogil;
    tile(target, view, ranges, {height, width}, grid, style, threads);
}

void bind_resize(const py::buffer& image_buffer, const py::buffer& out, const std::string& filter,
                 const std::optional<std::array<double, 4>>& box, int threads) {
    const auto image_info = request<uint8_t>(image_buffer, "the image", "[H, W, C]", 3);
    const auto out_info = request<uint8_t>(out, "the result", "[H, W, C]", 3, true);
    const auto& shape = image_info.shape;
    const auto& strides = image_info.strides;
    const Images image{static_cast<const uint8_t*>(image_info.ptr),
                       1,
                       shape[0],
                       shape[1],
                       shape[2],
                       0,
                       strides[0],
                       strides[1],
                       strides[2]};
    const Filter how = filter_named(filter);
    const Canvas target = canvas(out_info);
    const Box part = box ? Box{(*box)[0], (*box)[1], (*box)[2], (*box)[3]} : Box{};
    const Release nogil;
    resize(image, target, how, box ? &part : nullptr, threads);
}

}  // namespace

PYBIND11_MODULE(_native, m) {
    m.doc() = "The native side of saccade.engine.render; call it through that module.";
    py::register_local_exception_translator([](std::exception_ptr pointer) {
        try {
            if (pointer) std::rethrow_exception(pointer);
        } catch (const Error& error) {
            py::set_error(py::module_::import("saccade.engine.contract").attr("UsageError"), error.what());
        }
    });
    m.def("value_ranges", &bind_value_ranges);
    m.def("index_maps", &bind_index_maps);
    m.def("overlay", &bind_overlay);
    m.def("tile", &bind_tile);
    m.def("grid_size", [](int64_t count, int64_t height, int64_t width, int64_t columns, int64_t gap) {
        const Size size = grid_size(count, {height, width}, grid_from(columns, gap, {0, 0, 0}));
        return py::make_tuple(size.height, size.width);
    });
    m.def("resize", &bind_resize);
    m.def("colormap", [](const std::string& name) {
        const Colormap& table = colormap(name);
        return py::bytes(reinterpret_cast<const char*>(table.data()), table.size());
    });
    bind_cuda(m);
    m.def("isa", &isa);
    m.def("colormap_names", &colormap_names);
}

}  // namespace saccade::bindings
