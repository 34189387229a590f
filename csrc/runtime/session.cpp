#include "saccade/session.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <limits>
#include <utility>

#include "loading.h"
#include "prepare.h"
#include "program.h"
#include "saccade/error.h"
#include "targets.h"
#include "verdict.h"

namespace saccade {
namespace {

using Clock = std::chrono::steady_clock;

/// No machine runs more at once; it keeps sizes in bytes from overflowing.
constexpr int64_t kMaxImages = 1 << 20;
/// Values of one image: 1 GiB. A file may claim anything, and no runtime has compared it with its graph yet.
constexpr int64_t kMaxElements = int64_t{1} << 28;

/// The time that a call has.
class Deadline {
  public:
    explicit Deadline(std::chrono::microseconds timeout) : timeout_(timeout), start_(Clock::now()) {
        if (timeout.count() < 0) fail("run: the timeout is ", timeout.count(), " us; expected 0 (none) or more");
    }

    /// What is left for the backend; 0 is for any time. Throws Error, kLate, where nothing is left.
    std::chrono::microseconds left(const char* stage) const {
        if (timeout_.count() == 0) return timeout_;
        const auto spent = std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - start_);
        if (spent < timeout_) return timeout_ - spent;
        fail_with(Status::kLate, "run: the deadline of ", timeout_.count(), " us came ", stage, ", after ",
                  spent.count(), " us");
    }

  private:
    std::chrono::microseconds timeout_;
    Clock::time_point start_;
};

/// One output: its name, its shape without the batch, and the session's own memory for it.
struct Output {
    const char* name;
    std::vector<int64_t> shape;
    int64_t elements;
    std::vector<float> memory;

    Output(const char* output, std::vector<int64_t> one) : name(output), shape(std::move(one)), elements(1) {
        for (const int64_t side : shape) {
            if (side < 1 || elements > kMaxElements / side) {
                fail_with(Status::kDamaged, "load: output ", name, " has a side of ", side,
                          " and more values than memory has; compile the program again");
            }
            elements *= side;
        }
    }
};

saccade_tensor tensor_of(const char* name, int32_t type, const void* data, std::initializer_list<int64_t> shape) {
    saccade_tensor tensor{};
    tensor.name = name;
    tensor.type = type;
    tensor.data = const_cast<void*>(data);  // of an input; it is only read
    tensor.bytes = type == SACCADE_UINT8 ? 1 : type == SACCADE_INT64 ? 8 : 4;
    for (const int64_t side : shape) {
        tensor.shape[tensor.rank++] = side;
        tensor.bytes *= static_cast<size_t>(side);
    }
    return tensor;
}

}  // namespace

struct Session::State {
    std::shared_ptr<const Program> program;
    const Contract& contract;
    BackendContext context;
    std::vector<Output> outputs;  // logits, the maps, features
    std::vector<uint8_t> images, gray;
    std::vector<Box> views;
    Asked asked;
    Verdicts verdicts;
    std::vector<saccade_tensor> inputs, results;
    std::vector<const float*> maps;

    explicit State(std::shared_ptr<const Program> given)
        : program(std::move(given)), contract(program->contract()), context(program->loaded_->model) {
        std::vector<int64_t> logits{contract.num_outputs};
        if (contract.output_height > 0) logits.insert(logits.end(), {contract.output_height, contract.output_width});
        outputs.emplace_back("logits", logits);
        for (const MapInfo& map : contract.maps) outputs.emplace_back(map.name.c_str(), map.shape);
        if (contract.features > 0) outputs.emplace_back("features", std::vector<int64_t>{contract.features});
        int64_t all = 0;
        for (const Output& output : outputs) all += output.elements;
        if (all > kMaxElements) {
            fail_with(Status::kDamaged, "load: the outputs of ", contract.model, " claim ", all,
                      " values for an image; expected at most ", kMaxElements, "; compile the program again");
        }
    }

    void check_count(int64_t count) const {
        if (count >= 1 && count <= kMaxImages) return;
        fail("run: expected 1 to ", kMaxImages, " images, got ", count);
    }

    /// The memory of output `index`: the caller's, or null where it has none.
    float* given(const Request& request, size_t index) const {
        if (index == 0) return request.logits;
        if (index <= contract.maps.size()) return request.maps != nullptr ? request.maps[index - 1] : nullptr;
        return request.features;
    }

    /// Where the outputs go: the caller's memory, else the session's own.
    void place_outputs(const Request& request, const Batch& batch) {
        results.clear();
        for (size_t i = 0; i < outputs.size(); ++i) {
            Output& output = outputs[i];
            float* memory = given(request, i);
            if (memory == nullptr && batch.device == Device::kCuda) {
                fail("run: the request has no memory for ", output.name,
                     "; with a batch on CUDA give CUDA memory for every output");
            }
            if (memory == nullptr) {
                output.memory.resize(static_cast<size_t>(batch.num_images * output.elements));
                memory = output.memory.data();
            }
            saccade_tensor tensor = tensor_of(output.name, SACCADE_FLOAT32, memory, {batch.num_images});
            for (const int64_t side : output.shape) tensor.shape[tensor.rank++] = side;
            tensor.bytes *= static_cast<size_t>(output.elements);
            on_device(tensor, batch);
            results.push_back(tensor);
        }
    }

    static void on_device(saccade_tensor& tensor, const Batch& batch) {
        tensor.device = batch.device == Device::kCuda ? SACCADE_CUDA : SACCADE_CPU;
        tensor.index = batch.device == Device::kCuda ? batch.device_index : 0;
    }

    void place_inputs(const Batch& batch) {
        const Preprocessing& p = contract.preprocessing;
        const int64_t count = batch.num_images;
        inputs.clear();
        inputs.push_back(tensor_of("images", SACCADE_UINT8, batch.data, {count, p.height, p.width, p.channels}));
        on_device(inputs[0], batch);
        if (contract.target == TargetKind::kOutputs) {
            inputs.push_back(tensor_of("target", SACCADE_FLOAT32, asked.weights.data(), {count, contract.num_outputs}));
        } else if (contract.target == TargetKind::kUnit || contract.target_count > 1) {
            const int64_t each = contract.target == TargetKind::kUnit ? 3 : contract.target_count;
            inputs.push_back(tensor_of("target", SACCADE_INT64, asked.target.data(), {count, each}));
        } else {
            inputs.push_back(tensor_of("target", SACCADE_INT64, asked.target.data(), {count}));
        }
        if (contract.target != TargetKind::kRegion) return;
        inputs.push_back(tensor_of("region", SACCADE_UINT8, asked.regions.data(), {count, p.height, p.width}));
    }

    Result run(const Batch& batch, const Request& request, const Deadline& deadline) {
        read_targets(contract, batch.num_images, request, asked);
        place_inputs(batch);
        place_outputs(request, batch);
        context.run(inputs, results, deadline.left("before the program was run"));

        Result result{};
        result.num_images = batch.num_images;
        const auto values = [&](size_t index) { return static_cast<const float*>(results[index].data); };
        maps.clear();
        for (size_t i = 0; i < contract.maps.size(); ++i) maps.push_back(values(i + 1));
        result.logits = values(0);
        result.maps = maps.data();
        result.features = contract.features > 0 ? values(outputs.size() - 1) : nullptr;
        if (batch.device == Device::kCuda) return result;

        verdicts.find(contract, batch.num_images, result.logits, asked);
        result.prediction = verdicts.prediction.data();
        result.confidence = verdicts.confidence.data();
        result.explained = verdicts.explained.empty() ? nullptr : verdicts.explained.data();
        result.score = verdicts.score.empty() ? nullptr : verdicts.score.data();
        result.views = views.data();
        deadline.left("after the program was run");
        return result;
    }
};

Session::Session(std::shared_ptr<const Program> program) {
    if (program == nullptr) fail("session: the program is null");
    if (program->loaded_->model == nullptr) {
        fail("session: the program was opened with backend none, to read its contract; name a backend to run it");
    }
    if (program->contract().float_pixels) {
        fail("session: ", program->contract().model, " takes float32 pixels (an ascent), which sessions do not run");
    }
    state_ = std::make_unique<State>(std::move(program));
}

Session::~Session() = default;

Result Session::run(const Frame* frames, size_t count, const Request& request) {
    const Deadline deadline(request.timeout);
    State& state = *state_;
    const Preprocessing& p = state.contract.preprocessing;
    const auto images = static_cast<int64_t>(std::min<size_t>(count, std::numeric_limits<int64_t>::max()));
    state.check_count(images);
    if (frames == nullptr) fail("run: the frames are a null pointer; expected ", count, " of them");
    for (size_t i = 0; i < count; ++i) check_frame(frames[i], "run: frame " + std::to_string(i));

    state.views.resize(count);
    Batch batch{nullptr, images};
    if (count == 1 && is_ready(p, frames[0])) {
        batch.data = frames[0].data;
        state.views[0] = {0.0, 0.0, static_cast<double>(p.width), static_cast<double>(p.height)};
    } else {
        const int64_t bytes = p.height * p.width * p.channels;
        state.images.resize(static_cast<size_t>(images * bytes));
        for (size_t i = 0; i < count; ++i) {
            uint8_t* pixels = state.images.data() + static_cast<int64_t>(i) * bytes;
            state.views[i] = prepare_into(p, frames[i], pixels, state.program->loaded_->threads, state.gray);
            deadline.left("while the frames were prepared");
        }
        batch.data = state.images.data();
    }
    return state.run(batch, request, deadline);
}

Result Session::run(const Batch& batch, const Request& request) {
    const Deadline deadline(request.timeout);
    State& state = *state_;
    const Preprocessing& p = state.contract.preprocessing;
    state.check_count(batch.num_images);
    if (batch.data == nullptr) fail("run: the batch is a null pointer; expected ", batch.num_images, " images");
    if (batch.device != Device::kCpu && batch.device != Device::kCuda) {
        fail("run: the batch is on device ", static_cast<int>(batch.device), "; expected 0 (CPU) or 1 (CUDA)");
    }
    if (batch.device == Device::kCuda && state.program->device() != Device::kCuda) {
        fail("run: the batch is on CUDA and the program on the CPU; open the program on CUDA");
    }
    if (batch.device == Device::kCuda && batch.device_index != state.program->loaded_->device_index) {
        fail("run: the batch is on CUDA device ", batch.device_index, ", the program on ",
             state.program->loaded_->device_index);
    }
    const Box whole{0.0, 0.0, static_cast<double>(p.width), static_cast<double>(p.height)};
    state.views.assign(static_cast<size_t>(batch.num_images), whole);
    return state.run(batch, request, deadline);
}

Maps Result::map(const Contract& contract, size_t index, int64_t image, int64_t channel) const {
    const MapInfo* info = index < contract.maps.size() ? &contract.maps[index] : nullptr;
    const int64_t channels = info != nullptr && info->shape.size() == 3 ? info->shape[0] : 1;
    if (info == nullptr || info->kind == MapKind::kAscent || image < 0 || image >= num_images || channel < 0 ||
        channel >= channels) {
        fail("map: there is no map ", index, " of image ", image, ", channel ", channel, "; the program gives ",
             contract.maps.size(), " maps and the call had ", num_images, " images");
    }
    const int64_t h = info->shape[info->shape.size() - 2], w = info->shape.back();
    const auto value = static_cast<int64_t>(sizeof(float));
    return {maps[index] + (image * channels + channel) * h * w, 1, h, w, h * w * value, w * value, value};
}

}  // namespace saccade
