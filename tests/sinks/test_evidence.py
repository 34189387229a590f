from __future__ import annotations

import contextlib
import dataclasses
import errno
import json
import os
import resource
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from saccade.engine.contract import (
    ATTRIBUTES,
    FACTS,
    Batch,
    Maps,
    MapSpec,
    Record,
    SaccadeError,
    Spec,
    UsageError,
    read_spec,
)
from saccade.engine.sinks import (
    STATISTICS,
    EvidenceWriter,
    area_average,
    count_rows,
    finished_shards,
    map_statistics,
    query_evidence,
    read_evidence,
    restore_map,
)
from saccade.engine.sinks import evidence as evidence_module
from saccade.engine.sinks.columns import Keep

MakeBatch = Callable[..., tuple[Batch, Maps]]


def names(folder: Path) -> list[str]:
    """Everything in the evidence folder, temporary files included."""
    return sorted(os.listdir(folder / "evidence")) if (folder / "evidence").exists() else []


def close_to(found: npt.NDArray[np.float32], expected: npt.NDArray[np.float32]) -> bool:
    """Equal within float16's half a step at each map's maximum."""
    flat = expected.reshape(len(expected), -1)
    allowed = np.abs(flat).max(axis=1, keepdims=True) * 2.0**-11
    return bool((np.abs(found.reshape(flat.shape) - flat) <= allowed).all())


def test_the_comparison_sees_a_wrong_value() -> None:
    maps = np.random.default_rng(0).random((2, 3, 3), np.float32)
    assert close_to(maps, maps)
    wrong = maps.copy()
    wrong[1, 2, 2] += 0.01
    assert not close_to(wrong, maps)


@pytest.mark.parametrize("keep", ["small", "full"])
def test_what_is_written_reads_back(tmp_path: Path, spec: Spec, make_batch: MakeBatch, keep: Keep) -> None:
    batch, maps = make_batch(0, 6, bad={1, 5})
    with EvidenceWriter(tmp_path, spec, keep) as writer:
        writer.write(batch, maps)
        assert writer.rows == 6
    assert names(tmp_path) == ["shard-00000.parquet"]
    good = [0, 2, 3, 4]
    table = read_evidence(tmp_path)
    rows = table.to_pylist()
    assert [r["path"] for r in rows] == [f"/photos/{i}.jpg" for i in range(6)]
    assert [r["name"] for r in rows] == [f"{i}.jpg" for i in range(6)]
    assert [r["error"] for r in rows] == [batch.records[i].error for i in range(6)]
    for i in (1, 5):
        assert {k for k, v in rows[i].items() if v is not None} == {"path", "name", "error"}
    softmax = np.exp(maps.logits) / np.exp(maps.logits).sum(axis=1, keepdims=True)
    for place, i in enumerate(good):
        row, record = rows[i], batch.records[i]
        predicted = int(maps.logits[place].argmax())
        assert (row["label"], row["prediction_index"], row["prediction"]) == (
            "cat",
            predicted,
            spec.class_name(predicted),
        )
        assert row["target_index"] == maps.target[place]
        assert row["score"] == maps.logits[place, maps.target[place]]
        assert row["confidence"] == pytest.approx(softmax[place].max(), rel=1e-5)
        assert (row["width"], row["height"]) == record.size
        assert tuple(row[f"view_{side}"] for side in ("left", "top", "right", "bottom")) == record.view
        assert [row[a] for a in ATTRIBUTES] == pytest.approx([record.attributes[a] for a in ATTRIBUTES])
        assert {name: row[name] for name in FACTS} == record.facts
    cam, saliency, activations = (maps.maps[m.name] for m in spec.maps)
    small = area_average(saliency, 28, 28)
    for name, values in (("grad_cam", cam), ("saliency", small)):
        for statistic, expected in map_statistics(values).items():
            if (name, statistic) == ("saliency", "max"):
                expected = saliency.max(axis=(1, 2))
            assert [rows[i][f"{name}_{statistic}"] for i in good] == pytest.approx(expected.tolist())
    stored = {
        "grad_cam": cam,
        "saliency": small if keep == "small" else saliency,
        "activations_mean": activations.mean(axis=(2, 3)),
        "activations_max": activations.max(axis=(2, 3)),
        "features": maps.features,
    }
    if keep == "full":
        stored["activations"] = activations
    assert ("activations" in table.schema.names) == (keep == "full")
    for name, expected in stored.items():
        assert expected is not None
        restored = restore_map(table, name)
        assert restored.shape == (6, *expected.shape[1:])
        assert restored.dtype == np.float32
        assert close_to(restored[good], expected), name
        assert np.isnan(restored[[1, 5]]).all()
        np.testing.assert_array_equal(restore_map(table, name, 3), restored[3])
    assert table.schema.metadata is not None
    assert read_spec(table.schema.metadata[b"saccade"].decode()) == spec


def test_the_file_is_plain_parquet(tmp_path: Path, spec: Spec, make_batch: MakeBatch) -> None:
    with EvidenceWriter(tmp_path, spec) as writer:
        writer.write(*make_batch(0, 4, bad={2}))
    path = tmp_path / "evidence" / "shard-00000.parquet"
    table = pq.read_table(path)
    field = table.schema.field("grad_cam")
    assert field.type == pa.list_(pa.float16())
    assert field.metadata is not None
    assert json.loads(field.metadata[b"shape"]) == [7, 7]
    assert table["grad_cam"].null_count == table["grad_cam_scale"].null_count == 1
    assert pq.ParquetFile(path).metadata.row_group(0).column(0).compression == "ZSTD"
    assert os.stat(path).st_mode & 0o777 == 0o666 & ~_umask()
    rows = duckdb.connect().execute(f"select grad_cam[8], len(features) from read_parquet('{path}')").fetchall()
    cams = table["grad_cam"].to_pylist()
    assert rows == [(None, None) if cam is None else (cam[7], 5) for cam in cams]


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


@pytest.mark.parametrize("magnitude", [1e-42, 1e-30, 1e-8, 1.0, 3e38])
def test_maps_of_any_magnitude_survive(tmp_path: Path, spec: Spec, make_batch: MakeBatch, magnitude: float) -> None:
    batch, maps = make_batch(0, 3)
    shape = np.random.default_rng(1).random((3, 7, 7), np.float32)
    maps.maps["grad_cam"] = (shape * np.float32(magnitude)).astype(np.float32)
    with EvidenceWriter(tmp_path, spec) as writer:
        writer.write(batch, maps)
    restored = restore_map(read_evidence(tmp_path), "grad_cam")
    allowed = magnitude * 2.0**-10 + 2e-45  # a step of float32's subnormals
    assert np.abs(restored.astype(np.float64) - maps.maps["grad_cam"]).max() <= allowed
    assert restored.max() > 0


def test_a_blank_map_has_no_place(tmp_path: Path, spec: Spec, make_batch: MakeBatch) -> None:
    batch, maps = make_batch(0, 2)
    maps.maps["grad_cam"][1] = 0
    with EvidenceWriter(tmp_path, spec) as writer:
        writer.write(batch, maps)
    row = read_evidence(tmp_path).to_pylist()[1]
    assert (row["grad_cam_max"], row["grad_cam_mean"], row["grad_cam_scale"]) == (0, 0, 0)
    assert all(row[f"grad_cam_{s}"] is None for s in STATISTICS if s not in ("max", "mean"))
    assert row["grad_cam"] == [0] * 49
    assert row["error"] is None


@pytest.mark.parametrize("output", ["logits", "grad_cam", "saliency", "activations", "features"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_outputs_that_are_no_numbers_are_an_error_row(
    tmp_path: Path, spec: Spec, make_batch: MakeBatch, output: str, value: float
) -> None:
    batch, maps = make_batch(0, 4, bad={0})
    values = {"logits": maps.logits, "features": maps.features, **maps.maps}[output]
    assert values is not None
    values.reshape(3, -1)[1, 1] = value
    with EvidenceWriter(tmp_path, spec) as writer:
        writer.write(batch, maps)
    rows = read_evidence(tmp_path).to_pylist()
    assert [r["error"] is None for r in rows] == [False, True, False, True]
    assert rows[2]["error"].startswith(f"run: {output} holds NaN or infinity")
    assert rows[2]["prediction"] is rows[2]["grad_cam"] is rows[2]["grad_cam_max"] is None
    assert rows[2]["width"] == 102
    assert batch.records[2].error is None, "the caller's record is not changed"
    assert close_to(restore_map(read_evidence(tmp_path), "grad_cam")[[1, 3]], maps.maps["grad_cam"][[0, 2]])


@pytest.mark.parametrize(("change", "outputs"), [({"softmax": False}, 3), ({"num_outputs": 1}, 1)])
def test_without_a_softmax_there_is_no_confidence(
    tmp_path: Path, spec: Spec, make_batch: MakeBatch, change: dict, outputs: int
) -> None:
    spec = dataclasses.replace(spec, classes=None, **change)
    batch, maps = make_batch(0, 2)
    maps.logits, maps.target = maps.logits[:, :outputs], maps.target % outputs
    maps.score = maps.logits[[0, 1], maps.target]
    with EvidenceWriter(tmp_path, spec) as writer:
        writer.write(batch, maps)
    rows = read_evidence(tmp_path).to_pylist()
    assert [r["confidence"] for r in rows] == [None, None]
    assert [r["prediction"] for r in rows] == [f"class {i}" for i in maps.logits.argmax(axis=1)]
    assert [r["score"] for r in rows] == maps.logits[[0, 1], maps.target].tolist()


def test_huge_logits_have_a_confidence(tmp_path: Path, spec: Spec, make_batch: MakeBatch) -> None:
    batch, maps = make_batch(0, 2)
    maps.logits[:] = [[3e38, -3e38, 0], [1000, 1000, -1000]]
    with EvidenceWriter(tmp_path, spec) as writer:
        writer.write(batch, maps)
    assert read_evidence(tmp_path)["confidence"].to_pylist() == [1, 0.5]


@pytest.mark.parametrize("flush_bytes", [1, 2**26])
@pytest.mark.parametrize("sizes", [[25], [10, 10, 5], [1] * 25, [7, 7, 7, 4]])
def test_a_shard_holds_its_rows_whatever_the_batches(
    tmp_path: Path,
    spec: Spec,
    make_batch: MakeBatch,
    sizes: list[int],
    flush_bytes: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(evidence_module, "_FLUSH_BYTES", flush_bytes)
    cams = []
    with EvidenceWriter(tmp_path, spec, shard=3) as writer:
        first = 0
        for size in sizes:
            batch, maps = make_batch(first, size, bad={3, 11})
            writer.write(batch, maps)
            cams.append(maps.maps["grad_cam"])
            first += size
            assert not [n for n in names(tmp_path) if n.startswith("shard")], "it has its name before it is whole"
    assert names(tmp_path) == ["shard-00003.parquet"]
    assert (writer.rows, writer.failed) == (25, 2)
    table = pq.read_table(tmp_path / "evidence" / "shard-00003.parquet")
    assert table["name"].to_pylist() == [f"{i}.jpg" for i in range(25)]
    good = [i for i in range(25) if i not in (3, 11)]
    assert close_to(restore_map(read_evidence(tmp_path), "grad_cam")[good], np.concatenate(cams))


def test_the_same_rows_are_the_same_bytes(tmp_path: Path, spec: Spec, make_batch: MakeBatch) -> None:
    rows = make_batch(0, 5, bad={2})
    for name in ("one", "two"):
        with EvidenceWriter(tmp_path / name, spec) as writer:
            writer.write(*rows)
    one, two = ((tmp_path / name / "evidence" / "shard-00000.parquet").read_bytes() for name in ("one", "two"))
    assert one == two


def test_finished_shards_and_their_rows(tmp_path: Path, spec: Spec, make_batch: MakeBatch) -> None:
    assert finished_shards(tmp_path) == set()
    for shard in (0, 7, 99_999):
        with EvidenceWriter(tmp_path, spec, shard=shard) as writer:
            writer.write(*make_batch(shard, 4, bad={shard + 1}))
    (tmp_path / "evidence" / ".shard-00003-abc.part.parquet").write_bytes(b"half")
    (tmp_path / "evidence" / "shard-7.parquet").write_bytes(b"not ours")
    assert finished_shards(tmp_path) == {0, 7, 99_999}
    assert count_rows(tmp_path, 7) == (4, 1)
    (tmp_path / "evidence" / "shard-00007.parquet").write_bytes(b"PAR1 damaged")
    with pytest.raises(SaccadeError, match="remove it, and it is made again"):
        count_rows(tmp_path, 7)


def test_where_a_photo_is_and_the_manifests_columns(tmp_path: Path, spec: Spec) -> None:
    further = {"camera": pa.string(), "width": pa.int64(), "odd name": pa.float64(), "exif_iso": pa.string()}
    records = [
        Record(0, "/a.tar", "0.jpg", member="0.jpg", offset=512, length=99, error="x"),
        Record(1, "/1.jpg", "1.jpg", further={"camera": "left", "width": 7, "odd name": 0.5, "exif_iso": "high"}),
    ]
    records[1].facts, records[1].error = {"exif_iso": 400}, "x"
    with EvidenceWriter(tmp_path, spec, further=further) as writer:
        writer.write(Batch(records, np.zeros((0, 30, 45, 3), np.uint8)), None)
    rows = read_evidence(tmp_path).to_pylist()
    assert [(r["member"], r["member_offset"], r["member_length"]) for r in rows] == [("0.jpg", 512, 99), (None,) * 3]
    assert [(r["camera"], r["given_width"], r["odd name"], r["width"]) for r in rows] == [
        (None, None, None, None),
        ("left", 7, 0.5, None),
    ]
    assert [(r["given_exif_iso"], r["exif_iso"]) for r in rows] == [(None, None), ("high", 400)]
    with pytest.raises(UsageError, match="given_label"):
        EvidenceWriter(tmp_path, spec, further={"label": pa.string(), "given_label": pa.string()})


def test_evidence_of_before_there_were_facts_is_read(tmp_path: Path, spec: Spec, make_batch: MakeBatch) -> None:
    with EvidenceWriter(tmp_path, spec) as writer:
        writer.write(*make_batch(0, 4, bad={2}))
    whole = pq.read_table(writer.path)
    pq.write_table(whole.drop_columns([*FACTS, "noise", "border_contrast"]), writer.path)
    found = read_evidence(tmp_path, "brightness >= 0 and border_mass >= 0")
    assert found["name"].to_pylist() == ["0.jpg", "1.jpg", "3.jpg"]
    assert not {*FACTS, "noise"} & set(found.schema.names)
    assert query_evidence(tmp_path, "SELECT count(brightness) FROM evidence").read_all().to_pydict() == {
        "count(brightness)": [3]
    }
    with pytest.raises(UsageError, match="noise"):
        query_evidence(tmp_path, "SELECT noise FROM evidence")


def test_a_run_without_a_row_leaves_nothing(tmp_path: Path, spec: Spec) -> None:
    with EvidenceWriter(tmp_path, spec):
        pass
    assert names(tmp_path) == []


def test_a_batch_of_errors_needs_no_maps(tmp_path: Path, spec: Spec, make_batch: MakeBatch) -> None:
    bad, _ = make_batch(0, 3, bad={0, 1, 2})
    with EvidenceWriter(tmp_path, spec) as writer:
        writer.write(bad, None)
        writer.write(*make_batch(3, 2))
        writer.write(*make_batch(5, 1, bad={5}))
    rows = read_evidence(tmp_path).to_pylist()
    assert [r["prediction"] is None for r in rows] == [True] * 3 + [False] * 2 + [True]


def test_maps_that_do_not_belong_to_the_batch_are_refused(tmp_path: Path, spec: Spec, make_batch: MakeBatch) -> None:
    batch, maps = make_batch(0, 3)
    with pytest.raises(ValueError, match="no maps"), EvidenceWriter(tmp_path, spec) as writer:
        writer.write(batch, None)
    with pytest.raises(ValueError, match="3 maps"), EvidenceWriter(tmp_path, spec) as writer:
        writer.write(make_batch(0, 3, bad={1})[0], maps)
    writer = EvidenceWriter(tmp_path, spec)
    with pytest.raises(ValueError, match="no maps"):
        writer.write(batch, None)
    with pytest.raises(SaccadeError, match="rows are missing"):
        writer.write(batch, maps)  # a shard with a hole is none
    assert names(tmp_path) == []


def test_names_that_are_not_utf8_are_written(tmp_path: Path, spec: Spec) -> None:
    name = os.fsdecode(b"caf\xe9.jpg")
    batch = Batch([Record(0, f"/p/{name}", name, name, error=f"decode: {name}")], np.zeros((0, 30, 45, 3), np.uint8))
    with EvidenceWriter(tmp_path, spec) as writer:
        writer.write(batch, None)
    row = read_evidence(tmp_path).to_pylist()[0]
    assert row["name"] == row["label"] == "caf\\udce9.jpg"


def test_maps_whose_columns_would_clash_are_refused(tmp_path: Path, spec: Spec) -> None:
    for name in ("grad_cam_max", "path", "features"):
        maps = (spec.maps[0], MapSpec(name, "grad-cam", "x", "cam", (7, 7)))
        with pytest.raises(UsageError, match=name):
            EvidenceWriter(tmp_path, dataclasses.replace(spec, maps=maps))


@pytest.mark.parametrize("flush_bytes", [1, 2**26])
@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_a_shard_that_is_not_whole_is_not_there(
    tmp_path: Path,
    spec: Spec,
    make_batch: MakeBatch,
    error: type[BaseException],
    flush_bytes: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(evidence_module, "_FLUSH_BYTES", flush_bytes)

    def run() -> None:
        with EvidenceWriter(tmp_path, spec) as writer:
            writer.write(*make_batch(0, 8))
            raise error

    with pytest.raises(error):
        run()
    assert names(tmp_path) == []


@contextlib.contextmanager
def files_at_most(size: int) -> Iterator[None]:
    """As on a full disk: the kernel refuses to let a file grow beyond `size` bytes (Python ignores the signal)."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("flush_bytes", [1, 2**26])
def test_a_disk_that_is_full_gives_one_line_and_no_half_file(
    tmp_path: Path, spec: Spec, make_batch: MakeBatch, flush_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evidence_module, "_FLUSH_BYTES", flush_bytes)

    def run() -> None:
        with files_at_most(20_000), EvidenceWriter(tmp_path, spec, "full") as writer:
            for first in range(0, 100, 2):
                writer.write(*make_batch(first, 2))

    with pytest.raises(SaccadeError, match="File too large") as error:
        run()
    assert str(error.value).isprintable()
    assert names(tmp_path) == []


def test_a_disk_that_is_full_while_closing(
    tmp_path: Path, spec: Spec, make_batch: MakeBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    writer = EvidenceWriter(tmp_path, spec)
    writer.write(*make_batch(0, 2))
    monkeypatch.setattr(pq.ParquetWriter, "close", full)
    with pytest.raises(SaccadeError, match="No space left on device"):
        writer.close()
    assert names(tmp_path) == []
    with pytest.raises(SaccadeError, match="earlier write"):
        writer.write(*make_batch(2, 2))
    with pytest.raises(SaccadeError, match="earlier write"):
        writer.close()
    assert names(tmp_path) == []


def test_a_folder_that_cannot_be_made(tmp_path: Path, spec: Spec, make_batch: MakeBatch) -> None:
    (tmp_path / "file").write_text("in the way")

    def run() -> None:
        with EvidenceWriter(tmp_path / "file", spec) as writer:
            writer.write(*make_batch(0, 1))

    with pytest.raises(SaccadeError, match="cannot write") as error:
        run()
    assert str(error.value).isprintable()


def test_every_class_of_a_top_k_program_has_its_columns(tmp_path: Path, spec: Spec, make_batch: MakeBatch) -> None:
    spec = dataclasses.replace(spec, target_count=2)
    batch, maps = make_batch(0, 3, {1})
    order = np.argsort(-maps.logits, axis=1)[:, :2]
    scores = np.take_along_axis(maps.logits, order, axis=1)
    maps.target, maps.score = order, scores
    with EvidenceWriter(tmp_path, spec) as writer:
        writer.write(batch, maps)
    rows = read_evidence(tmp_path).to_pylist()
    assert [r["target_index_2"] for r in rows] == [int(order[0, 1]), None, int(order[1, 1])]
    assert rows[2]["target_index"] == rows[2]["prediction_index"] == order[1, 0]
    assert [rows[2]["score"], rows[2]["score_2"]] == scores[1].tolist()


def test_a_regression_has_outputs_and_no_prediction(tmp_path: Path, spec: Spec, make_batch: MakeBatch) -> None:
    spec = dataclasses.replace(spec, target="outputs", softmax=False)
    batch, maps = make_batch(0, 3, {1})
    weights = np.array([[1, 0, -0.5]] * 2, np.float32)
    scores = (maps.logits * weights).sum(axis=1)
    maps.target, maps.score = weights, scores
    with EvidenceWriter(tmp_path, spec) as writer:
        writer.write(batch, maps)
    rows = read_evidence(tmp_path).to_pylist()
    assert [r["outputs"] for r in rows] == [maps.logits[0].tolist(), None, maps.logits[1].tolist()]
    assert [r["score"] for r in rows] == [float(scores[0]), None, float(scores[1])]
    assert {r["prediction"] for r in rows} == {r["target_index"] for r in rows} == {None}


def test_a_segmentation_is_predicted_by_its_largest_region(tmp_path: Path, spec: Spec, make_batch: MakeBatch) -> None:
    spec = dataclasses.replace(spec, target="region", output_size=(4, 5), softmax=False)
    batch, maps = make_batch(0, 2)
    maps.logits = np.zeros((2, 3, 4, 5), np.float32)
    maps.logits[0, 2], maps.logits[1, 1, :3] = 1, 2
    maps.target, maps.score = np.array([2, 1]), np.array([20, 30], np.float32)
    with EvidenceWriter(tmp_path, spec) as writer:
        writer.write(batch, maps)
    rows = read_evidence(tmp_path).to_pylist()
    assert [r["prediction_index"] for r in rows] == [r["target_index"] for r in rows] == [2, 1]
    assert [r["score"] for r in rows] == [20, 30]


def test_a_segmentation_that_finds_nothing_predicts_nothing(tmp_path: Path, spec: Spec, make_batch: MakeBatch) -> None:
    changes = {"num_outputs": 1, "classes": ("tumour",), "output_size": (4, 5)}
    spec = dataclasses.replace(spec, target="region", softmax=False, **changes)
    batch, maps = make_batch(0, 3, {0})
    maps.logits = np.full((2, 1, 4, 5), -1, np.float32)
    maps.logits[1, 0, 2] = 3
    maps.target, maps.score = np.array([0, 0]), np.array([0, 15], np.float32)
    with EvidenceWriter(tmp_path, spec) as writer:
        writer.write(batch, maps)
    rows = read_evidence(tmp_path).to_pylist()
    assert [r["prediction"] for r in rows] == [None, None, "tumour"]
    assert [r["prediction_index"] for r in rows] == [None, None, 0]
    assert spec.answers(maps.logits) == ["nothing", "tumour on 25.0%"]
