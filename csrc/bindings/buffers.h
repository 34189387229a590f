// From Python's buffer protocol to the library's views, without copies. DLPack tensors arrive here as NumPy views of
// the same memory (engine/render/native.py); those on a GPU come through dlpack.h.
#pragma once

#include <pybind11/pybind11.h>

#include <string>

#include "saccade/error.h"
#include "saccade/views.h"

namespace saccade::bindings {

namespace py = pybind11;

inline std::string shape_text(const py::buffer_info& info) {
    std::string text = "[";
    for (const auto size : info.shape) text += (text.size() > 1 ? ", " : "") + std::to_string(size);
    return text + "]";
}

/// Asks for a buffer of elements T (float32, uint8 …) with as many axes as `axes` names, "[N, h, w]".
template <typename T>
py::buffer_info request(const py::buffer& buffer, const char* what, const char* axes, int64_t ndim,
                        bool writable = false) {
    py::buffer_info info = buffer.request(writable);
    if (!info.item_type_is_equivalent_to<T>() || info.ndim != ndim) {
        fail("render: ", what, " must be ", axes, " of format '", py::format_descriptor<T>::format(), "', not ",
             shape_text(info), " of format '", info.format, "'");
    }
    return info;
}

inline MapStack map_stack(const py::buffer_info& b) {
    return {static_cast<const float*>(b.ptr),
            b.shape[0],
            b.shape[1],
            b.shape[2],
            b.shape[3],
            b.strides[0],
            b.strides[1],
            b.strides[2],
            b.strides[3]};
}

inline Maps maps(const py::buffer_info& b) {
    return {
        static_cast<const float*>(b.ptr), b.shape[0], b.shape[1], b.shape[2], b.strides[0], b.strides[1], b.strides[2]};
}

inline Images images(const py::buffer_info& b) {
    return {static_cast<const uint8_t*>(b.ptr),
            b.shape[0],
            b.shape[1],
            b.shape[2],
            b.shape[3],
            b.strides[0],
            b.strides[1],
            b.strides[2],
            b.strides[3]};
}

inline Canvas canvas(const py::buffer_info& b) {
    if (b.strides[2] != 1 || b.strides[1] != b.shape[2]) {
        fail("render: the pixels of a canvas row must lie side by side; give a C-contiguous array or a crop of one");
    }
    return {static_cast<uint8_t*>(b.ptr), b.shape[0], b.shape[1], b.shape[2], b.strides[0]};
}

/// A small table [rows, columns] that must be contiguous, such as ranges and places.
template <typename Row, typename T>
const Row* table(const py::buffer_info& b, const char* what, int64_t rows) {
    constexpr int64_t kColumns = sizeof(Row) / sizeof(T);
    const bool packed = b.strides[1] == sizeof(T) && b.strides[0] == sizeof(Row);
    if (b.shape[0] != rows || b.shape[1] != kColumns || (!packed && rows > 0)) {
        fail("render: ", what, " must be a contiguous [", rows, ", ", kColumns, "], not ", shape_text(b));
    }
    return static_cast<const Row*>(b.ptr);
}

}  // namespace saccade::bindings
