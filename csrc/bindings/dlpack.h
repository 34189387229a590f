// DLPack tensors in a GPU's memory to the library's views, without copies. The structures are those of DLPack's ABI
// before version 1, which every framework gives when it is not asked for a later one.
#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>
#include <string>

#include "saccade/error.h"

namespace saccade::bindings {

namespace py = pybind11;

struct DlTensor {
    void* data;
    int32_t device_type, device_id;
    int32_t ndim;
    uint8_t code, bits;  // 0 int, 1 unsigned, 2 float
    uint16_t lanes;
    const int64_t* shape;
    const int64_t* strides;  // in elements; null: C order
    uint64_t byte_offset;
};

/// What a capsule named "dltensor" holds. It is borrowed: the capsule frees it when Python drops the capsule.
class Tensor {
  public:
    Tensor(const py::capsule& capsule, const char* what, const char* axes, int32_t ndim, uint8_t code, uint8_t bits) {
        constexpr int32_t kCuda = 2;
        const char* name = capsule.name();
        if (name == nullptr || std::string(name) != "dltensor")
            fail("render: ", what, " is no DLPack tensor, or one already used");
        tensor_ = capsule.get_pointer<DlTensor>();
        const DlTensor& t = *tensor_;
        if (t.device_type != kCuda) fail("render: ", what, " must be in an NVIDIA GPU's memory, as the others are");
        if (t.ndim != ndim || t.code != code || t.bits != bits || t.lanes != 1) {
            fail("render: ", what, " must be ",
                 code == 2   ? "float"
                 : code == 1 ? "uint"
                             : "int",
                 int{bits}, " ", axes, "; it has ", t.ndim, " axes and ", int{t.bits}, " bits");
        }
    }

    template <typename T>
    T* data() const {
        return reinterpret_cast<T*>(static_cast<char*>(tensor_->data) + tensor_->byte_offset);
    }
    int64_t size(int axis) const { return tensor_->shape[axis]; }

    /// In bytes.
    int64_t stride(int axis) const {
        const int64_t element = tensor_->bits / 8;
        if (tensor_->strides != nullptr) return tensor_->strides[axis] * element;
        int64_t elements = 1;
        for (int i = axis + 1; i < tensor_->ndim; ++i) elements *= tensor_->shape[i];
        return elements * element;
    }

    /// The pointer of a contiguous table [rows, columns].
    template <typename Row, typename T>
    Row* table(const char* what, int64_t rows) const {
        constexpr int64_t kColumns = sizeof(Row) / sizeof(T);
        const bool packed = rows == 0 || (stride(1) == sizeof(T) && (rows == 1 || stride(0) == sizeof(Row)));
        if (size(0) != rows || size(1) != kColumns || !packed) {
            fail("render: ", what, " must be a contiguous [", rows, ", ", kColumns, "]");
        }
        return data<Row>();
    }

  private:
    const DlTensor* tensor_;
};

}  // namespace saccade::bindings
