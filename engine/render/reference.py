"""Maps to pixels in plain NumPy: what the native functions must do, written to be read, not to be fast.

The functions, arguments and results are those of `native`, for arguments that fit together.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .native import Box, Filter, Sampling, Scope

F32 = npt.NDArray[np.float32]
U8 = npt.NDArray[np.uint8]
F32_MAX = np.finfo(np.float32).max


def value_ranges(
    maps: F32, scope: Scope = "map", percentiles: tuple[float, float] = (0.0, 100.0), zero: bool = False
) -> F32:
    n, c = maps.shape[:2]
    ranges = np.zeros((n, c, 2), np.float32)
    groups = {
        "map": [(i, j) for i in range(n) for j in range(c)],
        "image": [(i, slice(None)) for i in range(n)],
        "batch": [(slice(None), slice(None))],
    }
    for group in groups[scope]:
        ranges[group] = _limits(maps[group], percentiles, zero)
    return ranges


def _limits(values: F32, percentiles: tuple[float, float], zero: bool) -> tuple[float, float]:
    finite = values[np.isfinite(values)].astype(np.float64)
    if finite.size == 0:
        return 0.0, 0.0
    low, high = np.percentile(finite, percentiles).astype(np.float32)
    if zero:
        return 0.0, max(high if high > 0 else finite.max(), 0.0)
    return (low, high) if low < high else (finite.min(), finite.max())


def taps(out: int, origin: float, extent: float, source: int) -> tuple[npt.NDArray[np.int64], F32]:
    """For each output element the first of its two source elements, and the weight of the one after it."""
    at = (np.arange(out) + 0.5 - origin) * source / extent - 0.5
    at = np.clip(at, 0, source - 1)
    first = np.floor(at).astype(np.int64)
    return first, (at - first).astype(np.float32)


def upsample(maps: F32, size: tuple[int, int], sampling: Sampling = "bilinear", box: Box | None = None) -> F32:
    """Maps [N, h, w] sampled at `size`: half-pixel centres, edge clamped; float32 [N, height, width]."""
    _, h, w = maps.shape
    left, top, right, bottom = box or (0.0, 0.0, float(size[1]), float(size[0]))
    if sampling == "nearest":
        rows = np.clip(np.floor((np.arange(size[0]) + 0.5 - top) * h / (bottom - top)), 0, h - 1).astype(int)
        columns = np.clip(np.floor((np.arange(size[1]) + 0.5 - left) * w / (right - left)), 0, w - 1).astype(int)
        return maps[:, rows][:, :, columns]
    x, wx = taps(size[1], left, right - left, w)
    y, wy = taps(size[0], top, bottom - top, h)
    wide = _mix(maps[:, :, x], maps[:, :, np.minimum(x + 1, w - 1)], wx)
    return _mix(wide[:, y], wide[:, np.minimum(y + 1, h - 1)], wy[:, None])


def _mix(first: F32, second: F32, weight: F32) -> F32:
    with np.errstate(invalid="ignore", over="ignore"):
        mixed = first * (np.float32(1) - weight) + second * weight
    return np.where(weight == 0, first, mixed)  # beside a NaN, an exact hit keeps its own value


def levels(values: F32, ranges: F32) -> F32:
    """Where values [N, …] lie on their ranges [N, 2]: 0 at low, 255 at high; 0 everywhere on a range that is empty.

    With one division for each range instead of one for each value, which is what takes the time.
    """
    low, high = (ranges[:, i].reshape(-1, *[1] * (values.ndim - 1)).astype(np.float32) for i in (0, 1))
    with np.errstate(all="ignore"):
        span = high - low
        # A power of two, so that nothing is rounded: neither the span nor 255 / span may overflow.
        pre = np.where(span > F32_MAX, np.float32(0.5), np.where(span < np.float32(1e-30), np.float32(2**100), 1))
        pre = pre.astype(np.float32)
        spread = high * pre - low * pre
        drawn = (span > 0) & (spread <= F32_MAX)
        gain = np.float32(255) / np.where(drawn, spread, np.float32(1))
        return np.where(drawn, (values * pre - low * pre) * gain, np.float32(0))


def quantise(values: F32) -> U8:
    """Levels to indices 0..255; NaN is 0."""
    with np.errstate(invalid="ignore"):
        return np.floor(np.where(values > 0, np.minimum(values, np.float32(255)), 0) + np.float32(0.5)).astype(np.uint8)


def index_maps(
    maps: F32,
    ranges: F32,
    size: tuple[int, int] | None = None,
    sampling: Sampling = "bilinear",
    box: Box | None = None,
) -> U8:
    """Scaled first and sampled then: a straight line, so that it makes no difference but of rounding."""
    return quantise(upsample(levels(maps, ranges), size or (maps.shape[1], maps.shape[2]), sampling, box))


def blend(photo: U8, colour: U8, opacity: int) -> U8:
    """Opacity 0 (the photo alone) to 256 (the colour alone), in whole numbers."""
    return ((photo.astype(np.int64) * (256 - opacity) + colour.astype(np.int64) * opacity + 128) >> 8).astype(np.uint8)


def overlay(
    canvas: U8,
    maps: F32,
    ranges: F32,
    photos: U8 | None,
    size: tuple[int, int],
    places: npt.NDArray[np.int64],
    colours: U8,
    opacity: int = 128,
    sampling: Sampling = "bilinear",
    boxes: npt.NDArray[np.float64] | None = None,
) -> None:
    for n, (x, y) in enumerate(places):
        box = None if boxes is None else tuple(boxes[n])
        picture = colours[index_maps(maps[n : n + 1], ranges[n : n + 1], size, sampling, box)[0]]
        if photos is not None:
            picture = blend(photos[n], picture, opacity)  # one grey channel broadcasts over three
        canvas[y : y + size[0], x : x + size[1]] = picture


def tile(
    maps: F32,
    ranges: F32 | None,
    size: tuple[int, int],
    columns: int,
    gap: int,
    background: tuple[int, int, int],
    colours: U8,
    sampling: Sampling = "nearest",
) -> U8:
    ranges = value_ranges(maps[:, None])[:, 0] if ranges is None else ranges
    columns = min(columns, max(len(maps), 1))
    rows = -(-len(maps) // columns)
    canvas = np.empty((rows * (size[0] + gap) + gap, columns * (size[1] + gap) + gap, 3), np.uint8)
    canvas[:] = background
    corners = [(gap + n % columns * (size[1] + gap), gap + n // columns * (size[0] + gap)) for n in range(len(maps))]
    overlay(canvas, maps, ranges, None, size, np.array(corners, np.int64).reshape(-1, 2), colours, 256, sampling)
    return canvas


def resize(image: U8, height: int, width: int, filter: Filter = "bilinear", box: Box | None = None) -> U8:
    """One axis after the other, rounded to bytes in between, as Pillow 13 does; RGBA is weighted by its alpha."""
    left, top, right, bottom = box or (0.0, 0.0, float(image.shape[1]), float(image.shape[0]))
    across = filter_matrix(image.shape[1], left, right, width, filter)
    down = filter_matrix(image.shape[0], top, bottom, height, filter)
    unchanged = across is None and down is None
    pixels = image.astype(np.int64)
    if image.shape[2] == 4 and not unchanged:
        product = pixels[..., :3] * pixels[..., 3:] + 128
        pixels[..., :3] = (product + (product >> 8)) >> 8
    lost_rows, lost_columns = image.shape[0] - height, image.shape[1] - width
    passes = [("ox,yxc->yoc", across), ("oy,yxc->oxc", down)]
    for axes, weights in passes[::-1] if lost_rows > max(0, 2 * lost_columns) else passes:
        if weights is not None:
            pixels = _to_bytes(np.einsum(axes, weights, pixels))
    if image.shape[2] == 4 and not unchanged:
        alpha = pixels[..., 3:]
        divided = np.minimum(255 * pixels[..., :3] // np.maximum(alpha, 1), 255)
        pixels[..., :3] = np.where(alpha == 0, pixels[..., :3], divided)
    return pixels.astype(np.uint8)


def _to_bytes(sums: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    return np.clip((sums + (1 << 21)) >> 22, 0, 255)


def filter_matrix(source: int, start: float, end: float, out: int, filter: Filter) -> npt.NDArray[np.int64] | None:
    """Weights [out, source] in units of 2^-22; None where the axis stays as it is."""
    if out == source and start == 0 and end == source:
        return None
    first_edge, last_edge = np.float32(start), np.float32(end)  # as Pillow has them
    scale = float(last_edge - first_edge) / out
    stretch = max(scale, 1.0)
    support = (2.0 if filter == "bicubic" else 1.0) * stretch
    matrix = np.zeros((out, source), np.int64)
    for i in range(out):
        centre = float(first_edge) + (i + 0.5) * scale
        first = max(0, int(centre - support + 0.5))
        last = min(source, int(centre + support + 0.5))
        x = np.abs((np.arange(first, last) - centre + 0.5) / stretch)
        if filter == "bilinear":
            weights = np.maximum(0, 1 - x)
        else:
            near = (1.5 * x - 2.5) * x * x + 1
            far = (((x - 5) * x + 8) * x - 4) * -0.5
            weights = np.where(x < 1, near, np.where(x < 2, far, 0))
        weights = weights / weights.sum()
        matrix[i, first:last] = np.trunc(weights * 2**22 + np.copysign(0.5, weights))
    return matrix
