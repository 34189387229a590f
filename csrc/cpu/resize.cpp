#include "saccade/resize.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "load.h"
#include "parallel.h"
#include "rows.h"
#include "saccade/error.h"

namespace saccade {
namespace {

constexpr int64_t kGrain = 1 << 15;  // output pixels that are worth a thread

double triangle(double x) { return std::max(0.0, 1.0 - std::abs(x)); }

/// Keys' cubic convolution with a = −1/2.
double cubic(double x) {
    constexpr double a = -0.5;
    x = std::abs(x);
    if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0;
    if (x < 2.0) return (((x - 5.0) * x + 8.0) * x - 4.0) * a;
    return 0.0;
}

/// For each output element: the source elements it is made of and their weights.
struct Kernel {
    std::vector<Window> windows;
    std::vector<int32_t> weights;  // [outputs][longest]
    int64_t longest = 0;

    const int32_t* weights_of(int64_t out) const { return weights.data() + out * longest; }
};

/// The kernel of `count` of the `out_size` output elements, from `first` on. The limits are float32 because Pillow's
/// are: the last bit of a weight depends on it.
Kernel make_kernel(int64_t in_size, float from, float to, int64_t out_size, int64_t first, int64_t count,
                   Filter filter) {
    const double scale = static_cast<double>(to - from) / static_cast<double>(out_size);
    const double stretch = std::max(scale, 1.0);  // shrinking widens the filter: that is the antialiasing
    const double support = (filter == Filter::kBicubic ? 2.0 : 1.0) * stretch;
    Kernel kernel;
    kernel.longest = static_cast<int64_t>(std::ceil(support)) * 2 + 1;
    kernel.windows.resize(static_cast<size_t>(count));
    kernel.weights.assign(static_cast<size_t>(count * kernel.longest), 0);
    std::vector<double> exact(static_cast<size_t>(kernel.longest));
    for (int64_t out = 0; out < count; ++out) {
        const double centre = static_cast<double>(from) + (static_cast<double>(first + out) + 0.5) * scale;
        const int64_t start = std::max<int64_t>(0, static_cast<int64_t>(centre - support + 0.5));
        const int64_t end = std::min(in_size, static_cast<int64_t>(centre + support + 0.5));
        double sum = 0.0;
        for (int64_t i = start; i < end; ++i) {
            const double at = (static_cast<double>(i) - centre + 0.5) * (1.0 / stretch);
            exact[i - start] = filter == Filter::kBicubic ? cubic(at) : triangle(at);
            sum += exact[i - start];
        }
        for (int64_t i = start; i < end; ++i) {
            const double weight = sum != 0.0 ? exact[i - start] / sum : exact[i - start];
            const double unit = weight * (1 << kFilterBits);
            kernel.weights[out * kernel.longest + i - start] =
                static_cast<int32_t>(weight < 0.0 ? unit - 0.5 : unit + 0.5);
        }
        kernel.windows[out] = {start, end - start};
    }
    return kernel;
}

/// RGBA to colours already multiplied by alpha, rounded: a transparent pixel's colour must not bleed.
void premultiply(uint8_t* pixels, int64_t count) {
    for (uint8_t* p = pixels; p != pixels + count * 4; p += 4) {
        for (int c = 0; c < 3; ++c) {
            const int product = p[c] * p[3] + 128;
            p[c] = static_cast<uint8_t>((product + (product >> 8)) >> 8);
        }
    }
}

void divide_by_alpha(uint8_t* pixels, int64_t count) {
    for (uint8_t* p = pixels; p != pixels + count * 4; p += 4) {
        if (p[3] == 0 || p[3] == 255) continue;
        for (int c = 0; c < 3; ++c) p[c] = static_cast<uint8_t>(std::min(255, 255 * p[c] / p[3]));
    }
}

/// A run of rows or columns.
struct Span {
    int64_t first, count;
};

/// The source elements that a kernel reads, which are counted from the first of them on from now on.
Span take_span(Kernel& kernel) {
    const int64_t first = kernel.windows.front().start;
    const Span span{first, kernel.windows.back().start + kernel.windows.back().count - first};
    for (Window& window : kernel.windows) window.start -= first;
    return span;
}

void check(const Images& image, const Canvas& out, const Box& box) {
    if (image.n != 1) fail("resize: expected one picture, not ", image.n);
    if (image.c != 1 && image.c != 3 && image.c != 4) fail("resize: expected 1, 3 or 4 channels, not ", image.c);
    if (image.h < 1 || image.w < 1) fail("resize: the picture is empty (", image.w, "x", image.h, ")");
    if (out.h < 1 || out.w < 1) fail("resize: the new size must be at least 1x1, not ", out.w, "x", out.h);
    if (out.c != image.c) fail("resize: ", image.c, " channels cannot be written to ", out.c);
    const bool inside = box.left >= 0.0 && box.top >= 0.0 && box.right <= static_cast<double>(image.w) &&
                        box.bottom <= static_cast<double>(image.h);
    if (!inside || !(box.left < box.right) || !(box.top < box.bottom)) {
        fail("resize: box (", box.left, ", ", box.top, ", ", box.right, ", ", box.bottom, ") must lie in the ", image.w,
             "x", image.h, " picture, with left < right and top < bottom");
    }
}

/// One call: what both orders of the passes need.
struct Job {
    const Images& image;
    const Canvas& out;
    Kernel across, down;
    bool same_width, same_height, alpha;
    Span source_columns, source_rows;  // as far as they are needed
    int workers;

    /// Calls body(begin, end) for bands of `rows` rows, on several threads.
    template <typename Body>
    void in_bands(int64_t rows, const Body& body) const {
        const int64_t bands = std::min<int64_t>(rows, workers * 4);
        parallel_for(bands, workers, [&](int64_t part) { body(rows * part / bands, rows * (part + 1) / bands); });
    }

    void filter_across(const uint8_t* row, uint8_t* to) const {
        rows().filter_across(row, across.windows.data(), across.weights.data(), across.longest, image.c, out.w, to);
    }

    bool as_it_is() const { return image.stride_c == 1 && image.stride_w == image.c && !alpha; }

    const uint8_t* source_row(int64_t y) const {
        return image.data + (source_rows.first + y) * image.stride_h + source_columns.first * image.stride_w;
    }

    /// Row y of those that are needed, with its channels side by side, premultiplied where there is alpha: itself, or a
    /// copy in `buffer`.
    const uint8_t* row(int64_t y, uint8_t* buffer) const {
        const uint8_t* from = source_row(y);
        if (as_it_is()) return from;
        load_pixels(from, image.stride_w, image.stride_c, source_columns.count, image.c, buffer);
        if (alpha) premultiply(buffer, source_columns.count);
        return buffer;
    }
};

void across_then_down(const Job& job) {
    const int64_t channels = job.image.c;
    const int64_t bytes = job.out.w * channels;
    std::vector<uint8_t> narrow(static_cast<size_t>(job.source_rows.count * bytes));
    job.in_bands(job.source_rows.count, [&](int64_t begin, int64_t end) {
        std::vector<uint8_t> buffer(static_cast<size_t>(job.source_columns.count * channels));
        for (int64_t y = begin; y < end; ++y) {
            const uint8_t* row = job.row(y, buffer.data());
            uint8_t* to = narrow.data() + y * bytes;
            if (job.same_width) {
                std::copy_n(row, bytes, to);
            } else {
                job.filter_across(row, to);
            }
        }
    });
    job.in_bands(job.out.h, [&](int64_t begin, int64_t end) {
        std::vector<int32_t> sums(static_cast<size_t>(bytes));
        for (int64_t y = begin; y < end; ++y) {
            uint8_t* to = job.out.data + y * job.out.stride_h;
            if (job.same_height) {
                std::copy_n(narrow.data() + y * bytes, bytes, to);
            } else {
                const auto window = job.down.windows[y];
                const uint8_t* above = narrow.data() + window.start * bytes;
                rows().filter_down(above, bytes, job.down.weights_of(y), window.count, bytes, sums.data(), to);
            }
            if (job.alpha) divide_by_alpha(to, job.out.w);
        }
    });
}

/// The height shrinks here, so there always is something to do down.
void down_then_across(const Job& job) {
    const int64_t bytes = job.source_columns.count * job.image.c;
    const uint8_t* source = job.source_row(0);
    int64_t stride = job.image.stride_h;
    std::vector<uint8_t> copy;
    if (!job.as_it_is()) {
        copy.resize(static_cast<size_t>(job.source_rows.count * bytes));
        job.in_bands(job.source_rows.count, [&](int64_t begin, int64_t end) {
            for (int64_t y = begin; y < end; ++y) job.row(y, copy.data() + y * bytes);
        });
        source = copy.data();
        stride = bytes;
    }
    job.in_bands(job.out.h, [&](int64_t begin, int64_t end) {
        std::vector<int32_t> sums(static_cast<size_t>(bytes));
        std::vector<uint8_t> low(static_cast<size_t>(bytes));
        for (int64_t y = begin; y < end; ++y) {
            uint8_t* to = job.out.data + y * job.out.stride_h;
            const auto window = job.down.windows[y];
            rows().filter_down(source + window.start * stride, stride, job.down.weights_of(y), window.count, bytes,
                               sums.data(), job.same_width ? to : low.data());
            if (!job.same_width) job.filter_across(low.data(), to);
            if (job.alpha) divide_by_alpha(to, job.out.w);
        }
    });
}

/// Writes the part at `corner` of `box` of the picture, resized to `size`.
void resize_to(const Images& image, const Box& box, Size size, Place corner, const Canvas& out, Filter filter,
               int threads) {
    const bool same_width = size.width == image.w && box.left == 0.0 && box.right == static_cast<double>(image.w);
    const bool same_height = size.height == image.h && box.top == 0.0 && box.bottom == static_cast<double>(image.h);
    // Rounding and clipping come between the passes, so that their order shows. This is Pillow 13's.
    const int64_t lost_height = image.h - size.height, lost_width = image.w - size.width;
    const bool down_first = lost_height > 0 && lost_height > 2 * lost_width;

    const auto single = [](double value) { return static_cast<float>(value); };
    Kernel across = make_kernel(image.w, single(box.left), single(box.right), size.width, corner.x, out.w, filter);
    Kernel down = make_kernel(image.h, single(box.top), single(box.bottom), size.height, corner.y, out.h, filter);
    const Span columns = same_width ? Span{corner.x, out.w} : take_span(across);
    const Span source_rows = same_height ? Span{corner.y, out.h} : take_span(down);
    const int64_t work = down_first ? out.h * columns.count : std::max(source_rows.count, out.h) * out.w;
    const Job job{image,
                  out,
                  std::move(across),
                  std::move(down),
                  same_width,
                  same_height,
                  image.c == 4 && !(same_width && same_height),
                  columns,
                  source_rows,
                  useful_threads(threads, work, kGrain)};
    (down_first ? down_then_across : across_then_down)(job);
}

Box whole(const Images& image) { return {0.0, 0.0, static_cast<double>(image.w), static_cast<double>(image.h)}; }

}  // namespace

void resize(const Images& image, const Canvas& out, Filter filter, const Box* box_or_null, int threads) {
    const Box box = box_or_null != nullptr ? *box_or_null : whole(image);
    check(image, out, box);
    resize_to(image, box, {out.h, out.w}, {0, 0}, out, filter, threads);
}

void resize_part(const Images& image, Size size, Place corner, const Canvas& out, Filter filter, int threads) {
    check(image, out, whole(image));
    if (corner.x < 0 || corner.y < 0 || corner.x > size.width - out.w || corner.y > size.height - out.h) {
        fail("resize: a ", out.w, "x", out.h, " part at (", corner.x, ", ", corner.y, ") leaves the ", size.width, "x",
             size.height, " picture");
    }
    resize_to(image, whole(image), size, corner, out, filter, threads);
}

}  // namespace saccade
