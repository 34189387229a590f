"""A ViRelAy project: photos, attributions and an analysis in HDF5, label map and project files beside them.

The layout is that of ViRelAy's database specification and of `virelay/model.py` in 0.4 to 0.6. ViRelAy shows nothing
without an analysis with an embedding and a clustering, so there is one: principal components and k-means.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ... import sinks
from ...contract import MapSpec, SaccadeError, Spec, UsageError
from .analysis import PrincipalComponents, k_means
from .rows import Export

if TYPE_CHECKING:
    import h5py

AXES = 8
"""Dimensions of the embeddings."""

GROUPS = (4, 8)
"""Numbers of clusters to choose from."""

COMPARED_SIDE = 16
"""Maps are compared at so many cells a side, at most: where, not which pixel."""

_CHUNK_BYTES = 2**16  # ViRelAy reads sample by sample, and HDF5 whole chunks

UNLABELLED = "(no label)"
_METHOD = "principal components"

Floats = npt.NDArray[np.float32]


def check(spec: Spec) -> None:
    """See that a run of this contract can be exported.

    Raises:
        SaccadeError: h5py is missing.
        UsageError: the program has no map that lies on the photo.
    """
    try:
        import h5py  # noqa: F401
    except ImportError:
        raise SaccadeError("export: --to virelay needs h5py; pip install 'saccade[export]'") from None
    if all(m.kind == "activations" for m in spec.maps):
        raise UsageError(
            "export: --to virelay: the program has no map of the photo; compile it with a method such as grad-cam"
        )


def write(export: Export, out: Path) -> int:
    """Write the project into the folder `out`; returns the number of photos, those with an error left out.

    Raises:
        UsageError: no row matches.
        OSError: it cannot be written.
    """
    import h5py

    files = {m.name: out / f"attribution-{m.name}.h5" for m in export.maps}
    labels = _Labels(export.spec)
    embedded = _Embedded(export)
    kept: list[npt.NDArray[np.uint32]] = []
    predicted: list[npt.NDArray[np.uint32]] = []
    done, total = 0, len(export.rows)
    with h5py.File(out / "dataset.h5", "w") as dataset:
        attributions = {name: h5py.File(path, "w") for name, path in files.items()}
        try:
            for table in export.rows:
                table = table.filter(table["error"].is_null())
                if table.num_rows == 0:  # the errors are the last ones
                    break
                own = labels.indices(table["label"].to_pylist())
                _append_photos(dataset, export, table, own)
                for name, file in attributions.items():
                    _append_maps(file, export, table, name, own)
                embedded.add(table)
                kept.append(own)
                # What the network finds in a photo is a group of its own: the last one is of those in which nothing is.
                found = table["prediction_index"].fill_null(export.spec.num_outputs).to_numpy()
                predicted.append(found.astype(np.uint32))
                done += table.num_rows
                export.on_progress(done, total)
        finally:
            for file in attributions.values():
                file.close()
    if done == 0:
        raise export.none_found()
    points = embedded.points(done)
    for m in export.maps:
        with h5py.File(out / f"analysis-{m.name}.h5", "w") as file:
            _write_analysis(file, m.name, points, labels, np.concatenate(kept), np.concatenate(predicted))
        _write_json(out / f"{m.name}.yaml", _project(export.spec, m))  # YAML 1.2 is a superset of JSON
    _write_json(out / "labels.json", labels.as_json())
    return done


class _Labels:
    """The label map: the program's classes, then labels that are no class, as they come."""

    def __init__(self, spec: Spec) -> None:
        self._spec = spec
        self.names = [spec.class_name(i) for i in range(spec.num_outputs)]
        self._index: dict[str, int] = {}
        for i, name in enumerate(self.names):
            self._index.setdefault(name, i)  # ImageNet has two cranes

    def indices(self, labels: list[str | None]) -> npt.NDArray[np.uint32]:
        """The index of each label; what is new gets the next one."""
        return np.array([self._of(self._spec.label_name(label) or UNLABELLED) for label in labels], np.uint32)

    def _of(self, name: str) -> int:
        if name not in self._index:
            self._index[name] = len(self.names)
            self.names.append(name)
        return self._index[name]

    def identifier(self, index: int) -> str:
        """What ViRelAy calls the WordNet ID: by it an analysis's category finds its name."""
        return f"{index:08d}"

    def as_json(self) -> list[dict[str, Any]]:
        return [{"index": i, "word_net_id": self.identifier(i), "name": name} for i, name in enumerate(self.names)]


class _Embedded:
    """Maps and features as points: the axes are found while the rows go by, the points in a second pass."""

    def __init__(self, export: Export) -> None:
        self._export = export
        self._axes: dict[str, PrincipalComponents] = {}
        self._vectors: dict[str, Callable[[pa.Table], Floats]] = {}
        for m in export.maps:
            self._vectors[m.name] = lambda table, name=m.name: _compared(sinks.restore_map(table, name))
        if export.spec.features is not None:
            self._vectors["features"] = lambda table: sinks.restore_map(table, "features")

    def add(self, table: pa.Table) -> None:
        for name, vectors in self._vectors.items():
            part = vectors(table)
            self._axes.setdefault(name, PrincipalComponents(part.shape[1])).add(part)

    def points(self, count: int) -> dict[str, tuple[Floats, Floats]]:
        """Name → the points float32 [N, k] and the variance along each axis [k]."""
        axes = {name: found.axes(AXES) for name, found in self._axes.items()}
        points = {name: np.empty((count, len(variances)), np.float32) for name, (_, _, variances) in axes.items()}
        done = 0
        for table in self._export.rows:
            table = table.filter(table["error"].is_null())
            for name, (mean, vectors, _) in axes.items():
                points[name][done : done + table.num_rows] = (self._vectors[name](table) - mean) @ vectors
            done += table.num_rows
            if done >= count:
                break
        return {name: (points[name], axes[name][2].astype(np.float32)) for name in axes}


def _compared(maps: Floats) -> Floats:
    """Maps [N, h, w] as vectors [N, n] whose magnitudes sum to 1 (0 for a blank one): where, not how much."""
    small = sinks.area_average(np.ascontiguousarray(maps), COMPARED_SIDE, COMPARED_SIDE)
    flat = small.reshape(len(small), small.shape[1] * small.shape[2])
    scale = np.abs(flat).max(axis=1, keepdims=True)
    flat = flat / np.where(scale > 0, scale, 1)
    total = np.abs(flat).sum(axis=1, keepdims=True)
    return (flat / np.where(total > 0, total, 1)).astype(np.float32)


def _append_photos(file: h5py.File, export: Export, table: pa.Table, labels: npt.NDArray[np.uint32]) -> None:
    import h5py

    words = ["path", "name", "member", "member_offset", "member_length"]
    rows = table.select([w for w in words if w in table.schema.names]).to_pylist()
    views = export.views(rows)
    _append(file, "data", np.repeat(views, 3 // views.shape[3], axis=3).transpose(0, 3, 1, 2))
    _append(file, "label", labels)
    # ViRelAy does not read it; it says which photo sample 17 is.
    _append(file, "name", np.array([row["name"] for row in rows], object), h5py.string_dtype())


def _append_maps(file: h5py.File, export: Export, table: pa.Table, name: str, labels: npt.NDArray[np.uint32]) -> None:
    # ViRelAy sums over three channels, and fails in drawing a single one with most of its colours.
    values = sinks.restore_map(table, name)[:, None] / np.float32(3)
    _append(file, "attribution", np.repeat(values, 3, axis=1))
    _append(file, "label", labels)
    _append(file, "prediction", _predictions(export.spec, table))


def _predictions(spec: Spec, table: pa.Table) -> Floats:
    """What is known of the outputs, [N, K]: a regression's all; else the confidence (or 1) of the predicted class."""
    if "outputs" in table.schema.names:
        outputs = table["outputs"].combine_chunks().flatten().to_numpy().astype(np.float32)
        return outputs.reshape(table.num_rows, spec.num_outputs)
    known = np.zeros((table.num_rows, spec.num_outputs), np.float32)
    there = np.flatnonzero(table["prediction_index"].is_valid().to_numpy())
    index = table["prediction_index"].to_numpy()[there].astype(np.int64)
    known[there, index] = table["confidence"].fill_null(1.0).to_numpy()[there]
    return known


def _append(file: h5py.File, name: str, values: npt.NDArray[Any], dtype: Any = None) -> None:
    """Append rows to a dataset, which is made with the first; photos stay as they are, they would lose little."""
    if name not in file:
        each = max(1, values[:1].nbytes)
        file.create_dataset(
            name,
            (0, *values.shape[1:]),
            dtype or values.dtype,
            maxshape=(None, *values.shape[1:]),
            chunks=(max(1, _CHUNK_BYTES // each), *values.shape[1:]),
            **({} if values.dtype == np.uint8 else {"compression": "gzip", "compression_opts": 1}),
        )
    dataset: Any = file[name]
    first = len(dataset)
    dataset.resize(first + len(values), axis=0)
    dataset[first:] = values


def _write_analysis(
    file: h5py.File,
    name: str,
    points: dict[str, tuple[Floats, Floats]],
    labels: _Labels,
    own: npt.NDArray[np.uint32],
    predicted: npt.NDArray[np.uint32],
) -> None:
    """All photos, and those of each label, as points of the map's embedding and of the features', in groups."""
    categories = {"all": np.arange(len(own))}
    categories |= {labels.identifier(int(i)): np.flatnonzero(own == i) for i in np.unique(own)}
    for category, index in categories.items():
        group = file.create_group(category)
        group["name"] = category if category == "all" else labels.names[int(category)]
        group["index"] = index.astype(np.uint32)
        for of in dict.fromkeys((name, *(n for n in points if n == "features"))):
            values, variances = points[of]
            embedding = group.create_dataset(f"embedding/{of}", data=values[index])
            embedding.attrs["eigenvalue"] = variances
        clusters = {f"k-means-{k:02d}": k_means(points[name][0][index], k) for k in GROUPS}
        for title, numbers in {**clusters, "prediction": predicted[index]}.items():
            group.create_dataset(f"cluster/{title}", data=numbers).attrs["embedding"] = name


def _project(spec: Spec, m: MapSpec) -> dict[str, Any]:
    model, p = "".join(c if c.isprintable() else "?" for c in spec.model), spec.preprocessing
    return {
        "project": {
            "name": f"{model}: {m.name}",  # ViRelAy finds projects by their names
            "model": model,
            "label_map": "labels.json",
            "dataset": {
                "name": "photos",
                "type": "hdf5",
                "path": "dataset.h5",
                "input_width": p.width,
                "input_height": p.height,
                "down_sampling_method": "none",
                "up_sampling_method": "none",
            },
            "attributions": {
                "attribution_method": m.method,
                "attribution_strategy": "predicted_label",
                "sources": [f"attribution-{m.name}.h5"],
            },
            "analyses": [{"analysis_method": _METHOD, "sources": [f"analysis-{m.name}.h5"]}],
        }
    }


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
