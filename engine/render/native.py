"""Maps to pixels in C++: thin wrappers over the extension module, which does the work without the GIL.

Every array may be a NumPy array, an object with the buffer protocol or a DLPack tensor on the CPU, with any strides;
nothing is copied. `threads` is the most threads to use, 0 for one per core; the result does not depend on it.

`out` is where a result goes, as in NumPy: an array of its very shape, uint8, C-contiguous, writable and apart from the
inputs, which is written in place and returned; by default fresh memory. Who draws one picture after another gives the
same one each time: for a large one, fresh memory costs nearly as much as the drawing (benchmarks/render.py).
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from saccade import _native
from saccade.engine.contract import UsageError

from .arrays import as_array, as_out, as_table
from .colormaps import colormap

Scope = Literal["map", "image", "batch"]
Sampling = Literal["bilinear", "nearest"]
Filter = Literal["bilinear", "bicubic"]
Box = tuple[float, float, float, float]
"""(left, top, right, bottom) in pixels."""


def value_ranges(
    maps: Any,
    scope: Scope = "map",
    percentiles: tuple[float, float] = (0.0, 100.0),
    zero: bool = False,
    threads: int = 0,
) -> npt.NDArray[np.float32]:
    """The limits (low, high) between which maps are shown.

    Args:
        maps: float32 [N, C, h, w]. NaN and infinities are left out.
        scope: over what the limits are taken: each "map", the C maps of an "image", or the whole "batch".
        percentiles: low and high in 0..100, linear between order statistics. Where they fall together although the
            values differ (a map that is nearly everywhere 0), minimum and maximum are taken instead.
        zero: fix low at 0, for evidence that is never negative.

    Returns:
        float32 [N, C, 2]; (0, 0) where there is no finite value, and with `zero` where none is positive.

    Raises:
        UsageError: another type or shape, or percentiles that are not 0 <= low < high <= 100.
    """
    stack = as_array(maps, "maps", np.float32, "[N, C, h, w]")
    low, high = percentiles
    ranges = np.empty((stack.shape[0] * stack.shape[1], 2), np.float32)
    _native.value_ranges(stack, scope, low, high, zero, ranges, threads)
    return ranges.reshape(stack.shape[0], stack.shape[1], 2)


def index_maps(
    maps: Any,
    ranges: Any,
    size: tuple[int, int] | None = None,
    sampling: Sampling = "bilinear",
    threads: int = 0,
    *,
    out: npt.NDArray[np.uint8] | None = None,
) -> npt.NDArray[np.uint8]:
    """Sample maps at a size and scale them by their ranges to indices, in one pass.

    index = floor(clamp((value - low) * (255 / (high - low)), 0, 255) + 0.5). A map whose range is empty
    (high <= low) is 0 everywhere; NaN is 0. Bilinear sampling has half-pixel centres and a clamped edge
    (`align_corners=False`).

    Args:
        maps: float32 [N, h, w].
        ranges: float32 [N, 2], each map's (low, high).
        size: (height, width) of the result; the maps' own by default.
        sampling: "bilinear" or "nearest".

    Returns:
        uint8 [N, height, width].

    Raises:
        UsageError: types or shapes that do not fit.
    """
    stack = as_array(maps, "maps", np.float32, "[N, h, w]")
    height, width = _size(stack.shape[1:] if size is None else size)
    table = as_table(ranges, "ranges", np.float32, len(stack), 2)
    indices = as_out(out, (len(stack), height, width), {"maps": stack, "ranges": table})
    _native.index_maps(stack, table, sampling, indices, threads)
    return indices


def overlay(
    canvas: Any,
    maps: Any,
    ranges: Any,
    photos: Any | None,
    size: tuple[int, int],
    places: Any,
    colours: Any = None,
    opacity: int = 128,
    sampling: Sampling = "bilinear",
    boxes: Any | None = None,
    threads: int = 0,
) -> None:
    """Draw each map, blended over its photo, at its place in the canvas, in one pass from floats to final pixels.

    A pixel is (photo * (256 - opacity) + colour * opacity + 128) >> 8, the colour that of its index (`index_maps`).
    Where pictures overlap the later one is on top.

    Args:
        canvas: uint8 [Hc, Wc, 3], written in place; a crop of a larger one will do.
        maps: float32 [N, h, w].
        ranges: float32 [N, 2], each map's (low, high).
        photos: uint8 [N, height, width, 3] or, grey, [N, height, width, 1]; None draws the maps alone.
        size: (height, width) of each picture in pixels.
        places: int64 [N, 2], the (x, y) of each picture's top-left corner in the canvas.
        colours: uint8 [256, 3], see `colormap`; viridis by default.
        opacity: 0 (the photo alone) to 256 (the map alone).
        sampling: "bilinear" or "nearest".
        boxes: float64 [N, 4], where the map lies in its picture, (left, top, right, bottom) in the picture's pixels;
            by default the map covers it. Beyond its box a map's edge is repeated.

    Raises:
        UsageError: types or shapes that do not fit, or a place outside the canvas. Nothing is drawn then.
    """
    target = _writable(canvas)
    stack = as_array(maps, "maps", np.float32, "[N, h, w]")
    count = len(stack)
    height, width = _size(size)
    _native.overlay(
        target,
        stack,
        as_table(ranges, "ranges", np.float32, count, 2),
        None if photos is None else as_array(photos, "photos", np.uint8, "[N, H, W, C]"),
        height,
        width,
        as_table(places, "places", np.int64, count, 2),
        None if boxes is None else as_table(boxes, "boxes", np.float64, count, 4),
        _colours(colours),
        opacity,
        sampling,
        threads,
    )


def tile(
    maps: Any,
    ranges: Any,
    size: tuple[int, int],
    columns: int,
    gap: int = 2,
    background: tuple[int, int, int] = (255, 255, 255),
    colours: Any = None,
    sampling: Sampling = "nearest",
    threads: int = 0,
    *,
    out: npt.NDArray[np.uint8] | None = None,
) -> npt.NDArray[np.uint8]:
    """Draw maps side by side, row by row: the picture of a layer's channels.

    Args:
        maps: float32 [M, h, w].
        ranges: float32 [M, 2], each map's (low, high); None: each map's own minimum and maximum, found as it is drawn.
        size: (height, width) of each map in the picture, in pixels.
        columns: at most so many maps in a row.
        gap: pixels between neighbours and around the whole.
        background: red, green and blue, 0..255, of what no map covers.
        colours: uint8 [256, 3], see `colormap`; gray by default.
        sampling: "nearest" shows the map's own values, "bilinear" smooths them.

    Returns:
        uint8 [rows * (height + gap) + gap, columns * (width + gap) + gap, 3].

    Raises:
        UsageError: types, shapes or numbers that do not fit.
    """
    stack = as_array(maps, "maps", np.float32, "[M, h, w]")
    height, width = _size(size)
    table = None if ranges is None else as_table(ranges, "ranges", np.float32, len(stack), 2)
    check_background(background)
    colours = _colours(colormap("gray") if colours is None else colours)
    shape = (*_native.grid_size(len(stack), height, width, columns, gap), 3)
    canvas = as_out(out, shape, {"maps": stack, "ranges": table, "colours": colours})
    _native.tile(canvas, stack, table, height, width, columns, gap, background, colours, sampling, threads)
    return canvas


def resize(
    image: Any,
    height: int,
    width: int,
    filter: Filter = "bilinear",
    box: Box | None = None,
    threads: int = 1,
    *,
    out: npt.NDArray[np.uint8] | None = None,
) -> npt.NDArray[np.uint8]:
    """Resize a photo with antialiasing, to the very pixels that Pillow 13's `Image.resize` gives.

    It goes across first and then down, or down first where the picture loses more than twice as many rows as columns.
    Before 13, Pillow always went across first: there it differs by what rounding and clipping in between make of it,
    mostly one level.

    Args:
        image: uint8 [H, W, C], C = 1 (grey), 3 (RGB) or 4 (RGBA, weighted by alpha).
        height, width: the new size in pixels.
        filter: "bilinear" or "bicubic".
        box: the part of the image to take, in its pixels, fractions allowed; all of it by default.

    Returns:
        uint8 [height, width, C].

    Raises:
        UsageError: another type or shape, a size below 1, or a box that leaves the image.
    """
    source = as_array(image, "the image", np.uint8, "[H, W, C]", place="resize")
    if height < 1 or width < 1:
        raise UsageError(f"resize: the new size must be at least 1x1 pixels, not {width}x{height}")
    result = as_out(out, (height, width, source.shape[2]), {"the image": source}, "resize")
    _native.resize(source, result, filter, box, threads)
    return result


def _size(size: tuple[int, ...]) -> tuple[int, int]:
    height, width = size
    if height < 1 or width < 1:
        raise UsageError(f"render: the size must be at least 1x1 pixels, not {width}x{height}")
    return int(height), int(width)


def _writable(canvas: Any) -> npt.NDArray[np.uint8]:
    target = as_array(canvas, "the canvas", np.uint8, "[H, W, 3]")
    if not target.flags.writeable:
        raise UsageError("render: the canvas is read-only; give an array that may be written to")
    return target


def _colours(colours: Any) -> npt.NDArray[np.uint8]:
    table = colormap("viridis") if colours is None else as_array(colours, "colours", np.uint8, "[256, 3]")
    if table.shape != (256, 3):
        raise UsageError(f"render: colours must be [256, 3], not {list(table.shape)}; see render.colormap")
    return np.ascontiguousarray(table)


def check_background(background: tuple[int, int, int]) -> None:
    """Refuse what is no colour."""
    if len(background) != 3 or any(not 0 <= part <= 255 for part in background):
        raise UsageError(f"render: background must be three numbers 0..255, not {background}")
