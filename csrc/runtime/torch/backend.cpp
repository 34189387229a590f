// PyTorch's C++ library as a backend: TorchScript modules and AOTInductor packages. Linked with libtorch_cpu and
// libc10, and with no part of it that knows CUDA: that is loaded where a program is put on a CUDA device.
#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/ops/from_blob.h>
#include <c10/core/InferenceMode.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <c10/util/Exception.h>
#include <caffe2/serialize/read_adapter_interface.h>
#include <torch/csrc/inductor/aoti_package/model_package_loader.h>
#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/serialization/import.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "../library.h"
#include "../support.h"
#include "file_in_memory.h"

using saccade::Deadline;
using saccade::fail;
using saccade::fail_with;
using saccade::Status;

namespace {

constexpr uint32_t kFormats = 1u << 1 | 1u << 2;                         // .ts, .pt2
constexpr at::ScalarType kTypes[] = {at::kByte, at::kLong, at::kFloat};  // by SACCADE_UINT8, …

/// torch's warnings go nowhere for as long as one lives, in its thread: a library prints nothing.
class Silence {
    struct Handler : c10::WarningHandler {
        void process(const c10::Warning&) override {}
    };
    Handler handler_;
    c10::WarningUtils::WarningHandlerGuard guard_{&handler_};
};

/// torch's own reason: the first of its lines, before the places in its source.
std::string reason_of(const std::exception& error) {
    const auto* own = dynamic_cast<const c10::Error*>(&error);
    const std::string text = own != nullptr ? own->what_without_backtrace() : error.what();
    // An error in a module's code comes with the code; what happened is the last line then.
    const size_t begin = text.rfind("RuntimeError: ");
    return saccade::one_line(begin != std::string::npos ? text.substr(begin) : text.substr(0, text.find('\n')), 250);
}

/// Calls torch; what it throws says `place` and its reason.
template <typename Call>
auto calling(Status status, const std::string& place, const Call& call) {
    return saccade::calling(status, place, "not enough memory", reason_of, call);
}

/// A program's file that lies in memory.
class MemoryReader : public caffe2::serialize::ReadAdapterInterface {
  public:
    MemoryReader(const void* data, size_t size) : data_(static_cast<const char*>(data)), size_(size) {}
    size_t size() const override { return size_; }
    size_t read(uint64_t position, void* buffer, size_t n, const char*) const override {
        if (position >= size_) return 0;
        n = std::min<size_t>(n, size_ - position);
        std::memcpy(buffer, data_ + position, n);
        return n;
    }

  private:
    const char* data_;
    size_t size_;
};

}  // namespace

struct saccade_model {
    std::string described;
    std::string file;  // as messages call it
    at::Device device{at::kCPU};
    int32_t cuda = -1;  // the device's index, -1 on the CPU
    int threads = 0;    // that it runs with on the CPU
    std::vector<std::string> inputs, outputs;
    // One of them.
    std::unique_ptr<torch::jit::Module> script;
    std::unique_ptr<torch::inductor::AOTIModelPackageLoader> package;
};

struct saccade_context {
    saccade_model& model;
};

namespace {

/// Loads another of torch's libraries, from beside libtorch_cpu; null and a reason where that fails.
void* open_beside(const char* name, std::string& reason) {
    const std::string folder = saccade::folder_of(reinterpret_cast<const void*>(&at::get_num_threads));
    return saccade::open_library(folder + "/" + saccade::library_name(name), reason);
}

at::Device device_of(const saccade_load_request& request) {
    if (request.device == SACCADE_CPU) return at::kCPU;
    std::string reason = "it finds no device";
    if (!at::hasCUDA() && (open_beside("torch_cuda", reason) == nullptr || !at::hasCUDA())) {
        fail_with(Status::kUnavailable, "load: torch cannot start CUDA (", saccade::one_line(reason, 200),
                  "); use the CPU, or a CUDA build of torch");
    }
    // torch keeps an index in eight bits.
    const int count = c10::impl::VirtualGuardImpl(at::kCUDA).deviceCount();
    if (request.index >= count) {
        fail_with(Status::kUnavailable, "load: torch finds ", count,
                  " CUDA devices, counted from 0; there is no device ", request.index);
    }
    // By itself cuDNN rounds what it multiplies to TF32's ten bits; a program's proof is of float32. It is the
    // process's setting.
    at::globalContext().setAllowTF32CuDNN(false);
    return {at::kCUDA, static_cast<at::DeviceIndex>(request.index)};
}

void load_script(saccade_model& model, const saccade_load_request& request) {
    torch::jit::Module module =
        request.data != nullptr
            ? torch::jit::load(std::make_shared<MemoryReader>(request.data, request.size), model.device)
            : torch::jit::load(std::string(request.path), model.device);
    module.eval();
    model.script = std::make_unique<torch::jit::Module>(torch::jit::freeze(module));
}

void load_package(saccade_model& model, const saccade_load_request& request) {
    // The native code in it is linked with libtorch, of which a program that has no Python has loaded a part only.
    std::string reason;
    if (open_beside("torch", reason) == nullptr) {
        fail_with(Status::kUnavailable, "load: torch's library cannot be loaded (", saccade::one_line(reason, 200),
                  "), which ", model.file, " needs; install all of torch");
    }
    // One runner: calls of other sessions wait. It takes a path alone, unpacks it into a folder of its own and loads it
    // from there.
    std::unique_ptr<FileInMemory> copy;
    if (request.data != nullptr) copy = std::make_unique<FileInMemory>(request.data, request.size);
    const std::string path = copy ? copy->path() : request.path;
    const auto index = static_cast<c10::DeviceIndex>(request.device == SACCADE_CUDA ? request.index : -1);
    model.package = std::make_unique<torch::inductor::AOTIModelPackageLoader>(path, "model", false, 1, index);
    const std::string made_for = model.package->get_metadata()["AOTI_DEVICE_KEY"];
    const char* wanted = model.device.is_cuda() ? "cuda" : "cpu";
    if (made_for != wanted) {
        fail("load: ", model.file, " was compiled for ", made_for, ", not ", wanted, "; load it there, or compile it ",
             "with --device ", wanted);
    }
}

/// torch's number of threads before any program of this backend had it changed.
int first_threads() {
    static const int threads = at::get_num_threads();
    return threads;
}

std::unique_ptr<saccade_model> load(const saccade_load_request& request) {
    const Silence silence;
    auto model = std::make_unique<saccade_model>();
    model->described = "torch " TORCH_VERSION;
    model->file = saccade::check_request(request, "torch", kFormats);
    model->device = device_of(request);
    if (model->device.is_cuda()) model->cuda = request.index;
    const int own = first_threads();
    model->threads = request.threads > 0 ? request.threads : own;
    model->inputs.assign(request.inputs, request.inputs + request.num_inputs);
    model->outputs.assign(request.outputs, request.outputs + request.num_outputs);
    calling(Status::kDamaged, "load: " + model->described + " refuses " + model->file + "; compile it again",
            [&] { request.format == 1 ? load_script(*model, request) : load_package(*model, request); });
    return model;
}

std::unique_ptr<saccade_context> open(saccade_model& model) {
    return std::unique_ptr<saccade_context>(new saccade_context{model});
}

at::Tensor view_of(const saccade_tensor& tensor) {
    const auto device = tensor.device == SACCADE_CUDA
                            ? at::Device(at::kCUDA, static_cast<at::DeviceIndex>(tensor.index))
                            : at::Device(at::kCPU);
    return at::from_blob(tensor.data, at::IntArrayRef(tensor.shape, static_cast<size_t>(tensor.rank)),
                         at::TensorOptions(kTypes[tensor.type]).device(device));
}

std::vector<at::Tensor> outputs_of(saccade_model& model, std::vector<at::Tensor> inputs) {
    if (model.package) return model.package->boxed_run(std::move(inputs));
    const c10::IValue result = model.script->forward({inputs.begin(), inputs.end()});
    std::vector<at::Tensor> outputs;
    if (!result.isTuple()) return outputs;
    for (const c10::IValue& output : result.toTupleRef().elements()) {
        if (!output.isTensor()) return {};
        outputs.push_back(output.toTensor());
    }
    return outputs;
}

/// Waits for what was given to CUDA, whose calls return before their work is done.
void wait_for_device(const saccade_model& model) {
    if (model.cuda >= 0) c10::impl::VirtualGuardImpl(at::kCUDA).synchronizeDevice(model.device.index());
}

void compute(saccade_model& model, const saccade_tensor* inputs, const saccade_tensor* outputs,
             const Deadline& deadline) {
    const c10::InferenceMode mode;
    std::vector<at::Tensor> given;
    for (size_t i = 0; i < model.inputs.size(); ++i) given.push_back(view_of(inputs[i]).to(model.device));
    const std::vector<at::Tensor> found = outputs_of(model, std::move(given));
    if (found.size() != model.outputs.size()) {
        fail_with(Status::kDamaged, "run: ", model.file, " gives ", found.size(), " tensors, its contract names ",
                  model.outputs.size(), "; compile it again");
    }
    wait_for_device(model);
    if (deadline.passed()) deadline.fail_late(model.file);  // it cannot be stopped
    for (size_t i = 0; i < found.size(); ++i) {
        const at::Tensor place = view_of(outputs[i]);
        if (found[i].scalar_type() != place.scalar_type() || found[i].sizes() != place.sizes()) {
            fail_with(Status::kDamaged, "run: ", model.outputs[i], " of ", model.file, " is ", found[i].scalar_type(),
                      " ", found[i].sizes(), ", its contract says ", place.scalar_type(), " ", place.sizes(),
                      "; compile it again");
        }
        place.copy_(found[i]);
    }
    wait_for_device(model);
}

void run(saccade_context& context, const saccade_tensor* inputs, const saccade_tensor* outputs,
         const Deadline& deadline) {
    const Silence silence;
    saccade_model& model = context.model;
    // The number is the process's, and each thread's own in OpenMP; counting is free, setting is not.
    if (at::get_num_threads() != model.threads) at::set_num_threads(model.threads);
    calling(Status::kFailed, "run: " + model.described + " fails on " + model.file, [&] {
        try {
            compute(model, inputs, outputs, deadline);
        } catch (...) {
            // What was begun still reads and writes the caller's memory.
            try {
                wait_for_device(model);
            } catch (...) {  // what came first is said
            }
            throw;
        }
    });
}

constexpr saccade_backend_table kTable =
    saccade::backend_table<saccade_model, saccade_context, load, open, run>("torch", kFormats);

}  // namespace

extern "C" __attribute__((visibility("default"))) const saccade_backend_table* saccade_backend() { return &kTable; }
