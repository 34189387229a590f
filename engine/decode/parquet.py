"""Parquet files: rows that name photos, and rows that hold them."""

from __future__ import annotations

import bisect
import itertools
import json
import os
import posixpath
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..contract import UsageError
from ..contract.reading import check_depth
from . import urls
from .entry import Photo, Scalar, safe_name
from .opening import MAX_HELD, on_one_line
from .tars import too_large

if TYPE_CHECKING:
    import pyarrow as pa

PICTURES = ("image", "img", "photo", "picture", "jpg", "jpeg", "png", "webp", "bytes")
"""Names of a column of bytes that are taken for pictures; a struct with `bytes`, as `datasets` writes it, has any."""

_ROWS = 4096
_BATCH = 2**23
"""Bytes of pictures that are read at once, where the file says the truth about its sizes."""
_FEATURES = 2**20


class Table:
    """An open Parquet file.

    Attributes:
        names: of all columns.
        texts: names of the columns with texts.
        scalars: the columns that a further one can be made of.
        labels: the columns that a label can be read from: texts and whole numbers.

    Raises:
        UsageError, OSError, ValueError: it cannot be read.
    """

    def __init__(self, path: str) -> None:
        import pyarrow.parquet as pq

        self._raw = urls.open_file(path)
        try:
            self.file = pq.ParquetFile(self._raw, pre_buffer=False)
            self._schema = self.file.schema_arrow
            size = self._raw.seek(0, os.SEEK_END)
        except BaseException:
            self._raw.close()
            raise
        self.rows = self.file.metadata.num_rows
        if self.rows > size:
            raise ValueError(f"it claims {self.rows:,} rows in {size:,} bytes")
        self.names = list(self._schema.names)
        self.scalars: dict[str, Scalar] = {f.name: k for f in self._schema if (k := _scalar(f.type)) is not None}
        self.texts = {name for name, kind in self.scalars.items() if kind == "string"}
        self.labels = {name for name, kind in self.scalars.items() if kind in ("string", "int64")}
        self._features = _features(self._schema.metadata or {})
        classes = self._features.get("label", {}).get("names")
        self._classes = classes if isinstance(classes, list) and all(isinstance(c, str) for c in classes) else None

    def close(self) -> None:
        """Close the file."""
        self._raw.close()

    def image_column(self) -> str | None:
        """The column that holds pictures, by what `datasets` says of it, its type or its name."""
        found = []
        for field in self._schema:
            kind = self._features.get(field.name, {}).get("_type")
            if _is_struct(field.type):
                found.append((kind != "Image", field.name not in PICTURES, field.name))
                if kind not in (None, "Image"):  # Audio has the same columns
                    found.pop()
            elif _is_binary(field.type) and field.name.lower() in PICTURES:
                found.append((True, False, field.name))
        return min(found)[2] if found else None

    def label(self, value: Any) -> str | None:
        """A label's text; of a class of `datasets` its name."""
        if value is None or value == "":
            return None
        if self._classes is not None and isinstance(value, int):
            return self._classes[value] if 0 <= value < len(self._classes) else None
        return str(value)

    def batches(self, columns: Sequence[str]) -> Iterator[list[dict[str, Any]]]:
        """The rows of some columns, a few thousand at a time."""
        for batch in self.file.iter_batches(_ROWS, columns=list(columns), use_threads=False):
            yield batch.to_pylist()


def list_pictures(path: str, column: str, further: Mapping[str, Scalar]) -> Iterator[Photo]:
    """A photo for each row; the pictures themselves are not read."""
    table = Table(path)
    try:
        stem = posixpath.splitext(posixpath.basename(urls.ending_of(path)))[0]
        columns = [*(["label"] if "label" in table.labels and column != "label" else []), *further]
        rows = itertools.chain.from_iterable(table.batches(columns)) if columns else ({} for _ in range(table.rows))
        for number, row in enumerate(rows):
            label = table.label(row.pop("label", None))
            yield Photo(path, safe_name(f"{stem}/{number:08}"), label, f"{column}[{number}]", number, further=row)
    finally:
        table.close()


class Pictures:
    """The pictures in one column, for a `Cursor`."""

    def __init__(self, path: str, column: str) -> None:
        self._path, self._column = path, column
        self._firsts: list[int] | None = None

    def begins(self, position: int) -> int:
        """The first row of the row group that holds a row."""
        if self._firsts is None:
            table = Table(self._path)
            try:
                metadata = table.file.metadata
                counts = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
            finally:
                table.close()
            self._firsts = [0, *itertools.accumulate(counts)][: max(len(counts), 1)]
        return self._firsts[bisect.bisect_right(self._firsts, position) - 1]

    def read(self, begin: int) -> Iterator[tuple[int, str, bytes | str]]:
        """(row, name, bytes or what is wrong) from the first row of a row group on."""
        assert self._firsts is not None
        table = Table(self._path)
        try:
            if self._column not in table.names:
                raise UsageError(f"decode: {on_one_line(self._path)} has no column {self._column}; list it again")
            struct = _is_struct(table.file.schema_arrow.field(self._column).type)
            leaf = f"{self._column}.bytes" if struct else self._column
            row = begin
            for group in range(bisect.bisect_left(self._firsts, begin), len(self._firsts)):
                found = table.file.metadata.row_group(group)
                each = found.total_byte_size // max(found.num_rows, 1)
                size = min(max(_BATCH // max(each, 1), 1), _ROWS)
                for batch in table.file.iter_batches(size, row_groups=[group], columns=[leaf], use_threads=False):
                    values = batch.column(0)
                    for value in values.field(0) if struct else values:
                        yield row, f"{self._column}[{row}]", self._content(value, row)
                        row += 1
        finally:
            table.close()

    def _content(self, value: Any, row: int) -> bytes | str:
        place = f"{self._column}[{row}] in {self._path}"
        buffer = value.as_buffer() if value.is_valid else None
        if buffer is None:
            return f"decode: {on_one_line(place)} holds no bytes; write the pictures into the file"
        return too_large(place, buffer.size) if buffer.size > MAX_HELD else buffer.to_pybytes()


def _scalar(kind: pa.DataType) -> Scalar | None:
    import pyarrow.types as t

    if t.is_dictionary(kind):
        kind = kind.value_type  # type: ignore[attr-defined]
    if t.is_boolean(kind):
        return "bool"
    if t.is_integer(kind) and not t.is_uint64(kind):
        return "int64"
    if t.is_floating(kind):
        return "double"
    return "string" if t.is_string(kind) or t.is_large_string(kind) or t.is_string_view(kind) else None


def _is_binary(kind: pa.DataType) -> bool:
    import pyarrow.types as t

    return t.is_binary(kind) or t.is_large_binary(kind)


def _is_struct(kind: pa.DataType) -> bool:
    import pyarrow.types as t

    return t.is_struct(kind) and any(f.name == "bytes" and _is_binary(f.type) for f in kind)  # type: ignore[attr-defined]


def _features(metadata: Mapping[bytes, bytes]) -> dict[str, dict[str, Any]]:
    """What `datasets` wrote about the columns; nothing where it did not, or it is damaged."""
    text = metadata.get(b"huggingface", b"")[:_FEATURES]
    try:
        check_depth(text.decode())
        features = json.loads(text)["info"]["features"]
        return {name: value for name, value in features.items() if isinstance(value, dict)}
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return {}
