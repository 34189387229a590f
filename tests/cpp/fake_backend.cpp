// A backend without a runtime, whose results are known: element i of an image's output is byte i of the image (over
// again where there are more), plus 0.5 in the maps; of `features` it is number i of the target and, of a region, the
// number of its pixels. The file's orders, "fake:sleep=MICROSECONDS;fail=CODE;", make it slow or fail.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <thread>

#include "../../csrc/runtime/backend.h"

struct saccade_model {
    long sleep, fail;
};

struct saccade_context {
    const saccade_model* model;
};

namespace {

long order(std::string_view file, const std::string& name) {
    const size_t orders = file.find("fake:");
    const size_t at = orders == std::string_view::npos ? orders : file.find(name + "=", orders);
    return at == std::string_view::npos ? 0 : std::strtol(file.data() + at + name.size() + 1, nullptr, 10);
}

const char* describe(saccade_model*) { return "Fake 1.0"; }

int load(const saccade_load_request* request, saccade_model** model, char* message, size_t size) {
    const std::string_view file(static_cast<const char*>(request->data), request->size);
    if (const long code = order(file, "refuse"); code != 0) {
        std::snprintf(message, size, "load: the fake refuses\nthis file");
        return static_cast<int>(code);
    }
    *model = new saccade_model{order(file, "sleep"), order(file, "fail")};
    return SACCADE_BACKEND_OK;
}

void unload(saccade_model* model) { delete model; }

int open(saccade_model* model, saccade_context** context, char*, size_t) {
    *context = new saccade_context{model};
    return SACCADE_BACKEND_OK;
}

void close(saccade_context* context) { delete context; }

float target_number(const saccade_tensor& target, int64_t image, int64_t i) {
    const int64_t each = target.rank > 1 ? target.shape[1] : 1;
    const int64_t at = image * each + i % each;
    if (target.type == SACCADE_FLOAT32) return static_cast<const float*>(target.data)[at];
    return static_cast<float>(static_cast<const int64_t*>(target.data)[at]);
}

float marked(const saccade_tensor& region, int64_t image) {
    const int64_t pixels = region.shape[1] * region.shape[2];
    int64_t count = 0;
    for (int64_t i = 0; i < pixels; ++i) count += static_cast<const uint8_t*>(region.data)[image * pixels + i];
    return static_cast<float>(count);
}

int run(saccade_context* context, const saccade_tensor* inputs, size_t num_inputs, const saccade_tensor* outputs,
        size_t num_outputs, int64_t timeout_us, char* message, size_t size) {
    const saccade_model& model = *context->model;
    std::this_thread::sleep_for(std::chrono::microseconds(model.sleep));
    if (timeout_us > 0 && model.sleep > timeout_us) {
        std::snprintf(message, size, "run: the fake was late");
        return SACCADE_BACKEND_LATE;
    }
    if (model.fail != 0) {
        std::snprintf(message, size, "run: the fake fails\nas it was told");
        return static_cast<int>(model.fail);
    }
    const auto* bytes = static_cast<const uint8_t*>(inputs[0].data);
    const int64_t count = inputs[0].shape[0];
    const int64_t each = inputs[0].shape[1] * inputs[0].shape[2] * inputs[0].shape[3];
    for (size_t o = 0; o < num_outputs; ++o) {
        auto* out = static_cast<float*>(outputs[o].data);
        const auto elements = static_cast<int64_t>(outputs[o].bytes / sizeof(float)) / count;
        const bool features = std::string_view(outputs[o].name) == "features";
        for (int64_t n = 0; n < count; ++n) {
            for (int64_t i = 0; i < elements; ++i) {
                float value = static_cast<float>(bytes[n * each + i % each]) + (o > 0 ? 0.5f : 0.0f);
                if (features) value = num_inputs > 2 && i > 0 ? marked(inputs[2], n) : target_number(inputs[1], n, i);
                out[n * elements + i] = value;
            }
        }
    }
    return SACCADE_BACKEND_OK;
}

constexpr saccade_backend_table kTable{SACCADE_BACKEND_VERSION, 1, "fake", describe, load, unload, open, close, run};

}  // namespace

extern "C" __attribute__((visibility("default"))) const saccade_backend_table* saccade_backend() { return &kTable; }
