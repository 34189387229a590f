"""A run's evidence in other tools' formats: what is written, and that the tools open it where they are installed."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from saccade.engine import decode, execute, sinks
from saccade.engine.contract import ATTRIBUTES, Batch, Maps, Record, SaccadeError, Spec, UsageError
from saccade.engine.pipeline.exports import export
from saccade.engine.pipeline.exports.analysis import PrincipalComponents, k_means
from saccade.engine.pipeline.exports.fiftyone import VERSION

MakeRun = Callable[..., Path]


@pytest.fixture
def make_run(program: Path, photos: Path, tmp_path: Path) -> MakeRun:
    """`make_run()`: the folder of a run over seven photos and one that is broken, without the pipeline."""

    def make(change: Callable[[Spec, Maps], Spec] = lambda spec, maps: spec, member: str | None = None) -> Path:
        runner = execute.load(program)
        (photos / "red" / "broken.png").write_bytes(b"broken")
        records, images = [], []
        for i, path in enumerate(sorted(photos.rglob("*.png"))):
            record = Record(i, str(path), str(path.relative_to(photos)), path.parent.name, member)
            if path.stem == "broken":
                record.error = "decode: it is broken"
            else:
                image, record.size, record.view, record.facts = decode.read_view(path, runner.spec.preprocessing)
                record.attributes = dict.fromkeys(ATTRIBUTES, 0.25)
                images.append(image)
            records.append(record)
        batch = Batch(records, np.stack(images))
        maps = runner.run(batch.images)
        spec = change(runner.spec, maps)
        with sinks.EvidenceWriter(tmp_path / "run", spec) as writer:
            writer.write(batch, maps)
        sinks.write_run(tmp_path / "run", {"contract": json.loads(spec.to_json()), "options": {"decode": "fast"}})
        return tmp_path / "run"

    return make


@pytest.fixture
def run(make_run: MakeRun) -> Path:
    return make_run()


def signed(spec: Spec, maps: Maps) -> Spec:
    """The CAM as a signed map, and as much against the target in its last column."""
    first = dataclasses.replace(spec.maps[0], kind="signed")
    maps.maps["grad_cam"][:, :, -1] = -maps.maps["grad_cam"].max(axis=(1, 2))[:, None]
    return dataclasses.replace(spec, maps=(first, *spec.maps[1:]))


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def nothing_beside(out: Path) -> bool:
    return not out.exists() and not list(out.parent.glob(".*part*"))


# ---- both ---------------------------------------------------------------------------------------------------------


def test_an_existing_folder_is_refused(run: Path, tmp_path: Path):
    (tmp_path / "out").mkdir()
    with pytest.raises(UsageError, match=r"^export: .*out is there already"):
        export(run, tmp_path / "out", "fiftyone")
    assert not list((tmp_path / "out").iterdir())


def test_another_format_is_refused(run: Path, tmp_path: Path):
    with pytest.raises(UsageError, match="fiftyone or virelay"):
        export(run, tmp_path / "out", "csv")  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("to", ["fiftyone", "virelay"])
def test_a_question_that_does_not_work_leaves_nothing(run: Path, tmp_path: Path, to: Any):
    if to == "virelay":
        pytest.importorskip("h5py")
    questions: list[dict[str, Any]] = [
        {"where": "nonsense = 1"},
        {"where": "false"},
        {"limit": 0},
        {"order_by": "name; select 1"},
    ]
    for question in questions:
        with pytest.raises(UsageError) as error:
            export(run, tmp_path / "out", to, **question)
        assert "\n" not in str(error.value)
        assert nothing_beside(tmp_path / "out")


def test_a_failure_leaves_nothing(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(SaccadeError, match="No space left on device; free some space"):
        export(run, tmp_path / "out", "fiftyone")
    assert nothing_beside(tmp_path / "out")


def test_a_missing_h5py_is_one_line(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    with pytest.raises(SaccadeError, match=r"pip install 'saccade\[export\]'"):
        export(run, tmp_path / "out", "virelay")
    assert nothing_beside(tmp_path / "out")


# ---- FiftyOne -----------------------------------------------------------------------------------------------------


def test_fiftyone(run: Path, photos: Path, tmp_path: Path):
    seen = []
    assert export(run, tmp_path / "out", "fiftyone", on_progress=lambda *counts: seen.append(counts)) == 8
    assert seen == [(8, 8)]
    metadata, samples = read_json(tmp_path / "out" / "metadata.json"), read_json(tmp_path / "out" / "samples.json")
    assert metadata["version"] == VERSION
    assert metadata["default_classes"] == ["bright", "red", "neither"]
    fields = {field["name"]: field for field in metadata["sample_fields"]}
    assert fields["grad_cam"]["embedded_doc_type"] == "fiftyone.core.labels.Heatmap"
    assert fields["grad_cam_border_mass"]["ftype"] == "fiftyone.core.fields.FloatField"
    table = sinks.read_evidence(run).to_pylist()
    for row, sample in zip(table, samples["samples"], strict=True):
        assert set(sample) <= {"_id", "_media_type", "_rand", *fields}
        assert sample["filepath"] == row["path"]
        assert sample["ground_truth"]["label"] == row["label"]
        assert sample["tags"] == (["error"] if row["error"] else [])
        if row["error"]:
            assert not set(sample) & {"prediction", "grad_cam", "metadata", "brightness"}
            assert sample["error"] == row["error"]
            continue
        assert (sample["prediction"]["label"], sample["prediction"]["confidence"]) == (
            row["prediction"],
            row["confidence"],
        )
        assert (sample["metadata"]["width"], sample["metadata"]["height"]) == (row["width"], row["height"])
        assert sample["grad_cam_border_mass"] == row["grad_cam_border_mass"]
        assert sample["grad_cam"]["high"] == pytest.approx(row["grad_cam_scale"])
        assert {"saliency", "features", "activations_mean", "view_left"} <= set(sample)
    assert len({sample["_id"]["$oid"] for sample in samples["samples"]}) == 8


def test_a_heatmap_lies_where_the_network_looked(run: Path, tmp_path: Path):
    export(run, tmp_path / "out", "fiftyone", where="error is null", order_by="name desc")
    table = sinks.read_evidence(run, "error is null", "name desc")
    maps = sinks.restore_map(table, "grad_cam")
    samples = read_json(tmp_path / "out" / "samples.json")["samples"]
    for row, map, sample in zip(table.to_pylist(), maps, samples, strict=True):
        picture = np.asarray(Image.open(tmp_path / "out" / sample["grad_cam"]["map_path"]))
        assert picture.shape == (row["height"], row["width"])  # small photos are not scaled up
        left, right = round(row["view_left"]), round(row["view_right"])
        assert left > 0
        assert not picture[:, :left].any()
        assert not picture[:, right:].any()
        y, x = np.unravel_index(map.argmax(), map.shape)
        cell = (right - left) / map.shape[1]
        y, x = int((y + 0.5) * picture.shape[0] / map.shape[0]), int(left + (x + 0.5) * cell)
        assert picture[y - 1 : y + 2, x - 1 : x + 2].max() > 215  # a pixel beside the centre of the strongest cell
        assert sample["grad_cam"]["range"] == [0, 255]


def test_a_large_photo_gets_a_small_heatmap(make_run: MakeRun, photos: Path, tmp_path: Path):
    Image.open(photos / "red" / "1.png").resize((970, 640)).save(photos / "red" / "1.png")
    run = make_run()
    export(run, tmp_path / "out", "fiftyone", where="width = 970")
    (sample,) = read_json(tmp_path / "out" / "samples.json")["samples"]
    assert Image.open(tmp_path / "out" / sample["grad_cam"]["map_path"]).size == (256, 169)


def test_a_signed_map_has_a_heatmap_for_each_side(make_run: MakeRun, tmp_path: Path):
    export(make_run(change=signed), tmp_path / "out", "fiftyone", where="error is null")
    for sample in read_json(tmp_path / "out" / "samples.json")["samples"]:
        pictures = [
            np.asarray(Image.open(tmp_path / "out" / sample[field]["map_path"]))
            for field in ("grad_cam", "grad_cam_against")
        ]
        assert sample["grad_cam"]["high"] == sample["grad_cam_against"]["high"]
        right = np.flatnonzero(pictures[1].any(axis=0))
        assert right.min() > pictures[1].shape[1] / 2
        assert pictures[0].any()


def test_a_photo_in_an_archive_is_written_as_the_network_saw_it(make_run: MakeRun, tmp_path: Path):
    run = make_run(member="a.png")
    export(run, tmp_path / "out", "fiftyone", where="error is null", limit=2)
    for sample in read_json(tmp_path / "out" / "samples.json")["samples"]:
        assert (sample["member"], sample["filepath"][:11]) == ("a.png", "data/00000/")
        assert Image.open(tmp_path / "out" / sample["filepath"]).size == (32, 32)
        assert (sample["metadata"]["width"], sample["metadata"]["height"]) == (32, 32)
        picture = np.asarray(Image.open(tmp_path / "out" / sample["grad_cam"]["map_path"]))
        assert picture.shape == (32, 32)


def test_arrays_are_numpy_files(run: Path, tmp_path: Path):
    export(run, tmp_path / "out", "fiftyone", limit=1)
    (sample,) = read_json(tmp_path / "out" / "samples.json")["samples"]
    file = io.BytesIO(zlib.decompress(base64.b64decode(sample["features"]["$binary"]["base64"])))
    expected = sinks.restore_map(sinks.read_evidence(run, limit=1), "features", 0)
    np.testing.assert_array_equal(np.load(file), expected)


def test_the_same_photo_is_the_same_sample(run: Path, tmp_path: Path):
    export(run, tmp_path / "one", "fiftyone")
    export(run, tmp_path / "two", "fiftyone", order_by="name desc")
    one, two = (read_json(tmp_path / name / "samples.json")["samples"] for name in ("one", "two"))
    assert [s["_id"] for s in one] == [s["_id"] for s in reversed(two)]
    assert [s["filepath"] for s in one] == [s["filepath"] for s in reversed(two)]


def test_fiftyone_opens_it(make_run: MakeRun, tmp_path: Path):
    fo = pytest.importorskip("fiftyone")
    run = make_run(change=signed)
    export(run, tmp_path / "out", "fiftyone")
    (tmp_path / "out").rename(tmp_path / "moved")  # the heatmaps go with it
    dataset = fo.Dataset.from_dir(dataset_dir=str(tmp_path / "moved"), dataset_type=fo.types.FiftyOneDataset)
    try:
        table = sinks.read_evidence(run)
        features = sinks.restore_map(table, "features")
        for row, sample, vector in zip(table.to_pylist(), dataset, features, strict=True):
            assert sample.filepath == row["path"]
            assert sample.ground_truth.label == row["label"]
            assert sample.tags == (["error"] if row["error"] else [])
            if row["error"]:
                assert sample.grad_cam is None
                continue
            assert sample.prediction.confidence == pytest.approx(row["confidence"])
            assert sample.grad_cam.get_map().shape == (row["height"], row["width"])
            assert sample.grad_cam_against.get_map().max() > 250
            assert sample.brightness == row["brightness"]
            np.testing.assert_array_equal(sample.features, vector)
        some = dataset.match(fo.ViewField("grad_cam_border_mass") > 0.3)
        assert len(some) == len(sinks.read_evidence(run, "grad_cam_border_mass > 0.3"))
        assert len(dataset.match_tags("error")) == 1
        found = dataset.evaluate_classifications("prediction", gt_field="ground_truth", eval_key="evaluation")
        assert {"bright", "red"} <= set(found.classes)
    finally:
        dataset.delete()


# ---- ViRelAy ------------------------------------------------------------------------------------------------------


def test_virelay(run: Path, tmp_path: Path):
    h5py = pytest.importorskip("h5py")
    assert export(run, tmp_path / "out", "virelay", order_by="name desc") == 7
    out = tmp_path / "out"
    table = sinks.read_evidence(run, "error is null", "name desc")
    spec = execute_spec(run)
    names = {label["index"]: label["name"] for label in read_json(out / "labels.json")}
    assert names == dict(enumerate(("bright", "red", "neither")))
    with h5py.File(out / "dataset.h5") as file:
        assert list(file["name"].asstr()) == table["name"].to_pylist()
        assert [names[i] for i in file["label"]] == table["label"].to_pylist()
        views = [decode.read_view(path, spec.preprocessing)[0] for path in table["path"].to_pylist()]
        np.testing.assert_array_equal(file["data"], np.stack(views).transpose(0, 3, 1, 2))
    for name in ("grad_cam", "saliency"):
        with h5py.File(out / f"attribution-{name}.h5") as file:
            maps = sinks.restore_map(table, name)
            np.testing.assert_allclose(np.sum(file["attribution"], axis=1), maps, rtol=1e-6)
            np.testing.assert_array_equal(np.argmax(file["prediction"], axis=1), table["prediction_index"])
            np.testing.assert_array_equal(np.max(file["prediction"], axis=1), table["confidence"])
        with h5py.File(out / f"analysis-{name}.h5") as file:
            assert set(file) == {"all", "00000000", "00000001"}
            for category, group in file.items():
                index = (
                    np.arange(7)
                    if category == "all"
                    else np.flatnonzero(np.array(table["label"].to_pylist()) == names[int(category)])
                )
                np.testing.assert_array_equal(group["index"], index)
                assert set(group["embedding"]) == {name, "features"}
                assert set(group["cluster"]) == {"k-means-04", "k-means-08", "prediction"}
                assert {len(d) for kind in ("embedding", "cluster") for d in group[kind].values()} == {len(index)}
        project = read_json(out / f"{name}.yaml")["project"]
        assert project["attributions"]["sources"] == [f"attribution-{name}.h5"]


def execute_spec(run: Path) -> Spec:
    from saccade.engine.contract import read_spec

    return read_spec(json.dumps(sinks.read_run(run)["contract"]))


def test_photos_that_have_gone_and_labels_that_are_no_class(make_run: MakeRun, photos: Path, tmp_path: Path):
    h5py = pytest.importorskip("h5py")
    (photos / "red").rename(photos / "crimson")
    (photos / "red").mkdir()
    run = make_run()
    (photos / "crimson" / "1.png").unlink()
    export(run, tmp_path / "out", "virelay")
    assert [label["name"] for label in read_json(tmp_path / "out" / "labels.json")][3:] == ["crimson"]
    with h5py.File(tmp_path / "out" / "dataset.h5") as file:
        gone = list(file["name"].asstr()).index("crimson/1.png")
        assert np.unique(file["data"][gone]).tolist() == [200]
        assert file["label"][gone] == 3


def test_a_program_without_maps_of_the_photo(make_run: MakeRun, tmp_path: Path):
    pytest.importorskip("h5py")
    run = make_run(change=lambda spec, maps: dataclasses.replace(spec, maps=spec.maps[2:]))
    with pytest.raises(UsageError, match="no map of the photo"):
        export(run, tmp_path / "out", "virelay")
    assert export(run, tmp_path / "out", "fiftyone") == 8


def test_virelay_opens_it(make_run: MakeRun, photos: Path, tmp_path: Path):
    model = pytest.importorskip("virelay.model")
    server = pytest.importorskip("virelay.server")
    run = make_run(change=signed)
    export(run, tmp_path / "out", "virelay")
    workspace = model.Workspace()
    for name in ("grad_cam", "saliency"):
        workspace.add_project(str(tmp_path / "out" / f"{name}.yaml"))
    project = workspace.projects[0]
    table = sinks.read_evidence(run, "error is null")
    maps = sinks.restore_map(table, "grad_cam")
    for i, row in enumerate(table.to_pylist()):
        sample, attribution = project.get_sample(i), project.get_attribution(i)
        assert [label.name for label in sample.labels] == [label.name for label in attribution.labels] == [row["label"]]
        np.testing.assert_array_equal(sample.data, decode.read_view(row["path"], execute_spec(run).preprocessing)[0])
        np.testing.assert_allclose(attribution.data.sum(axis=2), maps[i], rtol=1e-6)
    (method,) = project.get_analysis_methods()
    categories = {c.name: c.human_readable_name for c in project.get_analysis_categories(method)}
    assert categories == {"00000000": "bright", "00000001": "red", "all": ""}
    analysis = project.get_analysis(method, "all", "k-means-04", "grad_cam")
    assert analysis.embedding.shape == (7, 8)
    assert len(analysis.eigenvalues) == 8
    client = server.Server(workspace).app.test_client()
    assert len(client.get("/api/projects").get_json()) == 2
    for colours in ("black-fire-red", "gray-red", "jet", "blue-white-red"):
        for superimpose in ("true", "false"):
            said = client.get(f"/api/projects/0/attributions/3/heatmap?colorMap={colours}&superimpose={superimpose}")
            assert said.status_code == 200
            assert said.mimetype.startswith("image/")
    assert client.get("/api/projects/1/dataset/3/image").status_code == 200
    words = "category=all&clustering=prediction&embedding=features"
    assert client.get(f"/api/projects/0/analyses/{method}?{words}").status_code == 200
    workspace.close()


# ---- the analysis -------------------------------------------------------------------------------------------------


def test_principal_components_are_those_of_all_the_vectors():
    rng = np.random.default_rng(0)
    vectors = (rng.normal(size=(300, 12)) * np.arange(1, 13) + 1000).astype(np.float32)
    found = PrincipalComponents(12)
    for begin, end in ((0, 1), (1, 90), (90, 300)):
        found.add(vectors[begin:end])
    mean, axes, variances = found.axes(4)
    points = (vectors - mean) @ axes
    left, lengths, _ = np.linalg.svd(vectors - vectors.mean(axis=0, dtype=np.float64), full_matrices=False)
    np.testing.assert_allclose(np.abs(points), np.abs(left * lengths)[:, :4], rtol=1e-3, atol=1e-2)
    np.testing.assert_allclose(variances, lengths[:4] ** 2 / 300, rtol=1e-5)
    found.add(vectors[:1] + 1e6)
    assert not np.allclose(found.axes(4)[2], variances)


def test_principal_components_of_less_than_a_plane():
    found = PrincipalComponents(1)
    found.add(np.ones((3, 1), np.float32))
    mean, axes, variances = found.axes(8)
    assert axes.shape == (1, 2)
    assert variances.tolist() == [0, 0]
    assert mean.tolist() == [1]


def test_k_means_finds_what_is_apart():
    rng = np.random.default_rng(0)
    truth = rng.permutation(np.repeat([0, 1, 2], [50, 30, 20]))
    points = (np.array([[0, 0], [9, 0], [0, 9]])[truth] + rng.normal(size=(100, 2))).astype(np.float32)
    np.testing.assert_array_equal(k_means(points, 3), truth)  # the largest is 0
    assert k_means(points, 1).max() == 0
    assert k_means(np.zeros((5, 2), np.float32), 4).tolist() == [0] * 5
    assert sorted(k_means(points[:3], 8)) == [0, 1, 2]
