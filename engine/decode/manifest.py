"""The manifest of a run: photos in a file of rows, of which only those that are asked for are in memory."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from ..contract import SaccadeError, replacing
from .entry import Photo, Scalar, conformed, merged
from .opening import reason_of
from .sources import Listing

if TYPE_CHECKING:
    import pyarrow as pa

ROWS = 4096
"""Rows of a record batch: what is read at least, 0.6 MB."""

_TEXTS = ("path", "name", "label", "member")
_NUMBERS = ("offset", "length")
_FURTHER = "further:"
_MARK = {b"saccade": b"manifest 1"}


def write_manifest(
    path: str | os.PathLike[str],
    sources: Sequence[str],
    labels: str | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> Manifest:
    """List photos into a file, a few thousand at a time: the memory it takes does not grow with their paths.

    Args:
        path: the file, an Arrow IPC file.
        sources, labels: as `list_photos` takes them.
        on_progress: called with the number of photos so far.

    Raises:
        UsageError: as `list_photos`.
        SaccadeError: the file cannot be written.
    """
    listing = Listing(sources, labels)
    return _write(path, listing, listing.further, on_progress)


def keep_manifest(path: str | os.PathLike[str], photos: Sequence[Photo]) -> Manifest:
    """Write photos that were listed already into a file; their further columns must be of one type each, or text.

    Raises:
        SaccadeError: the file cannot be written.
    """
    further = merged([{k: _kind(v) for k, v in photo.further.items() if v is not None} for photo in photos])
    conform = (
        dataclasses.replace(p, further={k: conformed(v, further[k]) for k, v in p.further.items() if k in further})
        if p.further
        else p
        for p in photos
    )
    return _write(path, conform, further)


def _kind(value: Any) -> Scalar:
    if isinstance(value, bool):
        return "bool"
    return "int64" if isinstance(value, int) else "double" if isinstance(value, float) else "string"


def _write(
    path: str | os.PathLike[str],
    listed: Iterable[Photo],
    further: Mapping[str, Scalar],
    on_progress: Callable[[int], None] | None = None,
) -> Manifest:
    import numpy as np
    import pyarrow as pa

    from ..contract.arrow import optional, texts

    schema, digest, count = _schema(further), hashlib.sha256(), 0
    digest.update(json.dumps(list(further.items())).encode())
    with replacing(path) as temporary, pa.OSFile(str(temporary), "wb") as file, pa.ipc.new_file(file, schema) as writer:
        photos = iter(listed)
        while part := list(itertools.islice(photos, ROWS)):
            columns = _columns(part, further)
            # Of the values and not of the file, whose padding and layout are Arrow's.
            digest.update(json.dumps(columns, separators=(",", ":")).encode())
            arrays = [texts([*map(_encoded, c)], pa.binary()) for c in columns[: len(_TEXTS)]]
            arrays += [optional(c, np.int64) for c in columns[len(arrays) : len(_TEXTS + _NUMBERS)]]
            kinds = [field.type for field in schema][len(arrays) :]
            arrays += [pa.array(c, kind) for c, kind in zip(columns[len(arrays) :], kinds, strict=True)]
            writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=schema))
            count += len(part)
            if on_progress is not None:
                on_progress(count)
        # The digest is known at the end, when the file's own metadata is written: so it goes with an empty batch.
        end = {b"rows": str(count).encode(), b"digest": digest.hexdigest().encode()}
        writer.write_batch(_nothing(schema), custom_metadata=end)
    return Manifest(path)


class Manifest(Sequence[Photo]):
    """Photos that `write_manifest` listed; opening it takes a millisecond, and a slice the time of its rows.

    It may be used from several threads.

    Attributes:
        path: the file.
        further: the types of the further columns.
        digest: identifies the content: the same photos, names, labels and further columns in the same order.

    Raises:
        SaccadeError: the file cannot be read, is no manifest, or is damaged.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        import pyarrow as pa

        self.path = Path(path)
        try:
            self._reader = pa.ipc.open_file(pa.OSFile(str(self.path), "rb"))
            schema, batches = self._reader.schema, self._reader.num_record_batches
            if (schema.metadata or {}).get(b"saccade") != _MARK[b"saccade"]:
                raise self._damaged("it is an Arrow file, but not of this program")
            self.further: dict[str, pa.DataType] = {
                f.name.removeprefix(_FURTHER): f.type for f in schema if f.name.startswith(_FURTHER)
            }
            kinds: dict[str, Scalar] = {name: _KINDS.get(str(kind), "string") for name, kind in self.further.items()}
            if not schema.equals(_schema(kinds), check_metadata=False) or not batches:
                raise self._damaged("its columns are not those of a manifest")
            last = self._reader.get_batch_with_custom_metadata(batches - 1)
            end: Mapping[Any, bytes] = dict(last.custom_metadata or {})
            rows, self.digest = end[b"rows"].decode("ascii"), end[b"digest"].decode("ascii")
            if not rows.isdecimal() or not self.digest.isalnum() or len(self.digest) != 64:
                raise self._damaged("its last rows are missing")
            self._length = int(rows)
            if batches - 1 != -(-self._length // ROWS) or last.batch.num_rows:
                raise self._damaged(f"it has {batches - 1} parts for {rows[:20]} rows")
        except SaccadeError:
            raise
        except Exception as error:  # Arrow raises several types for damage, and KeyError what the end lacks
            raise self._damaged(reason_of(error)) from error
        self._lock = threading.Lock()
        self._kept: tuple[int, pa.RecordBatch] | None = None

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, index: int) -> Photo: ...
    @overload
    def __getitem__(self, index: slice) -> list[Photo]: ...
    def __getitem__(self, index: int | slice) -> Photo | list[Photo]:
        """A photo, or several of them.

        Raises:
            IndexError: there is no such row.
            SaccadeError: the file is damaged there.
        """
        if isinstance(index, slice):
            rows = range(*index.indices(self._length))
            if rows.step == 1:
                return list(self._rows(rows.start, rows.stop))
            return [self[i] for i in rows]
        row = range(self._length)[index]
        return next(self._rows(row, row + 1))

    def __iter__(self) -> Iterator[Photo]:
        return self._rows(0, self._length)

    def _rows(self, begin: int, end: int) -> Iterator[Photo]:
        while begin < end:
            number, first = divmod(begin, ROWS)
            count = min(end - begin, ROWS - first)
            batch = self._batch(number).slice(first, count)
            try:
                columns = [c.to_pylist() for c in batch.columns]
                for i, texts in enumerate(columns[: len(_TEXTS)]):
                    columns[i] = [None if t is None else t.decode("utf-8", "surrogateescape") for t in texts]
            except ValueError as error:
                raise self._damaged(reason_of(error)) from error
            names = list(self.further)
            fixed = len(_TEXTS) + len(_NUMBERS)
            for path, name, label, member, offset, length, *values in zip(*columns, strict=True):
                if path is None or name is None or (offset or 0) < 0 or (length or 0) < 0:
                    raise self._damaged("a row has no path, no name, or a place below 0")
                further = dict(zip(names, values, strict=True)) if len(columns) > fixed else {}
                yield Photo(path, name, label, member, offset, length, further)
            begin += count

    def _batch(self, number: int) -> pa.RecordBatch:
        with self._lock:
            if self._kept is not None and self._kept[0] == number:
                return self._kept[1]
            try:
                batch = self._reader.get_batch(number)
                batch.validate(full=True)
            except Exception as error:
                raise self._damaged(reason_of(error)) from error
            if batch.num_rows != min(ROWS, self._length - number * ROWS):
                raise self._damaged(f"part {number} has {batch.num_rows} rows")
            self._kept = number, batch
            return batch

    def _damaged(self, what: str) -> SaccadeError:
        return SaccadeError(f"decode: {self.path} is no manifest, or a damaged one: {what}; list the photos again")


_KINDS: dict[str, Scalar] = {"int64": "int64", "double": "double", "bool": "bool", "string": "string"}


def _schema(further: Mapping[str, Scalar]) -> pa.Schema:
    import pyarrow as pa

    # Binary, for a file's name may be no UTF-8.
    fields = [pa.field(name, pa.binary()) for name in _TEXTS] + [pa.field(name, pa.int64()) for name in _NUMBERS]
    kinds = {"int64": pa.int64(), "double": pa.float64(), "bool": pa.bool_(), "string": pa.string()}
    fields += [pa.field(_FURTHER + name, kinds[kind]) for name, kind in further.items()]
    return pa.schema(fields, metadata=_MARK)


def _nothing(schema: pa.Schema) -> pa.RecordBatch:
    import pyarrow as pa

    return pa.RecordBatch.from_arrays([pa.nulls(0, field.type) for field in schema], schema=schema)


def _columns(photos: Sequence[Photo], further: Mapping[str, Scalar]) -> list[list[Any]]:
    columns: list[list[Any]] = [[getattr(p, name) for p in photos] for name in (*_TEXTS, *_NUMBERS)]
    return columns + [[p.further.get(name) for p in photos] for name in further]


def _encoded(text: str | None) -> bytes | None:
    return None if text is None else text.encode("utf-8", "surrogateescape")
