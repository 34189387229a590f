"""Manifests that somebody else wrote, CSV and Parquet: rows with a path, its label and further columns."""

from __future__ import annotations

import contextlib
import csv
import io
import os
import posixpath
import re
from collections.abc import Iterator
from typing import IO, Any

from ..contract import UsageError
from . import parquet, urls
from .entry import Photo, Scalar, Source, safe_name
from .opening import on_one_line, reason_of
from .patience import patiently, resumed, transient

ENDINGS = (".csv", ".tsv", ".parquet")
_PLACES = ("path", "url")
_COLUMNS = 1000
_LINE = 2**20

_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,17})")
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]{1,3})?")


def is_table(path: str) -> bool:
    """Whether a file's name ends as a manifest's does."""
    return path.lower().endswith(ENDINGS)


def source(path: str) -> Source:
    """The photos of a manifest, or those that a Parquet file holds.

    Raises:
        UsageError: it cannot be read, has no column of paths or pictures, or a row has none.
    """
    path = path if urls.is_url(path) else os.path.abspath(path)
    if not urls.ending_of(path).lower().endswith(".parquet"):
        return _csv(path)
    with _clear(path, "Parquet"):
        table = patiently(lambda: parquet.Table(path), path)
    with contextlib.closing(table):
        image = table.image_column()
        place = next((name for name in _PLACES if name in table.texts), None)
        if image is None and place is None:
            raise UsageError(
                f"decode: {on_one_line(path)} has the columns {', '.join(table.names)[:200] or '(none)'}; expected "
                "path or url, or pictures in a column image"
            )
        further: dict[str, Scalar] = {
            n: k for n, k in table.scalars.items() if n not in ("label", place if image is None else None)
        }
    if image is not None:
        return Source(
            lambda: resumed(lambda: _clearly(path, parquet.list_pictures(path, image, further)), path),
            path,
            f"decode: {on_one_line(path)} has no rows; name another file",
            further,
            container=path,
        )
    assert place is not None
    return Source(
        lambda: resumed(lambda: _clearly(path, _rows_of_parquet(path, place, further)), path),
        _folder(path),
        f"decode: {on_one_line(path)} has no rows; name another file",
        further,
        container=path,
    )


def _rows_of_parquet(path: str, place: str, further: dict[str, Scalar]) -> Iterator[Photo]:
    with contextlib.closing(parquet.Table(path)) as table:
        columns = [place, *(["label"] if "label" in table.labels else []), *further]
        number = 0
        for batch in table.batches(columns):
            for row in batch:
                number += 1
                label = table.label(row.pop("label", None))
                yield _photo(path, f"row {number}", row.pop(place), label, row)


def _csv(path: str) -> Source:
    with _clear(path, "CSV"), _opened(path) as file:
        rows = _read(file, path)
        further = _kinds(next(rows)[1], rows)
    return Source(
        lambda: _clearly(path, _rows_of_csv(path, further)),
        _folder(path),
        f"decode: {on_one_line(path)} has no rows; name another file",
        further,
        container=path,
    )


def _rows_of_csv(path: str, further: dict[str, Scalar]) -> Iterator[Photo]:
    with _opened(path) as file:
        rows = _read(file, path)
        _, header = next(rows)
        at = header.index(_place(header))
        label = header.index("label") if "label" in header else None
        kept = [(i, name, _OF_TEXT[further[name]]) for i, name in enumerate(header) if name in further]
        for line, row in rows:
            values = {name: make(row[i]) if row[i] else None for i, name, make in kept}
            said = row[label].strip() if label is not None else ""
            yield _photo(path, f"line {line}", row[at], said or None, values)


_OF_TEXT: dict[Scalar, Any] = {"int64": int, "double": float, "string": str}


def bounded(file: IO[str]) -> Iterator[str]:
    """A file's lines, none of which is read whole whatever its length.

    Raises:
        csv.Error: one is too long.
    """
    while line := file.readline(_LINE):
        if len(line) == _LINE:
            raise csv.Error(f"a line of over {_LINE:,} characters")
        yield line


def _read(file: IO[str], path: str) -> Iterator[tuple[int, list[str]]]:
    """The line number and the cells of each row, as many as the header has; the header first."""
    reader = csv.reader(bounded(file), "excel-tab" if urls.ending_of(path).lower().endswith(".tsv") else "excel")
    header = next(reader, [])
    problem = None
    if not any(name in header for name in _PLACES):
        problem = f"has the columns {', '.join(header)[:200] or '(none)'}; expected path or url in its first line"
    elif len(set(header)) < len(header) or len(header) > _COLUMNS:
        problem = f"has {len(header):,} columns, {len(set(header)):,} of them different; expected each once"
    if problem:
        raise UsageError(f"decode: {on_one_line(path)} {on_one_line(problem)}")
    yield 1, header
    for row in reader:
        if len(row) > len(header):
            raise UsageError(
                f"decode: {on_one_line(path)} line {reader.line_num} has {len(row)} cells; expected {len(header)}, as "
                "in the first line; put texts with commas in quotes"
            )
        if row:  # an empty line
            yield reader.line_num, row + [""] * (len(header) - len(row))


def _kinds(header: list[str], rows: Iterator[tuple[int, list[str]]]) -> dict[str, Scalar]:
    """The types of the further columns: numbers where all cells are; `007` is a text, and what has no cell."""
    columns = [i for i, name in enumerate(header) if name not in ("label", _place(header))]
    integers, numbers, filled = set(columns), set(columns), set()
    for _, row in rows:
        for i in tuple(numbers):
            if text := row[i]:
                filled.add(i)
                if not _INTEGER.fullmatch(text):
                    integers.discard(i)
                    # A long row of digits is a name of something: as a float it would lose some.
                    if not _NUMBER.fullmatch(text) or text.removeprefix("-").isdecimal():
                        numbers.discard(i)
    return {
        header[i]: "int64" if i in integers & filled else "double" if i in numbers & filled else "string"
        for i in columns
    }


def _place(header: list[str]) -> str:
    return next(name for name in _PLACES if name in header)


def _photo(manifest: str, line: str, path: Any, label: str | None, further: dict[str, Any]) -> Photo:
    if not path:
        raise UsageError(f"decode: {on_one_line(manifest)} {line} has no path; write one, or remove the line")
    if ":" in path and urls.is_url(path):
        place = urls.without_file_scheme(path)
        name = path.partition("?")[0] if place.startswith(("http://", "https://")) else place
    elif urls.is_url(manifest):
        place, name = urls.sibling(manifest, path), path
    else:
        folder = manifest[: manifest.rindex("/") + 1]
        place = os.path.normpath(path if path.startswith("/") else folder + path)
        name = place.removeprefix(folder)
    return Photo(place, safe_name(name), label, further=further)


def _folder(path: str) -> str:
    return posixpath.dirname(urls.ending_of(path))


@contextlib.contextmanager
def _opened(path: str) -> Iterator[IO[str]]:
    raw = urls.local_copy(path) if urls.is_url(path) else open(path, "rb")  # noqa: SIM115
    with io.TextIOWrapper(raw, encoding="utf-8-sig", newline="") as file:  # type: ignore[arg-type]
        yield file


@contextlib.contextmanager
def _clear(path: str, kind: str) -> Iterator[None]:
    """Say in one line what is wrong with a manifest."""
    shown = on_one_line(path)
    try:
        yield
    except (csv.Error, UnicodeDecodeError) as error:
        raise UsageError(f"decode: {shown} is not a CSV file in UTF-8 ({error}); save it as one") from None
    except (ValueError, OSError) as error:
        if transient(error) is not None:
            raise
        if isinstance(error, FileNotFoundError):
            raise UsageError(f"decode: {shown} does not exist; check the path") from None
        if isinstance(error, OSError) and error.errno is not None:
            raise UsageError(f"decode: cannot read {shown}: {reason_of(error)}; check its permissions") from None
        raise UsageError(  # Arrow's words for damage are a ValueError and an OSError without a number
            f"decode: {shown} is no {kind} file, or a damaged one ({reason_of(error)}); write it again"
        ) from error


def _clearly(path: str, photos: Iterator[Photo]) -> Iterator[Photo]:
    with _clear(path, "Parquet" if urls.ending_of(path).lower().endswith(".parquet") else "CSV"):
        yield from photos
