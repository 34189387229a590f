"""The evidence's columns: their schema, and a batch as rows of it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ..contract import ATTRIBUTES, FACTS, Batch, Maps, MapSpec, Record, Spec, UsageError
from ..contract.arrow import bits, numbers, optional, texts
from .statistics import STATISTICS, area_average, channel_statistics, map_statistics

Keep = Literal["small", "full"]
Floats = npt.NDArray[np.float32]

SALIENCY_SIZE = 28
"""Gradient and signed maps are averaged to this many cells a side, unless everything is kept."""

_FURTHER = b"manifest"
"""A field with this in its metadata is the manifest's, under the name that it has there."""
_NUMBERS = {"int32": np.int32, "float": np.float32}
_VIEW = ("view_left", "view_top", "view_right", "view_bottom")


def evidence_schema(spec: Spec, keep: Keep, further: Mapping[str, pa.DataType] | None = None) -> pa.Schema:
    """The columns of a run's evidence (see docs/evidence.md), the contract in the metadata under `saccade`.

    The manifest's `further` columns keep their names, after `given_` where the evidence has such a column itself.

    Raises:
        UsageError: two columns would have the same name.
    """
    fields = [
        pa.field("path", pa.string(), nullable=False),
        pa.field("name", pa.string(), nullable=False),
        pa.field("label", pa.string()),
        pa.field("member", pa.string()),
        pa.field("member_offset", pa.int64()),
        pa.field("member_length", pa.int64()),
        pa.field("prediction", pa.string()),
        pa.field("prediction_index", pa.int32()),
        pa.field("confidence", pa.float32()),
    ]
    if spec.target == "outputs":
        fields.append(pa.field("outputs", pa.list_(pa.float32(), spec.num_outputs)))
    for place in range(1, spec.target_count + 1):
        end = "" if place == 1 else f"_{place}"
        fields += [pa.field(f"target_index{end}", pa.int32()), pa.field(f"score{end}", pa.float32())]
    for m in spec.maps:
        if m.kind == "activations":
            for reduced in ("mean", "max"):
                fields += _array_fields(f"{m.name}_{reduced}", m.shape[:1])
            if keep == "full":
                fields += _array_fields(m.name, m.shape)
        else:
            fields += _array_fields(m.name, _stored_shape(m, keep))
            fields += [pa.field(f"{m.name}_{statistic}", pa.float32()) for statistic in STATISTICS]
    if spec.features is not None:
        fields += _array_fields("features", (spec.features,))
    fields += [pa.field("width", pa.int32()), pa.field("height", pa.int32())]
    fields += [pa.field(name, pa.float32()) for name in (*ATTRIBUTES, *_VIEW)]
    fields += [pa.field(name, pa.type_for_alias(kind)) for name, kind in FACTS.items()]
    fields.append(pa.field("error", pa.string()))
    ours = {field.name for field in fields}
    for name, kind in (further or {}).items():
        own = f"given_{name}" if name in ours else name
        fields.append(pa.field(own, kind, metadata={_FURTHER: _text(name)}))
    names = [field.name for field in fields]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UsageError(f"evidence: two columns would be named {twice[0]}; give the program's maps other names")
    return pa.schema(fields, metadata={"saccade": spec.to_json()})


def is_further(field: pa.Field) -> bool:
    """Whether a column of the evidence is one of the manifest's further columns."""
    return bool(field.metadata) and _FURTHER in field.metadata


def evidence_rows(batch: Batch, maps: Maps | None, spec: Spec, keep: Keep, schema: pa.Schema) -> pa.RecordBatch:
    """One row for each record of `batch`, in order; `maps` belong to those without an error (None if there are none).

    A photo whose outputs hold NaN or infinity becomes an error row.
    """
    records = batch.records
    good = np.array([record.error is None for record in records], bool)
    errors = [record.error for record in records]
    columns: dict[str, pa.Array] = {}
    if maps is None:
        if good.any():
            raise ValueError(f"{good.sum()} photos of the batch were decoded, but there are no maps")
    else:
        if len(maps.logits) != good.sum():
            raise ValueError(f"{good.sum()} photos of the batch were decoded, but there are {len(maps.logits)} maps")
        finite = _find_not_finite(maps, spec, np.flatnonzero(good), errors)
        good[good] = finite
        columns = _output_columns(maps, finite, good, spec, keep)
    columns |= _record_columns(records, errors)
    for field in schema:
        if is_further(field):
            name = field.metadata[_FURTHER].decode()
            columns[field.name] = pa.array([record.further.get(name) for record in records], field.type)
    return pa.RecordBatch.from_arrays([_column(columns, field, len(records)) for field in schema], schema=schema)


def _column(columns: dict[str, pa.Array], field: pa.Field, rows: int) -> pa.Array:
    return columns[field.name] if field.name in columns else pa.nulls(rows, field.type)


def _find_not_finite(
    maps: Maps, spec: Spec, places: npt.NDArray[np.intp], errors: list[str | None]
) -> npt.NDArray[np.bool_]:
    """Which outputs hold numbers only: [N]; the others' lines go into `errors` at their `places`."""
    finite = np.ones(len(places), bool)
    outputs = {"logits": maps.logits} | {m.name: maps.maps[m.name] for m in spec.maps}
    if maps.features is not None:
        outputs["features"] = maps.features
    for name, values in outputs.items():
        flat = _flat(values)
        holds = np.isfinite(flat.max(axis=1)) & np.isfinite(flat.min(axis=1))  # NaN goes through both
        for place in places[finite & ~holds]:
            errors[place] = (
                f"run: {name} holds NaN or infinity for this photo; check the network's weights and precision"
            )
        finite &= holds
    return finite


def _output_columns(
    maps: Maps, finite: npt.NDArray[np.bool_], good: npt.NDArray[np.bool_], spec: Spec, keep: Keep
) -> dict[str, pa.Array]:
    """Columns from the program's outputs; `finite` picks the outputs [N] to keep, `good` their rows."""
    logits = maps.logits[finite]
    columns: dict[str, pa.Array] = {}
    if spec.target == "outputs":  # a regression predicts numbers, no class
        rows = np.zeros((len(good), spec.num_outputs), np.float32)
        rows[good] = logits
        columns["outputs"] = pa.FixedSizeListArray.from_arrays(
            pa.array(rows.ravel()), type=pa.list_(pa.float32(), spec.num_outputs), mask=pa.array(~good)
        )
    else:
        answered = good.copy()
        if spec.output_size is not None:  # a segmentation of one class may find nothing
            answered[good] = spec.regions(logits).any(axis=(1, 2, 3))
        predicted = spec.predicted(logits)[answered[good]]
        columns["prediction"] = _spread_strings([spec.class_name(int(i)) for i in predicted], answered)
        columns["prediction_index"] = _spread_numbers(predicted.astype(np.int32), answered)
        explained = _as_columns(maps.target[finite])
        for place in range(spec.target_count):
            end = "" if place == 0 else f"_{place + 1}"
            columns[f"target_index{end}"] = _spread_numbers(explained[:, place].astype(np.int32), good)
    if maps.score is not None:
        scores = _as_columns(maps.score[finite])
        for place in range(scores.shape[1]):
            columns["score" if place == 0 else f"score_{place + 1}"] = _spread_numbers(scores[:, place], good)
    if (sure := spec.confidence(logits)) is not None:
        columns["confidence"] = _spread_numbers(sure, good)
    for m in spec.maps:
        values = maps.maps[m.name][finite]
        if m.kind == "activations":
            mean, most = channel_statistics(values)
            columns |= _array_columns(f"{m.name}_mean", mean, good) | _array_columns(f"{m.name}_max", most, good)
            if keep == "full":
                columns |= _array_columns(m.name, values, good)
        else:
            # A gradient map's single pixels are noise: where its evidence lies is read from the averages. This also
            # takes a thirtieth of the time, and the numbers do not depend on `keep`.
            shape = _stored_shape(m, "small")
            small = values if shape == m.shape else area_average(values, *shape)
            statistics = map_statistics(small) | {"max": values.max(axis=(1, 2), initial=0)}
            for statistic, numbers in statistics.items():
                columns[f"{m.name}_{statistic}"] = _spread_numbers(numbers, good)
            columns |= _array_columns(m.name, small if keep == "small" else values, good)
    if spec.features is not None and maps.features is not None:
        columns |= _array_columns("features", maps.features[finite], good)
    return columns


def _as_columns(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return values[:, None] if values.ndim == 1 else values


def _record_columns(records: Sequence[Record], errors: Sequence[str | None]) -> dict[str, pa.Array]:
    columns: dict[str, list[Any]] = {
        "path": [_text(record.path) for record in records],
        "name": [_text(record.name) for record in records],
        "label": [None if record.label is None else _text(record.label) for record in records],
        "member": [None if record.member is None else _text(record.member) for record in records],
        "error": [None if error is None else _text(error) for error in errors],
    }
    arrays = {name: texts(values) for name, values in columns.items()}
    for name in ("offset", "length"):
        arrays[f"member_{name}"] = optional([getattr(record, name) for record in records], np.int64)
    for i, side in enumerate(("width", "height")):
        arrays[side] = optional([record.size and record.size[i] for record in records], np.int32)
    for name in ATTRIBUTES:
        arrays[name] = optional([record.attributes.get(name) for record in records], np.float32)
    for name, kind in FACTS.items():
        values: list[Any] = [record.facts.get(name) for record in records]
        arrays[name] = texts(values) if kind == "string" else optional(values, _NUMBERS[kind])
    for i, side in enumerate(_VIEW):
        arrays[side] = optional([record.view and record.view[i] for record in records], np.float32)
    return arrays


def _text(text: str) -> str:
    """A file's name need not be UTF-8, Parquet's text must be: bytes that are not are written as backslashes."""
    return text.encode("utf-8", "backslashreplace").decode()


def _stored_shape(m: MapSpec, keep: Keep) -> tuple[int, int]:
    height, width = m.shape
    if m.kind in ("gradient", "signed") and keep == "small":
        return min(height, SALIENCY_SIZE), min(width, SALIENCY_SIZE)
    return height, width


def _array_fields(name: str, shape: tuple[int, ...]) -> list[pa.Field]:
    return [
        pa.field(name, pa.list_(pa.float16()), metadata={"shape": json.dumps(list(shape))}),
        pa.field(f"{name}_scale", pa.float32()),
    ]


def _array_columns(name: str, values: Floats, good: npt.NDArray[np.bool_]) -> dict[str, pa.Array]:
    """`values` [N, …] as lists of float16 for the rows that are `good`, and the scale to multiply them by.

    The scale is the greatest magnitude: float16 alone ends at 6e-8, and an untrained network's maps lie below it.
    """
    flat = _flat(values)
    scale = np.maximum(flat.max(axis=1, initial=0), -flat.min(axis=1, initial=0))
    halves = (flat / np.where(scale > 0, scale, 1)[:, None]).astype(np.float16)
    offsets = np.concatenate(([0], np.cumsum(good * flat.shape[1])))
    if offsets[-1] >= 2**31:
        raise UsageError(
            f"evidence: {name} has {offsets[-1]:,} values for {len(good)} photos; use a smaller batch size"
        )
    places = [bits(good), pa.py_buffer(offsets.astype(np.int32))]
    lists = pa.Array.from_buffers(pa.list_(pa.float16()), len(good), places, children=[numbers(halves.ravel())])
    return {name: lists, f"{name}_scale": _spread_numbers(scale.astype(np.float32), good)}


def _flat(values: Floats) -> Floats:
    """[N, …] → [N, …], the rest in one; N may be 0."""
    return values.reshape(len(values), math.prod(values.shape[1:]))


def _spread_numbers(values: npt.NDArray[Any], good: npt.NDArray[np.bool_]) -> pa.Array:
    """`values` [N] in the rows that are `good`, null elsewhere and for NaN."""
    rows = np.zeros(len(good), values.dtype)
    rows[good] = values
    return numbers(rows, good & ~np.isnan(rows))


def _spread_strings(values: Sequence[str], good: npt.NDArray[np.bool_]) -> pa.Array:
    rows = np.full(len(good), None, object)
    rows[good] = values
    return texts(rows)
