# The extension module as engine/render calls it. What the functions do is said there and in csrc/include/saccade.
from typing import Any

import numpy.typing as npt

Array = npt.NDArray[Any]

def value_ranges(maps: Array, scope: str, low: float, high: float, zero: bool, out: Array, threads: int, /) -> None: ...
def index_maps(maps: Array, ranges: Array, sampling: str, out: Array, threads: int, /) -> None: ...
def overlay(
    canvas: Array,
    maps: Array,
    ranges: Array,
    photos: Array | None,
    height: int,
    width: int,
    places: Array,
    boxes: Array | None,
    colours: Array,
    opacity: int,
    sampling: str,
    threads: int,
    /,
) -> None: ...
def tile(
    canvas: Array,
    maps: Array,
    ranges: Array | None,
    height: int,
    width: int,
    columns: int,
    gap: int,
    background: tuple[int, int, int],
    colours: Array,
    sampling: str,
    threads: int,
    /,
) -> None: ...
def grid_size(count: int, height: int, width: int, columns: int, gap: int, /) -> tuple[int, int]: ...
def resize(
    image: Array, out: Array, filter: str, box: tuple[float, float, float, float] | None, threads: int, /
) -> None: ...
def colormap(name: str, /) -> bytes: ...
def colormap_names() -> list[str]: ...
def isa() -> str: ...
def cuda_built() -> bool: ...
def cuda_value_ranges(maps: Any, scope: str, zero: bool, out: Any, stream: int, /) -> None: ...
def cuda_overlay(
    canvas: Any,
    maps: Any,
    ranges: Any,
    photos: Any | None,
    height: int,
    width: int,
    places: Any,
    boxes: Any | None,
    colours: Array,
    opacity: int,
    sampling: str,
    stream: int,
    /,
) -> None: ...
def cuda_tile(
    canvas: Any,
    maps: Any,
    ranges: Any,
    height: int,
    width: int,
    columns: int,
    gap: int,
    background: tuple[int, int, int],
    colours: Array,
    sampling: str,
    stream: int,
    /,
) -> None: ...
