from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from saccade.audit import evidence
from saccade.audit.names import WithNameParts, name_parts
from saccade.engine import sinks
from saccade.engine.contract import SaccadeError, UsageError

MakeRun = Callable[..., Path]
RNG = np.random.default_rng(0)


def test_a_run_as_arrays(make_run: MakeRun):
    maps = RNG.random((7, 5, 3), np.float32)
    maps[3] = 0
    run = make_run(
        [0, 1, None, 2, 0, 1, 1],
        maps,
        RNG.random((7, 6), np.float32),
        labels=["tank", "2", "tank", None, "plane", "woods", "7"],
        attributes={"brightness": np.arange(7) / 8},
        sizes=[(100 + i, 50) for i in range(7)],
        shard=3,
    )
    found = evidence.read(run)
    assert (len(found), found.map_name, found.map_shape, found.has_features) == (7, "grad_cam", (5, 3), True)
    assert found.names == ("tank", "woods", "car")
    assert found.good.tolist() == [True, True, False, True, True, True, True]
    assert found.predicted.tolist() == found.explained.tolist() == [0, 1, -1, 2, 0, 1, 1]
    assert found.label.to_pylist() == ["tank", "2", "tank", None, "plane", "woods", "7"]
    assert found.labelled.tolist() == [0, 2, 0, -1, -1, 1, -1]
    assert found.name.to_pylist()[1] == "1.jpg"
    assert found.blank.tolist() == [False, False, False, True, False, False, False]
    assert np.isnan(found.statistics["border_mass"]).tolist() == [False, False, True, True, False, False, False]
    assert found.statistics["max"][0] == pytest.approx(maps[0].max())
    assert found.attributes["brightness"][1] == np.float32(1 / 8)
    assert found.attributes["aspect_ratio"][1] == pytest.approx(101 / 50)
    assert np.isnan(found.confidence[2])
    assert found.confidence[0] == pytest.approx(np.exp(3) / (np.exp(3) + 2))
    assert [p.path for p in found.photos([5, 0])] == ["/photos/5.jpg", "/photos/0.jpg"]


def test_classes_without_names_are_labelled_by_number(make_run: MakeRun):
    labels = ["2", "class 1", "3", "-1", "9" * 5000, "²", ""]
    assert evidence.read(make_run([0] * 7, labels=labels, classes=None)).labelled.tolist() == [2, 1, -1, -1, -1, -1, -1]


def test_a_name_that_is_a_number_goes_before_the_index(make_run: MakeRun):
    found = evidence.read(make_run([0] * 3, labels=["0", "1", "2"], classes=("5", "1", "0")))
    assert found.labelled.tolist() == [2, 1, 2]


@pytest.mark.parametrize("features", [True, False])
def test_slices_and_rows_are_the_maps_that_were_written(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch, features: bool
):
    maps, vectors = RNG.random((50, 5, 3), np.float32), RNG.normal(size=(50, 6))
    found = evidence.read(make_run([0, None, 1, 2, 0] * 10, maps, vectors, shard=9))
    maps[1::5], vectors[1::5] = np.nan, np.nan
    for size in (1, 7, 4096):
        monkeypatch.setattr(evidence, "_SLICE", size)
        parts = list(found.slices(features))
        assert [first for first, _, _ in parts] == list(range(0, 50, size))
        np.testing.assert_allclose(np.concatenate([m for _, m, _ in parts]), maps, rtol=1e-3)
        found_features = [f for *_, f in parts if f is not None]
        assert len(found_features) == features * len(parts)
        if features:
            np.testing.assert_allclose(np.concatenate(found_features), vectors, rtol=2e-3, atol=2e-3)
    rows = [49, 0, 0, 17, 8]
    some, some_features = found.read(rows, features)
    np.testing.assert_allclose(some, maps[rows], rtol=1e-3)
    assert (some_features is not None) == features
    nothing, _ = found.read([])
    assert nothing.shape == (0, 5, 3)


def test_a_large_map_is_averaged_and_read_a_few_at_a_time(make_run: MakeRun):
    maps = RNG.random((40, 56, 30), np.float32)
    maps[:, :, 2:] = 0
    found = evidence.read(make_run([0] * 40, maps))
    assert found.map_shape == (28, 28)
    got = found.read([3])[0][0]
    assert got.mean() == pytest.approx(maps[3].mean(), rel=1e-3)
    assert got[:, 2:].max() == 0
    assert found.stored.of(["grad_cam", "grad_cam_scale"], 1)._affordable() * 56 * 30 * 2 < 2**27


def test_further_columns_and_the_parts_of_names(make_run: MakeRun):
    further = {
        "weather": ["sun", "rain", None, "sun", "sun", "rain", "sun", "sun"],
        "note": [f"{i}" * 1000 for i in range(8)],
        "iso": [100, 200, None, 100, 100, 100, 100, 100],
        "width": [1.5] * 8,
        "folder": [True, None, False, True, True, True, True, True],
    }
    names = [f"{'night' if i % 2 else 'day'}/a/IMG_{i:04d}.jpg" for i in range(8)]
    found = evidence.read(make_run([0] * 8, further=further, names=names)).further
    assert list(found)[-8:] == [
        "weather",
        "note",
        "iso",
        "given_width",
        "folder",
        "first folder",
        "file name's first word",
        "file name's ending",
    ]
    assert len(found) == len(list(found))
    assert pa.types.is_dictionary(found["weather"].type)
    assert found["weather"].to_pylist() == further["weather"]
    assert found["note"].to_pylist()[3] == "3" * 200
    assert found["iso"].to_pylist() == further["iso"]
    assert found["folder"].to_pylist() == further["folder"]
    assert found["first folder"].to_pylist() == ["day", "night"] * 4
    with pytest.raises(KeyError):
        found["none"]


def test_parts_of_names_are_made_when_they_are_asked_for(monkeypatch: pytest.MonkeyPatch):
    names = pa.chunked_array([["a/1.jpg", "b/2.png"]])
    columns = WithNameParts({"x": names}, names)
    monkeypatch.setattr("saccade.audit.names.name_parts", lambda _: pytest.fail("made"))
    assert columns["x"] is names
    monkeypatch.undo()
    assert columns["folder"].to_pylist() == ["a", "b"]


def test_the_parts_of_a_name():
    names = [
        "night/front/IMG_0031_a.jpg",
        "x.png",
        "a/0001.JPG",
        "ünï/été_3.nuit.jpeg",
        None,
        "noext",
        "12_cat.png",
        "a\nb/c.d",
    ]
    parts = {k: v.to_pylist() for k, v in name_parts(pa.chunked_array([names[:3], names[3:], []], pa.string())).items()}
    assert parts == {
        "folder": ["night/front", None, "a", "ünï", None, None, None, "a\nb"],
        "first folder": ["night", None, "a", "ünï", None, None, None, "a\nb"],
        "file name's first word": ["IMG", "x", None, "été", None, None, "cat", "c"],
        "file name's last word": ["a", "x", None, "nuit", None, None, "cat", "c"],
        "file name's ending": ["jpg", "png", "JPG", "jpeg", None, None, "png", "d"],
    }
    assert list(name_parts(pa.chunked_array([["a/b.jpg"]]))) == [
        "folder",
        "file name's first word",
        "file name's ending",
    ]


def rewritten(run: Path, change: Callable[[pa.Table], pa.Table]) -> Path:
    for path in (run / "evidence").glob("*.parquet"):
        pq.write_table(change(pq.read_table(path)), path)
    return run


def test_evidence_of_an_earlier_version_opens(make_run: MakeRun):
    run = make_run([0, 1], attributes={"brightness": [0.25, 0.5]}, further={"noise": ["loud", "quiet"]})
    found = evidence.read(rewritten(run, lambda t: t.drop_columns(["contrast", "red", "view_left"])))
    assert "contrast" not in found.attributes
    assert found.attributes["brightness"].tolist() == [0.25, 0.5]
    noise = [name for name in found.further if name.endswith("noise")]
    assert found.further[noise[0]].to_pylist() == ["loud", "quiet"]


def test_a_column_of_the_manifest_stays_one_where_an_attribute_has_its_name_now(make_run: MakeRun):
    def as_before(table: pa.Table) -> pa.Table:
        at = table.schema.get_field_index("loudness")
        renamed = table.schema.field(at).with_name("contrast")
        column = table.column(at)
        return table.drop_columns(["contrast", "loudness"]).append_column(renamed, column)

    found = evidence.read(rewritten(make_run([0, 1], further={"loudness": [1, 2]}), as_before))
    assert "contrast" not in found.attributes
    assert found.further["contrast"].to_pylist() == [1, 2]


def test_what_is_known_of_the_file_is_further(make_run: MakeRun):
    def add(table: pa.Table) -> pa.Table:
        return table.append_column("exif_lens", pa.array(["x", "y"])).append_column(
            "file_iso", pa.array([1, None], pa.int32())
        )

    found = evidence.read(rewritten(make_run([0, 1], RNG.random((2, 4, 4)), RNG.random((2, 3))), add))
    assert {"exif_lens", "file_iso"} <= set(found.further)
    assert not {n for n in found.further if n.startswith(("grad_cam", "features", "view", "member", "prediction"))}


def test_only_error_rows(make_run: MakeRun):
    found = evidence.read(make_run([None, None]))
    assert (found.good.any(), found.predicted.tolist(), found.blank.any()) == (False, [-1, -1], False)
    assert np.isnan(next(found.slices())[1]).all()


# ---- what is no run to audit -----------------------------------------------------------------------------------------


def test_no_run(tmp_path: Path):
    with pytest.raises(UsageError, match="holds no evidence"):
        evidence.read(tmp_path)


def test_a_regression(tmp_path: Path, make_run: MakeRun):
    run = make_run([0])
    spec = dataclasses.replace(evidence.read(run).spec, target="outputs", softmax=False)
    schema = sinks.evidence_schema(spec, "small")
    pq.write_table(schema.empty_table(), next((run / "evidence").iterdir()))
    with pytest.raises(UsageError, match="run of a regression"):
        evidence.read(run)


def test_a_run_that_explains_another_class_than_the_predicted(make_run: MakeRun):
    with pytest.raises(UsageError, match="explains 'woods' where something else is predicted"):
        evidence.read(make_run([0, 1, 1], explained=1))
    assert len(evidence.read(make_run([1, 1, None], explained=1, name="same"))) == 3


def test_a_run_without_a_map(make_run: MakeRun):
    run = make_run([0])
    with pytest.raises(UsageError, match="no map to audit"):
        evidence.read(rewritten(run, lambda t: t.drop_columns(["grad_cam_spread"])))


def with_column(name: str, values: list[object]) -> Callable[[pa.Table], pa.Table]:
    return lambda table: table.set_column(table.schema.get_field_index(name), name, pa.array(values))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (with_column("prediction_index", [0, 3]), "has class 3, of 3"),
        (with_column("prediction_index", [0, -7]), "has class -7, of 3"),
        (with_column("prediction_index", ["x", "y"]), "damaged"),
        (with_column("brightness", ["x", "y"]), "damaged"),
        (lambda t: t.drop_columns(["error"]), "damaged"),
        (lambda t: t.slice(0, 0), "has no rows"),
        (lambda t: t.replace_schema_metadata({"saccade": "{"}), "not JSON"),
        (lambda t: t.replace_schema_metadata({}), "not JSON"),
    ],
)
def test_damaged_evidence_is_one_line(make_run: MakeRun, change: Callable[[pa.Table], pa.Table], words: str):
    with pytest.raises(SaccadeError, match=words) as error:
        evidence.read(rewritten(make_run([0, 1]), change))
    assert "\n" not in str(error.value)
