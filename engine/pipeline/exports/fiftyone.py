"""FiftyOne's own dataset folder: samples.json, metadata.json with the fields, and a PNG for each heatmap.

It is the format that `fiftyone.types.FiftyOneDataset` names. FiftyOne migrates such a folder from the version that its
metadata.json says to its own, so the fields below are those of `VERSION` whatever is installed. It is read as a stream;
the older form without a version is read whole, and is deprecated. No other format of FiftyOne's has heatmaps.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import math
import os
import re
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from PIL import Image

from ... import render, sinks
from ...contract import MapSpec
from .rows import Export

VERSION = "1.0.0"
"""The oldest FiftyOne that opens the folder; every newer one migrates it."""

HEATMAP_SIDE = 256
"""Pixels of a heatmap's longer side, at most: FiftyOne stretches it over the photo, and a map has few cells."""

_CORE = "fiftyone.core"
_OWN = {"id", "filepath", "tags", "metadata", "created_at", "last_modified_at", "ground_truth", "prediction"}
_ELSEWHERE = {"path", "label", "prediction", "confidence", "width", "height"}  # columns that other fields hold
_GRAY = render.colormap("gray")

Floats = npt.NDArray[np.float32]


class _Heatmap(NamedTuple):
    """A field with heatmaps: of a signed map's evidence, or of what it says against the target."""

    field: str
    map: MapSpec
    sign: int


def write(export: Export, out: Path) -> int:
    """Write the dataset into the folder `out`; returns the number of photos.

    Raises:
        UsageError: no row matches.
        OSError: it cannot be written.
    """
    total = len(export.rows)
    if total == 0:
        raise export.none_found()
    fields = _Fields(export)
    done = 0
    with (
        open(out / "samples.json", "w", encoding="utf-8") as file,
        ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="saccade-export") as pool,
    ):
        file.write('{"samples": [')
        for table in export.rows:
            for sample in _samples(export, fields, table, done, out, pool):
                file.write((",\n" if done else "\n") + json.dumps(sample, ensure_ascii=False, allow_nan=False))
                done += 1
            export.on_progress(done, total)
        file.write("\n]}\n")
    (out / "metadata.json").write_text(json.dumps(fields.metadata(), ensure_ascii=False, indent=1), encoding="utf-8")
    return done


class _Fields:
    """Which column becomes which field, and what FiftyOne has to know of it."""

    def __init__(self, export: Export) -> None:
        self.export = export
        schema = export.rows.schema
        taken = set(_OWN)
        arrays = {f.name for f in schema if f.metadata and b"shape" in f.metadata}
        scales = {f"{name}_scale" for name in arrays}
        self.heatmaps: list[_Heatmap] = []
        for m in export.maps:
            self.heatmaps.append(_Heatmap(_free(m.name, taken), m, 1))
            if m.kind == "signed":
                self.heatmaps.append(_Heatmap(_free(f"{m.name}_against", taken), m, -1))
        drawn = {heatmap.map.name for heatmap in self.heatmaps}
        maps = {m.name for m in export.spec.maps}
        self.vectors = {name: _free(name, taken) for name in sorted(arrays - drawn - maps)}
        """Arrays that are no map: `features`, a layer's means and maxima."""
        plain = [f for f in schema if f.name not in _ELSEWHERE | arrays | scales]
        self.plain = {f.name: _free(f.name, taken) for f in plain}
        self._kinds = {f.name: f.type for f in plain}

    def metadata(self) -> dict[str, Any]:
        """The contents of metadata.json."""
        spec = self.export.spec
        fields = [
            _field("id", "ObjectIdField", db_field="_id"),
            _field("filepath", "StringField"),
            _field("tags", "ListField", subfield="StringField"),
            _field("_media_type", "StringField"),
            _field("_rand", "FloatField"),
            _field("_dataset_id", "ObjectIdField"),
            _field("created_at", "DateTimeField", read_only=True),
            _field("last_modified_at", "DateTimeField", read_only=True),
            _document("metadata", "metadata.ImageMetadata", _METADATA),
            _document("ground_truth", "labels.Classification", _CLASSIFICATION),
            _document("prediction", "labels.Classification", _CLASSIFICATION),
            *(_document(h.field, "labels.Heatmap", _HEATMAP, self._said(h)) for h in self.heatmaps),
            *(_field(field, "VectorField") for field in self.vectors.values()),
            *(_typed(field, self._kinds[name]) for name, field in self.plain.items()),
        ]
        return {
            "version": VERSION,
            "media_type": "image",
            "info": {"saccade": {"model": spec.model, "weights_hash": spec.weights_hash, "program": spec.hash}},
            "default_classes": list(spec.classes or ()),
            "sample_fields": fields,
        }

    def _said(self, heatmap: _Heatmap) -> str:
        of = f"{heatmap.map.method} at {heatmap.map.layer}"
        return f"{of}: what speaks against the target" if heatmap.sign < 0 else of


def _samples(
    export: Export, fields: _Fields, table: pa.Table, first: int, out: Path, pool: ThreadPoolExecutor
) -> list[dict[str, Any]]:
    """A slice of the evidence as samples, their heatmaps written."""
    rows = table.select(sorted({*_ELSEWHERE, *_VIEW, *fields.plain} & set(table.schema.names))).to_pylist()
    photos, frames = _photos(export, rows, first, out)
    samples = [_sample(fields, row, photo) for row, photo in zip(rows, photos, strict=True)]
    for name, field in fields.vectors.items():
        values = sinks.restore_map(table, name)
        for i in np.flatnonzero(table[name].is_valid().to_numpy()):
            samples[i][field] = _vector(values[i])
    jobs = []
    for m in export.maps:
        there = np.flatnonzero(table[m.name].is_valid().to_numpy())
        if not len(there):
            continue
        values = sinks.restore_map(table.take(there), m.name)
        parts = [h for h in fields.heatmaps if h.map.name == m.name]
        # What speaks for and against is drawn on one scale.
        limits = np.maximum.reduce([render.display_ranges(h.sign * values, kind=m.kind) for h in parts])
        for heatmap in parts:
            for i, j in enumerate(there):
                if (frame := frames[j]) is None:
                    continue
                path = f"fields/{heatmap.field}/{(first + j) // 1000:05d}/{first + j:08d}.png"
                args = (out / path, heatmap.sign * values[i], limits[i], *frame)
                jobs.append(pool.submit(_write_heatmap, *args))
                samples[j][heatmap.field] = {
                    "_id": _object_id(rows[j]["name"], heatmap.field),
                    "_cls": "Heatmap",
                    "tags": [],
                    "map_path": path,
                    "range": [0.0, 255.0],
                    "high": float(limits[i, 1]),
                }
    for job in jobs:
        job.result()
    return samples


_VIEW = ("view_left", "view_top", "view_right", "view_bottom")


def _photos(
    export: Export, rows: list[dict[str, Any]], first: int, out: Path
) -> tuple[list[str], list[tuple[tuple[int, int], render.Box] | None]]:
    """Where each row's photo is, and its (width, height) with the map's place in it, None where that is unknown.

    FiftyOne opens files: of a photo that lies in an archive it gets what the network saw.
    """
    photos = [row["path"] for row in rows]
    frames: list[tuple[tuple[int, int], render.Box] | None] = []
    for row in rows:
        width, height, left, top, right, bottom = (row.get(name) for name in ("width", "height", *_VIEW))
        known = None not in (width, height, left, top, right, bottom)
        frames.append(((width, height), (left, top, right, bottom)) if known else None)  # pyright: ignore[reportArgumentType]
    inside = [i for i, row in enumerate(rows) if row.get("member") is not None and frames[i]]
    if inside:
        p = export.spec.preprocessing
        for i, view in zip(inside, export.views([rows[i] for i in inside]), strict=True):
            path = f"data/{(first + i) // 1000:05d}/{first + i:08d}.jpg"
            sinks.write_picture(out / path, np.repeat(view, 3 // p.channels, axis=2))
            photos[i] = path
            rows[i]["width"], rows[i]["height"] = p.width, p.height
            frames[i] = ((p.width, p.height), (0.0, 0.0, float(p.width), float(p.height)))
    return photos, frames


def _sample(fields: _Fields, row: dict[str, Any], photo: str) -> dict[str, Any]:
    name = row["name"]
    number = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=6).digest())
    sample: dict[str, Any] = {
        "_id": _object_id(name, ""),
        "filepath": photo,
        "tags": [] if row.get("error") is None else ["error"],
        "_media_type": "image",
        "_rand": number / 2**48,
    }
    if row.get("width") is not None:
        sample["metadata"] = {"_cls": "ImageMetadata", "width": row["width"], "height": row["height"]}
    if (label := fields.export.spec.label_name(row.get("label"))) is not None:
        sample["ground_truth"] = _classification(name, "ground_truth", label)
    if row.get("prediction") is not None:
        sample["prediction"] = _classification(name, "prediction", row["prediction"], row.get("confidence"))
    for column, field in fields.plain.items():
        if (value := _plain(row[column])) is not None:
            sample[field] = value
    return sample


def _classification(name: str, field: str, label: str, confidence: float | None = None) -> dict[str, Any]:
    said = {"_id": _object_id(name, field), "_cls": "Classification", "tags": [], "label": label}
    return said if confidence is None else {**said, "confidence": confidence}


def _write_heatmap(path: Path, values: Floats, limits: Floats, size: tuple[int, int], view: render.Box) -> None:
    """A map as a grey PNG of the whole photo: 0, which FiftyOne leaves clear, wherever the network did not look."""
    width, height = size
    shrink = min(1.0, HEATMAP_SIDE / max(width, height))
    across, down = max(1, round(width * shrink)), max(1, round(height * shrink))
    left, right = view[0] * across / width, view[2] * across / width
    top, bottom = view[1] * down / height, view[3] * down / height
    # The pixels whose centres lie in the view.
    x0, x1 = (int(np.clip(math.ceil(x - 0.5), 0, across)) for x in (left, right))
    y0, y1 = (int(np.clip(math.ceil(y - 0.5), 0, down)) for y in (top, bottom))
    canvas = np.zeros((down, across, 3), np.uint8)
    if x0 < x1 and y0 < y1:
        inside = np.zeros((y1 - y0, x1 - x0, 3), np.uint8)
        box = [(left - x0, top - y0, right - x0, bottom - y0)]
        whole = inside.shape[:2]
        render.overlay(
            inside, values[None], limits[None], None, whole, [(0, 0)], _GRAY, opacity=256, boxes=box, threads=1
        )
        canvas[y0:y1, x0:x1] = inside
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.ascontiguousarray(canvas[..., 0])).save(path, "PNG", compress_level=4)


def _vector(values: Floats) -> dict[str, Any]:
    """An array as FiftyOne's VectorField stores it: NumPy's own file, compressed."""
    file = io.BytesIO()
    np.save(file, values, allow_pickle=False)
    return {"$binary": {"base64": base64.b64encode(zlib.compress(file.getvalue(), 1)).decode(), "subType": "00"}}


def _plain(value: Any) -> Any:
    """A cell as JSON: MongoDB knows no NaN that JSON could say, and no whole number beyond 64 bits."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return float(value)
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, list):
        return [_plain(v) for v in value]
    return str(value)


def _object_id(name: str, field: str) -> dict[str, str]:
    """MongoDB's identifier; the same photo's is the same in every export."""
    return {"$oid": hashlib.blake2b(f"{field}\0{name}".encode(), digest_size=12).hexdigest()}


def _free(name: str, taken: set[str]) -> str:
    """A field's name: a column's own as far as FiftyOne takes it, and no other field has it."""
    plain = re.sub(r"\W", "_", name).lstrip("_") or "column"
    while plain in taken:
        plain += "_"
    taken.add(plain)
    return plain


def _field(
    name: str,
    kind: str,
    subfield: str | None = None,
    db_field: str | None = None,
    read_only: bool = False,
    embedded: str | None = None,
    fields: Sequence[dict[str, Any]] = (),
    description: str | None = None,
) -> dict[str, Any]:
    return {
        "name": name,
        "ftype": f"{_CORE}.fields.{kind}",
        "embedded_doc_type": None if embedded is None else f"{_CORE}.{embedded}",
        "subfield": None if subfield is None else f"{_CORE}.fields.{subfield}",
        "fields": list(fields),
        "db_field": db_field or name,
        "description": description,
        "info": None,
        "read_only": read_only,
    }


def _document(name: str, kind: str, fields: Sequence[dict[str, Any]], description: str | None = None) -> dict[str, Any]:
    return _field(name, "EmbeddedDocumentField", embedded=kind, fields=fields, description=description)


def _typed(name: str, kind: pa.DataType) -> dict[str, Any]:
    if pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind):
        return _field(name, "ListField", subfield=_scalar(kind.value_type))
    return _field(name, _scalar(kind))


def _scalar(kind: pa.DataType) -> str:
    if pa.types.is_boolean(kind):
        return "BooleanField"
    if pa.types.is_integer(kind):
        return "IntField"
    return "FloatField" if pa.types.is_floating(kind) else "StringField"


_OF_A_LABEL = [_field("id", "ObjectIdField", db_field="_id"), _field("tags", "ListField", subfield="StringField")]
_CLASSIFICATION = [
    *_OF_A_LABEL,
    _field("label", "StringField"),
    _field("confidence", "FloatField"),
    _field("logits", "VectorField"),
]
_HEATMAP = [
    *_OF_A_LABEL,
    _field("map", "ArrayField"),
    _field("map_path", "StringField"),
    _field("range", "HeatmapRangeField", subfield="FloatField"),
    _field("high", "FloatField", description="The map's value where its picture is 255"),
]
_METADATA = [
    _field("size_bytes", "IntField"),
    _field("mime_type", "StringField"),
    _field("width", "IntField"),
    _field("height", "IntField"),
    _field("num_channels", "IntField"),
]
