// The part of ONNX Runtime's C API that is used here. Its packages for Python carry the library and no header, so the
// functions are declared here: one symbol, OrtGetApiBase, leads to a table whose order never changes and which only
// grows at its end. That is its promise (see "Backward compatibility" of its documentation), and tests/embedding
// runs every one of them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "saccade/error.h"

namespace saccade::onnxruntime {

// Types of the API, all of them opaque.
struct OrtStatus;
struct OrtEnv;
struct OrtSessionOptions;
struct OrtSession;
struct OrtRunOptions;
struct OrtMemoryInfo;
struct OrtValue;
struct OrtTypeInfo;
struct OrtTensorInfo;
struct OrtAllocator;
struct OrtCudaOptions;
using Result = OrtStatus*;  // null where a call went well

// Its numbers.
constexpr int kInvalidArgument = 2;                // OrtErrorCode
constexpr int kFloat = 1, kUint8 = 2, kInt64 = 7;  // ONNXTensorElementDataType
constexpr int kFatal = 4;                          // OrtLoggingLevel: errors come as statuses
constexpr int kDeviceAllocator = 0, kArenaAllocator = 1, kDefaultMemory = 0;  // OrtAllocatorType, OrtMemType

/// The table's functions, by the API's own names, with their places in it.
struct Api {
    int (*GetErrorCode)(const OrtStatus*);                                                             // 1
    const char* (*GetErrorMessage)(const OrtStatus*);                                                  // 2
    Result (*CreateEnv)(int level, const char* id, OrtEnv**);                                          // 3
    Result (*CreateSession)(const OrtEnv*, const char* path, const OrtSessionOptions*, OrtSession**);  // 7
    Result (*CreateSessionFromArray)(const OrtEnv*, const void* data, size_t size, const OrtSessionOptions*,
                                     OrtSession**);  // 8
    Result (*Run)(OrtSession*, const OrtRunOptions*, const char* const* input_names, const OrtValue* const* inputs,
                  size_t num_inputs, const char* const* output_names, size_t num_outputs, OrtValue** outputs);  // 9
    Result (*CreateSessionOptions)(OrtSessionOptions**);                                                        // 10
    Result (*SetSessionLogSeverityLevel)(OrtSessionOptions*, int level);                                        // 22
    Result (*SetIntraOpNumThreads)(OrtSessionOptions*, int threads);                                            // 24
    Result (*SessionGetInputCount)(const OrtSession*, size_t*);                                                 // 30
    Result (*SessionGetOutputCount)(const OrtSession*, size_t*);                                                // 31
    Result (*SessionGetInputTypeInfo)(const OrtSession*, size_t index, OrtTypeInfo**);                          // 33
    Result (*SessionGetOutputTypeInfo)(const OrtSession*, size_t index, OrtTypeInfo**);                         // 34
    Result (*SessionGetInputName)(const OrtSession*, size_t index, OrtAllocator*, char**);                      // 36
    Result (*SessionGetOutputName)(const OrtSession*, size_t index, OrtAllocator*, char**);                     // 37
    Result (*CreateRunOptions)(OrtRunOptions**);                                                                // 39
    Result (*RunOptionsSetRunLogSeverityLevel)(OrtRunOptions*, int level);                                      // 41
    Result (*RunOptionsSetTerminate)(OrtRunOptions*);                                                           // 46
    Result (*RunOptionsUnsetTerminate)(OrtRunOptions*);                                                         // 47
    Result (*CreateTensorWithDataAsOrtValue)(const OrtMemoryInfo*, void* data, size_t bytes, const int64_t* shape,
                                             size_t rank, int type, OrtValue**);                       // 49
    Result (*CastTypeInfoToTensorInfo)(const OrtTypeInfo*, const OrtTensorInfo**);                     // 55
    Result (*GetTensorElementType)(const OrtTensorInfo*, int*);                                        // 60
    Result (*GetDimensionsCount)(const OrtTensorInfo*, size_t*);                                       // 61
    Result (*GetDimensions)(const OrtTensorInfo*, int64_t* sides, size_t count);                       // 62
    Result (*CreateMemoryInfo)(const char* name, int allocator, int id, int memory, OrtMemoryInfo**);  // 68
    Result (*AllocatorFree)(OrtAllocator*, void*);                                                     // 76
    Result (*GetAllocatorWithDefaultOptions)(OrtAllocator**);                                          // 78
    void (*ReleaseEnv)(OrtEnv*);                                                                       // 92
    void (*ReleaseStatus)(OrtStatus*);                                                                 // 93
    void (*ReleaseMemoryInfo)(OrtMemoryInfo*);                                                         // 94
    void (*ReleaseSession)(OrtSession*);                                                               // 95
    void (*ReleaseValue)(OrtValue*);                                                                   // 96
    void (*ReleaseRunOptions)(OrtRunOptions*);                                                         // 97
    void (*ReleaseTypeInfo)(OrtTypeInfo*);                                                             // 98
    void (*ReleaseSessionOptions)(OrtSessionOptions*);                                                 // 100
    Result (*AddSessionConfigEntry)(OrtSessionOptions*, const char* key, const char* value);           // 130
    Result (*AppendCuda)(OrtSessionOptions*,
                         const OrtCudaOptions*);            // 204 SessionOptionsAppendExecutionProvider_CUDA_V2
    Result (*CreateCUDAProviderOptions)(OrtCudaOptions**);  // 205
    Result (*UpdateCUDAProviderOptions)(OrtCudaOptions*, const char* const* keys, const char* const* values,
                                        size_t count);    // 206
    void (*ReleaseCUDAProviderOptions)(OrtCudaOptions*);  // 208
};

/// What the API allocates, with the function that gives it back.
template <typename T>
struct Release {
    Release(void (*function)(T*) = nullptr) : call(function) {}
    void operator()(T* made) const { call(made); }
    void (*call)(T*);
};
template <typename T>
using Owned = std::unique_ptr<T, Release<T>>;

/// The loaded library.
struct Runtime {
    Api api;
    std::string version;  // "1.31.1"
    std::string path;     // as it was found

    /// What a call left behind, as an exception: `place` and the runtime's own reason, cut.
    void check(Result result, Status status, const std::string& place) const;
    /// The same, for what only fails where memory is short or the library is not what it says.
    void check(Result result) const { check(result, Status::kFailed, "load: ONNX Runtime fails"); }

    /// What a function of the API creates, owned.
    template <typename T, typename Function, typename... Arguments>
    Owned<T> create(void (*release)(T*), Function function, Arguments... arguments) const {
        T* made = nullptr;
        check(function(arguments..., &made));
        return {made, release};
    }
};

/// Loads ONNX Runtime 1.11 or later: the library `where` says (a file or a folder; empty: $SACCADE_ONNXRUNTIME, then
/// what the system finds). Throws Error, kUnavailable.
Runtime open_runtime(const std::string& where);

}  // namespace saccade::onnxruntime
