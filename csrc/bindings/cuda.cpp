// The GPU's half of the extension module: thin functions over DLPack capsules, wrapped by engine/render/cuda.py.
#include "saccade/cuda.h"

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>
#include <optional>

#include "cuda.h"
#include "dlpack.h"
#include "names.h"

namespace saccade::bindings {
namespace {

using Release = py::gil_scoped_release;
constexpr uint8_t kInt = 0, kUnsigned = 1, kFloat = 2;

void* stream_of(uintptr_t handle) { return reinterpret_cast<void*>(handle); }

Maps maps_of(const Tensor& t) {
    return {t.data<const float>(), t.size(0), t.size(1), t.size(2), t.stride(0), t.stride(1), t.stride(2)};
}

Canvas canvas_of(const Tensor& t) {
    if (t.stride(2) != 1 || t.stride(1) != t.size(2)) {
        fail("render: the pixels of a canvas row must lie side by side; give a contiguous tensor or a crop of one");
    }
    return {t.data<uint8_t>(), t.size(0), t.size(1), t.size(2), t.stride(0)};
}

void bind_value_ranges(const py::capsule& maps, const std::string& scope, bool zero, const py::capsule& out,
                       uintptr_t stream) {
    const Tensor m(maps, "maps", "[N, C, h, w]", 4, kFloat, 32), r(out, "ranges", "[N*C, 2]", 2, kFloat, 32);
    const MapStack stack{m.data<const float>(), m.size(0),   m.size(1),   m.size(2),  m.size(3),
                         m.stride(0),           m.stride(1), m.stride(2), m.stride(3)};
    auto* ranges = r.table<Range, float>("ranges", stack.n * stack.c);
    const RangeOptions options{scope_named(scope), 0.0, 100.0, zero};
    const Release nogil;
    cuda::value_ranges(stack, options, ranges, stream_of(stream));
}

void bind_overlay(const py::capsule& canvas, const py::capsule& maps, const py::capsule& ranges,
                  const std::optional<py::capsule>& photos, int64_t height, int64_t width, const py::capsule& places,
                  const std::optional<py::capsule>& boxes, const py::buffer& colours, int opacity,
                  const std::string& sampling, uintptr_t stream) {
    const Tensor m(maps, "maps", "[N, h, w]", 3, kFloat, 32);
    const Maps view = maps_of(m);
    const Canvas target = canvas_of(Tensor(canvas, "the canvas", "[H, W, 3]", 3, kUnsigned, 8));
    const Range* limits = Tensor(ranges, "ranges", "[N, 2]", 2, kFloat, 32).table<Range, float>("ranges", view.n);
    const Place* corners = Tensor(places, "places", "[N, 2]", 2, kInt, 64).table<Place, int64_t>("places", view.n);
    std::optional<Images> images;
    if (photos) {
        const Tensor p(*photos, "photos", "[N, H, W, C]", 4, kUnsigned, 8);
        images = Images{p.data<const uint8_t>(),
                        p.size(0),
                        p.size(1),
                        p.size(2),
                        p.size(3),
                        p.stride(0),
                        p.stride(1),
                        p.stride(2),
                        p.stride(3)};
    }
    const Box* frames = nullptr;
    if (boxes) frames = Tensor(*boxes, "boxes", "[N, 4]", 2, kFloat, 64).table<Box, double>("boxes", view.n);
    const Colormap table = colours_from(colours);
    const Style style{&table, opacity, sampling_named(sampling)};
    const Release nogil;
    cuda::overlay(target, view, limits, images ? &*images : nullptr, {height, width}, corners, frames, style,
                  stream_of(stream));
}

void bind_tile(const py::capsule& canvas, const py::capsule& maps, const py::capsule& ranges, int64_t height,
               int64_t width, int64_t columns, int64_t gap, const std::array<uint8_t, 3>& background,
               const py::buffer& colours, const std::string& sampling, uintptr_t stream) {
    const Maps view = maps_of(Tensor(maps, "maps", "[N, h, w]", 3, kFloat, 32));
    const Canvas target = canvas_of(Tensor(canvas, "the canvas", "[H, W, 3]", 3, kUnsigned, 8));
    const Range* limits = Tensor(ranges, "ranges", "[N, 2]", 2, kFloat, 32).table<Range, float>("ranges", view.n);
    const Colormap table = colours_from(colours);
    const Style style{&table, 256, sampling_named(sampling)};
    const Grid grid = grid_from(columns, gap, background);
    const Release nogil;
    cuda::tile(target, view, limits, {height, width}, grid, style, stream_of(stream));
}

}  // namespace

void bind_cuda(py::module_& m) {
    m.def("cuda_built", &cuda::built);
    m.def("cuda_value_ranges", &bind_value_ranges);
    m.def("cuda_overlay", &bind_overlay);
    m.def("cuda_tile", &bind_tile);
}

}  // namespace saccade::bindings
