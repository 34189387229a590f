// What a runtime has to offer to Saccade: a shared library, loaded by name, with one symbol. It is plain C, so that a
// backend may be built by another compiler or another standard (libtorch's headers need C++20) than what loads it.
//
// A backend throws nothing across these functions, prints nothing, ends nothing and keeps no state but what hangs on
// its handles. Every function that can fail returns a code and writes a message of one line into `message`.
#ifndef SACCADE_RUNTIME_BACKEND_H
#define SACCADE_RUNTIME_BACKEND_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// Grows with every change of what is below; another number is refused.
#define SACCADE_BACKEND_VERSION 2
#define SACCADE_BACKEND_SYMBOL "saccade_backend"
#define SACCADE_MESSAGE_SIZE 512

// The codes of saccade/saccade.h that a backend may return.
enum {
    SACCADE_BACKEND_OK = 0,
    SACCADE_BACKEND_INVALID = 1,      // the request is wrong: a device that it does not run on
    SACCADE_BACKEND_DAMAGED = 2,      // the runtime refuses the file, or its outputs are not what the contract says
    SACCADE_BACKEND_UNAVAILABLE = 3,  // the runtime's library or the device is not to be had
    SACCADE_BACKEND_FAILED = 4,       // running failed
    SACCADE_BACKEND_LATE = 5,         // the deadline came first
    SACCADE_BACKEND_NO_MEMORY = 6
};

enum { SACCADE_UINT8 = 0, SACCADE_INT64 = 1, SACCADE_FLOAT32 = 2 };
enum { SACCADE_CPU = 0, SACCADE_CUDA = 1 };

// A contiguous tensor in somebody else's memory.
typedef struct saccade_tensor {
    const char* name;
    int32_t type;  // SACCADE_UINT8, …
    int32_t rank;
    int64_t shape[5];
    void* data;
    size_t bytes;
    int32_t device;  // SACCADE_CPU or SACCADE_CUDA: where `data` lies
    int32_t index;   // which CUDA device
} saccade_tensor;

// An output's shape for one image: without the batch.
typedef struct saccade_shape {
    int32_t rank;  // at most 4
    int64_t sides[4];
} saccade_shape;

typedef struct saccade_load_request {
    const char* path;  // where the file lies, or only what messages call it where `data` is given; may be null then
    const void* data;  // null: read `path`. The whole file, which is needed until `load` returns
    size_t size;
    int32_t format;   // 0 ONNX, 1 TorchScript, 2 AOTInductor
    int32_t device;   // SACCADE_CPU or SACCADE_CUDA
    int32_t index;    // which CUDA device, from 0
    int32_t threads;  // of the runtime on the CPU; 0: its own default
    const char*
        library;  // where the runtime's own library lies, for a backend that loads it by itself; null: looked for
    const char* const* inputs;  // the names of the contract, in its order
    const char* const* outputs;
    size_t num_inputs, num_outputs;
    // What the contract says of each output; null: not known. Where the runtime knows a side before it runs and it is
    // another one, `load` is SACCADE_BACKEND_DAMAGED: nobody takes memory for outputs that the file does not have.
    const saccade_shape* output_shapes;
} saccade_load_request;

// One program in a runtime, for all threads; and one thread's use of it.
typedef struct saccade_model saccade_model;
typedef struct saccade_context saccade_context;

typedef struct saccade_backend_table {
    uint32_t version;                         // SACCADE_BACKEND_VERSION
    uint32_t formats;                         // bit 1 << format for each that it loads
    const char* name;                         // onnxruntime, openvino, torch
    const char* (*describe)(saccade_model*);  // the runtime's own name and version
    int (*load)(const saccade_load_request*, saccade_model**, char* message, size_t message_size);
    void (*unload)(saccade_model*);  // after its last context
    int (*open)(saccade_model*, saccade_context**, char* message, size_t message_size);
    void (*close)(saccade_context*);
    // Runs once and waits. Inputs are those of the contract in its order; outputs too, with the memory that they are to
    // be written to and the shape that the contract gives them: another one is SACCADE_BACKEND_DAMAGED and writes
    // nothing past them. Tensors lie on the CPU or on the device that the model was loaded on. `timeout_us` is the time
    // that is left, 0 for any: a runtime that can be stopped is stopped then; one that cannot (libtorch) returns
    // SACCADE_BACKEND_LATE when it has ended.
    int (*run)(saccade_context*, const saccade_tensor* inputs, size_t num_inputs, const saccade_tensor* outputs,
               size_t num_outputs, int64_t timeout_us, char* message, size_t message_size);
} saccade_backend_table;

// The one symbol: `const saccade_backend_table* saccade_backend(void)`. It may set a variable of the environment that
// is not set, so it is not called while another thread reads or changes it.
typedef const saccade_backend_table* (*saccade_backend_function)(void);

#ifdef __cplusplus
}
#endif
#endif
