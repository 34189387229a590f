#include <utility>

#include "arguments.h"

using saccade::Contract;
using saccade::Program;
namespace capi = saccade::capi;

namespace {

/// Grows with every symbol that is added.
constexpr uint32_t kApiVersion = 1;

const char* text(const char* given) { return given != nullptr ? given : ""; }

saccade::OpenOptions options_of(const saccade_open_options* given) {
    const saccade_open_options known = capi::read(given, "options");
    saccade::OpenOptions options;
    options.backend = text(known.backend);
    options.backends = text(known.backends);
    options.library = text(known.library);
    options.device = static_cast<saccade::Device>(known.device);
    options.device_index = known.device_index;
    options.threads = known.threads;
    options.trust_code = known.trust_code != 0;
    return options;
}

const char* name_of(saccade::Format format) {
    switch (format) {
        case saccade::Format::kOnnx:
            return "onnx";
        case saccade::Format::kTorchScript:
            return "torchscript";
        case saccade::Format::kAotInductor:
            return "aotinductor";
    }
    return "";
}

saccade_map_info info_of(const saccade::MapInfo& map) {
    saccade_map_info info{};
    info.name = map.name.c_str();
    info.method = map.method.c_str();
    info.layer = map.layer.c_str();
    info.kind = static_cast<saccade_map_kind>(map.kind);
    info.rank = static_cast<int32_t>(map.rank);
    info.dimensions = static_cast<int32_t>(map.shape.size());
    std::copy_n(map.shape.begin(), std::min<size_t>(map.shape.size(), 3), info.shape);
    info.low = map.calibration.low;
    info.high = map.calibration.high;
    return info;
}

void show_contract(saccade_program& program) {
    const Contract& contract = program.program->contract();
    for (const saccade::MapInfo& map : contract.maps) program.maps.push_back(info_of(map));
    for (const std::string& name : contract.classes) program.classes.push_back(name.c_str());
    program.runtime = program.program->runtime();

    saccade_contract& shown = program.contract;
    shown = {};
    shown.size = sizeof(shown);
    shown.json = contract.json.c_str();
    shown.model = contract.model.c_str();
    shown.hash = contract.hash.c_str();
    shown.precision = contract.precision.c_str();
    shown.format = name_of(contract.format);
    shown.runtime = program.runtime.empty() ? nullptr : program.runtime.c_str();
    shown.height = contract.preprocessing.height;
    shown.width = contract.preprocessing.width;
    shown.channels = contract.preprocessing.channels;
    shown.float_pixels = contract.float_pixels;
    shown.num_outputs = contract.num_outputs;
    shown.output_height = contract.output_height;
    shown.output_width = contract.output_width;
    shown.softmax = contract.softmax;
    shown.features = contract.features;
    shown.target = static_cast<saccade_target_kind>(contract.target);
    shown.target_count = contract.target_count;
    shown.target_layer = contract.target_layer.empty() ? nullptr : contract.target_layer.c_str();
    std::copy_n(contract.target_shape.begin(), std::min<size_t>(contract.target_shape.size(), 3), shown.target_shape);
    shown.num_maps = program.maps.size();
    shown.maps = program.maps.data();
    shown.num_classes = program.classes.size();
    shown.classes = program.classes.data();
}

void keep(std::shared_ptr<const Program> opened, saccade_program** program) {
    auto handle = std::make_unique<saccade_program>();
    handle->program = std::move(opened);
    show_contract(*handle);
    *program = handle.release();
}

}  // namespace

const char* saccade_version(void) { return SACCADE_VERSION; }

uint32_t saccade_api_version(void) { return kApiVersion; }

saccade_status saccade_program_open(const char* path, const saccade_open_options* options, saccade_program** program,
                                    saccade_error* error) {
    if (program != nullptr) *program = nullptr;
    return capi::guarded(error, [&] {
        capi::need(program, "load: program");
        capi::need(path, "load: path");
        keep(Program::open(std::string(path), options_of(options)), program);
    });
}

saccade_status saccade_program_open_memory(const void* data, size_t size, const saccade_open_options* options,
                                           saccade_program** program, saccade_error* error) {
    if (program != nullptr) *program = nullptr;
    return capi::guarded(error, [&] {
        capi::need(program, "load: program");
        keep(Program::open(data, size, options_of(options)), program);
    });
}

void saccade_program_close(saccade_program* program) { delete program; }

const saccade_contract* saccade_program_contract(const saccade_program* program) {
    return program != nullptr ? &program->contract : nullptr;
}
