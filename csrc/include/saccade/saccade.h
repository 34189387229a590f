/* Saccade's C API: what a network looks at, inside a program that has no Python.
 *
 * Every function returns a status; what it says for people goes into the caller's own saccade_error, which may be null.
 * Nothing is thrown, printed or ended, and there is no global state. A program may be shared by all threads; a session
 * is used by one thread at a time; frames, maps and canvases are the caller's. Structures that may grow begin with
 * `size`: set all of it to 0 and `size` to sizeof, and another version knows which fields are there. Fields that are 0
 * or null stand for the default. The others keep their fields for as long as the major version.
 *
 * Symbols are never removed or changed within a major version; docs/embedding.md lists them.
 */
#ifndef SACCADE_SACCADE_H
#define SACCADE_SACCADE_H

#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32) && defined(SACCADE_BUILDING)
#define SACCADE_API __declspec(dllexport)
#elif defined(_WIN32)
#define SACCADE_API __declspec(dllimport)
#else
#define SACCADE_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

typedef enum saccade_status {
    SACCADE_OK = 0,
    SACCADE_INVALID = 1,     /* the request is wrong: a size, a target, a null pointer */
    SACCADE_DAMAGED = 2,     /* the file is no program, is cut or was changed, or does not do what its contract says */
    SACCADE_UNAVAILABLE = 3, /* a backend, a runtime's library, a device or a file is not there */
    SACCADE_FAILED = 4,      /* the runtime failed */
    SACCADE_LATE = 5,        /* the deadline came first; nothing was written that may be used */
    SACCADE_NO_MEMORY = 6
} saccade_status;

typedef struct saccade_error {
    int32_t status;    /* a saccade_status */
    char message[512]; /* one line, UTF-8, cut at a whole character */
} saccade_error;

/* "0.1.0", and a number that grows with every symbol that is added. */
SACCADE_API const char* saccade_version(void);
SACCADE_API uint32_t saccade_api_version(void);

/* ---- programs ---------------------------------------------------------------------------------------------------- */

typedef struct saccade_program saccade_program;

typedef enum saccade_device { SACCADE_DEVICE_CPU = 0, SACCADE_DEVICE_CUDA = 1 } saccade_device;

typedef struct saccade_open_options {
    size_t size;
    const char* backend;  /* onnxruntime, openvino, torch; null: the one that the file was proven in; "none": only read
                             the contract */
    const char* backends; /* the folder of the backends; null: $SACCADE_BACKENDS, then beside this library */
    const char* library;  /* the runtime's own library or its folder, for onnxruntime; null: $SACCADE_ONNXRUNTIME, then
                             where the system looks */
    int32_t device;       /* a saccade_device */
    int32_t device_index;
    int32_t threads;    /* of the runtime on the CPU; 0: its own default, all cores */
    int32_t trust_code; /* an AOTInductor program is native code: 1 to run it */
} saccade_open_options;

/* Checks a program and loads it. `options` may be null. The memory of the second one is read until
 * it returns. */
SACCADE_API saccade_status saccade_program_open(const char* path, const saccade_open_options* options,
                                                saccade_program** program, saccade_error* error);
SACCADE_API saccade_status saccade_program_open_memory(const void* data, size_t size,
                                                       const saccade_open_options* options, saccade_program** program,
                                                       saccade_error* error);
/* Its sessions may still be used; the last one to be closed takes it along. Null is nothing. */
SACCADE_API void saccade_program_close(saccade_program* program);

typedef enum saccade_map_kind {
    SACCADE_MAP_CAM = 0,         /* [h, w], at least 0 */
    SACCADE_MAP_GRADIENT = 1,    /* [H, W], at least 0 */
    SACCADE_MAP_SIGNED = 2,      /* [h, w], evidence above 0 and against below */
    SACCADE_MAP_ACTIVATIONS = 3, /* [C, h, w] */
    SACCADE_MAP_ASCENT = 4       /* [H, W, C] */
} saccade_map_kind;

typedef struct saccade_map_info {
    const char *name, *method, *layer;
    int32_t kind;       /* a saccade_map_kind */
    int32_t rank;       /* which of the target's classes it explains, from 1 */
    int32_t dimensions; /* 2 or 3 */
    int64_t shape[3];   /* without the batch */
    float low, high;    /* fixed limits for drawing; equal where the program has none */
} saccade_map_info;

typedef enum saccade_target_kind {
    SACCADE_TARGET_CLASS = 0,   /* target_count class indices for each image, -1 in place i: the i-th likeliest */
    SACCADE_TARGET_REGION = 1,  /* a class index of a segmentation, -1 the largest, and a mask */
    SACCADE_TARGET_OUTPUTS = 2, /* a weight for each output of a regression */
    SACCADE_TARGET_UNIT = 3     /* (channel, row, column) of a layer, row or column -1: their mean */
} saccade_target_kind;

/* What a program needs and gives. It belongs to the program. */
typedef struct saccade_contract {
    size_t size;
    const char* json; /* the whole contract, see docs/program-file.md */
    const char *model, *hash, *precision;
    const char* format;              /* onnx, torchscript, aotinductor */
    const char* runtime;             /* name and version of the loaded runtime; null where none is */
    int64_t height, width, channels; /* of the network's input */
    int32_t float_pixels; /* whether the program takes float32 pixels (an ascent), which sessions do not run */
    int64_t num_outputs;  /* K of logits [N, K], or [N, K, output_height, output_width] of a segmentation */
    int64_t output_height, output_width;
    int32_t softmax;  /* whether softmax(logits) is a confidence */
    int64_t features; /* channels C of features [N, C], or 0 */
    int32_t target;   /* a saccade_target_kind */
    int64_t target_count;
    const char* target_layer;
    int64_t target_shape[3]; /* of a unit */
    size_t num_maps;
    const saccade_map_info* maps;
    size_t num_classes; /* K or 0 */
    const char* const* classes;
} saccade_contract;

SACCADE_API const saccade_contract* saccade_program_contract(const saccade_program* program);

/* ---- running ----------------------------------------------------------------------------------------------------- */

typedef enum saccade_pixels {
    SACCADE_GRAY8 = 0,
    SACCADE_RGB8 = 1,
    SACCADE_BGR8 = 2,  /* as OpenCV has them */
    SACCADE_RGBA8 = 3, /* alpha is left out, not blended, as the Python package does */
    SACCADE_BGRA8 = 4
} saccade_pixels;

/* An upright picture in the caller's memory. */
typedef struct saccade_image {
    const uint8_t* data; /* of the first row */
    int64_t height, width;
    int64_t
        stride; /* bytes from one row to the next, negative where the picture lies upside down; 0: width × channels */
    int32_t pixels; /* saccade_pixels */
} saccade_image;

typedef struct saccade_session saccade_session;

SACCADE_API saccade_status saccade_session_open(saccade_program* program, saccade_session** session,
                                                saccade_error* error);
SACCADE_API void saccade_session_close(saccade_session* session);

typedef struct saccade_request {
    size_t size;
    /* Of a class or region: int64, target_count for each image; of a unit 3 for each image. Null: the predicted class,
       the largest region; a unit must be said. */
    const int64_t* target;
    const float* weights;         /* of outputs: num_outputs for each image; null: 1 for all of them */
    const saccade_image* regions; /* of a region: a mask (gray, not 0 inside) of the network's input size for each
                                     image; null: the network's own */
    int64_t timeout_us;           /* from the call, 0: none. Over it the call returns SACCADE_LATE */
    /* Memory for results; null: the session's own, which its next call overwrites. In elements: */
    float* logits;      /* num_images × the logits of one image */
    float* const* maps; /* num_maps pointers, each null or num_images × the map's shape */
    float* features;    /* num_images × features */
} saccade_request;

/* Where the network's input lies in a frame, in its pixels; beyond it where the crop was padded. */
typedef struct saccade_box {
    double left, top, right, bottom;
} saccade_box;

typedef struct saccade_result {
    size_t size;
    int64_t num_images;
    const float* logits;      /* [num_images, …] */
    const float* const* maps; /* num_maps times [num_images, …], raw and unscaled */
    const float* features;    /* [num_images, features], or null */
    const int64_t*
        prediction;           /* [num_images]: the likeliest class, of a segmentation the one with the largest region */
    const float* confidence;  /* [num_images]: softmax of the prediction, NaN where that means nothing */
    const int64_t* explained; /* [num_images, target_count]: the classes that were explained, found where -1 was asked;
                                 null of outputs and units */
    const float* score;       /* [num_images, target_count]: the logit, the sum over the region, the weighted outputs;
                                 null of a unit */
    const saccade_box* views; /* [num_images]: the rectangle of each frame that its map shows */
} saccade_result;

/* Explains frames of any size: scales and crops them as the Python package does, runs the program, finds what was
 * predicted. `request` may be null. `result` is of views, valid until the session's next call or its end. */
SACCADE_API saccade_status saccade_session_run(saccade_session* session, const saccade_image* frames, size_t num_frames,
                                               const saccade_request* request, saccade_result* result,
                                               saccade_error* error);

/* A batch that is ready, uint8 [num_images, height, width, channels] of the contract, contiguous; on the program's
 * device or, for a program on CUDA, on either. With `device` CUDA the memory for results in the request is CUDA's too
 * and must be given whole (target, weights and regions stay the host's), and of the result only those pointers are set:
 * nothing comes to the host. */
typedef struct saccade_batch {
    size_t size;
    const void* data;
    int64_t num_images;
    int32_t device;       /* a saccade_device */
    int32_t device_index; /* the program's */
} saccade_batch;

SACCADE_API saccade_status saccade_session_run_batch(saccade_session* session, const saccade_batch* batch,
                                                     const saccade_request* request, saccade_result* result,
                                                     saccade_error* error);

/* The network's input of a frame: uint8 [height, width, channels] of the contract, contiguous, into `pixels`. */
SACCADE_API saccade_status saccade_prepare(const saccade_program* program, const saccade_image* frame, uint8_t* pixels,
                                           saccade_box* view, saccade_error* error);

/* ---- from maps to verdicts and pictures -------------------------------------------------------------------------- */

/* One map, float32 [height, width], contiguous. */
typedef struct saccade_map {
    const float* data;
    int64_t height, width;
} saccade_map;

/* The smallest and the largest finite value, high at least 0 and low 0 where `from_zero`; (0, 0) where there is none.
 */
SACCADE_API saccade_status saccade_map_range(const saccade_map* map, int32_t from_zero, float* low, float* high,
                                             saccade_error* error);

typedef struct saccade_region {
    saccade_box box;       /* the smallest that holds it, in the frame's pixels; all 0 where the region is empty */
    double area;           /* its share of the view, 0..1 */
    double evidence;       /* the share of the map's positive evidence in it, 0..1 */
    double peak_x, peak_y; /* where the map is largest, in the frame's pixels */
    float peak;            /* its value there */
} saccade_region;

/* Where the map, drawn bilinearly at height × width (the network's input size is what it can tell apart), is at least
 * `threshold`. Of a blank map, whose largest value is 0, half of it is 0 too, and that is everywhere: look first. */
SACCADE_API saccade_status saccade_find_region(const saccade_map* map, float threshold, int64_t height, int64_t width,
                                               const saccade_box* view, saccade_region* region, saccade_error* error);

typedef struct saccade_style {
    size_t size;
    const char* colormap; /* gray, inferno, jet, turbo, viridis; null: viridis over a frame, gray alone */
    double opacity;       /* of the colours over the frame, 0..1; 0 stands for 0.5 */
    int32_t nearest;      /* 1: the map's cells as squares, not interpolated */
    float low, high;      /* the limits of the scale; equal: the map's own, from 0 */
    int32_t threads;      /* the most to draw with; 0: one per core, 1: the caller's alone */
} saccade_style;

/* uint8 RGB to write to. */
typedef struct saccade_canvas {
    uint8_t* data;
    int64_t height, width;
    int64_t stride; /* bytes from one row to the next; 0: width × 3 */
} saccade_canvas;

/* The frame with its map over it; the canvas has the frame's size. `view` is where the map lies in the frame; null: it
 * covers it. A blank map leaves the frame as it is drawn at index 0 of the colours. */
SACCADE_API saccade_status saccade_draw_overlay(const saccade_image* frame, const saccade_map* map,
                                                const saccade_box* view, const saccade_style* style,
                                                const saccade_canvas* canvas, saccade_error* error);

typedef struct saccade_grid {
    size_t size;
    int64_t height, width; /* of each map's picture in pixels */
    int64_t columns;
    int64_t gap; /* pixels between neighbours and around the whole */
    uint8_t background[3];
    uint8_t reserved[5]; /* 0 */
} saccade_grid;

/* The canvas that a sheet of `count` pictures needs. */
SACCADE_API saccade_status saccade_sheet_size(int64_t count, const saccade_grid* grid, int64_t* height, int64_t* width,
                                              saccade_error* error);

/* `count` maps float32 [count, h, w] side by side (a layer's channels), each between its own limits where the style has
 * none. */
SACCADE_API saccade_status saccade_draw_sheet(const float* maps, int64_t count, int64_t map_height, int64_t map_width,
                                              const saccade_grid* grid, const saccade_style* style,
                                              const saccade_canvas* canvas, saccade_error* error);

#ifdef __cplusplus
}
#endif
#endif
