#include <cmath>
#include <vector>

#include "../runtime/prepare.h"
#include "arguments.h"
#include "saccade/render.h"

namespace capi = saccade::capi;
using saccade::fail;

namespace {

/// Sides and counts up to here keep every size in bytes within 64 bits; memory ends long before.
constexpr int64_t kMaxSide = 1 << 20;

saccade::Maps maps_of(const char* what, const float* data, int64_t count, int64_t height, int64_t width) {
    if (data == nullptr) fail(what, ": the map is a null pointer");
    if (count < 1 || height < 1 || width < 1 || count > kMaxSide || height > kMaxSide || width > kMaxSide) {
        fail(what, ": expected maps with 1 to ", kMaxSide, " rows and columns, got ", count, " of ", width, "x",
             height);
    }
    const auto value = static_cast<int64_t>(sizeof(float));
    return {data, count, height, width, height * width * value, width * value, value};
}

saccade::Maps maps_of(const char* what, const saccade_map* map) {
    if (map == nullptr) fail(what, ": the map is a null pointer");
    return maps_of(what, map->data, 1, map->height, map->width);
}

saccade::Range own_range(const saccade::Maps& map, bool from_zero) {
    const saccade::MapStack stack{map.data, 1, 1, map.h, map.w, 0, 0, map.stride_h, map.stride_w};
    saccade::RangeOptions options;
    options.zero = from_zero;
    saccade::Range range{};
    saccade::value_ranges(stack, options, &range, 1);
    return range;
}

struct DrawingStyle {
    saccade::Style style;
    bool own_limits;
    saccade::Range limits;
    int threads;
};

DrawingStyle style_of(const saccade_style* given, const char* colormap) {
    const saccade_style known = capi::read(given, "style");
    if (known.colormap != nullptr) colormap = known.colormap;
    const double opacity = known.opacity == 0.0 ? 0.5 : known.opacity;
    if (!(opacity > 0.0 && opacity <= 1.0)) {
        fail("style: opacity must be 0 to 1 (the map alone; 0 stands for 0.5), not ", opacity);
    }
    if (!std::isfinite(known.low) || !std::isfinite(known.high) || known.low > known.high) {
        fail("style: the limits must be low < high, or equal for the map's own, not (", known.low, ", ", known.high,
             ")");
    }
    DrawingStyle drawing{};
    drawing.style.colours = &saccade::colormap(colormap);
    drawing.style.opacity = static_cast<int>(std::nearbyint(opacity * 256.0));
    drawing.style.sampling = known.nearest != 0 ? saccade::Sampling::kNearest : saccade::Sampling::kBilinear;
    drawing.own_limits = known.low == known.high;
    drawing.limits = {known.low, known.high};
    drawing.threads = known.threads;
    return drawing;
}

saccade::Canvas canvas_of(const char* what, const saccade_canvas* canvas) {
    if (canvas == nullptr || canvas->data == nullptr) fail(what, ": the canvas is a null pointer");
    const int64_t width = canvas->width, height = canvas->height;
    if (width < 1 || height < 1 || width > 64 * kMaxSide || height > 64 * kMaxSide) {
        fail(what, ": the canvas is ", width, "x", height, " pixels; expected sides of 1 to ", 64 * kMaxSide);
    }
    saccade::check_stride(canvas->stride, width * 3, std::string(what) + ": the canvas");
    const int64_t stride = canvas->stride != 0 ? canvas->stride : width * 3;
    return {canvas->data, height, width, 3, stride};
}

saccade::Grid grid_of(const saccade_grid* given, int64_t count, saccade::Size& size) {
    const saccade_grid known = capi::read(&capi::need(given, "sheet: grid"), "grid");
    if (known.height < 1 || known.width < 1 || known.height > kMaxSide || known.width > kMaxSide) {
        fail("sheet: each picture must have sides of 1 to ", kMaxSide, " pixels, not ", known.width, "x", known.height);
    }
    for (const uint8_t byte : known.reserved) {
        if (byte != 0) fail("sheet: the grid's reserved bytes must be 0; a newer libsaccade may know them");
    }
    if (count < 1 || count > kMaxSide) fail("sheet: expected 1 to ", kMaxSide, " pictures, got ", count);
    size = {known.height, known.width};
    return {known.columns, known.gap, {known.background[0], known.background[1], known.background[2]}};
}

}  // namespace

saccade_status saccade_map_range(const saccade_map* map, int32_t from_zero, float* low, float* high,
                                 saccade_error* error) {
    return capi::guarded(error, [&] {
        const saccade::Range range = own_range(maps_of("range", map), from_zero != 0);
        if (low != nullptr) *low = range.low;
        if (high != nullptr) *high = range.high;
    });
}

saccade_status saccade_find_region(const saccade_map* map, float threshold, int64_t height, int64_t width,
                                   const saccade_box* view, saccade_region* region, saccade_error* error) {
    return capi::guarded(error, [&] {
        capi::need(region, "region: region");
        const saccade::Box whole{0.0, 0.0, static_cast<double>(width), static_cast<double>(height)};
        const saccade::Region found = saccade::find_region(maps_of("region", map), threshold, {height, width},
                                                           view != nullptr ? capi::box_of(*view) : whole);
        *region = {capi::box_of(found.box), found.area, found.evidence, found.peak_x, found.peak_y, found.peak};
    });
}

saccade_status saccade_draw_overlay(const saccade_image* frame, const saccade_map* map, const saccade_box* view,
                                    const saccade_style* style, const saccade_canvas* canvas, saccade_error* error) {
    return capi::guarded(error, [&] {
        const saccade::Maps maps = maps_of("overlay", map);
        const saccade::Canvas to = canvas_of("overlay", canvas);
        saccade::Images photo{};
        if (frame != nullptr) {
            const saccade::Frame given = capi::frame_of(*frame);
            saccade::check_frame(given, "overlay: the frame");
            photo = saccade::picture_of(given);
        }
        const DrawingStyle drawing = style_of(style, frame != nullptr ? "viridis" : "gray");
        const saccade::Range range = drawing.own_limits ? own_range(maps, true) : drawing.limits;
        const saccade::Place corner{0, 0};
        const saccade::Box box = view != nullptr ? capi::box_of(*view) : saccade::Box{};
        saccade::overlay(to, maps, &range, frame != nullptr ? &photo : nullptr, {to.h, to.w}, &corner,
                         view != nullptr ? &box : nullptr, drawing.style, drawing.threads);
    });
}

saccade_status saccade_sheet_size(int64_t count, const saccade_grid* grid, int64_t* height, int64_t* width,
                                  saccade_error* error) {
    return capi::guarded(error, [&] {
        saccade::Size size{};
        const saccade::Grid known = grid_of(grid, count, size);
        const saccade::Size needed = saccade::grid_size(count, size, known);
        if (height != nullptr) *height = needed.height;
        if (width != nullptr) *width = needed.width;
    });
}

saccade_status saccade_draw_sheet(const float* maps, int64_t count, int64_t map_height, int64_t map_width,
                                  const saccade_grid* grid, const saccade_style* style, const saccade_canvas* canvas,
                                  saccade_error* error) {
    return capi::guarded(error, [&] {
        const saccade::Maps stack = maps_of("sheet", maps, count, map_height, map_width);
        saccade::Size size{};
        const saccade::Grid known = grid_of(grid, count, size);
        const DrawingStyle drawing = style_of(style, "gray");
        const std::vector<saccade::Range> limits(static_cast<size_t>(drawing.own_limits ? 0 : count), drawing.limits);
        saccade::tile(canvas_of("sheet", canvas), stack, drawing.own_limits ? nullptr : limits.data(), size, known,
                      drawing.style, drawing.threads);
    });
}
