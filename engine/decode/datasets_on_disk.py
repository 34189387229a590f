"""Sets that Hugging Face's `datasets` saved to disk."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from ..contract import PhotoError, UsageError
from .entry import MissingPackageError, Photo, Scalar, Source
from .opening import MAX_HELD, on_one_line, reason_of
from .tars import too_large

_ROWS = 4096


def is_dataset(folder: str) -> bool:
    """Whether a folder is what `save_to_disk` leaves."""
    return os.path.isfile(os.path.join(folder, "dataset_dict.json")) or all(
        os.path.isfile(os.path.join(folder, name)) for name in ("state.json", "dataset_info.json")
    )


def sources(folder: str) -> list[Source]:
    """The photos of a set, or of each of its splits.

    Raises:
        UsageError: `datasets` is not installed, it cannot be read, or it has no pictures.
    """
    folder = os.path.abspath(folder)
    loaded = _load(folder)
    if not isinstance(loaded, dict):
        return [_source(loaded, folder, "")]
    return [_source(split, os.path.join(folder, str(name)), f"{name}/") for name, split in loaded.items()]


class Reader:
    """The pictures of a set, by their rows; any thread may ask, in any order."""

    def __init__(self, path: str, column: str) -> None:
        from datasets import Image

        self._path = path
        self._rows = _load(path).cast_column(column, Image(decode=False)).select_columns([column])
        self._column = column

    def get(self, position: int, name: str) -> bytes:
        """A photo's bytes.

        Raises:
            PhotoError: there is none, or it is too large.
        """
        place = f"{name} in {self._path}"
        value = self._rows[position][self._column] if position < len(self._rows) else None
        content = value.get("bytes") if isinstance(value, dict) else None
        if content is None:  # saving puts them in, and a path in somebody's set is not followed
            raise PhotoError(f"decode: {on_one_line(place)} holds no bytes; save the set with its pictures")
        if len(content) > MAX_HELD:
            raise PhotoError(too_large(place, len(content)))
        return content

    def close(self) -> None:
        """The set is mapped into memory; that ends with it."""


def _load(folder: str) -> Any:
    try:
        import datasets
    except ImportError:
        raise MissingPackageError(
            f"decode: {on_one_line(folder)} is a set of the package datasets, which is not installed; "
            "pip install 'saccade[datasets]'"
        ) from None
    datasets.disable_progress_bars()
    try:
        return datasets.load_from_disk(folder)
    except Exception as error:  # Arrow's, JSON's and its own, KeyError and TypeError among them
        raise UsageError(
            f"decode: {on_one_line(folder)} is no set of datasets, or a damaged one: {reason_of(error)}; save it again"
        ) from error


def _source(rows: Any, path: str, prefix: str) -> Source:
    from datasets import ClassLabel, Image, Value

    features: dict[str, Any] = dict(rows.features)
    column = next((name for name, kind in features.items() if isinstance(kind, Image)), None)
    if column is None:
        raise UsageError(
            f"decode: {on_one_line(path)} has no column of pictures (it has {', '.join(features)[:200]}); cast one to "
            "datasets.Image, and save it again"
        )
    classes = [name for name, kind in features.items() if isinstance(kind, ClassLabel)]
    label = "label" if "label" in features else next(iter(classes), None)
    kinds: dict[str, Scalar] = {}
    for name, kind in features.items():
        if isinstance(kind, ClassLabel):
            kinds[name] = "string"
        elif isinstance(kind, Value) and (scalar := _scalar(kind.dtype)) is not None:
            kinds[name] = scalar
    if label is not None and kinds.get(label) not in ("string", "int64"):
        label = None
    further: dict[str, Scalar] = {name: kind for name, kind in kinds.items() if name not in (label, column)}

    def read(name: str, value: Any) -> Any:
        if not isinstance(features[name], ClassLabel):
            return value
        names = features[name].names or []
        return names[value] if value is not None and 0 <= value < len(names) else None

    def photos() -> Iterator[Photo]:
        wanted = [*([label] if label is not None else []), *further]
        small = rows.select_columns(wanted)
        for first in range(0, len(rows), _ROWS):
            part = small[first : first + _ROWS] if wanted else {}
            for i in range(min(_ROWS, len(rows) - first)):
                row = first + i
                said = read(label, part[label][i]) if label is not None else None
                said = None if said in (None, "") else str(said)
                values = {name: read(name, part[name][i]) for name in further}
                yield Photo(path, f"{prefix}{row:08}", said, f"{column}[{row}]", row, further=values)

    return Source(
        photos,
        path,
        f"decode: {on_one_line(path)} has no rows; name another set",
        further,
        distinct=True,
        container=path,
    )


def _scalar(kind: str) -> Scalar | None:
    if kind == "bool":
        return "bool"
    if kind.startswith(("int", "uint")) and kind != "uint64":
        return "int64"
    if kind.startswith("float"):
        return "double"
    return "string" if kind in ("string", "large_string") else None
