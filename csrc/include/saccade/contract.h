// A program file's contract: what it needs to be given and what it gives.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "saccade/resize.h"

namespace saccade {

/// Of which runtime's own kind the file is.
enum class Format { kOnnx, kTorchScript, kAotInductor };

/// From an upright frame to the network's input, as Preprocessing of engine/contract/spec.py.
struct Preprocessing {
    /// The network's input size in pixels, 1 to 16384.
    int64_t height, width;
    /// 3 (RGB) or 1 (grey, ITU-R 601 luma).
    int64_t channels;
    /// true scales the shorter side to `shorter` and cuts the input out of the centre; false scales straight to it
    /// and leaves `shorter` 0.
    bool crop;
    int64_t shorter;
    Filter filter;
    /// Of pixels in 0..1, for each channel. The program applies them itself; they are here to be shown.
    std::vector<double> mean, std;
};

/// What kind of map an output is: its values and its shape without the batch.
enum class MapKind {
    kCam,          // [h, w], at least 0
    kGradient,     // [H, W], at least 0
    kSigned,       // [h, w], evidence above 0 and against below
    kActivations,  // [C, h, w]
    kAscent        // [H, W, C], the score's gradient in the pixels
};

/// One explanation in a program: an output of that name.
struct MapInfo {
    std::string name, method, layer;
    MapKind kind;
    std::vector<int64_t> shape;
    /// Which of the target's classes it explains, from 1.
    int64_t rank;
    /// Fixed limits that make maps comparable across images, low < high; (0, 0) where the program has none.
    Range calibration;
};

/// What a program explains, and with it its inputs beside `images`.
enum class TargetKind {
    kClass,    // `target` int64 [N], or [N, k] for k classes; -1 in place i is the i-th likeliest
    kRegion,   // `target` int64 [N], and `region` uint8 [N, H, W], all 0 for the network's own region of the class
    kOutputs,  // `target` float32 [N, K], weights of the outputs
    kUnit      // `target` int64 [N, 3], (channel, row, column) of a layer
};

/// A program's contract; see docs/program-file.md.
struct Contract {
    Format format;
    /// The JSON text that the file carries.
    std::string json;
    std::string model, weights_hash, hash;
    /// float32, float16 or bfloat16: what it multiplies in.
    std::string precision;
    Preprocessing preprocessing;
    std::vector<MapInfo> maps;
    /// Channels C of the output `features` float32 [N, C]; 0 where the program has none.
    int64_t features;
    /// Whether `images` is float32 0..255 (an ascent) and not uint8.
    bool float_pixels;
    /// K of `logits` [N, K], or [N, K, output_height, output_width] of a segmentation, whose sizes are 0 elsewhere.
    int64_t num_outputs, output_height, output_width;
    /// Whether softmax(logits) is a confidence.
    bool softmax;
    TargetKind target;
    /// k of kClass, else 1.
    int64_t target_count;
    /// Of kUnit: the layer, and its (C, h, w) or (C).
    std::string target_layer;
    std::vector<int64_t> target_shape;
    /// K names, or none.
    std::vector<std::string> classes;
    /// Packages that made the file, and their versions.
    std::vector<std::pair<std::string, std::string>> versions;
};

/// Checks a program file that lies in memory (its container, sizes and hash, its contract's every field) and reads its
/// contract, as engine/contract/program_file.py does. `name` is what errors call it. Nothing of the file is run, and no
/// more memory is taken than a small multiple of its contract. Throws Error where it is no program, is damaged or cut,
/// or has another schema.
Contract read_contract(const void* data, size_t size, const std::string& name);

}  // namespace saccade
