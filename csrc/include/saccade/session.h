// Programs and sessions in C++: what saccade.h offers to C, with exceptions and containers.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "saccade/contract.h"
#include "saccade/error.h"
#include "saccade/views.h"

namespace saccade {

enum class Device { kCpu, kCuda };

struct OpenOptions {
    /// onnxruntime, openvino or torch; empty: the one that the file was proven in; "none": only read the contract.
    std::string backend;
    /// The folder of the backends; empty: $SACCADE_BACKENDS, then beside this library or program.
    std::string backends;
    /// The runtime's own library or its folder, for onnxruntime; empty: $SACCADE_ONNXRUNTIME, then where the system
    /// looks.
    std::string library;
    Device device = Device::kCpu;
    int device_index = 0;
    /// Of the runtime on the CPU; 0: its own default, all cores.
    int threads = 0;
    /// An AOTInductor program is native code: true to run it.
    bool trust_code = false;
};

enum class Pixels { kGray, kRgb, kBgr, kRgba, kBgra };

/// An upright picture in the caller's memory. `stride` is the bytes from one row to the next, negative where the
/// picture lies upside down, 0 for width × channels. Alpha is left out, not blended.
struct Frame {
    const uint8_t* data;
    int64_t height, width;
    int64_t stride = 0;
    Pixels pixels = Pixels::kRgb;
};

/// A checked program file, in its runtime unless the backend is "none". Shared by all threads.
class Program {
  public:
    /// Throw Error: no such file, no program, damaged, no such backend or runtime.
    static std::shared_ptr<const Program> open(const std::string& path, const OpenOptions& options = {});
    /// The memory is read until it returns.
    static std::shared_ptr<const Program> open(const void* data, size_t size, const OpenOptions& options = {});
    ~Program();

    const Contract& contract() const;
    /// Name and version of the loaded runtime; empty where none is.
    std::string runtime() const;
    Device device() const;
    /// Of the runtime on the CPU and of preparing; 0: all cores.
    int threads() const;

  private:
    friend class Session;
    struct Loaded;
    explicit Program(std::unique_ptr<Loaded> loaded);
    std::unique_ptr<Loaded> loaded_;
};

/// What to explain and where to put it; see saccade_request in saccade.h. Null stands for the default.
struct Request {
    const int64_t* target = nullptr;
    const float* weights = nullptr;
    const Frame* regions = nullptr;
    std::chrono::microseconds timeout{0};
    float* logits = nullptr;
    float* const* maps = nullptr;
    float* features = nullptr;
};

/// Views of a call's results, valid until the session's next call; see saccade_result in saccade.h.
struct Result {
    int64_t num_images;
    const float* logits;
    const float* const* maps;
    const float* features;
    const int64_t* prediction;
    const float* confidence;
    const int64_t* explained;
    const float* score;
    const Box* views;

    /// Map `index` of image `image`, where it has two dimensions; channel `channel` of one of activations.
    Maps map(const Contract& contract, size_t index, int64_t image, int64_t channel = 0) const;
};

/// A batch that is ready: uint8 [num_images, height, width, channels], contiguous.
struct Batch {
    const void* data;  // of the contract's size
    int64_t num_images;
    Device device = Device::kCpu;
    int device_index = 0;
};

/// One thread's use of a program.
class Session {
  public:
    explicit Session(std::shared_ptr<const Program> program);
    ~Session();

    /// Scales and crops the frames as the Python package does, runs the program and finds what was predicted.
    /// Throws Error.
    Result run(const Frame* frames, size_t count, const Request& request = {});
    Result run(const Frame& frame, const Request& request = {}) { return run(&frame, 1, request); }
    /// As saccade_session_run_batch.
    Result run(const Batch& batch, const Request& request = {});

  private:
    struct State;
    std::unique_ptr<State> state_;
};

/// The network's input of a frame, into uint8 [height, width, channels]; returns the rectangle of the frame that it
/// shows.
Box prepare(const Preprocessing& preprocessing, const Frame& frame, uint8_t* pixels, int threads = 0);

/// A map's region: see saccade_region in saccade.h.
struct Region {
    Box box;
    double area, evidence;
    double peak_x, peak_y;
    float peak;
};

/// Where a map [1, h, w], drawn bilinearly at `size`, is at least `threshold`. `view` is where it lies in the frame.
Region find_region(const Maps& map, float threshold, Size size, const Box& view);

}  // namespace saccade
