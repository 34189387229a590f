"""Maps to pixels on an NVIDIA GPU: the functions of `native` for DLPack tensors in its memory.

Every tensor is used where it lies, in and out; nothing is copied, and nothing waits: work is queued on `stream`, the
handle of a CUDA stream (torch: `torch.cuda.current_stream().cuda_stream`; 0 is the default stream). The caller keeps
tensors alive until that work is done. The pictures are those of the CPU, byte for byte. The arguments are those of
`native` but where it says otherwise.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from saccade import _native
from saccade.engine.contract import UsageError

from .colormaps import colormap
from .native import Sampling, Scope, check_background

_CUDA = 2
_LEGACY_STREAM = 1
"""DLPack's name for the default stream; its 0 means nothing."""


def built() -> bool:
    """Whether this build has CUDA; it says nothing of the machine."""
    return _native.cuda_built()


def value_ranges(maps: Any, out: Any, scope: Scope = "map", zero: bool = False, stream: int = 0) -> None:
    """Minimum and maximum of float32 maps [N, C, h, w], written to `out`, float32 [N * C, 2].

    Raises:
        UsageError: types or shapes that do not fit, memory that is not the GPU's, or a build without CUDA.
    """
    _needs_cuda("value_ranges")
    _native.cuda_value_ranges(_tensor(maps, "maps", stream), scope, zero, _tensor(out, "ranges", stream, maps), stream)


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
    stream: int = 0,
) -> None:
    """`native.overlay` in one launch for the whole batch.

    All but `colours` (NumPy) are on the GPU: ranges float32, places int64, boxes float64. A picture that would leave
    the canvas, or whose box has no area, is left out. Where pictures overlap, either may be on top.

    Raises:
        UsageError: types or shapes that do not fit, memory that is not the GPU's, or a build without CUDA.
    """
    _needs_cuda("overlay")
    _native.cuda_overlay(
        _tensor(canvas, "the canvas", stream, maps),
        _tensor(maps, "maps", stream),
        _tensor(ranges, "ranges", stream, maps),
        None if photos is None else _tensor(photos, "photos", stream, maps),
        size[0],
        size[1],
        _tensor(places, "places", stream, maps),
        None if boxes is None else _tensor(boxes, "boxes", stream, maps),
        colormap("viridis") if colours is None else np.ascontiguousarray(colours),
        opacity,
        sampling,
        stream,
    )


def tile(
    canvas: Any,
    maps: Any,
    ranges: Any,
    size: tuple[int, int],
    columns: int,
    gap: int = 2,
    background: tuple[int, int, int] = (255, 255, 255),
    colours: Any = None,
    sampling: Sampling = "nearest",
    stream: int = 0,
) -> None:
    """`native.tile` in one launch, background included, into a canvas of `grid_size`.

    Raises:
        UsageError: types or shapes that do not fit, memory that is not the GPU's, or a build without CUDA.
    """
    _needs_cuda("tile")
    check_background(background)
    _native.cuda_tile(
        _tensor(canvas, "the canvas", stream, maps),
        _tensor(maps, "maps", stream),
        _tensor(ranges, "ranges", stream, maps),
        size[0],
        size[1],
        columns,
        gap,
        background,
        colormap("gray") if colours is None else np.ascontiguousarray(colours),
        sampling,
        stream,
    )


def grid_size(count: int, size: tuple[int, int], columns: int, gap: int = 2) -> tuple[int, int]:
    """(height, width) of the canvas that `tile` needs for so many maps."""
    return _native.grid_size(count, size[0], size[1], columns, gap)


def _needs_cuda(function: str) -> None:
    if not built():
        raise UsageError(
            f"render: {function}: this build has no CUDA; give arrays in the computer's memory (.cpu()), or install "
            "CUDA's compiler nvcc and build again with -DSACCADE_CUDA=ON"
        )


def _tensor(value: Any, what: str, stream: int, beside: Any = None) -> Any:
    """A DLPack capsule; its owner makes `stream` wait for what it still has queued for it elsewhere."""
    if not hasattr(value, "__dlpack__") or int(value.__dlpack_device__()[0]) != _CUDA:
        raise UsageError(f"render: {what} must be a tensor in an NVIDIA GPU's memory; call .cuda() on it first")
    if beside is not None and value.__dlpack_device__()[1] != beside.__dlpack_device__()[1]:
        raise UsageError(f"render: {what} must be on the same GPU as the maps; move it there first")
    try:
        return value.__dlpack__(stream=stream or _LEGACY_STREAM)
    except (BufferError, RuntimeError, TypeError) as error:
        reason = str(error).strip().splitlines() or ["no reason given"]
        raise UsageError(f"render: {what} cannot be read ({reason[0][:120]}); call .detach() on it first") from None
