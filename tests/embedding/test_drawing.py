"""What the C API draws and measures is what the Python package draws, and what NumPy measures."""

from __future__ import annotations

import ctypes as c
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from capi import Box, Canvas, Grid, Library, Map, Region, SaccadeError, Style, image_of

from saccade.engine.render import colormap, native
from saccade.engine.render.pictures import channel_mosaic, overlay_pictures
from saccade.engine.render.reference import upsample

F32 = npt.NDArray[np.float32]
U8 = npt.NDArray[np.uint8]


def map_of(values: F32) -> Map:
    assert values.dtype == np.float32
    assert values.flags.c_contiguous
    return Map(values.ctypes.data, *values.shape)


def canvas_of(pixels: U8) -> Canvas:
    return Canvas(pixels.ctypes.data, *pixels.shape[:2], pixels.strides[0])


@pytest.fixture
def values() -> F32:
    made = np.random.default_rng(0).normal(size=(7, 9)).astype(np.float32)
    made[2, 3] = np.nan
    return made


@pytest.fixture
def photo() -> U8:
    return np.random.default_rng(1).integers(0, 256, (61, 83, 3), dtype=np.uint8)


def drawn(library: Library, photo: U8, values: F32, mode: str = "RGB", view: Any = None, **style: Any) -> U8:
    canvas = np.full((*photo.shape[:2], 3), 7, np.uint8)
    box = c.byref(Box(*view)) if view else None
    asked = c.byref(Style(**style)) if style else None
    library.draw_overlay(
        c.byref(image_of(photo, mode)), c.byref(map_of(values)), box, asked, c.byref(canvas_of(canvas))
    )
    return canvas


def test_overlays_are_those_of_python(c_library: Library, photo: U8, values: F32):
    wanted = overlay_pictures(values[None], photo[None], colours="viridis")[0]
    assert (drawn(c_library, photo, values) == wanted).all()
    bgr, rgba = np.ascontiguousarray(photo[..., ::-1]), np.dstack([photo, photo[..., :1]])
    assert (drawn(c_library, bgr, values, "BGR") == wanted).all()
    assert (drawn(c_library, rgba, values, "RGBA") == wanted).all()
    assert (drawn(c_library, np.flipud(np.flipud(photo).copy()), values) == wanted).all(), "upside down in memory"
    assert not (drawn(c_library, photo, -values) == wanted).all()
    for colours, opacity in (("turbo", 0.3), ("viridis", 1.0)):
        wanted = overlay_pictures(values[None], photo[None], "calibrated", (-1, 2), colours=colours, opacity=opacity)[0]
        style = {"colormap": colours.encode(), "opacity": opacity, "low": -1, "high": 2}
        assert (drawn(c_library, photo, values, **style) == wanted).all()
    gray = np.ascontiguousarray(photo[..., 0])
    wanted = overlay_pictures(values[None], gray[None, ..., None], colours="viridis")[0]
    assert (drawn(c_library, gray, values, "L") == wanted).all()


def test_a_map_lies_where_the_network_looked(c_library: Library, photo: U8, values: F32):
    view = (-3.5, 10.25, 60.0, 51.75)
    wanted = np.zeros_like(photo)
    limits = native.value_ranges(values[None, None], zero=True)[0]
    native.overlay(
        wanted, values[None], limits, photo[None], photo.shape[:2], [(0, 0)], colormap("viridis"), boxes=[view]
    )
    assert (drawn(c_library, photo, values, view=view) == wanted).all()
    for bad in ((5, 5, 5, 9), (0, 0, np.nan, 9), (0, 0, -1, 9)):
        with pytest.raises(SaccadeError, match="has no area"):
            drawn(c_library, photo, values, view=bad)


@pytest.mark.parametrize("blank", [0.0, -2.0, np.nan])
def test_a_blank_map_is_drawn_blank(c_library: Library, photo: U8, blank: float):
    values = np.full((7, 7), blank, np.float32)
    assert (drawn(c_library, photo, values) == overlay_pictures(values[None], photo[None], colours="viridis")[0]).all()


def test_sheets_are_those_of_python(c_library: Library):
    maps = np.random.default_rng(2).normal(size=(11, 6, 5)).astype(np.float32)
    wanted = channel_mosaic(maps, size=30, columns=4, gap=3)
    grid = Grid(height=30, width=25, columns=4, gap=3, background=(c.c_uint8 * 3)(255, 255, 255))
    height, width = c.c_int64(), c.c_int64()
    c_library.sheet_size(c.c_int64(11), c.byref(grid), c.byref(height), c.byref(width))
    assert (height.value, width.value) == wanted.shape[:2]
    canvas = np.zeros_like(wanted)

    def draw(stack: F32, **style: Any) -> None:
        shape = [c.c_int64(n) for n in stack.shape]
        asked = c.byref(Style(nearest=1, **style))
        c_library.draw_sheet(c.c_void_p(stack.ctypes.data), *shape, c.byref(grid), asked, c.byref(canvas_of(canvas)))

    draw(maps)
    assert (canvas == wanted).all()
    draw(-maps)
    assert not (canvas == wanted).all()
    draw(maps, colormap=b"viridis", low=-1, high=1)
    limits = np.tile(np.array([-1, 1], np.float32), (11, 1))
    assert (canvas == native.tile(maps, limits, (30, 25), 4, 3, colours=colormap("viridis"))).all()


def test_ranges_are_those_of_python(c_library: Library, values: F32):
    low, high = c.c_float(), c.c_float()
    for zero in (False, True):
        c_library.map_range(c.byref(map_of(values)), c.c_int32(zero), c.byref(low), c.byref(high))
        assert (low.value, high.value) == tuple(native.value_ranges(values[None, None], zero=zero)[0, 0])


def region_of(values: F32, threshold: float, size: tuple[int, int], view: tuple[float, ...]) -> dict[str, Any]:
    """What saccade_find_region measures, in NumPy."""
    with np.errstate(invalid="ignore"):
        map = upsample(values[None], size)[0].astype(np.float64)
    good = np.isfinite(map)
    map = np.where(good, map, -np.inf)
    inside = good & (map >= np.float32(threshold))
    positive = np.where(good, np.maximum(map, 0), 0)
    x_scale, y_scale = (view[2] - view[0]) / size[1], (view[3] - view[1]) / size[0]
    y, x = np.unravel_index(map.argmax(), size)
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    box = (0.0, 0.0, 0.0, 0.0)
    if inside.any():
        left, top = view[0] + columns[0] * x_scale, view[1] + rows[0] * y_scale
        box = (left, top, view[0] + (columns[-1] + 1) * x_scale, view[1] + (rows[-1] + 1) * y_scale)
    return {
        "box": box,
        "area": inside.mean(),
        "evidence": positive[inside].sum() / positive.sum() if positive.any() else 0.0,
        "peak": map.max(),
        "peak_x": view[0] + (x + 0.5) * x_scale,
        "peak_y": view[1] + (y + 0.5) * y_scale,
    }


@pytest.mark.parametrize("size", [(7, 9), (61, 83), (224, 224), (3, 4)])
@pytest.mark.parametrize("threshold", [-9.0, 0.0, 0.5, 1.2, 50.0])
def test_regions_are_what_numpy_measures(c_library: Library, values: F32, size: tuple[int, int], threshold: float):
    view = (-3.5, 10.25, 60.0, 51.75)
    found = Region()

    def find(map: F32) -> dict[str, Any]:
        numbers = (c.c_float(threshold), c.c_int64(size[0]), c.c_int64(size[1]), c.byref(Box(*view)))
        c_library.find_region(c.byref(map_of(map)), *numbers, c.byref(found))
        return {name: getattr(found, name) for name in ("area", "evidence", "peak", "peak_x", "peak_y")} | {
            "box": found.box.sides
        }

    wanted = region_of(values, threshold, size, view)
    assert find(values) == {name: pytest.approx(value, rel=1e-6) for name, value in wanted.items()}
    assert find(values * 0.9)["peak"] != pytest.approx(wanted["peak"], rel=1e-6)
