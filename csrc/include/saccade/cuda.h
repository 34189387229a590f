// The functions of render.h for maps and pictures in a GPU's memory. Everything that is pointed to lies there, but the
// colour table of a Style. Work is queued on `stream` (a cudaStream_t; null: the default one) and nothing waits for it.
// A build without CUDA has them too; they throw an Error that says what to do.
#pragma once

#include "saccade/render.h"

namespace saccade::cuda {

/// Whether this build has CUDA; it says nothing of the machine.
bool built();

/// As saccade::value_ranges, of minimum and maximum only: percentiles need an order, and are taken on the CPU.
void value_ranges(const MapStack& maps, const RangeOptions& options, Range* ranges, void* stream);

/// As saccade::overlay, in one launch for the whole batch. The GPU cannot refuse a place or a box before it draws: a
/// picture that would leave the canvas, or whose box has no area, is left out. Where pictures overlap, either may be on
/// top.
void overlay(const Canvas& canvas, const Maps& maps, const Range* ranges, const Images* photos, Size size,
             const Place* places, const Box* boxes, const Style& style, void* stream);

/// As saccade::tile, in one launch, background included; the ranges must be given.
void tile(const Canvas& canvas, const Maps& maps, const Range* ranges, Size size, const Grid& grid, const Style& style,
          void* stream);

}  // namespace saccade::cuda
