// One call of ONNX Runtime, bare and through Saccade: the same library, options and input, batch 1. For
// benchmarks/embedding.py.
//
//   saccade_overhead time PROGRAM LIBRARY THREADS   compares the answers, says "ready", then for each line of its
//   input,
//                                                   a number of rounds, the median microseconds of each contender
//   saccade_overhead start PROGRAM LIBRARY THREADS  opens the program through Saccade, runs it once and ends
//   saccade_overhead bare PROGRAM LIBRARY THREADS SIZE OUTPUT…   the same, bare; 224x224x3 logits=1x1000 grad_cam=1x7x7
#include <algorithm>
#include <array>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <iostream>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "loading.h"
#include "onnxruntime/api.h"
#include "saccade/saccade.h"

namespace {

using namespace saccade::onnxruntime;
using Clock = std::chrono::steady_clock;
using Values = std::vector<std::vector<float>>;  // of each output

struct Arguments {
    std::string program, library;
    int threads;
};

/// What is asked of everyone: a picture of noise, and the predicted class.
struct Input {
    Input(int64_t h, int64_t w, int64_t c) : height(h), width(w), channels(c) {
        pixels.resize(static_cast<size_t>(height * width * channels));
        uint32_t state = 1;
        for (uint8_t& pixel : pixels) pixel = static_cast<uint8_t>((state = state * 1664525u + 1013904223u) >> 24);
    }
    explicit Input(const saccade_contract& contract) : Input(contract.height, contract.width, contract.channels) {}

    int64_t height, width, channels;
    std::vector<uint8_t> pixels;
    std::vector<int64_t> target{-1};
};

struct Output {
    std::string name;
    std::vector<int64_t> shape;
};

std::vector<Output> outputs_of(const saccade_contract& contract) {
    std::vector<Output> outputs{{"logits", {1, contract.num_outputs}}};
    for (size_t i = 0; i < contract.num_maps; ++i) {
        const saccade_map_info& map = contract.maps[i];
        outputs.push_back({map.name, {1}});
        outputs.back().shape.insert(outputs.back().shape.end(), map.shape, map.shape + map.dimensions);
    }
    if (contract.features > 0) outputs.push_back({"features", {1, contract.features}});
    return outputs;
}

Values memory_for(const std::vector<Output>& outputs) {
    Values values;
    for (const Output& output : outputs) {
        size_t count = 1;
        for (const int64_t n : output.shape) count *= static_cast<size_t>(n);
        values.emplace_back(count, -1.0f);
    }
    return values;
}

/// Nobody but ONNX Runtime: values made once over memory that stays, and Run.
class Bare {
  public:
    Bare(const Arguments& arguments, Input& input, const std::vector<Output>& outputs)
        : values(memory_for(outputs)), runtime_(open_runtime(arguments.library)) {
        const Api& api = runtime_.api;
        env_ = runtime_.create(api.ReleaseEnv, api.CreateEnv, kFatal, "bare");
        const auto options = runtime_.create(api.ReleaseSessionOptions, api.CreateSessionOptions);
        runtime_.check(api.SetSessionLogSeverityLevel(options.get(), kFatal));
        if (arguments.threads > 0) runtime_.check(api.SetIntraOpNumThreads(options.get(), arguments.threads));
        runtime_.check(api.AddSessionConfigEntry(options.get(), "session.intra_op.allow_spinning", "0"));
        session_ = runtime_.create(api.ReleaseSession, api.CreateSession, env_.get(), arguments.program.c_str(),
                                   options.get());
        memory_ =
            runtime_.create(api.ReleaseMemoryInfo, api.CreateMemoryInfo, "Cpu", kArenaAllocator, 0, kDefaultMemory);
        add("images", {1, input.height, input.width, input.channels}, kUint8, input.pixels.data(), input.pixels.size());
        add("target", {1}, kInt64, input.target.data(), sizeof(int64_t));
        for (size_t i = 0; i < outputs.size(); ++i) {
            add(outputs[i].name, outputs[i].shape, kFloat, values[i].data(), values[i].size() * sizeof(float));
        }
        for (const std::string& name : names_) name_pointers_.push_back(name.c_str());
    }

    void run() {
        const size_t outputs = names_.size() - 2;
        runtime_.check(runtime_.api.Run(session_.get(), nullptr, name_pointers_.data(), pointers_.data(), 2,
                                        name_pointers_.data() + 2, outputs, pointers_.data() + 2));
    }

    Values values;

  private:
    void add(const std::string& name, const std::vector<int64_t>& shape, int type, void* data, size_t bytes) {
        const Api& api = runtime_.api;
        owned_.push_back(runtime_.create(api.ReleaseValue, api.CreateTensorWithDataAsOrtValue, memory_.get(), data,
                                         bytes, shape.data(), shape.size(), type));
        pointers_.push_back(owned_.back().get());
        names_.push_back(name);
    }

    Runtime runtime_;
    Owned<OrtEnv> env_;
    Owned<OrtSession> session_;
    Owned<OrtMemoryInfo> memory_;
    std::vector<Owned<OrtValue>> owned_;
    std::vector<OrtValue*> pointers_;
    std::vector<std::string> names_;
    std::vector<const char*> name_pointers_;
};

/// csrc/runtime/backend.h alone.
class ThroughBackend {
  public:
    ThroughBackend(const Arguments& arguments, Input& input, const std::vector<Output>& outputs)
        : values(memory_for(outputs)), context_(load(arguments, outputs)) {
        inputs_ = {
            tensor("images", {1, input.height, input.width, input.channels}, SACCADE_UINT8, input.pixels.data(), 1),
            tensor("target", {1}, SACCADE_INT64, input.target.data(), 8)};
        for (size_t i = 0; i < outputs.size(); ++i) {
            outputs_.push_back(
                tensor(outputs[i].name.c_str(), outputs[i].shape, SACCADE_FLOAT32, values[i].data(), sizeof(float)));
        }
    }
    void run() { context_.run(inputs_, outputs_); }

    Values values;

  private:
    static std::shared_ptr<const saccade::BackendModel> load(const Arguments& arguments,
                                                             const std::vector<Output>& outputs) {
        const char* const inputs[] = {"images", "target"};
        std::vector<const char*> names;
        for (const Output& output : outputs) names.push_back(output.name.c_str());
        saccade_load_request request{};
        request.path = arguments.program.c_str();
        request.threads = arguments.threads;
        request.library = arguments.library.c_str();
        request.inputs = inputs;
        request.num_inputs = std::size(inputs);
        request.outputs = names.data();
        request.num_outputs = names.size();
        return std::make_shared<const saccade::BackendModel>(saccade::Backend("onnxruntime"), request);
    }
    static saccade_tensor tensor(const char* name, const std::vector<int64_t>& shape, int type, void* data,
                                 size_t item) {
        saccade_tensor made{name, type, static_cast<int32_t>(shape.size()), {}, data, item, SACCADE_CPU, 0};
        std::copy(shape.begin(), shape.end(), made.shape);
        for (const int64_t n : shape) made.bytes *= static_cast<size_t>(n);
        return made;
    }

    saccade::BackendContext context_;
    std::vector<saccade_tensor> inputs_, outputs_;
};

/// The C API, as a program that embeds the library has it.
class ThroughApi {
  public:
    explicit ThroughApi(const Arguments& arguments) {
        result_.size = sizeof(result_);
        saccade_open_options options{};
        options.size = sizeof(options);
        options.backend = "onnxruntime";
        options.library = arguments.library.c_str();
        options.threads = arguments.threads;
        check(saccade_program_open(arguments.program.c_str(), &options, &program_, &error_));
        check(saccade_session_open(program_, &session_, &error_));
    }
    ~ThroughApi() {
        saccade_session_close(session_);
        saccade_program_close(program_);
    }
    ThroughApi(const ThroughApi&) = delete;
    ThroughApi& operator=(const ThroughApi&) = delete;

    const saccade_contract& contract() const { return *saccade_program_contract(program_); }

    void run_batch(const Input& input) {
        saccade_batch batch{};
        batch.size = sizeof(batch);
        batch.data = input.pixels.data();
        batch.num_images = 1;
        check(saccade_session_run_batch(session_, &batch, nullptr, &result_, &error_));
    }
    void run(const Input& input, int64_t timeout_us) {
        const saccade_image frame{input.pixels.data(), input.height, input.width, 0,
                                  input.channels == 1 ? SACCADE_GRAY8 : SACCADE_RGB8};
        saccade_request request{};
        request.size = sizeof(request);
        request.timeout_us = timeout_us;
        check(saccade_session_run(session_, &frame, 1, &request, &result_, &error_));
    }

    Values values(const std::vector<Output>& outputs) const {
        Values found = memory_for(outputs);
        for (size_t i = 0; i < found.size(); ++i) {
            const float* from = i == 0                     ? result_.logits
                                : i <= contract().num_maps ? result_.maps[i - 1]
                                                           : result_.features;
            std::copy_n(from, found[i].size(), found[i].data());
        }
        return found;
    }

  private:
    void check(saccade_status status) const {
        if (status != SACCADE_OK) throw std::runtime_error(error_.message);
    }

    saccade_program* program_ = nullptr;
    saccade_session* session_ = nullptr;
    saccade_result result_{};
    saccade_error error_{};
};

/// The same library on the same input: the same to 1e-6 of each output's largest value.
bool agree(const Values& found, const Values& expected) {
    if (found.size() != expected.size()) return false;
    for (size_t i = 0; i < found.size(); ++i) {
        if (found[i].size() != expected[i].size()) return false;
        float largest = 0, apart = 0;
        for (const float value : expected[i]) largest = std::max(largest, std::abs(value));
        for (size_t k = 0; k < found[i].size(); ++k) {
            const float difference = std::abs(found[i][k] - expected[i][k]);
            if (!(difference <= 1e-6f * largest)) return false;
            apart = std::max(apart, difference);
        }
    }
    return true;
}

void demand(bool condition, const char* what) {
    if (!condition) throw std::runtime_error(what);
}

double median(std::vector<double> values) {
    const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
    std::nth_element(values.begin(), middle, values.end());
    return *middle;
}

void time(const Arguments& arguments) {
    ThroughApi api(arguments), framed(arguments), watched(arguments);
    const std::vector<Output> outputs = outputs_of(api.contract());
    Input input(api.contract());
    Bare bare(arguments, input, outputs), second(arguments, input, outputs);
    ThroughBackend backend(arguments, input, outputs);
    constexpr int64_t kMinute = 60'000'000;
    const std::array<std::function<void()>, 6> contenders{
        [&] { bare.run(); },           [&] { second.run(); },         [&] { backend.run(); },
        [&] { api.run_batch(input); }, [&] { framed.run(input, 0); }, [&] { watched.run(input, kMinute); }};
    for (const auto& run : contenders) run();
    demand(agree(bare.values, bare.values), "the comparison refuses the right answer");
    Values wrong = bare.values;
    wrong.back().back() += 1e-3f * std::max(1e-3f, std::abs(wrong.back().back()));
    demand(!agree(wrong, bare.values), "the comparison passes a wrong answer");
    wrong = bare.values;
    wrong.pop_back();
    demand(!agree(wrong, bare.values), "the comparison passes an output too few");
    demand(agree(backend.values, bare.values), "the backend's answer is wrong");
    for (const ThroughApi* one : {&api, &framed, &watched}) {
        demand(agree(one->values(outputs), bare.values), "the C API's answer is wrong");
    }
    std::cout << "ready" << std::endl;
    int rounds = 0;
    while (std::cin >> rounds) {
        std::array<std::vector<double>, contenders.size()> taken;
        for (int round = 0; round < rounds; ++round) {
            for (size_t turn = 0; turn < contenders.size(); ++turn) {
                const size_t who = round % 2 == 0 ? turn : contenders.size() - 1 - turn;
                const Clock::time_point start = Clock::now();
                contenders[who]();
                taken[who].push_back(std::chrono::duration<double, std::micro>(Clock::now() - start).count());
            }
        }
        for (const std::vector<double>& one : taken) std::cout << median(one) << ' ';
        std::cout << std::endl;
    }
}

void start(const Arguments& arguments) {
    ThroughApi api(arguments);
    const Input input(api.contract());
    api.run_batch(input);
}

/// "13x13" → {13, 13}
std::vector<int64_t> numbers(const std::string& text) {
    std::vector<int64_t> found;
    std::stringstream stream(text);
    for (std::string number; std::getline(stream, number, 'x');) found.push_back(std::stoll(number));
    return found;
}

void start_bare(const Arguments& arguments, char** shapes) {
    const std::vector<int64_t> size = numbers(*shapes != nullptr ? *shapes : "");
    demand(size.size() == 3, "expected HEIGHTxWIDTHxCHANNELS");
    Input input(size[0], size[1], size[2]);
    std::vector<Output> outputs;
    while (*++shapes != nullptr) {
        const std::string text = *shapes;
        const size_t sign = text.find('=');
        demand(sign != std::string::npos, "expected NAME=1xHEIGHTxWIDTH");
        outputs.push_back({text.substr(0, sign), numbers(text.substr(sign + 1))});
    }
    Bare(arguments, input, outputs).run();
}

}  // namespace

int main(int argc, char** argv) {
    try {
        demand(argc >= 5, "expected: saccade_overhead time|start|bare PROGRAM LIBRARY THREADS");
        const Arguments arguments{argv[2], argv[3], std::atoi(argv[4])};
        const std::string what = argv[1];
        if (what == "time") time(arguments);
        if (what == "start") start(arguments);
        if (what == "bare") start_bare(arguments, argv + 5);
        return 0;
    } catch (const std::exception& error) {
        std::cerr << error.what() << "\n";
        return 1;
    }
}
