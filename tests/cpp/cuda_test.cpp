// The CUDA launches without a GPU: what each thread does runs in loops, block by block, and has to make what the CPU
// makes, byte for byte.
#include "saccade/cuda.h"

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <random>
#include <vector>

#include "../../csrc/cuda/job.h"
#include "check.h"

using namespace saccade;

namespace {

void run(const cuda::Job& job) {
    const cuda::Index all = cuda::blocks(job);
    constexpr int kThreads = cuda::kAcross * cuda::kDown;
    for (int64_t z = 0; z < all.z; ++z) {
        for (int64_t y = 0; y < all.y; ++y) {
            for (int64_t x = 0; x < all.x; ++x) {
                const cuda::Index block{x, y, z};
                if (!cuda::fits(job, block)) continue;
                const auto shared = std::make_unique<cuda::Shared>();
                for (int thread = 0; thread < kThreads; ++thread) cuda::prepare(job, block, thread, *shared);
                for (int thread = 0; thread < kThreads; ++thread) cuda::draw(job, block, thread, *shared);
            }
        }
    }
}

struct Scene {
    std::mt19937 random{3};
    int64_t n, h, w;
    std::vector<float> values = std::vector<float>(static_cast<size_t>(n * h * w));
    std::vector<Range> ranges = std::vector<Range>(static_cast<size_t>(n));

    Scene(int64_t n_, int64_t h_, int64_t w_) : n(n_), h(h_), w(w_) {
        std::uniform_real_distribution<float> of(-3.0f, 3.0f);
        for (float& value : values) value = of(random);
        values[0] = std::numeric_limits<float>::quiet_NaN();
        value_ranges({values.data(), n, 1, h, w, h * w * 4, 0, w * 4, 4}, {}, ranges.data(), 1);
        ranges.back() = {0.0f, 0.0f};
    }

    Maps maps() const { return {values.data(), n, h, w, h * w * 4, w * 4, 4}; }

    std::vector<uint8_t> bytes(int64_t count) {
        std::vector<uint8_t> out(static_cast<size_t>(count));
        for (uint8_t& byte : out) byte = static_cast<uint8_t>(random());
        return out;
    }
};

}  // namespace

TEST(a_launch_draws_the_overlays_that_the_cpu_draws) {
    for (const Sampling sampling : {Sampling::kBilinear, Sampling::kNearest}) {
        for (const int64_t channels : {0, 1, 3}) {
            for (const Size size : {Size{40, 50}, Size{33, 224}, Size{3, 1}}) {
                Scene scene(4, 7, 5);
                const std::vector<uint8_t> photo_bytes = scene.bytes(4 * size.height * size.width * 3);
                const int64_t c = std::max<int64_t>(channels, 1), row = size.width * c;
                const Images photos{photo_bytes.data(), 4, size.height, size.width, c, size.height * row, row, c, 1};
                const int64_t width = size.width * 2 + 3, height = size.height * 2 + 1;
                std::vector<uint8_t> got = scene.bytes(width * height * 3), wanted = got;
                const std::vector<Place> places{
                    {0, 0}, {size.width + 1, 0}, {3, size.height}, {size.width + 3, size.height + 1}};
                const std::vector<Box> boxes(4, Box{-3.5, 2.25, static_cast<double>(size.width) - 0.5, 45.0});
                for (const Box* box : {static_cast<const Box*>(nullptr), boxes.data()}) {
                    const Style style{&colormap("turbo"), 77, sampling};
                    const Images* shown = channels > 0 ? &photos : nullptr;
                    const Canvas canvas{wanted.data(), height, width, 3, width * 3};
                    overlay(canvas, scene.maps(), scene.ranges.data(), shown, size, places.data(), box, style, 1);
                    const Canvas other{got.data(), height, width, 3, width * 3};
                    run(cuda::overlay_job(other, scene.maps(), scene.ranges.data(), shown, size, places.data(), box,
                                          style));
                    HOLDS(got == wanted);
                }
            }
        }
    }
}

TEST(a_launch_draws_the_tiles_that_the_cpu_draws) {
    for (const int64_t count : {1, 5, 12}) {
        for (const int64_t gap : {0, 2, 5}) {
            for (const Size size : {Size{9, 14}, Size{56, 56}, Size{1, 1}}) {
                const Scene scene(count, 6, 4);
                const Grid grid{4, gap, {10, 200, 30}};
                const Style style{&colormap("viridis"), 256, Sampling::kNearest};
                const Size whole = grid_size(count, size, grid);
                std::vector<uint8_t> wanted(static_cast<size_t>(whole.height * whole.width * 3)), got(wanted.size(), 1);
                const Canvas canvas{wanted.data(), whole.height, whole.width, 3, whole.width * 3};
                tile(canvas, scene.maps(), scene.ranges.data(), size, grid, style, 1);
                const Canvas other{got.data(), whole.height, whole.width, 3, whole.width * 3};
                run(cuda::tile_job(other, scene.maps(), scene.ranges.data(), size, grid, style));
                HOLDS(got == wanted);
            }
        }
    }
}

TEST(a_launch_leaves_out_what_would_leave_the_canvas) {
    const Scene scene(2, 3, 3);
    std::vector<uint8_t> canvas(10 * 10 * 3, 9);
    const std::vector<Place> places{{8, 0}, {0, -1}};
    run(cuda::overlay_job({canvas.data(), 10, 10, 3, 30}, scene.maps(), scene.ranges.data(), nullptr, {4, 4},
                          places.data(), nullptr, {&colormap("gray")}));
    HOLDS(std::all_of(canvas.begin(), canvas.end(), [](uint8_t byte) { return byte == 9; }));
}

TEST(a_launch_finds_the_ranges_that_the_cpu_finds) {
    const Scene scene(3, 17, 33);
    const MapStack maps{scene.values.data(), 1, 3, 17, 33, 0, 17 * 33 * 4, 33 * 4, 4};
    for (const Scope scope : {Scope::kMap, Scope::kImage}) {
        for (const bool zero : {false, true}) {
            std::vector<Range> wanted(3), got(3);
            value_ranges(maps, {scope, 0.0, 100.0, zero}, wanted.data(), 1);
            for (int64_t i = 0; i < 3; ++i) {
                cuda::Extremes found = cuda::none();
                for (int t = 0; t < cuda::kReducers; ++t) {
                    found = cuda::merged(found, cuda::extremes_of_share(maps, i, t));
                }
                got[i] = {found.low, found.high};
            }
            const int64_t group = group_size(maps, scope);
            for (int64_t first = 0; first < 3; first += group) {
                cuda::Extremes found = cuda::none();
                for (int t = 0; t < cuda::kReducers; ++t) {
                    found = cuda::merged(found, cuda::extremes_of_group(got.data() + first, group, t));
                }
                std::fill_n(got.data() + first, group, cuda::range_of(found, zero));
            }
            for (int i = 0; i < 3; ++i) {
                EQUAL(got[i].low, wanted[i].low);
                EQUAL(got[i].high, wanted[i].high);
            }
        }
    }
}

TEST(a_build_without_cuda_says_what_to_do) {
    if (cuda::built()) return;
    const Scene scene(1, 2, 2);
    Range range{};
    FAILS(cuda::value_ranges({scene.values.data(), 1, 1, 2, 2, 16, 16, 8, 4}, {}, &range, nullptr), "nvcc");
    FAILS(cuda::tile({}, scene.maps(), &range, {2, 2}, {}, {}, nullptr), "tile: this build has no CUDA");
    FAILS(cuda::overlay({}, scene.maps(), &range, nullptr, {2, 2}, nullptr, nullptr, {}, nullptr), "-DSACCADE_CUDA=ON");
}
