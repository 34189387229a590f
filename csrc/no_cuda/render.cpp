// The functions of csrc/cuda for a build without CUDA.
#include "saccade/cuda.h"
#include "saccade/error.h"

namespace saccade::cuda {
namespace {

[[noreturn]] void absent(const char* function) {
    fail("render: ", function, ": this build has no CUDA; give arrays in the computer's memory (.cpu()), or install ",
         "CUDA's compiler nvcc and build again with -DSACCADE_CUDA=ON");
}

}  // namespace

bool built() { return false; }

void value_ranges(const MapStack&, const RangeOptions&, Range*, void*) { absent("value_ranges"); }

void overlay(const Canvas&, const Maps&, const Range*, const Images*, Size, const Place*, const Box*, const Style&,
             void*) {
    absent("overlay");
}

void tile(const Canvas&, const Maps&, const Range*, Size, const Grid&, const Style&, void*) { absent("tile"); }

}  // namespace saccade::cuda
