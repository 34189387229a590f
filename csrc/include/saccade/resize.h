// Antialiased resizing of photos.
#pragma once

#include "saccade/views.h"

namespace saccade {

enum class Filter { kBilinear, kBicubic };

/// Resizes the one picture of `image` (N = 1, C = 1, 3 or 4; 4 is RGBA, weighted by its alpha) to the size of `out`,
/// with the very pixels that Pillow 13's Image.resize gives: across first, then down, or down first where the picture
/// loses more than twice as many rows as columns. (Before 13, Pillow always went across first; there it differs, mostly
/// by one level.) `box` is the part of `image` to take, in its pixels; null: all. Throws Error when the box leaves the
/// image or has no area, or when the channels differ.
void resize(const Images& image, const Canvas& out, Filter filter, const Box* box, int threads = 0);

/// The same pixels as resizing all of `image` to `size` and cutting the size of `out` at `corner`, without the work for
/// what is cut off. Throws Error when that leaves the new picture, or when the channels differ.
void resize_part(const Images& image, Size size, Place corner, const Canvas& out, Filter filter, int threads = 0);

}  // namespace saccade
