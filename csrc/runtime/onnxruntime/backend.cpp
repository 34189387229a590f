// ONNX Runtime as a backend. Nothing of it is needed to build this.
#include <iterator>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "../library.h"
#include "../support.h"
#include "api.h"
#include "watchdog.h"

using saccade::Deadline;
using saccade::fail;
using saccade::fail_with;
using saccade::kTypeNames;
using saccade::Status;
using saccade::Watchdog;
using namespace saccade::onnxruntime;

namespace {

constexpr uint32_t kFormats = 1u << 0;              // .onnx
constexpr int kTypes[] = {kUint8, kInt64, kFloat};  // by SACCADE_UINT8, …

const char* name_of(int type) {
    for (size_t i = 0; i < std::size(kTypes); ++i) {
        if (kTypes[i] == type) return kTypeNames[i];
    }
    return "another type";
}

/// One input or output of the contract.
struct Port {
    std::string name;
    int type;                    // as ONNX Runtime counts them
    std::vector<int64_t> shape;  // with the batch, -1 for what only a run shows; empty where the file says none
};

/// What the file has, and what the contract wants of it.
std::vector<Port> ports(const Runtime& runtime, const OrtSession* session, bool inputs, const char* const* names,
                        size_t count, const std::string& file) {
    const Api& api = runtime.api;
    size_t here = 0;
    runtime.check((inputs ? api.SessionGetInputCount : api.SessionGetOutputCount)(session, &here));
    OrtAllocator* allocator = nullptr;
    runtime.check(api.GetAllocatorWithDefaultOptions(&allocator));
    std::vector<Port> found(count, Port{"", 0, {}});
    size_t matched = 0;
    for (size_t i = 0; i < here; ++i) {
        char* name = nullptr;
        runtime.check((inputs ? api.SessionGetInputName : api.SessionGetOutputName)(session, i, allocator, &name));
        const std::string own = name;
        runtime.check(api.AllocatorFree(allocator, name));
        const auto info = runtime.create(
            api.ReleaseTypeInfo, inputs ? api.SessionGetInputTypeInfo : api.SessionGetOutputTypeInfo, session, i);
        const OrtTensorInfo* tensor = nullptr;  // of `info`; null: a sequence, a map
        runtime.check(api.CastTypeInfoToTensorInfo(info.get(), &tensor));
        int type = 0;
        std::vector<int64_t> shape;
        if (tensor != nullptr) {
            runtime.check(api.GetTensorElementType(tensor, &type));
            size_t rank = 0;  // 0 of a scalar, and where there is no shape
            runtime.check(api.GetDimensionsCount(tensor, &rank));
            shape.resize(rank);
            runtime.check(api.GetDimensions(tensor, shape.data(), rank));
        }
        for (size_t k = 0; k < count; ++k) {
            if (own != names[k] || !found[k].name.empty()) continue;
            found[k] = {own, type, shape};
            ++matched;
        }
    }
    for (size_t k = 0; k < count; ++k) {
        if (found[k].name.empty()) {
            fail_with(Status::kDamaged, "load: ", file, " has no ", inputs ? "input " : "output ", names[k],
                      ", which its contract names; compile it again");
        }
    }
    if (inputs && here != matched) {
        fail_with(Status::kDamaged, "load: ", file, " has ", here, " inputs, its contract names ", count,
                  "; compile it again");
    }
    return found;
}

void add_cuda(const Runtime& runtime, OrtSessionOptions* options, int index) {
    const Api& api = runtime.api;
    const auto check = [&](Result result) {
        runtime.check(result, Status::kUnavailable,
                      "load: ONNX Runtime " + runtime.version +
                          " cannot start CUDA; use the CPU, or install its build for CUDA, and CUDA's libraries");
    };
    OrtCudaOptions* made = nullptr;
    check(api.CreateCUDAProviderOptions(&made));
    const Owned<OrtCudaOptions> cuda(made, api.ReleaseCUDAProviderOptions);
    const std::string device = std::to_string(index);
    const char* const keys[] = {"device_id", "use_tf32"};
    const char* const values[] = {device.c_str(), "0"};  // a float32 program in float32
    check(api.UpdateCUDAProviderOptions(made, keys, values, std::size(keys)));
    check(api.AppendCuda(options, made));
}

Owned<OrtMemoryInfo> memory_of(const Runtime& runtime, const char* name, int allocator, int index) {
    return runtime.create(runtime.api.ReleaseMemoryInfo, runtime.api.CreateMemoryInfo, name, allocator, index,
                          kDefaultMemory);
}

/// The tensors of one call: made anew only where memory or shape is another than the last call's.
class Tensors {
  public:
    explicit Tensors(const std::vector<Port>& ports) : ports_(ports) {
        for (const Port& port : ports) names_.push_back(port.name.c_str());
        owned_.resize(ports.size());
        values_.resize(ports.size());
        last_.resize(ports.size());
    }

    void set(const saccade_model& model, const saccade_tensor* tensors);

    const char* const* names() const { return names_.data(); }
    OrtValue** values() { return values_.data(); }
    size_t size() const { return names_.size(); }

  private:
    const std::vector<Port>& ports_;
    std::vector<const char*> names_;
    std::vector<Owned<OrtValue>> owned_;
    std::vector<OrtValue*> values_;
    std::vector<saccade_tensor> last_;
};

}  // namespace

struct saccade_model {
    std::string described;
    std::string file;  // as messages call it
    Runtime runtime;
    int32_t cuda;  // the index of its device, -1 on the CPU
    Owned<OrtEnv> env;
    Owned<OrtSession> session;
    Owned<OrtMemoryInfo> cpu;
    std::vector<Port> inputs, outputs;
};

struct saccade_context {
    const saccade_model& model;
    Owned<OrtRunOptions> options;
    Tensors inputs, outputs;
    std::unique_ptr<Watchdog> watchdog;  // from the first call with a deadline on
};

namespace {

void Tensors::set(const saccade_model& model, const saccade_tensor* tensors) {
    for (size_t i = 0; i < ports_.size(); ++i) {
        const saccade_tensor& tensor = tensors[i];
        if (values_[i] != nullptr && saccade::same(tensor, last_[i])) continue;
        const Port& port = ports_[i];
        if (kTypes[tensor.type] != port.type) {
            fail_with(Status::kDamaged, "run: ", port.name, " of ", model.file, " is of ", name_of(port.type),
                      ", its contract says ", kTypeNames[tensor.type], "; compile it again");
        }
        const bool cuda = tensor.device == SACCADE_CUDA;
        Owned<OrtMemoryInfo> memory;
        if (cuda) memory = memory_of(model.runtime, "Cuda", kDeviceAllocator, tensor.index);
        auto value = model.runtime.create(
            model.runtime.api.ReleaseValue, model.runtime.api.CreateTensorWithDataAsOrtValue,
            cuda ? memory.get() : model.cpu.get(), tensor.data, tensor.bytes, static_cast<const int64_t*>(tensor.shape),
            static_cast<size_t>(tensor.rank), port.type);
        values_[i] = value.get();
        last_[i] = tensor;
        owned_[i] = std::move(value);
    }
}

std::unique_ptr<saccade_model> load(const saccade_load_request& request) {
    const std::string file = saccade::check_request(request, "ONNX Runtime", kFormats);
    Runtime runtime = open_runtime(request.library != nullptr ? request.library : "");
    const Api& api = runtime.api;
    auto env = runtime.create(api.ReleaseEnv, api.CreateEnv, kFatal, "saccade");
    const auto options = runtime.create(api.ReleaseSessionOptions, api.CreateSessionOptions);
    runtime.check(api.SetSessionLogSeverityLevel(options.get(), kFatal));
    if (request.threads > 0) runtime.check(api.SetIntraOpNumThreads(options.get(), request.threads));
    // Idle threads that spin take the cores that the rest of the line needs.
    runtime.check(api.AddSessionConfigEntry(options.get(), "session.intra_op.allow_spinning", "0"));
    const int32_t cuda = request.device == SACCADE_CUDA ? request.index : -1;
    if (cuda >= 0) add_cuda(runtime, options.get(), cuda);

    OrtSession* made = nullptr;
    const Result result = request.data != nullptr
                              ? api.CreateSessionFromArray(env.get(), request.data, request.size, options.get(), &made)
                              : api.CreateSession(env.get(), request.path, options.get(), &made);
    runtime.check(result, Status::kDamaged,
                  "load: ONNX Runtime " + runtime.version + " refuses " + file +
                      "; compile it again, or use a newer ONNX Runtime");
    Owned<OrtSession> session(made, api.ReleaseSession);
    auto inputs = ports(runtime, made, true, request.inputs, request.num_inputs, file);
    auto outputs = ports(runtime, made, false, request.outputs, request.num_outputs, file);
    for (size_t i = 0; i < outputs.size(); ++i) saccade::check_shape(request, i, outputs[i].shape, file);
    auto cpu = memory_of(runtime, "Cpu", kArenaAllocator, 0);
    return std::unique_ptr<saccade_model>(new saccade_model{"ONNX Runtime " + runtime.version, file, std::move(runtime),
                                                            cuda, std::move(env), std::move(session), std::move(cpu),
                                                            std::move(inputs), std::move(outputs)});
}

std::unique_ptr<saccade_context> open(saccade_model& model) {
    const Api& api = model.runtime.api;
    auto options = model.runtime.create(api.ReleaseRunOptions, api.CreateRunOptions);
    model.runtime.check(api.RunOptionsSetRunLogSeverityLevel(options.get(), kFatal));
    return std::unique_ptr<saccade_context>(
        new saccade_context{model, std::move(options), Tensors(model.inputs), Tensors(model.outputs), {}});
}

void run(saccade_context& context, const saccade_tensor* inputs, const saccade_tensor* outputs,
         const Deadline& deadline) {
    const saccade_model& model = context.model;
    const Api& api = model.runtime.api;
    context.inputs.set(model, inputs);
    context.outputs.set(model, outputs);
    if (deadline.given()) {
        if (!context.watchdog) {
            // It stops the run before the next operator of the graph.
            context.watchdog = std::make_unique<Watchdog>([&api, options = context.options.get()] {
                if (const Result result = api.RunOptionsSetTerminate(options)) api.ReleaseStatus(result);
            });
        }
        context.watchdog->arm(deadline.time);
    }
    const Result result =
        api.Run(model.session.get(), context.options.get(), context.inputs.names(), context.inputs.values(),
                context.inputs.size(), context.outputs.names(), context.outputs.size(), context.outputs.values());
    if (deadline.given() && context.watchdog->disarm()) {
        if (result != nullptr) api.ReleaseStatus(result);
        model.runtime.check(api.RunOptionsUnsetTerminate(context.options.get()));
        deadline.fail_late(model.file);
    }
    if (result == nullptr) return;
    const bool misfit = api.GetErrorCode(result) == kInvalidArgument;
    model.runtime.check(result, misfit ? Status::kDamaged : Status::kFailed,
                        "run: ONNX Runtime " + model.runtime.version + " fails on " + model.file);
}

constexpr saccade_backend_table kTable =
    saccade::backend_table<saccade_model, saccade_context, load, open, run>("onnxruntime", kFormats);

}  // namespace

extern "C" __attribute__((visibility("default"))) const saccade_backend_table* saccade_backend() {
    // From 1.29 on ONNX Runtime's packages for Linux report to their maker: sessions, names and hashes of models. Its C
    // API has a switch too, but by then a thread runs, and a database and an identifier of the machine lie in the home
    // folder. Whoever wants it sets the variable to 0; who sets it at all keeps this from changing the environment.
    saccade::set_if_unset("ORT_DISABLE_TELEMETRY", "1");
    return &kTable;
}
