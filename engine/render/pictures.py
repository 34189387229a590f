"""The pictures that people ask for: maps over photos, a layer's channels side by side, a map on the upright photo."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from saccade import _native
from saccade.engine.contract import UsageError
from saccade.engine.contract.spec import MapKind

from .arrays import as_array, as_out
from .colormaps import ColormapName, colormap
from .native import Box, overlay, tile

U8 = npt.NDArray[np.uint8]
F32 = npt.NDArray[np.float32]
Scale = Literal["image", "batch", "calibrated"]

_KINDS = get_args(MapKind)

_GRADIENT_PERCENTILE = 99.0
"""Saliency is a few very bright pixels among dark ones: scaled by its maximum, a photo's map is almost black."""


def display_ranges(
    maps: Any, scale: Scale = "image", calibrated: tuple[float, float] | None = None, kind: MapKind = "cam"
) -> F32:
    """The limits between which maps of a kind are shown.

    All but activations are evidence: low is fixed at 0, so a map without positive evidence has the range (0, 0) and is
    drawn blank, index 0 everywhere; of a signed map what speaks for the target is drawn. The high of gradients and
    signed maps is their 99th percentile, the others' their maximum.

    Args:
        maps: float32 [N, h, w].
        scale: "image" takes each map's own limits, "batch" one pair for all of them, "calibrated" the given one.
        calibrated: (low, high) with low < high, for "calibrated".
        kind: "cam", "gradient", "signed" or "activations".

    Returns:
        float32 [N, 2].

    Raises:
        UsageError: an unknown scale or kind, or "calibrated" without its limits.
    """
    return _display_ranges(as_array(maps, "maps", np.float32, "[N, h, w]"), scale, calibrated, kind)


def _display_ranges(stack: F32, scale: Scale, calibrated: tuple[float, float] | None, kind: MapKind) -> F32:
    if kind not in _KINDS:
        raise UsageError(f"render: kind must be one of {', '.join(_KINDS)}, not {kind!r}")
    if scale == "calibrated":
        if calibrated is None:
            raise UsageError("render: scale 'calibrated' needs calibrated=(low, high); this program carries none")
        low, high = calibrated
        if not low < high:
            raise UsageError(f"render: calibrated must be low < high, not ({low}, {high})")
        return np.tile(np.array([low, high], np.float32), (len(stack), 1))
    if scale not in ("image", "batch"):
        raise UsageError(f"render: scale must be image, batch or calibrated, not {scale!r}")
    ranges = np.empty((len(stack), 2), np.float32)
    high = _GRADIENT_PERCENTILE if kind in ("gradient", "signed") else 100.0
    scope = "map" if scale == "image" else "batch"
    _native.value_ranges(stack[:, None], scope, 0.0, high, kind != "activations", ranges, 0)
    return ranges


def overlay_pictures(
    maps: Any,
    photos: Any,
    scale: Scale = "image",
    calibrated: tuple[float, float] | None = None,
    kind: MapKind = "cam",
    colours: ColormapName | str = "viridis",
    opacity: float = 0.5,
    threads: int = 0,
    *,
    out: U8 | None = None,
) -> U8:
    """Each map, in colour, over the photo that the network saw.

    Args:
        maps: float32 [N, h, w], raw.
        photos: uint8 [N, H, W, 3] or [N, H, W, 1].
        scale, calibrated, kind: see `display_ranges`.
        colours: a colormap's name.
        opacity: 0 (the photo alone) to 1 (the map alone).
        threads: the most threads to use, 0 for one per core.
        out: where the pictures go, see `native`.

    Returns:
        uint8 [N, H, W, 3].

    Raises:
        UsageError: see `display_ranges`; types or shapes that do not fit; an opacity beyond 0..1.
    """
    pictures = as_array(photos, "photos", np.uint8, "[N, H, W, C]")
    stack = as_array(maps, "maps", np.float32, "[N, h, w]")
    count, height, width, _ = pictures.shape
    if len(stack) != count:
        raise UsageError(f"render: {len(stack)} maps came with {count} photos; give one for each map")
    ranges = _display_ranges(stack, scale, calibrated, kind)
    made = as_out(out, (count, height, width, 3), {"maps": stack, "photos": pictures})
    # The batch [N, H, W, 3] is one canvas with the pictures one below the other. For one small photo `native.overlay`'s
    # checks, of what is known here, took a tenth of the time.
    _native.overlay(
        made.reshape(count * height, width, 3),
        stack,
        ranges,
        pictures,
        height,
        width,
        _one_below_the_other(count, height),
        None,
        colormap(colours),
        _steps(opacity),
        "bilinear",
        threads,
    )
    return made


@lru_cache(maxsize=16)
def _one_below_the_other(count: int, height: int) -> npt.NDArray[np.int64]:
    places = np.zeros((count, 2), np.int64)
    places[:, 1] = np.arange(count) * height
    places.flags.writeable = False
    return places


def channel_mosaic(
    maps: Any,
    size: int | None = None,
    columns: int | None = None,
    limit: int | None = 64,
    colours: ColormapName | str = "gray",
    gap: int = 2,
    *,
    out: U8 | None = None,
) -> U8:
    """A layer's channels side by side, each between its own minimum and maximum: black to white in grey.

    Args:
        maps: float32 [C, h, w], one image's activations.
        size: the longer side of each channel in pixels; by default whole steps of the map's own, about 64.
        columns: channels in a row; by default about as many as rows.
        limit: at most so many channels, from the first; None for all.
        colours: a colormap's name.
        gap: white pixels between channels.
        out: where the picture goes, see `native`.

    Returns:
        uint8 [H, W, 3].

    Raises:
        UsageError: another type or shape, or numbers out of range.
    """
    stack = as_array(maps, "maps", np.float32, "[C, h, w]")[:limit]
    count, h, w = stack.shape
    if count == 0 or h == 0 or w == 0:
        raise UsageError(f"render: a mosaic needs at least one channel with values, not {list(stack.shape)}")
    longer = max(h, w)
    wanted = max(1, round(64 / longer)) * longer if size is None else size
    cell = (max(1, round(h * wanted / longer)), max(1, round(w * wanted / longer)))
    # Rows as high as wide: columns × w ≈ rows × h.
    across = columns if columns is not None else max(1, round((count * cell[0] / cell[1]) ** 0.5))
    return tile(stack, None, cell, across, gap, colours=colormap(colours), out=out)


def filter_mosaic(
    weights: Any, channel: int | None = None, size: int | None = None, columns: int | None = None, gap: int = 2
) -> U8:
    """A convolution's filters side by side: in colour where they read RGB, else one input channel of each, in grey.

    Each is scaled to its own largest magnitude, with zero at middle grey.

    Args:
        weights: float32 [O, I, kh, kw].
        channel: the input channel to draw; by default all three of RGB, else the first.
        size: the longer side of each filter in pixels; by default whole steps of the filter's own, about 64.
        columns: filters in a row; by default about as many as rows.
        gap: white pixels between filters.

    Returns:
        uint8 [H, W, 3].

    Raises:
        UsageError: another type or shape, or a channel that the filters do not read.
    """
    stack = as_array(weights, "weights", np.float32, "[O, I, kh, kw]")
    if channel is not None and not 0 <= channel < stack.shape[1]:
        raise UsageError(f"render: channel {channel} is out of range; the filters read {stack.shape[1]} channels")
    if channel is None and stack.shape[1] == 3:
        most = np.abs(stack).max(axis=(1, 2, 3), keepdims=True)
        planes = stack / np.where(most > 0, most, 1)
        colours = [_tiled_planes(planes[:, c], size, columns, gap) for c in range(3)]
        return np.stack([c[..., 0] for c in colours], axis=2)
    plane = stack[:, channel or 0]
    most = np.abs(plane).max(axis=(1, 2), keepdims=True)
    return _tiled_planes(plane / np.where(most > 0, most, 1), size, columns, gap)


def _tiled_planes(planes: F32, size: int | None, columns: int | None, gap: int) -> U8:
    count, h, w = planes.shape
    step = max(1, round((64 if size is None else size) / max(h, w)))
    # Filters are a handful of numbers: shown as squares, not smoothed.
    large = np.ascontiguousarray(planes.repeat(step, axis=1).repeat(step, axis=2))
    across = columns if columns is not None else max(1, round((count * h / w) ** 0.5))
    limits = np.tile(np.array([-1, 1], np.float32), (count, 1))
    return tile(large, limits, large.shape[1:], across, gap, colours=colormap("gray"))


def overlay_on_photo(
    map: Any,
    photo: Any,
    view: Box,
    value_range: tuple[float, float],
    colours: ColormapName | str = "viridis",
    opacity: float = 0.5,
    threads: int = 0,
    *,
    out: U8 | None = None,
) -> U8:
    """A map on the upright photo at its full size, drawn only where the network looked; the rest is grey and pale.

    Args:
        map: float32 [h, w], raw.
        photo: uint8 [H, W, 3], upright.
        view: (left, top, right, bottom), where the map lies in the photo, in its pixels, fractions allowed
            (`Record.view`). A pixel belongs to the view when its centre does.
        value_range: (low, high), see `display_ranges`.
        colours: a colormap's name.
        opacity: 0 (the photo alone) to 1 (the map alone).
        threads: the most threads to use, 0 for one per core.
        out: where the picture goes, see `native`.

    Returns:
        uint8 [H, W, 3].

    Raises:
        UsageError: types or shapes that do not fit, or a view without a pixel of the photo.
    """
    values = as_array(map, "the map", np.float32, "[h, w]")
    picture = as_array(photo, "the photo", np.uint8, "[H, W, 3]")
    left, top, right, bottom = view
    inside = np.isfinite(view).all() and left < right and top < bottom
    # Centres from `left` on and before `right`: pixel i has its centre at i + 0.5.
    x0, x1 = _span(left, right, picture.shape[1]) if inside else (0, 0)
    y0, y1 = _span(top, bottom, picture.shape[0]) if inside else (0, 0)
    if x0 >= x1 or y0 >= y1:
        size = f"{picture.shape[1]}x{picture.shape[0]}"
        raise UsageError(f"render: view {tuple(view)} holds no pixel of the {size} photo; expected left < right within")
    made = as_out(out, picture.shape, {"the map": values, "the photo": picture})
    for rows, columns in (
        (slice(0, y0), slice(None)),
        (slice(y1, None), slice(None)),
        (slice(y0, y1), slice(0, x0)),
        (slice(y0, y1), slice(x1, None)),
    ):
        made[rows, columns] = _faded(picture[rows, columns])
    seen = picture[y0:y1, x0:x1]
    overlay(
        made[y0:y1, x0:x1],
        values[None],
        [value_range],
        seen[None],
        seen.shape[:2],
        [(0, 0)],
        colormap(colours),
        _steps(opacity),
        boxes=[(left - x0, top - y0, right - x0, bottom - y0)],
        threads=threads,
    )
    return made


def _span(start: float, end: float, size: int) -> tuple[int, int]:
    return int(np.clip(np.ceil(start - 0.5), 0, size)), int(np.clip(np.ceil(end - 0.5), 0, size))


def _faded(pixels: U8) -> U8:
    """Grey (ITU-R 601 luma) and halfway to white: recognisable, and nothing like a colormap's colours."""
    luma = pixels @ np.array([299, 587, 114], np.uint32)
    return np.repeat(((luma + 255_000) // 2000).astype(np.uint8)[..., None], 3, axis=-1)


def _steps(opacity: float) -> int:
    if not 0.0 <= opacity <= 1.0:
        raise UsageError(f"render: opacity must be 0 (the photo alone) to 1 (the map alone), not {opacity}")
    return round(opacity * 256)
