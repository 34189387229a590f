"""The table of all images: its columns and their maps as blocks of bytes, which the page's script unpacks."""

from __future__ import annotations

import base64
import json
import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ...engine import render, sinks
from ..evidence import Evidence
from .told import Told, told

ROWS = 100_000
"""At most so many rows: a page of a million images would be too large to open. What is left out is said."""
CELLS = 8
"""Maps are averaged to at most so many cells a side; those of images with a picture keep up to `FINE_CELLS`."""
FINE_CELLS = 28

_VALUES = 4096
"""A text column with more different values says little in a filter and much in bytes: it is left out."""
_FURTHER = 32
_TEXT = 120
_SHOWN = ("border_mass", "corner_mass", "spread", "brightness")
_PLACES = ("path", "name", "member", "view_left", "view_top", "view_right", "view_bottom")


@dataclass(frozen=True)
class Categories:
    """A column of texts, most of them repeated.

    Attributes:
        codes: [N], 0 for none, i for `values[i - 1]`.
        values: the texts, in the order in which they are sorted.
    """

    codes: npt.NDArray[Any]
    values: list[str]


class Block:
    """Bytes one after the other, compressed: the page finds its parts by where they begin."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._length = 0

    def add(self, data: bytes) -> int:
        """Append bytes; where they begin."""
        begin = self._length
        self._parts.append(data)
        self._length += len(data)
        return begin

    def encoded(self) -> bytes:
        """All of it, zlib's deflate in base64."""
        return base64.b64encode(zlib.compress(b"".join(self._parts), 6))


def table_rows(evidence: Evidence, wanted: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The rows of the table, ascending: all of them, or those that are `wanted` and others evenly between."""
    count = len(evidence)
    if count <= ROWS:
        return np.arange(count)
    even = np.linspace(0, count - 1, max(1, ROWS - len(wanted))).astype(np.int64)
    return np.union1d(even, wanted)


def table_data(
    evidence: Evidence,
    rows: npt.NDArray[np.int64],
    strategies: npt.NDArray[np.int16] | None,
    verdicts: Mapping[int, str],
    block: Block,
) -> dict[str, Any]:
    """The table's columns into the block, and what the page has to know to read them.

    Args:
        evidence: the run's.
        rows: which of its rows, ascending.
        strategies: int16 [N], the number of each row's strategy among its class's, -1 without one.
        verdicts: class index → the worst verdict on it.
        block: where the columns go.
    """
    names, places, views = _places(evidence, rows)
    numbers: list[tuple[str, Told, npt.NDArray[Any], bool]] = [
        (
            "confidence",
            Told("confidence", "share", "The probability of the predicted class."),
            evidence.confidence,
            True,
        )
    ]
    numbers += [(f"map {k}", told(k), v, k in _SHOWN) for k, v in evidence.statistics.items()]
    numbers += [(k, told(k), v, k in _SHOWN) for k, v in evidence.attributes.items()]
    further, left_out = _further(evidence.further)
    numbers += [(f"further {k}", told(k), v, False) for k, v in further.items() if not isinstance(v, Categories)]
    texts = _answers(evidence, strategies, verdicts)
    texts += [(f"further {k}", told(k), v, False) for k, v in further.items() if isinstance(v, Categories)]
    columns = [_category_column(key, say, c, rows, shown, block) for key, say, c, shown in texts]
    columns[1:1] = [_number_column(key, say, values[rows], shown, block) for key, say, values, shown in numbers[:1]]
    columns += [_number_column(key, say, values[rows], shown, block) for key, say, values, shown in numbers[1:]]
    return {
        "rows": len(rows),
        "of": len(evidence),
        "numbers": _floats(rows.astype(np.float64), block) if len(rows) < len(evidence) else None,
        "names": _texts(names, block),
        "places": _texts(places, block),
        "views": [_floats(views[:, i], block) for i in range(4)],
        "columns": columns,
        "left_out": left_out,
    }


def map_bytes(
    evidence: Evidence, rows: npt.NDArray[np.int64], cells: int
) -> tuple[npt.NDArray[np.uint8], tuple[int, int]]:
    """Maps of some rows as indices into the colormap, each between 0 and its own maximum as the renderer scales it.

    Args:
        evidence: the run's.
        rows: which, ascending.
        cells: maps of more cells on a side are averaged to so many.

    Returns:
        uint8 [len(rows), h, w], and (h, w). A blank map is 0 everywhere, as is that of an image with an error.
    """
    height, width = (min(cells, side) for side in evidence.map_shape)
    about = next(m for m in evidence.spec.maps if m.name == evidence.map_name)
    made = np.zeros((len(rows), height, width), np.uint8)
    for first, maps, _ in evidence.slices(features=False):
        begin, end = np.searchsorted(rows, [first, first + len(maps)])
        if begin == end:
            continue
        few = sinks.area_average(np.nan_to_num(maps[rows[begin:end] - first]), height, width)
        made[begin:end] = render.index_maps(few, render.display_ranges(few, kind=about.kind))
    return made, (height, width)


def _places(
    evidence: Evidence, rows: npt.NDArray[np.int64]
) -> tuple[list[str], list[str | None], npt.NDArray[np.float64]]:
    """Names; the files' paths, or their folder (with / at the end) where the name is the rest; views [n, 4]."""
    names: list[str] = []
    places: list[str | None] = []
    views = [np.empty((0, 4))]
    first = 0
    for table in evidence.stored.of(_PLACES, 16384):
        begin, end = np.searchsorted(rows, [first, first + table.num_rows])
        part = table.take(rows[begin:end] - first)
        found = part.select(_PLACES[:3]).to_pydict()
        names += found["name"]
        places += map(_place, found["path"], found["name"], found["member"])
        views.append(np.stack([part[c].to_numpy().astype(np.float64) for c in _PLACES[3:]], axis=1))
        first += table.num_rows
    return names, places, np.concatenate(views)


def _place(path: str, name: str, member: str | None) -> str | None:
    if member is not None or "://" in path:
        return None  # within an archive or elsewhere: a browser cannot open it as a file
    whole = os.path.abspath(path).replace(os.sep, "/")
    folder = whole.removesuffix(name)
    return folder if folder.endswith("/") and folder != whole else whole


def _answers(
    evidence: Evidence, strategies: npt.NDArray[np.int16] | None, verdicts: Mapping[int, str]
) -> list[tuple[str, Told, Categories, bool]]:
    """What was said of each image, and what of that is right."""
    names = list(evidence.names)
    found = [("prediction", Told("prediction", tip="The class that the network says."), evidence.predicted, names)]
    right = np.where(evidence.labelled < 0, -1, (evidence.labelled != evidence.predicted).astype(np.int64))
    right[~evidence.good] = -1
    worst = ["shortcut", "suspect", "clear"]
    of_class = np.array([worst.index(verdicts[i]) if i in verdicts else -1 for i in range(len(names))] + [-1])
    about = "The worst verdict on the class that the network says."
    found += [
        ("right", Told("right?", tip="Whether prediction and label agree."), right, ["right", "wrong"]),
        ("verdict", Told("verdict", tip=about), of_class[evidence.predicted], worst),
    ]
    if strategies is not None:
        numbers = [str(i) for i in range(1, int(strategies.max(initial=1)) + 1)]
        tip = "Which of the ways to its class: see the class's own part above."
        found.append(("strategy", Told("strategy", tip=tip), np.where(strategies < 1, -1, strategies - 1), numbers))
    made = [(key, say, Categories(codes + 1, values), bool((codes >= 0).any())) for key, say, codes, values in found]
    labels = _labels(evidence)
    if labels.values:
        made.insert(1, ("label", Told("label", tip="The class that the image should have."), labels, True))
    else:
        made = [column for column in made if column[0] != "right"]
    return made


def _labels(evidence: Evidence) -> Categories:
    """Labels by their classes' names, or as they were given where they name none of the classes."""
    given = _categories(evidence.label)
    if len(given.values) > _VALUES:
        given = Categories(np.zeros_like(given.codes), [])
    named = np.array([*evidence.names, ""], object)[evidence.labelled]
    texts = np.where(evidence.labelled >= 0, named, np.array(["", *given.values], object)[given.codes])
    return _categories(pa.chunked_array([pa.array([t or None for t in texts.tolist()], pa.string())]))


def _further(columns: Mapping[str, pa.ChunkedArray]) -> tuple[dict[str, Any], list[str]]:
    """The manifest's columns and the file's, as numbers or categories; and the names of those that are left out."""
    found: dict[str, Any] = {}
    left_out = []
    for name, values in columns.items():
        if len(found) == _FURTHER:
            left_out.append(name)
        elif pa.types.is_floating(values.type) or pa.types.is_integer(values.type):
            found[name] = values.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False).astype(np.float64)
        else:
            kept = _categories(values)
            if len(kept.values) > _VALUES:
                left_out.append(name)
            elif kept.values:
                found[name] = kept
    return found, left_out


def _categories(column: pa.ChunkedArray) -> Categories:
    plain = column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column
    encoded = plain.cast(pa.string()).combine_chunks().dictionary_encode()
    values = [text[:_TEXT] for text in encoded.dictionary.to_pylist()]
    order = np.argsort(np.array(values, object), kind="stable") if values else np.empty(0, np.int64)
    place = np.zeros(len(values) + 1, np.int64)
    place[order + 1] = np.arange(1, len(values) + 1)
    codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    return Categories(place[codes + 1], [values[i] for i in order])


def _category_column(
    key: str, say: Told, column: Categories, rows: npt.NDArray[np.int64], shown: bool, block: Block
) -> dict[str, Any]:
    kind = np.uint8 if len(column.values) < 256 else np.uint16 if len(column.values) < 65536 else np.uint32
    codes = column.codes[rows].astype(kind)
    about = {"key": key, "title": say.title, "tip": say.tip, "shown": shown, "values": column.values}
    return about | {"coding": f"u{codes.itemsize}", "at": block.add(codes.tobytes())}


def _number_column(key: str, say: Told, values: npt.NDArray[Any], shown: bool, block: Block) -> dict[str, Any]:
    about = {"key": key, "title": say.title, "tip": say.tip, "format": say.format, "shown": shown}
    return about | _floats(values, block)


def _floats(values: npt.NDArray[Any], block: Block) -> dict[str, Any]:
    """Numbers of 16 significant bits in three bytes each; whole where that would change a whole number."""
    finite = values[np.isfinite(values)]
    if np.any((finite == np.rint(finite)) & (np.abs(finite) > 2**16)):
        return {"coding": "f8", "at": block.add(_planes(values.astype("<f8"), 8))}
    bits = values.astype("<f4").view("<u4")
    # Half of the last kept bit: rounded, not cut. A NaN's bits would overflow.
    rounded = np.where(np.isfinite(values), bits + np.uint32(128), bits)
    return {"coding": "f3", "at": block.add(_planes(rounded.astype("<u4"), 4)[len(values) :])}


def _planes(values: npt.NDArray[Any], size: int) -> bytes:
    """All first bytes, then all second ones, …: like bytes side by side are compressed best."""
    return values.view(np.uint8).reshape(len(values), size).T.tobytes()


def _texts(values: list[Any], block: Block) -> dict[str, int]:
    data = json.dumps(values, separators=(",", ":")).encode()
    return {"at": block.add(data), "size": len(data)}
