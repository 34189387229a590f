"""Taking arrays from anybody: NumPy, buffers and DLPack tensors on the CPU, as NumPy views of the same memory; and the
caller's memory for a result.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from saccade.engine.contract import UsageError

_DLPACK_CPU = (1, 3, 11)
"""kDLCPU, kDLCUDAHost and kDLROCMHost: memory that this program can read."""


def as_array(value: Any, what: str, dtype: npt.DTypeLike, axes: str, place: str = "render") -> npt.NDArray[Any]:
    """A NumPy view of `value`, without a copy.

    Args:
        value: a NumPy array, an object with the buffer protocol, or one with DLPack (a torch tensor on the CPU).
        what: what to call it in an error, "maps".
        dtype: the type that its elements must have.
        axes: the axes that it must have, "[N, h, w]".
        place: who asks; the error's first word.

    Raises:
        UsageError: it is none of these, lies in a GPU's memory, or has another type or number of axes.
    """
    array = value if isinstance(value, np.ndarray) else _view(value, what, place)
    if array.dtype == dtype and array.ndim == axes.count(",") + 1:
        return array
    wanted = np.dtype(dtype)
    raise UsageError(
        f"{place}: {what} must be {wanted} {axes}, not {array.dtype} {list(array.shape)}; "
        f"{_advice(array, wanted, axes)}"
    )


def _advice(array: npt.NDArray[Any], wanted: np.dtype[Any], axes: str) -> str:
    if array.ndim != axes.count(",") + 1:
        return "add or take away an axis"
    return f"convert it with .astype('{wanted}')" + (" after scaling it to 0..255" if wanted == np.uint8 else "")


def _view(value: Any, what: str, place: str) -> npt.NDArray[Any]:
    if hasattr(value, "__dlpack__"):
        device, _ = value.__dlpack_device__()
        if int(device) not in _DLPACK_CPU:
            raise UsageError(f"{place}: {what} must be in the computer's memory, not on a GPU; call .cpu() on it first")
        try:
            return np.from_dlpack(value)
        except (BufferError, RuntimeError, TypeError) as error:
            reason = " ".join(str(error).split())
            raise UsageError(
                f"{place}: {what} cannot be read as an array ({reason}); give a detached float32 or uint8 tensor"
            ) from None
    try:
        return np.asarray(memoryview(value))
    except (TypeError, ValueError):
        raise UsageError(
            f"{place}: {what} must be an array or a tensor, not {type(value).__name__}; call numpy.asarray on it first"
        ) from None


def as_out(
    out: Any, shape: tuple[int, ...], inputs: Mapping[str, npt.NDArray[Any] | None], place: str = "render"
) -> npt.NDArray[np.uint8]:
    """Where a picture goes: `out` itself, the caller's; fresh memory where it is None.

    Args:
        out: uint8 [*shape], C-contiguous and writable; what `as_array` takes.
        shape: the picture's.
        inputs: what it is drawn from, by their names. `out` may have no memory in common with them; how far they reach
            from their first byte to their last is what counts.
        place: who asks; the error's first word.

    Raises:
        UsageError: `out` is none of that.
    """
    if out is None:
        return np.empty(shape, np.uint8)
    array = out if isinstance(out, np.ndarray) else _view(out, "out", place)
    if array.dtype != np.uint8 or array.shape != shape:
        wanted = ", ".join(map(str, shape))
        raise UsageError(
            f"{place}: out must be uint8 [{wanted}], not {array.dtype} {list(array.shape)}; "
            f"give numpy.empty(({wanted}), 'uint8')"
        )
    if not array.flags.c_contiguous:
        raise UsageError(f"{place}: out must be C-contiguous; give an array of its own, or one part of a larger batch")
    if not array.flags.writeable:
        raise UsageError(f"{place}: out is read-only; give an array that may be written to")
    for name, array_in in inputs.items():
        if array_in is not None and np.may_share_memory(array, array_in):
            raise UsageError(f"{place}: out lies in the same memory as {name}; give it memory of its own")
    return array


def as_table(values: Any, what: str, dtype: npt.DTypeLike, rows: int, columns: int) -> npt.NDArray[Any]:
    """A small contiguous table [rows, columns], converted where need be: ranges, places, boxes.

    Raises:
        UsageError: it has another shape, or its values cannot become `dtype` (a fraction as a pixel position).
    """
    if isinstance(values, np.ndarray) and values.dtype == dtype and values.shape == (rows, columns):
        return np.ascontiguousarray(values)
    try:
        given = np.asarray(values if isinstance(values, np.ndarray | list | tuple) else _view(values, what, "render"))
        array = np.ascontiguousarray(given, dtype)
    except (TypeError, ValueError):
        raise UsageError(f"render: {what} must be numbers in a table [{rows}, {columns}]") from None
    if array.shape != (rows, columns):
        raise UsageError(f"render: {what} must be [{rows}, {columns}], one row for each map, not {list(array.shape)}")
    if np.issubdtype(array.dtype, np.integer) and not np.array_equal(array, given):
        raise UsageError(f"render: {what} must be whole pixels; round them first")
    return array
