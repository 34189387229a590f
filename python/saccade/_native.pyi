# The extension module as engine/render calls it. What the functions do is said there and in csrc/include/saccade.
from typing_extensions import Buffer

def value_ranges(
    maps: Buffer, scope: str, low: float, high: float, zero: bool, out: Buffer, threads: int, /
) -> None: ...
def index_maps(maps: Buffer, ranges: Buffer, sampling: str, out: Buffer, threads: int, /) -> None: ...
def overlay(
    canvas: Buffer,
    maps: Buffer,
    ranges: Buffer,
    photos: Buffer | None,
    height: int,
    width: int,
    places: Buffer,
    boxes: Buffer | None,
    colours: Buffer,
    opacity: int,
    sampling: str,
    threads: int,
    /,
) -> None: ...
def tile(
    canvas: Buffer,
    maps: Buffer,
    ranges: Buffer,
    height: int,
    width: int,
    columns: int,
    gap: int,
    background: tuple[int, int, int],
    colours: Buffer,
    sampling: str,
    threads: int,
    /,
) -> None: ...
def grid_size(count: int, height: int, width: int, columns: int, gap: int, /) -> tuple[int, int]: ...
def resize(
    image: Buffer, out: Buffer, filter: str, box: tuple[float, float, float, float] | None, threads: int, /
) -> None: ...
def colormap(name: str, /) -> bytes: ...
def colormap_names() -> list[str]: ...
