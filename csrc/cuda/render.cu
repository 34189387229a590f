#include <cuda_runtime.h>

#include <algorithm>

#include "job.h"
#include "saccade/cuda.h"
#include "saccade/error.h"

namespace saccade::cuda {
namespace {

__global__ void __launch_bounds__(kAcross* kDown) draw_kernel(const __grid_constant__ Job job, int64_t first) {
    __shared__ Shared shared;
    const Index block{blockIdx.x, blockIdx.y, first + blockIdx.z};
    if (!fits(job, block)) return;
    prepare(job, block, static_cast<int>(threadIdx.x), shared);
    __syncthreads();
    draw(job, block, static_cast<int>(threadIdx.x), shared);
}

__device__ Extremes of_block(Extremes own) {
    __shared__ Extremes found[kReducers];
    found[threadIdx.x] = own;
    for (int half = kReducers / 2; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half) found[threadIdx.x] = merged(found[threadIdx.x], found[threadIdx.x + half]);
    }
    __syncthreads();
    return found[0];
}

__global__ void __launch_bounds__(kReducers) map_kernel(MapStack maps, Range* ranges) {
    const Extremes found = of_block(extremes_of_share(maps, blockIdx.x, static_cast<int>(threadIdx.x)));
    if (threadIdx.x == 0) ranges[blockIdx.x] = {found.low, found.high};
}

__global__ void __launch_bounds__(kReducers) group_kernel(Range* ranges, int64_t group, bool zero) {
    Range* own = ranges + blockIdx.x * group;
    const Range range = range_of(of_block(extremes_of_group(own, group, static_cast<int>(threadIdx.x))), zero);
    for (int64_t i = threadIdx.x; i < group; i += kReducers) own[i] = range;
}

/// The GPU that holds this memory is the current one until the end of the scope.
class OnDeviceOf {
  public:
    explicit OnDeviceOf(const void* memory) {
        cudaPointerAttributes found{};
        if (cudaGetDevice(&before_) != cudaSuccess || cudaPointerGetAttributes(&found, memory) != cudaSuccess) {
            cudaGetLastError();  // the launch will say what is wrong
            return;
        }
        moved_ = found.type == cudaMemoryTypeDevice && found.device != before_;
        if (moved_) cudaSetDevice(found.device);
    }
    ~OnDeviceOf() {
        if (moved_) cudaSetDevice(before_);
    }
    OnDeviceOf(const OnDeviceOf&) = delete;
    OnDeviceOf& operator=(const OnDeviceOf&) = delete;

  private:
    int before_ = 0;
    bool moved_ = false;
};

void check_launch(const char* what) {
    const cudaError_t error = cudaGetLastError();
    if (error == cudaSuccess) return;
    fail("render: ", what, " could not start on the GPU: ", cudaGetErrorString(error),
         "; check the driver with nvidia-smi, or give arrays in the computer's memory");
}

void launch(const Job& job, void* stream) {
    const Index all = blocks(job);
    if (all.x > INT32_MAX || all.y > 65535) fail("render: the canvas is too large for one launch on the GPU");
    const OnDeviceOf device(job.canvas.data);
    // A grid has at most 65535 layers: a larger batch is queued as several.
    for (int64_t first = 0; first < all.z && all.x * all.y > 0; first += 65535) {
        const dim3 grid(static_cast<unsigned>(all.x), static_cast<unsigned>(all.y),
                        static_cast<unsigned>(std::min<int64_t>(all.z - first, 65535)));
        draw_kernel<<<grid, kAcross * kDown, 0, static_cast<cudaStream_t>(stream)>>>(job, first);
        check_launch("drawing");
    }
}

}  // namespace

bool built() { return true; }

void value_ranges(const MapStack& maps, const RangeOptions& options, Range* ranges, void* stream) {
    check_range_options(options);
    if (options.low_percentile > 0.0 || options.high_percentile < 100.0) {
        fail("render: percentiles are not taken on the GPU; give the maps in the computer's memory, or (0, 100)");
    }
    const int64_t count = maps.n * maps.c, group = group_size(maps, options.scope);
    if (count == 0) return;
    if (count > INT32_MAX) fail("render: at most ", INT32_MAX, " maps at once, not ", count);
    const auto queue = static_cast<cudaStream_t>(stream);
    const OnDeviceOf device(maps.data);
    map_kernel<<<static_cast<unsigned>(count), kReducers, 0, queue>>>(maps, ranges);
    check_launch("finding ranges");
    group_kernel<<<static_cast<unsigned>(count / group), kReducers, 0, queue>>>(ranges, group, options.zero);
    check_launch("finding ranges");
}

void overlay(const Canvas& canvas, const Maps& maps, const Range* ranges, const Images* photos, Size size,
             const Place* places, const Box* boxes, const Style& style, void* stream) {
    launch(overlay_job(canvas, maps, ranges, photos, size, places, boxes, style), stream);
}

void tile(const Canvas& canvas, const Maps& maps, const Range* ranges, Size size, const Grid& grid, const Style& style,
          void* stream) {
    launch(tile_job(canvas, maps, ranges, size, grid, style), stream);
}

}  // namespace saccade::cuda
