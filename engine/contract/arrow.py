"""Arrow's arrays from their buffers.

`pa.array()` imports numpy.ma, dateutil and, where it is installed, pandas, to know their types from ours: 40 to 400 ms
of a run's start. Imported by name, for the package itself loads nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa


def bits(good: npt.NDArray[np.bool_]) -> pa.Buffer:
    """Which rows are not null, [N]."""
    return pa.py_buffer(np.packbits(good, bitorder="little"))


def numbers(rows: npt.NDArray[Any], good: npt.NDArray[np.bool_] | None = None) -> pa.Array:
    """`rows` [N], null where they are not `good`."""
    valid = None if good is None else bits(good)
    kind = pa.from_numpy_dtype(rows.dtype)
    return pa.Array.from_buffers(kind, len(rows), [valid, pa.py_buffer(np.ascontiguousarray(rows))])


def optional(values: Sequence[float | None], kind: type[np.number]) -> pa.Array:
    """Numbers, null where there is none."""
    rows = np.array([0 if value is None else value for value in values], kind)
    return numbers(rows, np.array([value is not None for value in values], bool))


def texts(values: Sequence[str | bytes | None] | npt.NDArray[Any], kind: pa.DataType | None = None) -> pa.Array:
    """Texts in UTF-8 (or bytes, where `kind` is binary), null where there is none; at most 2 GiB of them."""
    encoded = [b"" if v is None else v.encode() if isinstance(v, str) else v for v in values]
    offsets = np.cumsum([0, *map(len, encoded)], dtype=np.int64)
    if offsets[-1] >= 2**31:
        raise ValueError(f"{offsets[-1]:,} bytes of text in a column of {len(encoded)} rows")
    good = np.array([v is not None for v in values], bool)
    buffers = [bits(good), pa.py_buffer(offsets.astype(np.int32)), pa.py_buffer(b"".join(encoded))]
    return pa.Array.from_buffers(kind or pa.string(), len(encoded), buffers)
