"""Taking arrays from anybody: NumPy, buffers and DLPack tensors on the CPU, as NumPy views of the same memory."""

from __future__ import annotations

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
    array = _view(value, what, place)
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
    if isinstance(value, np.ndarray):
        return value
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
