"""The C API through ctypes: its structures and a few lines that make Python of them."""

from __future__ import annotations

import ctypes as c
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

ROOT = Path(__file__).resolve().parents[2]
HEADER = ROOT / "csrc/include/saccade/saccade.h"

OK, INVALID, DAMAGED, UNAVAILABLE, FAILED, LATE, NO_MEMORY = range(7)
PIXELS = {"L": (0, 1), "RGB": (1, 3), "BGR": (2, 3), "RGBA": (3, 4), "BGRA": (4, 4)}
"""Name → its number in saccade_pixels and its channels."""

_POINTER, _INT64 = c.c_void_p, c.c_int64


class Sized(c.Structure):
    """A structure that begins with its size."""

    def __init__(self, **fields: Any) -> None:
        super().__init__(size=c.sizeof(type(self)), **fields)


class Error(c.Structure):
    _fields_ = [("status", c.c_int), ("message", c.c_char * 512)]


class OpenOptions(Sized):
    _fields_ = [
        ("size", c.c_size_t),
        ("backend", c.c_char_p),
        ("backends", c.c_char_p),
        ("library", c.c_char_p),
        ("device", c.c_int),
        ("device_index", c.c_int32),
        ("threads", c.c_int32),
        ("trust_code", c.c_int32),
    ]


class MapInfo(c.Structure):
    _fields_ = [
        ("name", c.c_char_p),
        ("method", c.c_char_p),
        ("layer", c.c_char_p),
        ("kind", c.c_int),
        ("rank", c.c_int32),
        ("dimensions", c.c_int32),
        ("shape", _INT64 * 3),
        ("low", c.c_float),
        ("high", c.c_float),
    ]


class Contract(c.Structure):
    _fields_ = [
        ("size", c.c_size_t),
        *((name, c.c_char_p) for name in ("json", "model", "hash", "precision", "format", "runtime")),
        *((name, _INT64) for name in ("height", "width", "channels")),
        ("float_pixels", c.c_int32),
        *((name, _INT64) for name in ("num_outputs", "output_height", "output_width")),
        ("softmax", c.c_int32),
        ("features", _INT64),
        ("target", c.c_int),
        ("target_count", _INT64),
        ("target_layer", c.c_char_p),
        ("target_shape", _INT64 * 3),
        ("num_maps", c.c_size_t),
        ("maps", c.POINTER(MapInfo)),
        ("num_classes", c.c_size_t),
        ("classes", c.POINTER(c.c_char_p)),
    ]


class Image(c.Structure):
    _fields_ = [("data", _POINTER), ("height", _INT64), ("width", _INT64), ("stride", _INT64), ("pixels", c.c_int)]


class Request(Sized):
    _fields_ = [
        ("size", c.c_size_t),
        ("target", _POINTER),
        ("weights", _POINTER),
        ("regions", c.POINTER(Image)),
        ("timeout_us", _INT64),
        ("logits", _POINTER),
        ("maps", c.POINTER(_POINTER)),
        ("features", _POINTER),
    ]


class Box(c.Structure):
    _fields_ = [(side, c.c_double) for side in ("left", "top", "right", "bottom")]

    @property
    def sides(self) -> tuple[float, float, float, float]:
        return self.left, self.top, self.right, self.bottom


class Result(Sized):
    _fields_ = [
        ("size", c.c_size_t),
        ("num_images", _INT64),
        ("logits", c.POINTER(c.c_float)),
        ("maps", c.POINTER(c.POINTER(c.c_float))),
        ("features", c.POINTER(c.c_float)),
        ("prediction", c.POINTER(_INT64)),
        ("confidence", c.POINTER(c.c_float)),
        ("explained", c.POINTER(_INT64)),
        ("score", c.POINTER(c.c_float)),
        ("views", c.POINTER(Box)),
    ]


class Batch(Sized):
    _fields_ = [
        ("size", c.c_size_t),
        ("data", _POINTER),
        ("num_images", _INT64),
        ("device", c.c_int),
        ("device_index", c.c_int32),
    ]


class Map(c.Structure):
    _fields_ = [("data", _POINTER), ("height", _INT64), ("width", _INT64)]


class Region(c.Structure):
    _fields_ = [
        ("box", Box),
        *((name, c.c_double) for name in ("area", "evidence", "peak_x", "peak_y")),
        ("peak", c.c_float),
    ]


class Style(Sized):
    _fields_ = [
        ("size", c.c_size_t),
        ("colormap", c.c_char_p),
        ("opacity", c.c_double),
        ("nearest", c.c_int32),
        ("low", c.c_float),
        ("high", c.c_float),
    ]


class Canvas(c.Structure):
    _fields_ = [("data", _POINTER), ("height", _INT64), ("width", _INT64), ("stride", _INT64)]


class Grid(Sized):
    _fields_ = [
        ("size", c.c_size_t),
        *((name, _INT64) for name in ("height", "width", "columns", "gap")),
        ("background", c.c_uint8 * 3),
    ]


class SaccadeError(Exception):
    """What a function returned beside SACCADE_OK: its status and message."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def declared() -> list[str]:
    """The functions of saccade.h, in its order."""
    names = re.findall(r"^SACCADE_API [\w *]+[ *](saccade_\w+)\(", HEADER.read_text(), re.MULTILINE)
    assert len(names) == HEADER.read_text().count("SACCADE_API ") - 3, "a declaration that this does not find"
    return names


class Library:
    """libsaccade, with `library.session_run(…)` for saccade_session_run: it raises SaccadeError for a status that is
    not 0, and holds every error to be one line.
    """

    def __init__(self, path: Path) -> None:
        self.loaded = c.CDLL(str(path), mode=os.RTLD_NOW | os.RTLD_LOCAL)
        self.loaded.saccade_version.restype = c.c_char_p
        self.loaded.saccade_api_version.restype = c.c_uint32
        self.loaded.saccade_program_contract.restype = c.POINTER(Contract)
        for name in ("program_close", "session_close", "program_contract"):
            getattr(self.loaded, f"saccade_{name}").argtypes = [c.c_void_p]

    def __getattr__(self, name: str) -> Any:
        function = getattr(self.loaded, f"saccade_{name}")

        def call(*arguments: Any) -> None:
            error = Error(status=-1, message=b"nothing was written")
            status = function(*arguments, c.byref(error))
            message = error.message.decode()
            assert status == error.status
            assert (message == "") == (status == OK)
            assert message.isprintable()
            if status != OK:
                raise SaccadeError(status, message)

        return call


def image_of(pixels: npt.NDArray[np.uint8], mode: str = "RGB") -> Image:
    """A picture [H, W] or [H, W, C] of any stride between rows. The array stays for as long as the image."""
    number, channels = PIXELS[mode]
    assert pixels.dtype == np.uint8
    assert pixels.strides[1:] == ((1,) if pixels.ndim == 2 else (channels, 1))
    image = Image(pixels.ctypes.data, *pixels.shape[:2], pixels.strides[0], number)
    image.owner = pixels  # pyright: ignore[reportAttributeAccessIssue]
    return image


def images_of(frames: Sequence[Image]) -> Any:
    array: Any = (Image * len(frames))(*frames)
    array.owners = frames
    return array


class Answer(NamedTuple):
    """A result as arrays of their own, with the shapes of the contract."""

    logits: npt.NDArray[np.float32]
    maps: dict[str, npt.NDArray[np.float32]]
    features: npt.NDArray[np.float32] | None
    prediction: npt.NDArray[np.int64]
    confidence: npt.NDArray[np.float32]
    explained: npt.NDArray[np.int64] | None
    score: npt.NDArray[np.float32] | None
    views: npt.NDArray[np.float64]


class Program:
    """An open program."""

    def __init__(self, library: Library, path: Path | bytes, /, **options: Any) -> None:
        self.library = library
        self.handle = c.c_void_p()
        words = {k: os.fsencode(v) if isinstance(v, (str, Path)) else v for k, v in options.items()}
        asked = c.byref(OpenOptions(**words)) if options else None
        self._bytes = path  # has to stay
        if isinstance(path, bytes):
            library.program_open_memory(path, c.c_size_t(len(path)), asked, c.byref(self.handle))
        else:
            library.program_open(os.fsencode(path), asked, c.byref(self.handle))

    @property
    def contract(self) -> Contract:
        return self.library.loaded.saccade_program_contract(self.handle).contents

    def close(self) -> None:
        self.library.loaded.saccade_program_close(self.handle)

    def prepare(self, frame: Image) -> tuple[npt.NDArray[np.uint8], tuple[float, float, float, float]]:
        contract, view = self.contract, Box()
        pixels = np.empty((contract.height, contract.width, contract.channels), np.uint8)
        self.library.prepare(self.handle, c.byref(frame), pixels.ctypes.data_as(c.c_void_p), c.byref(view))
        return pixels, view.sides


class Session:
    """A session of a program."""

    def __init__(self, program: Program) -> None:
        self.program, self.library = program, program.library
        self.handle = c.c_void_p()
        self.library.session_open(program.handle, c.byref(self.handle))

    def close(self) -> None:
        self.library.loaded.saccade_session_close(self.handle)

    def run(self, *frames: Image, request: Request | None = None) -> Answer:
        result = Result()
        asked = c.byref(request) if request is not None else None
        self.library.session_run(self.handle, images_of(frames), c.c_size_t(len(frames)), asked, c.byref(result))
        return self._answer(result)

    def run_batch(self, images: npt.NDArray[np.uint8], request: Request | None = None) -> Answer:
        result = Result()
        asked = c.byref(request) if request is not None else None
        batch = Batch(data=images.ctypes.data, num_images=len(images))
        self.library.session_run_batch(self.handle, c.byref(batch), asked, c.byref(result))
        return self._answer(result)

    def _answer(self, result: Result) -> Answer:
        contract, n = self.program.contract, result.num_images

        def array(pointer: Any, *shape: int) -> Any:
            return np.ctypeslib.as_array(pointer, (n, *shape)).copy() if pointer else None

        places = (contract.output_height, contract.output_width) if contract.output_height else ()
        k = (contract.target_count,) if contract.target_count > 1 else ()
        maps = {}
        for i in range(contract.num_maps):
            info = contract.maps[i]
            maps[info.name.decode()] = array(result.maps[i], *info.shape[: info.dimensions])
        return Answer(
            array(result.logits, contract.num_outputs, *places),
            maps,
            array(result.features, contract.features),
            array(result.prediction),
            array(result.confidence),
            array(result.explained, *k),
            array(result.score, *k),
            np.array([result.views[i].sides for i in range(n)]),
        )
