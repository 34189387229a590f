// What the backends have in common: the checks of a request, and the table that their functions become.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string>
#include <system_error>
#include <vector>

#include "backend.h"
#include "guard.h"
#include "saccade/error.h"

namespace saccade {

constexpr const char* kTypeNames[] = {"uint8", "int64", "float32"};  // by SACCADE_UINT8, …

/// Checks what does not depend on the runtime; returns what messages call the program.
inline std::string check_request(const saccade_load_request& request, const char* runtime, uint32_t formats) {
    if (request.path == nullptr && request.data == nullptr) fail("load: expected a program's path or its bytes");
    const std::string file = request.path != nullptr ? request.path : "the program";
    std::error_code none;
    if (request.data == nullptr && !std::filesystem::exists(request.path, none)) {
        fail_with(Status::kUnavailable, "load: there is no file ", file);
    }
    if (request.format < 0 || request.format > 2 || (formats >> request.format & 1u) == 0) {
        fail("load: ", file, " is for another runtime than ", runtime, "; choose the backend that it was proven in");
    }
    if (request.threads < 0)
        fail("load: threads must be 0 (", runtime, "'s own choice) or more, not ", request.threads);
    if (request.device != SACCADE_CPU && request.device != SACCADE_CUDA) fail("load: no device ", request.device);
    if (request.index < 0) fail("load: the index of the device must be 0 or more, not ", request.index);
    return file;
}

/// Compares what a runtime knows of an output before it runs with the contract. `found` has the batch too, -1 for a
/// side that only a run shows; empty where the runtime says nothing.
inline void check_shape(const saccade_load_request& request, size_t output, const std::vector<int64_t>& found,
                        const std::string& file) {
    if (request.output_shapes == nullptr || found.empty()) return;
    const saccade_shape& shape = request.output_shapes[output];
    const auto fits = [](int64_t known, int64_t side) { return known < 0 || known == side; };
    if (found.size() == static_cast<size_t>(shape.rank) + 1 &&
        std::equal(found.begin() + 1, found.end(), shape.sides, fits)) {
        return;
    }
    const auto listed = [](const int64_t* begin, const int64_t* end) {
        std::string text = "[N";
        for (; begin != end; ++begin) text += *begin < 0 ? ", ?" : ", " + std::to_string(*begin);
        return text + "]";
    };
    fail_with(Status::kDamaged, "load: ", request.outputs[output], " of ", file, " is ",
              listed(found.data() + 1, found.data() + found.size()), ", its contract says ",
              listed(shape.sides, shape.sides + shape.rank), "; compile it again");
}

/// The bytes of a contiguous tensor, 0 where there is no such type, rank or shape.
inline size_t bytes_of(const saccade_tensor& tensor) {
    constexpr size_t kSizes[] = {1, 8, 4};  // by SACCADE_UINT8, …
    if (tensor.rank < 1 || tensor.rank > 5 || tensor.type < 0 || tensor.type > 2) return 0;
    size_t bytes = kSizes[tensor.type];
    for (const int64_t* n = tensor.shape; n != tensor.shape + tensor.rank; ++n) {
        if (*n < 1 || static_cast<uint64_t>(*n) > SIZE_MAX / bytes) return 0;
        bytes *= static_cast<size_t>(*n);
    }
    return bytes;
}

/// How many tensors there are, each with memory that the program can be given, and all of one batch: a runtime that is
/// given two sizes may read beyond one of them, and OpenVINO 2026.4 refuses that size from then on. `cuda` is the CUDA
/// device that the program was loaded on, -1 for the CPU.
inline void check_tensors(const saccade_tensor* tensors, size_t count, size_t expected, int64_t batch, int32_t cuda,
                          const std::string& file) {
    if (count != expected) fail("run: expected ", expected, " tensors for ", file, ", got ", count);
    for (size_t i = 0; i < count; ++i) {
        const saccade_tensor& tensor = tensors[i];
        const size_t bytes = bytes_of(tensor);
        const bool there = tensor.device == SACCADE_CUDA && cuda >= 0 && tensor.index == cuda;
        if (tensor.device != SACCADE_CPU && !there) {
            fail("run: tensor ", i, " for ", file, " lies on device ", tensor.device, ":", tensor.index,
                 ", but the program was loaded on ",
                 cuda < 0 ? std::string("the CPU; load it on CUDA")
                          : "CUDA's device " + std::to_string(cuda) + "; load it where its batches lie",
                 ", or give it the CPU's memory");
        }
        if (bytes == 0 || bytes != tensor.bytes || tensor.data == nullptr || tensor.shape[0] != batch) {
            fail("run: expected tensor ", i, " for ", file, " of ", batch, " images, got ", tensor.bytes,
                 " bytes of rank ", tensor.rank, ", type ", tensor.type, " for ", tensor.shape[0], " images");
        }
    }
}

/// Calls a runtime whose own exceptions become an Error of `place` and what `reason_of` makes of them, or
/// std::bad_alloc where their text has `no_memory`, the runtime's own words for it, in it.
template <typename Reason, typename Call>
auto calling(Status status, const std::string& place, const char* no_memory, const Reason& reason_of,
             const Call& call) {
    try {
        return call();
    } catch (const Error&) {
        throw;
    } catch (const std::bad_alloc&) {
        throw;
    } catch (const std::exception& error) {
        if (std::strstr(error.what(), no_memory) != nullptr) throw std::bad_alloc();
        fail_with(status, place, " (", reason_of(error), ")");
    }
}

/// The same memory, seen in the same way.
inline bool same(const saccade_tensor& a, const saccade_tensor& b) {
    return a.data == b.data && a.bytes == b.bytes && a.type == b.type && a.device == b.device && a.index == b.index &&
           a.rank == b.rank && std::equal(a.shape, a.shape + a.rank, b.shape);
}

/// A call's deadline. Over a day is as good as none, and its end can be counted.
struct Deadline {
    using Clock = std::chrono::steady_clock;

    explicit Deadline(int64_t timeout_us)
        : timeout(std::min<int64_t>(timeout_us, 86'400'000'000)), time(Clock::now() + timeout) {}
    bool given() const { return timeout.count() > 0; }
    bool passed() const { return given() && Clock::now() >= time; }
    [[noreturn]] void fail_late(const std::string& file) const {
        fail_with(Status::kLate, "run: ", file, " was not done after ", timeout.count(),
                  " us; give it more time or smaller batches");
    }

    std::chrono::microseconds timeout;
    Clock::time_point time;
};

/// The table of a backend whose functions throw. `load` gives a std::unique_ptr<Model>, which has `described`, the name
/// and version of its runtime, `file`, what messages call the program, `cuda` as check_tensors has it, and as many
/// `inputs` and `outputs` as the contract; `open` one of a Context, which has its `model`; `run` takes it, checked
/// inputs and outputs and a Deadline.
template <typename Model, typename Context, auto load, auto open, auto run>
constexpr saccade_backend_table backend_table(const char* name, uint32_t formats) {
    return {
        SACCADE_BACKEND_VERSION,
        formats,
        name,
        [](saccade_model* model) { return static_cast<Model*>(model)->described.c_str(); },
        [](const saccade_load_request* request, saccade_model** model, char* message, size_t size) {
            return guarded(message, size, [&] { *model = load(*request).release(); });
        },
        [](saccade_model* model) { delete static_cast<Model*>(model); },
        [](saccade_model* model, saccade_context** context, char* message, size_t size) {
            return guarded(message, size, [&] { *context = open(*static_cast<Model*>(model)).release(); });
        },
        [](saccade_context* context) { delete static_cast<Context*>(context); },
        [](saccade_context* context, const saccade_tensor* inputs, size_t num_inputs, const saccade_tensor* outputs,
           size_t num_outputs, int64_t timeout_us, char* message, size_t size) {
            return guarded(message, size, [&] {
                const Deadline deadline(timeout_us);
                Context& own = *static_cast<Context*>(context);
                const auto& model = own.model;
                const int64_t batch = num_inputs > 0 ? inputs[0].shape[0] : 0;
                check_tensors(inputs, num_inputs, model.inputs.size(), batch, model.cuda, model.file);
                check_tensors(outputs, num_outputs, model.outputs.size(), batch, model.cuda, model.file);
                run(own, inputs, outputs, deadline);
            });
        },
    };
}

}  // namespace saccade
