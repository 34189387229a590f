#include "targets.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "prepare.h"
#include "saccade/error.h"

namespace saccade {
namespace {

const char* name_of(TargetKind kind) {
    switch (kind) {
        case TargetKind::kClass:
            return "class";
        case TargetKind::kRegion:
            return "region";
        case TargetKind::kOutputs:
            return "outputs";
        case TargetKind::kUnit:
            return "unit";
    }
    return "";
}

void check_fields(const Contract& contract, const Request& request) {
    const TargetKind kind = contract.target;
    const char* given = nullptr;
    if (request.target != nullptr && kind == TargetKind::kOutputs) given = "target";
    if (request.weights != nullptr && kind != TargetKind::kOutputs) given = "weights";
    if (request.regions != nullptr && kind != TargetKind::kRegion) given = "regions";
    if (given == nullptr) return;
    fail("run: ", contract.model, " was compiled for target ", name_of(kind), "; it takes no ", given);
}

void read_classes(const Contract& contract, int64_t count, const int64_t* given, std::vector<int64_t>& target) {
    target.assign(static_cast<size_t>(count * contract.target_count), -1);
    if (given == nullptr) return;
    std::copy_n(given, target.size(), target.begin());
    for (const int64_t index : target) {
        if (index >= -1 && index < contract.num_outputs) continue;
        fail("run: target ", index, " is out of range; ", contract.model, " has classes 0 to ",
             contract.num_outputs - 1, " (-1: the predicted one)");
    }
}

void read_units(const Contract& contract, int64_t count, const int64_t* given, std::vector<int64_t>& target) {
    if (given == nullptr) {
        fail("run: expected target as (channel, row, column) of ", contract.target_layer,
             " for each image, got nothing; row or column -1 is their mean");
    }
    int64_t shape[3] = {1, 1, 1};
    std::copy_n(contract.target_shape.begin(), std::min<size_t>(3, contract.target_shape.size()), shape);
    target.assign(given, given + count * 3);
    for (size_t i = 0; i < target.size(); i += 3) {
        bool fits = target[i] >= 0;
        for (size_t axis = 0; axis < 3; ++axis) fits = fits && target[i + axis] >= -1 && target[i + axis] < shape[axis];
        if (fits) continue;
        fail("run: unit (", target[i], ", ", target[i + 1], ", ", target[i + 2], ") is out of range; ",
             contract.target_layer, " gives [", shape[0], ", ", shape[1], ", ", shape[2], "]");
    }
}

void read_weights(const Contract& contract, int64_t count, const float* given, std::vector<float>& weights) {
    weights.assign(static_cast<size_t>(count * contract.num_outputs), 1.0f);
    if (given == nullptr) return;
    std::copy_n(given, weights.size(), weights.begin());
    for (size_t i = 0; i < weights.size(); ++i) {
        if (std::isfinite(weights[i])) continue;
        fail("run: weights[", i, "] is ", weights[i], "; expected finite numbers");
    }
}

void read_regions(const Contract& contract, int64_t count, const Frame* given, std::vector<uint8_t>& regions) {
    const int64_t height = contract.preprocessing.height, width = contract.preprocessing.width;
    regions.assign(static_cast<size_t>(count * height * width), 0);
    if (given == nullptr) return;
    uint8_t* to = regions.data();
    for (int64_t n = 0; n < count; ++n) {
        const Frame& mask = given[n];
        check_frame(mask, "run: region " + std::to_string(n));
        if (mask.pixels != Pixels::kGray || mask.height != height || mask.width != width) {
            fail("run: region ", n, " is ", mask.width, "x", mask.height, " with ", channels_of(mask.pixels),
                 " channels; expected a gray mask of the network's input size ", width, "x", height);
        }
        const int64_t stride = mask.stride != 0 ? mask.stride : width;
        for (int64_t y = 0; y < height; ++y) {
            const uint8_t* row = mask.data + y * stride;
            for (int64_t x = 0; x < width; ++x) *to++ = row[x] != 0;
        }
    }
}

}  // namespace

void read_targets(const Contract& contract, int64_t count, const Request& request, Asked& asked) {
    check_fields(contract, request);
    switch (contract.target) {
        case TargetKind::kOutputs:
            return read_weights(contract, count, request.weights, asked.weights);
        case TargetKind::kUnit:
            return read_units(contract, count, request.target, asked.target);
        case TargetKind::kRegion:
            read_regions(contract, count, request.regions, asked.regions);
            [[fallthrough]];
        case TargetKind::kClass:
            return read_classes(contract, count, request.target, asked.target);
    }
}

}  // namespace saccade
