#include "program.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <system_error>
#include <utility>
#include <vector>

#include "guard.h"
#include "saccade/error.h"

namespace saccade {
namespace {

const char* name_of(Format format) {
    switch (format) {
        case Format::kOnnx:
            return "ONNX";
        case Format::kTorchScript:
            return "TorchScript";
        case Format::kAotInductor:
            return "AOTInductor";
    }
    return "";
}

struct File {
    std::unique_ptr<char[]> bytes;
    size_t size;
};

/// Read, not mapped: a mapped file that somebody cuts later ends the process that looks into it.
File read_file(const std::string& path) {
    std::error_code error;
    const auto status = std::filesystem::status(path, error);
    if (!std::filesystem::exists(status)) {
        fail_with(Status::kUnavailable, "load: cannot open program ", path, ": ",
                  error ? error.message() : "no such file");
    }
    if (!std::filesystem::is_regular_file(status)) {  // opening a named pipe would wait for ever
        fail("load: ", path, " is no ordinary file; expected a program that `saccade compile` made");
    }
    const auto size = static_cast<size_t>(std::filesystem::file_size(path, error));
    std::ifstream stream(path, std::ios::binary);
    if (error || !stream) fail_with(Status::kUnavailable, "load: cannot open program ", path, ": it cannot be read");
    // An archive of torch begins with PK; protobuf ends at 2 GiB. A file of holes claims more than anybody has.
    constexpr size_t kMostOfOnnx = size_t{1} << 31;
    if (size > kMostOfOnnx && stream.peek() != 'P') {
        fail_with(Status::kDamaged, "load: ", path, " has ", size, " bytes; an ONNX file has at most ", kMostOfOnnx);
    }
    File file{std::unique_ptr<char[]>(new char[size]), size};
    stream.read(file.bytes.get(), static_cast<std::streamsize>(size));
    file.size = static_cast<size_t>(stream.gcount());  // what a file that is being written has now
    return file;
}

/// Null where only the contract is wanted.
std::shared_ptr<const BackendModel> load_model(const Contract& contract, const void* data, size_t size,
                                               const char* path, const OpenOptions& options) {
    const bool native = contract.format == Format::kAotInductor;
    const std::string name = !options.backend.empty()           ? options.backend
                             : contract.format == Format::kOnnx ? "onnxruntime"
                                                                : "torch";
    if (name == "none") return nullptr;
    if (native && !options.trust_code) {
        fail(
            "load: the program is native code that would run as a part of yours; say trust_code if you know who "
            "compiled it");
    }
    const Backend backend(name, options.backends);
    if (!backend.loads(contract.format)) {
        fail("load: backend ", name, " does not run ", name_of(contract.format), " programs; use ",
             contract.format == Format::kOnnx ? "onnxruntime or openvino" : "torch");
    }
    std::vector<const char*> inputs{"images", "target"};
    if (contract.target == TargetKind::kRegion) inputs.push_back("region");
    std::vector<const char*> outputs;
    std::vector<saccade_shape> shapes;
    const auto add_output = [&](const char* output, const std::vector<int64_t>& sides) {
        outputs.push_back(output);
        shapes.push_back({static_cast<int32_t>(sides.size()), {}});
        std::copy(sides.begin(), sides.end(), shapes.back().sides);
    };
    std::vector<int64_t> logits{contract.num_outputs};
    if (contract.output_height > 0) logits.insert(logits.end(), {contract.output_height, contract.output_width});
    add_output("logits", logits);
    for (const MapInfo& map : contract.maps) add_output(map.name.c_str(), map.shape);
    if (contract.features > 0) add_output("features", {contract.features});

    saccade_load_request request{};
    request.path = path;
    request.data = data;
    request.size = size;
    request.format = static_cast<int32_t>(contract.format);
    request.device = options.device == Device::kCuda ? SACCADE_CUDA : SACCADE_CPU;
    request.index = options.device_index;
    request.threads = options.threads;
    request.library = options.library.empty() ? nullptr : options.library.c_str();
    request.inputs = inputs.data();
    request.outputs = outputs.data();
    request.output_shapes = shapes.data();
    request.num_inputs = inputs.size();
    request.num_outputs = outputs.size();
    return std::make_shared<const BackendModel>(backend, request);
}

void check_options(const OpenOptions& options) {
    if (options.threads < 0) fail("load: threads must be 0 (the runtime's own default) or more, not ", options.threads);
    if (options.device_index < 0) fail("load: device_index must be 0 or more, not ", options.device_index);
    if (options.device != Device::kCpu && options.device != Device::kCuda) {
        fail("load: device ", static_cast<int>(options.device), ": expected 0 (CPU) or 1 (CUDA)");
    }
}

}  // namespace

Program::Program(std::unique_ptr<Loaded> loaded) : loaded_(std::move(loaded)) {}
Program::~Program() = default;

const Contract& Program::contract() const { return loaded_->contract; }
std::string Program::runtime() const { return loaded_->model != nullptr ? loaded_->model->runtime() : std::string(); }
Device Program::device() const { return loaded_->device; }
int Program::threads() const { return loaded_->threads; }

std::shared_ptr<const Program> Program::open(const std::string& path, const OpenOptions& options) {
    check_options(options);
    const std::string name = one_line(path, 200);
    File file = read_file(path);
    auto loaded = std::make_unique<Loaded>(read_contract(file.bytes.get(), file.size, name), options);
    loaded->model = load_model(loaded->contract, file.bytes.get(), file.size, path.c_str(), options);
    return std::shared_ptr<const Program>(new Program(std::move(loaded)));
}

std::shared_ptr<const Program> Program::open(const void* data, size_t size, const OpenOptions& options) {
    check_options(options);
    if (data == nullptr) fail("load: the program is a null pointer; expected the bytes of a program file");
    auto loaded = std::make_unique<Loaded>(read_contract(data, size, "the program in memory"), options);
    loaded->model = load_model(loaded->contract, data, size, nullptr, options);
    return std::shared_ptr<const Program>(new Program(std::move(loaded)));
}

}  // namespace saccade
