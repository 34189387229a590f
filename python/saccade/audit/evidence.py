"""A run's evidence as arrays: a few numbers for each image are held, maps and features read when they are asked for."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ..engine import decode, pipeline, sinks
from ..engine.contract import ATTRIBUTES, SaccadeError, Spec, UsageError, read_spec
from .names import WithNameParts

Floats = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]

MAX_SIDE = 28
"""Rows and columns of the maps that are given here, at most: a U-Net's CAM of 256×256 says no more about where."""

_SLICE = 4096
_VALUES = 2**22  # of maps and features in a slice
_MAX_TEXT = 200  # characters of a value of a further column
_MAX_CLASSES = 2**20
_ROW = ("name", "label", "prediction_index", "target_index", "confidence", "error")
_REST = ("path", "member", "member_offset", "member_length", "prediction")
_VIEW = ("view_left", "view_top", "view_right", "view_bottom")
_PREFIXES = ("view_", "score", "target_index_", "features_")


class Frame(NamedTuple):
    """A photo's rectangle that the network saw.

    Attributes:
        name: the photo's, relative to the folder that was given.
        view: (left, top, right, bottom), in pixels of the upright photo.
        size: (width, height) of that.
    """

    name: str
    view: tuple[float, float, float, float]
    size: tuple[int, int]


@dataclass(frozen=True)
class Evidence:
    """A run's evidence; row i is the i-th image of the manifest.

    Attributes:
        folder: the run's.
        spec: the program's contract, with the classes' names as the run had them.
        map_name: the map that is audited: the first CAM of rank 1, else the first map that is no activations.
        map_shape: rows and columns of the maps as `slices` and `read` give them, at most `MAX_SIDE` each.
        names: classes' names, by class index.
        name: the images' names, N texts.
        good: bool [N], the image was read and explained.
        predicted: int64 [N], the predicted class, -1 where there is none.
        explained: int64 [N], the class (of a unit program the channel) that the map explains, -1 where there is none;
            not `predicted` where the run was asked for another target.
        confidence: float32 [N], NaN where there is none.
        label: the labels as they were given, N texts or nulls.
        labelled: int64 [N], the class that the label names (by its name or its index), -1 without one or for a label
            that names none of the classes.
        statistics: of the map, float32 [N] each: max, border_mass, corner_mass, center_x, … (NaN for a blank map).
        attributes: of the image as the network saw it, float32 [N] each: brightness, …; width, height and
            aspect_ratio (width ÷ height) of the upright photo as well.
        further: the manifest's further columns, what is known of the file and the parts of its name (see
            `names.WithNameParts`), each of N values with nulls; texts are cut after 200 characters, and
            dictionary-encoded where they repeat.
        stored: the evidence's rows, to read more of them.
    """

    folder: Path
    spec: Spec
    map_name: str
    map_shape: tuple[int, int]
    names: tuple[str, ...]
    name: pa.ChunkedArray
    good: npt.NDArray[np.bool_]
    predicted: Indices
    explained: Indices
    confidence: Floats
    label: pa.ChunkedArray
    labelled: Indices
    statistics: Mapping[str, Floats]
    attributes: Mapping[str, Floats]
    further: WithNameParts
    stored: sinks.EvidenceSlices = field(repr=False)

    def __len__(self) -> int:
        return len(self.good)

    @property
    def has_features(self) -> bool:
        """Whether the run kept what was looked at, and not only where."""
        return self.spec.features is not None

    @property
    def blank(self) -> npt.NDArray[np.bool_]:
        """The images that were explained and have no positive evidence in their map: bool [N]."""
        return self.good & ~(self.statistics["max"] > 0)

    def slices(self, features: bool = True) -> Iterator[tuple[int, Floats, Floats | None]]:
        """All maps (and features), some thousand images at a time, in order.

        Yields:
            The first row; maps float32 [n, h, w] of `map_shape`, NaN for images with an error; features float32 [n, C]
            or None.
        """
        stored = self.stored.of(self._columns(features), 1)
        first = 0
        for table in dataclasses.replace(stored, rows=self._affordable(stored)):
            yield first, *self._restored(table)
            first += table.num_rows

    def read(self, rows: Sequence[int] | Indices, features: bool = True) -> tuple[Floats, Floats | None]:
        """Maps [n, h, w] and features [n, C] of some images, in the order of `rows` (ascending is fastest)."""
        stored = self.stored.of(self._columns(features), 1)
        some = self._affordable(stored)
        wanted = np.asarray(rows, np.int64)
        parts = [self._restored(stored.take(wanted[i : i + some])) for i in range(0, max(1, len(wanted)), some)]
        vectors = [f for _, f in parts if f is not None]
        return np.concatenate([m for m, _ in parts]), np.concatenate(vectors) if vectors else None

    def photos(self, rows: Sequence[int] | Indices) -> list[decode.Photo]:
        """Where some images are, to read them again (`decode.read_view`, `pipeline.read_views`)."""
        table = self.stored.of(pipeline.PLACE, 1).take(rows)
        return [decode.Photo(*row.values()) for row in table.to_pylist()]

    def frames(self, rows: Sequence[int] | Indices) -> list[Frame]:
        """What the network saw of some photos, in the order of `rows`."""
        found = []
        for row in self.stored.of(("name", *_VIEW, "width", "height"), 1).take(rows).to_pylist():
            left, top, right, bottom = (float("nan") if row[side] is None else row[side] for side in _VIEW)
            found.append(Frame(row["name"], (left, top, right, bottom), (row["width"] or 0, row["height"] or 0)))
        return found

    def _columns(self, features: bool) -> list[str]:
        names = [self.map_name, *(["features"] if features and self.has_features else [])]
        return [column for name in names for column in (name, f"{name}_scale")]

    @staticmethod
    def _affordable(stored: sinks.EvidenceSlices) -> int:
        """Images at a time: a map may be stored at the input's own size (saccade run --keep full)."""
        values = sum(math.prod(sinks.shape_of(f)) for f in stored.schema if pa.types.is_list(f.type))
        return min(_SLICE, max(1, _VALUES // values))

    def _restored(self, table: pa.Table) -> tuple[Floats, Floats | None]:
        maps = sinks.restore_map(table, self.map_name)
        if maps.shape[1:] != self.map_shape:
            maps = sinks.area_average(maps, *self.map_shape)
        return maps, sinks.restore_map(table, "features") if "features" in table.schema.names else None


def read(folder: str | os.PathLike[str]) -> Evidence:
    """Open a run's evidence for an audit. It may be of an earlier version, with fewer attributes.

    Raises:
        UsageError: the folder is no run, or the run is of no classifier, has no map to audit, or maps of other classes
            than the predicted ones.
        SaccadeError: the evidence is damaged.
    """
    stored = sinks.every_row(folder)
    schema = stored.schema
    spec = read_spec((schema.metadata or {}).get(b"saccade", b"").decode(errors="replace"))
    name = _audited(spec, schema, folder)
    if not len(stored):
        raise SaccadeError(f"audit: the evidence of {folder} has no rows; run it again")
    if spec.num_outputs > _MAX_CLASSES:
        raise UsageError(f"audit: {spec.model} has {spec.num_outputs:,} classes; expected {_MAX_CLASSES:,} at most")
    wanted = [f.name for f in schema if _is_plain(f.type) and not _is_ours(f, spec, name)]
    try:
        table = pa.concat_tables([_bounded(part) for part in stored.of(wanted, 2**15)]).unify_dictionaries()
        return _evidence(Path(folder), spec, name, table, stored)
    except (pa.ArrowException, KeyError) as error:
        reason = str(error).splitlines()[0][:200]
        raise SaccadeError(f"audit: the evidence of {folder} is damaged ({reason}); run it again") from None


def _audited(spec: Spec, schema: pa.Schema, folder: str | os.PathLike[str]) -> str:
    """The map that is audited."""
    if spec.target == "outputs" or "prediction_index" not in schema.names:
        raise UsageError(
            f"audit: {folder} is a run of a regression, which predicts no class; expected one of a classifier"
        )
    if spec.output_size is not None or spec.target_layer is not None:
        kind = "a segmentation" if spec.output_size is not None else "an inner layer's channels"
        raise UsageError(f"audit: {folder} is a run of {kind}; expected one of a classifier's classes")
    maps = [m for m in spec.maps if m.kind not in ("activations", "ascent") and m.rank == 1]
    maps.sort(key=lambda m: m.kind != "cam")
    if not maps or f"{maps[0].name}_spread" not in schema.names:
        raise UsageError(
            f"audit: the run of {folder} has no map to audit; run a program with --method grad-cam (or another CAM)"
        )
    return maps[0].name


def _evidence(folder: Path, spec: Spec, map_name: str, table: pa.Table, stored: sinks.EvidenceSlices) -> Evidence:
    names = tuple(spec.class_name(i) for i in range(spec.num_outputs))
    shape = sinks.shape_of(stored.schema.field(map_name))
    if len(shape) != 2:
        raise SaccadeError(f"audit: the maps of {folder} are of the shape {list(shape)}; run it again")
    own = [f.name for f in table.schema if not sinks.is_further(f)]
    attributes = {a: _floats(table[a]) for a in (*ATTRIBUTES, "width", "height") if a in own}
    with np.errstate(divide="ignore", invalid="ignore"):
        attributes["aspect_ratio"] = attributes["width"] / attributes["height"]
    known = {*_ROW, *attributes, *(f"{map_name}_{s}" for s in sinks.STATISTICS)}
    given = {n: table[n] for n in table.schema.names if n not in known or n not in own}
    good = table["error"].is_null().to_numpy()
    predicted = _indices(table["prediction_index"], len(names), folder)
    explained = _indices(table["target_index"], None, folder)
    _check_target(spec, predicted[good], explained[good], folder)
    return Evidence(
        folder=folder,
        spec=spec,
        map_name=map_name,
        map_shape=(min(shape[0], MAX_SIDE), min(shape[1], MAX_SIDE)),
        names=names,
        name=table["name"],
        good=good,
        predicted=predicted,
        explained=explained,
        confidence=_floats(table["confidence"]),
        label=table["label"],
        labelled=_labelled(table["label"], spec, names),
        statistics={s: _floats(table[f"{map_name}_{s}"]) for s in sinks.STATISTICS},
        attributes=attributes,
        further=WithNameParts({name: _compact(column) for name, column in given.items()}, table["name"]),
        stored=stored,
    )


def _check_target(spec: Spec, predicted: Indices, explained: Indices, folder: Path) -> None:
    """That the maps are of the predicted classes. Where two classes have the same logit runtimes may differ."""
    other = np.flatnonzero((predicted >= 0) & (predicted != explained))
    if spec.target != "unit" and len(other) > 0.01 * len(predicted):
        name = spec.class_name(int(explained[other[0]])) if 0 <= explained[other[0]] < spec.num_outputs else "?"
        raise UsageError(
            f"audit: the run of {folder} explains {name!r} where something else is predicted; expected maps of the "
            "predicted classes: run it without --target"
        )


def _is_ours(column: pa.Field, spec: Spec, map_name: str) -> bool:
    """Whether a column is one of the evidence's own that an audit need not hold."""
    if sinks.is_further(column) or column.name in (f"{map_name}_{s}" for s in sinks.STATISTICS):
        return False
    return column.name in _REST or column.name.startswith((*_PREFIXES, *(f"{m.name}_" for m in spec.maps)))


def _is_plain(kind: pa.DataType) -> bool:
    types = pa.types
    return types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind) or types.is_string(kind)


def _bounded(table: pa.Table) -> pa.Table:
    """The same with texts that are cut: a column of the manifest may hold whole documents."""
    for i, column in enumerate(table.schema):
        if pa.types.is_string(column.type) and column.name not in ("name", "label"):
            cut = pc.call_function("utf8_slice_codeunits", [table.column(i)], pc.SliceOptions(0, _MAX_TEXT))
            table = table.set_column(i, column, cut)
    return table


def _compact(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Texts that repeat by number, everything else as it is."""
    return column.dictionary_encode() if _repeats(column) else column


def _repeats(column: pa.ChunkedArray) -> bool:
    return pa.types.is_string(column.type) and 2 * len(column.unique()) <= len(column)


def _floats(column: pa.ChunkedArray) -> Floats:
    return column.cast(pa.float32(), safe=False).to_numpy().astype(np.float32)  # nulls become NaN


def _indices(column: pa.ChunkedArray, count: int | None, folder: Path) -> Indices:
    found = column.cast(pa.int64()).fill_null(-1).to_numpy()
    if len(found) and (found.min() < -1 or (count is not None and found.max() >= count)):
        worst = found.min() if found.min() < -1 else found.max()
        raise SaccadeError(f"audit: the evidence of {folder} has class {worst}, of {count}; run it again")
    return found


def _labelled(label: pa.ChunkedArray, spec: Spec, names: Sequence[str]) -> Indices:
    """The class of each label, -1 where it names none; every label that occurs is looked up once."""
    index = {name: i for i, name in reversed(list(enumerate(names)))}  # of two classes of one name the first
    codes, distinct = encoded(label)

    def find(text: str) -> int:
        number = int(text) if text.isdecimal() and len(text) < 9 else -1
        return index.get(text, number if number < spec.num_outputs else -1)

    return np.array([*map(find, distinct), -1], np.int64)[codes]


def encoded(column: pa.ChunkedArray) -> tuple[Indices, list[str]]:
    """Texts by number: int64 [N], -1 for null, and the text of each number."""
    whole = column.dictionary_encode().unify_dictionaries()
    codes = [chunk.indices.cast(pa.int64()).fill_null(-1).to_numpy() for chunk in whole.chunks]
    texts = whole.chunk(0).dictionary.to_pylist() if whole.num_chunks else []
    return np.concatenate([np.empty(0, np.int64), *codes]), texts
