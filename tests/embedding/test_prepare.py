"""Frames become the network's input as the Python package makes it, byte for byte."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from capi import PIXELS, Image, Library, Program, SaccadeError, image_of
from PIL import Image as Pillow

from saccade.engine.contract import Preprocessing
from saccade.engine.contract.program_file import read_contract
from saccade.engine.decode.photo import View, read_view

Pixels = npt.NDArray[np.uint8]
Reworded = Callable[..., Path]


def picture(
    rng: np.random.Generator, size: tuple[int, int], mode: str, padding: int = 0, flipped: bool = False
) -> Pixels:
    """Noise [H, W, C] with bytes between its rows, upside down in memory if so wanted."""
    channels = PIXELS[mode][1]
    rows = rng.integers(0, 256, (size[0], size[1] * channels + padding), dtype=np.uint8)[:: -1 if flipped else 1]
    return np.lib.stride_tricks.as_strided(rows, (*size, channels), (rows.strides[0], channels, 1))


def as_python(pixels: Pixels, mode: str, preprocessing: Preprocessing) -> View:
    """The same picture through the Python package's own reading of a file."""
    colours = {"L": pixels[..., 0], "BGR": pixels[..., ::-1], "RGBA": pixels[..., :3], "BGRA": pixels[..., 2::-1]}
    file = io.BytesIO()
    Pillow.fromarray(np.ascontiguousarray(colours.get(mode, pixels))).save(file, "bmp")
    return read_view(file.getvalue(), preprocessing, "exact", "frame")


def same(made: tuple[Pixels, tuple[float, ...]], view: View) -> bool:
    return bool((made[0] == view.image).all()) and made[1] == view.rectangle


PREPROCESSINGS: list[dict[str, Any]] = [
    {"resize": "crop", "shorter": 36, "height": 32, "width": 32},
    {"resize": "crop", "shorter": 37, "height": 32, "width": 35, "interpolation": "bicubic"},
    {"resize": "crop", "shorter": 20, "height": 41, "width": 30},  # padded
    {"resize": "crop", "shorter": 64, "height": 32, "width": 9},
    {"resize": "stretch", "height": 33, "width": 50},
    {"resize": "stretch", "height": 33, "width": 50, "interpolation": "bicubic"},
]
SIZES = [(32, 32), (37, 64), (96, 64), (240, 320), (41, 700), (500, 30), (1, 40), (3, 1), (33, 50)]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("preprocessing", PREPROCESSINGS, ids=lambda p: "-".join(map(str, p.values())))
def test_every_frame_is_prepared_as_python_does(
    c_library: Library, reworded: Reworded, preprocessing: dict[str, Any], channels: int
):
    numbers = {"mean": (0.0,) * channels, "std": (1.0,) * channels, "channels": channels}
    path = reworded(**({"shorter": None} | preprocessing | numbers))
    program, spec = Program(c_library, path, backend="none"), read_contract(path)[1]
    rng = np.random.default_rng(0)
    for size in SIZES:
        for number, mode in enumerate(PIXELS):
            frame = picture(rng, size, mode, padding=3 * number, flipped=number % 2 == 1)
            made = program.prepare(image_of(frame, mode))
            assert same(made, as_python(frame, mode, spec.preprocessing)), (size, mode)
    frame, other = (picture(rng, SIZES[-1], "RGB") for _ in range(2))
    assert not same(program.prepare(image_of(frame)), as_python(other, "RGB", spec.preprocessing)), (
        "the comparison finds another picture"
    )
    program.close()


def test_a_long_thin_frame_is_cut_before_it_is_scaled(c_library: Library, reworded: Reworded):
    path = reworded(resize="crop", shorter=32, height=32, width=32)
    program = Program(c_library, path, backend="none")
    frame = picture(np.random.default_rng(0), (2, 60000), "RGB")
    assert same(program.prepare(image_of(frame)), as_python(frame, "RGB", read_contract(path)[1].preprocessing))


def test_what_is_no_frame_is_refused(c_library: Library, program: Path):
    opened = Program(c_library, program, backend="none")
    pixels = np.zeros((4, 4, 3), np.uint8)
    for frame, message in [
        (Image(None, 4, 4, 0, 1), "prepare: the frame is a null pointer; expected 4x4 pixels"),
        (Image(pixels.ctypes.data, 4, 2**40, 0, 1), "expected sides of 1 to 16777216"),
        (Image(pixels.ctypes.data, 4, 4, 11, 1), "has a stride of 11 bytes, but its rows have 12"),
        (Image(pixels.ctypes.data, 4, 4, 0, 7), "has pixels of kind 7"),
        (Image(pixels.ctypes.data, 4, 4, -(2**63), 7), "has pixels of kind 7"),
    ]:
        with pytest.raises(SaccadeError, match=message):
            opened.prepare(frame)
