// OpenVINO as a backend, on the CPU.
#include <algorithm>
#include <chrono>
#include <cstring>
#include <iterator>
#include <memory>
#include <openvino/frontend/manager.hpp>
#include <openvino/openvino.hpp>
#include <openvino/runtime/exception.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "../support.h"

using saccade::Deadline;
using saccade::fail;
using saccade::fail_with;
using saccade::Status;

namespace {

using Port = ov::Output<const ov::Node>;

constexpr uint32_t kFormats = 1u << 0;                                                     // .onnx
const ov::element::Type kTypes[] = {ov::element::u8, ov::element::i64, ov::element::f32};  // by SACCADE_UINT8, …

/// Its own reason: the last of the lines of its exceptions, which before that name its source files.
std::string reason_of(const std::exception& error) {
    std::string text = error.what();
    text.erase(text.find_last_not_of(" \n\r\t") + 1);
    return saccade::one_line(text.substr(text.rfind('\n') + 1), 250);
}

/// Calls OpenVINO; what it throws says `place` and its reason.
template <typename Call>
auto calling(Status status, const std::string& place, const Call& call) {
    return saccade::calling(status, place, "bad_alloc", reason_of, call);
}

/// The ports of the contract's names, in its order.
std::vector<Port> ports(const std::vector<Port>& here, const char* kind, const char* const* names, size_t count,
                        const std::string& file) {
    std::vector<Port> found;
    for (size_t k = 0; k < count; ++k) {
        const auto match = std::find_if(here.begin(), here.end(),
                                        [&](const Port& port) { return port.get_names().count(names[k]) != 0; });
        if (match == here.end()) {
            fail_with(Status::kDamaged, "load: ", file, " has no ", kind, " ", names[k],
                      ", which its contract names; compile it again");
        }
        found.push_back(*match);
    }
    return found;
}

}  // namespace

struct saccade_model {
    std::string described;
    std::string file;   // as messages call it
    int32_t cuda = -1;  // it runs on the CPU
    ov::Core core;
    ov::CompiledModel compiled;
    std::vector<Port> inputs, outputs;
};

struct saccade_context {
    const saccade_model& model;
    ov::InferRequest request;
    std::vector<saccade_tensor> last;  // the inputs that the request has
};

namespace {

/// Not Core::read_model: it asks the reader of every format whether it knows the file, and one of them prints.
std::shared_ptr<ov::Model> read_onnx(const saccade_load_request& request) {
    ov::frontend::FrontEndManager readers;
    const ov::frontend::FrontEnd::Ptr onnx = readers.load_by_framework("onnx");
    if (onnx == nullptr) fail_with(Status::kUnavailable, "load: this OpenVINO has no reader of ONNX; install it");
    if (request.data == nullptr) return onnx->convert(onnx->load(std::string(request.path)));
    std::istringstream stream(std::string(static_cast<const char*>(request.data), request.size));
    return onnx->convert(onnx->load(static_cast<std::istream*>(&stream)));
}

/// What it knows of an output's shape before it runs, -1 for a side that it does not; empty where it knows no rank.
std::vector<int64_t> known_shape(const Port& port) {
    std::vector<int64_t> sides;
    const ov::PartialShape shape = port.get_partial_shape();
    if (shape.rank().is_dynamic()) return sides;
    for (const ov::Dimension& side : shape) sides.push_back(side.is_static() ? side.get_length() : -1);
    return sides;
}

std::unique_ptr<saccade_model> load(const saccade_load_request& request) {
    const std::string file = saccade::check_request(request, "OpenVINO", kFormats);
    if (request.device != SACCADE_CPU) {
        fail("load: backend openvino runs on the CPU; use the CPU, or backend onnxruntime");
    }
    const std::string version = ov::get_openvino_version().buildNumber;
    auto model = std::make_unique<saccade_model>();
    model->described = "OpenVINO " + version.substr(0, version.find('-'));
    model->file = file;
    ov::AnyMap options{
        // By itself it takes bfloat16 where the CPU has it; a program's proof is of float32.
        ov::hint::inference_precision(ov::element::f32),
        // All threads for one call at a time: those of other sessions wait.
        ov::hint::performance_mode(ov::hint::PerformanceMode::LATENCY),
        ov::hint::enable_cpu_pinning(false),
    };
    if (request.threads > 0) options.emplace(ov::inference_num_threads(request.threads));
    calling(Status::kDamaged, "load: " + model->described + " refuses " + file + "; use backend onnxruntime", [&] {
        const std::shared_ptr<ov::Model> read = read_onnx(request);
        model->compiled = model->core.compile_model(read, "CPU", options);
    });
    const std::vector<Port> inputs = model->compiled.inputs();
    model->inputs = ports(inputs, "input", request.inputs, request.num_inputs, file);
    model->outputs = ports(model->compiled.outputs(), "output", request.outputs, request.num_outputs, file);
    if (inputs.size() != request.num_inputs) {
        fail_with(Status::kDamaged, "load: ", file, " has ", inputs.size(), " inputs, its contract names ",
                  request.num_inputs, "; compile it again");
    }
    for (size_t i = 0; i < model->outputs.size(); ++i) {
        saccade::check_shape(request, i, known_shape(model->outputs[i]), file);
    }
    return model;
}

ov::Shape shape_of(const saccade_tensor& tensor) { return {tensor.shape, tensor.shape + tensor.rank}; }

void set_inputs(saccade_context& context, const saccade_tensor* inputs) {
    const saccade_model& model = context.model;
    for (size_t i = 0; i < model.inputs.size(); ++i) {
        const saccade_tensor& tensor = inputs[i];
        if (context.last[i].data != nullptr && saccade::same(tensor, context.last[i])) continue;
        const Port& port = model.inputs[i];
        const std::string name = port.get_any_name();
        const ov::Shape shape = shape_of(tensor);
        const ov::element::Type type = kTypes[tensor.type];
        if (port.get_element_type() != type || !port.get_partial_shape().compatible(shape)) {
            fail_with(Status::kDamaged, "run: ", name, " of ", model.file, " is ", port.get_element_type(), " ",
                      port.get_partial_shape(), ", its contract says ", type, " ", ov::PartialShape(shape),
                      "; compile it again");
        }
        calling(Status::kFailed, "run: " + model.described + " fails on " + model.file,
                [&] { context.request.set_tensor(port, ov::Tensor(type, shape, tensor.data)); });
        context.last[i] = tensor;
    }
}

/// The outputs lie in OpenVINO's own memory until they are known to have the contract's shape: it would write a larger
/// one past the end of what it is given. They are small beside the work that made them.
void copy_outputs(saccade_context& context, const saccade_tensor* outputs) {
    const saccade_model& model = context.model;
    for (size_t i = 0; i < model.outputs.size(); ++i) {
        const saccade_tensor& tensor = outputs[i];
        const ov::Tensor found = context.request.get_tensor(model.outputs[i]);
        const std::string name = model.outputs[i].get_any_name();
        const ov::Shape shape = shape_of(tensor);
        if (found.get_element_type() != kTypes[tensor.type] || found.get_shape() != shape) {
            fail_with(Status::kDamaged, "run: ", name, " of ", model.file, " is ", found.get_element_type(), " ",
                      ov::PartialShape(found.get_shape()), ", its contract says ", kTypes[tensor.type], " ",
                      ov::PartialShape(shape), "; compile it again");
        }
        std::memcpy(tensor.data, found.data(), tensor.bytes);
    }
}

std::unique_ptr<saccade_context> open(saccade_model& model) {
    ov::InferRequest request = calling(Status::kFailed, "load: " + model.described + " fails on " + model.file,
                                       [&] { return model.compiled.create_infer_request(); });
    return std::unique_ptr<saccade_context>(
        new saccade_context{model, std::move(request), std::vector<saccade_tensor>(model.inputs.size())});
}

/// Whether it was done in time; what was not is stopped.
bool infer(ov::InferRequest& request, const Deadline& deadline) {
    if (!deadline.given()) {
        request.infer();
        return true;
    }
    request.start_async();
    // It counts in whole milliseconds: stopped up to one too late, never too early.
    if (request.wait_for(std::chrono::ceil<std::chrono::milliseconds>(deadline.timeout))) return !deadline.passed();
    request.cancel();
    try {
        request.wait();
    } catch (const ov::Cancelled&) {
    }
    return false;
}

void run(saccade_context& context, const saccade_tensor* inputs, const saccade_tensor* outputs,
         const Deadline& deadline) {
    const saccade_model& model = context.model;
    set_inputs(context, inputs);
    const bool done = calling(Status::kFailed, "run: " + model.described + " fails on " + model.file,
                              [&] { return infer(context.request, deadline); });
    if (!done) deadline.fail_late(model.file);
    copy_outputs(context, outputs);
}

constexpr saccade_backend_table kTable =
    saccade::backend_table<saccade_model, saccade_context, load, open, run>("openvino", kFormats);

}  // namespace

extern "C" __attribute__((visibility("default"))) const saccade_backend_table* saccade_backend() { return &kTable; }
