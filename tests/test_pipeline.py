"""Photos through a program to evidence, sheet and overlays."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from PIL import Image

from saccade.engine import decode, execute, pipeline, sinks
from saccade.engine.contract import Maps, Preprocessing, Record, SaccadeError, UsageError, read_spec
from saccade.engine.contract.program_file import read_contract
from saccade.engine.pipeline import Look, RunOptions, explaining, programs

QUIET = RunOptions(sheet_limit=0)


@pytest.fixture
def runner(program: Path) -> execute.Runner:
    return execute.load(program)


def run(runner: execute.Runner, photos: Path, out: Path, options: RunOptions = QUIET) -> pa.Table:
    pipeline.run(runner, decode.list_photos([str(photos)]), out, options)
    return sinks.read_evidence(out)


def draw(size: tuple[int, int], square: tuple[int, int, int, int]) -> Image.Image:
    """Dark noise with a white square (left, top, right, bottom)."""
    pixels = np.random.default_rng(0).integers(0, 90, (size[1], size[0], 3), dtype=np.uint8)
    pixels[square[1] : square[3], square[0] : square[2]] = 255
    return Image.fromarray(pixels)


def status(out: Path) -> dict[str, Any]:
    return json.loads((out / "run.json").read_text(encoding="utf-8"))


# ---- evidence -----------------------------------------------------------------------------------------------------


def test_a_run(runner: execute.Runner, photos: Path, tmp_path: Path):
    seen = []
    out = tmp_path / "out"
    listed = decode.list_photos([str(photos)])
    result = pipeline.run(runner, listed, out, RunOptions(batch_size=3), seen.append)
    assert (result.photos, result.failed, result.before, result.sheet) == (7, 0, 0, out / "sheet.jpg")
    assert [(s.done, s.failed, s.finished) for s in seen] == [(3, 0, 0), (6, 0, 0), (7, 0, 0), (7, 0, 1)]
    assert (seen[0].listed, seen[0].shards, seen[0].current, seen[-1].current) == (7, 1, (0,), ())
    table = sinks.read_evidence(out)
    assert table["path"].to_pylist() == [p.path for p in listed]
    assert table["label"].to_pylist() == ["bright"] * 4 + ["red"] * 3
    assert table["error"].null_count == 7
    views = np.stack([decode.read_view(p.path, runner.spec.preprocessing)[0] for p in listed])
    maps = runner.run(views)
    assert maps.features is not None
    sure = runner.spec.confidence(maps.logits)
    assert sure is not None
    assert table["prediction_index"].to_pylist() == table["target_index"].to_pylist() == maps.target.tolist()
    np.testing.assert_allclose(table["confidence"].to_numpy(), sure, rtol=1e-5)
    for name, expected in {"grad_cam": maps.maps["grad_cam"], "features": maps.features}.items():
        stored = sinks.restore_map(table, name)
        np.testing.assert_allclose(stored, expected, rtol=2e-3, atol=1e-3 * float(np.abs(expected).max()))
    info = status(out)
    assert info["status"] == "finished"
    assert info["photos"] == {"listed": 7, "done": 7, "failed": 0}
    assert read_spec(json.dumps(info["contract"])) == runner.spec
    assert info["runtime"] == "onnxruntime"
    stages = {"decode", "execute", "render", "write", "wait_for_decode", "wait_for_write"}
    assert set(info["seconds"]) == stages
    assert all(info["seconds"][stage] > 0 for stage in ("decode", "execute", "write"))


def test_what_the_network_predicts_is_what_was_drawn(runner: execute.Runner, photos: Path, tmp_path: Path):
    table = run(runner, photos, tmp_path / "out")
    assert table["prediction"].to_pylist()[1:4] == ["bright"] * 3  # the first photo's square is small
    assert table["prediction"].to_pylist()[4:] == ["red"] * 3


def agree(one: pa.Table, other: pa.Table) -> None:
    """The same evidence up to the rounding of floats and of their float16."""
    assert one.schema.names == other.schema.names
    assert one.num_rows == other.num_rows
    for name in one.schema.names:
        a, b = one[name], other[name]
        assert a.is_valid().equals(b.is_valid()), name
        if pa.types.is_list(a.type):
            a, b = (x.combine_chunks().flatten().to_numpy(zero_copy_only=False).astype(np.float32) for x in (a, b))
            np.testing.assert_allclose(a, b, atol=2e-3, err_msg=name)
        elif pa.types.is_floating(a.type):
            np.testing.assert_allclose(a.to_numpy(), b.to_numpy(), rtol=1e-4, atol=1e-6, err_msg=name)
        else:
            assert a.equals(b), name


@pytest.mark.parametrize(("batch_size", "threads"), [(1, 1), (4, 3), (7, 2), (100, None)])
def test_batch_size_and_threads_change_nothing(
    runner: execute.Runner, photos: Path, tmp_path: Path, batch_size: int, threads: int | None
):
    (photos / "bright" / "2.png").write_bytes(b"broken")
    first = run(runner, photos, tmp_path / "first", dataclasses.replace(QUIET, batch_size=16, threads=1))
    again = run(runner, photos, tmp_path / "again", dataclasses.replace(QUIET, batch_size=batch_size, threads=threads))
    agree(again, first)
    with pytest.raises(AssertionError):
        agree(again.slice(0, 3), first.slice(1, 3))


def test_both_runtimes_agree(compiled: dict[str, Path], photos: Path, tmp_path: Path):
    pytest.importorskip("torch")
    tables, sheets = [], []
    for kind in ("onnx", "torchscript"):
        tables.append(run(execute.load(compiled[kind]), photos, tmp_path / kind, RunOptions()))
        sheets.append(np.asarray(Image.open(tmp_path / kind / "sheet.jpg")).astype(int))
    assert status(tmp_path / "torchscript")["runtime"] == "torchscript"
    for name, share in {"grad_cam": 1.0, "activations_mean": 1.0, "saliency": 0.95}.items():
        one, other = (sinks.restore_map(t, name) for t in tables)
        near = np.abs(one - other) <= 5e-3 * np.abs(one).max()
        assert near.mean() >= share, name  # saliency jumps where a ReLU is at a tie
    assert sheets[0].shape == sheets[1].shape
    assert np.abs(sheets[0] - sheets[1]).mean() < 0.5


def test_a_target_of_ones_own(runner: execute.Runner, photos: Path, tmp_path: Path):
    table = run(runner, photos, tmp_path / "out", dataclasses.replace(QUIET, target=1))
    assert table["target_index"].to_pylist() == [1] * 7
    assert table["prediction_index"].to_pylist() != [1] * 7
    with pytest.raises(UsageError, match="target 3 is out of range"):
        run(runner, photos, tmp_path / "other", dataclasses.replace(QUIET, target=3))
    assert not (tmp_path / "other").exists()


def test_everything_is_kept_when_asked(runner: execute.Runner, photos: Path, tmp_path: Path):
    table = run(runner, photos, tmp_path / "out", dataclasses.replace(QUIET, keep="full"))
    shapes = {m.name: sinks.restore_map(table, m.name).shape[1:] for m in runner.spec.maps}
    assert shapes == {m.name: m.shape for m in runner.spec.maps}
    small = run(runner, photos, tmp_path / "small")
    assert sinks.restore_map(small, "saliency").shape == (7, 28, 28)
    assert "activations" not in small.schema.names


# ---- overlays -----------------------------------------------------------------------------------------------------

SQUARE = (12, 8, 26, 22)


def centre_of_change(out: Path, name: str, upright: npt.NDArray[np.uint8]) -> tuple[float, float]:
    """Where an overlay is brightest against the same photo with a blank map: (x, y) in the photo's pixels.

    viridis goes from blue-violet to yellow, so that red minus blue grows with the map.
    """
    picture = np.asarray(Image.open(sinks.overlay_path(out, name, "grad_cam"))).astype(float)
    assert picture.shape == upright.shape, "an overlay has its photo's own size"
    heat = (picture[..., 0] - picture[..., 2]) - picture[0, 0, 0] + picture[0, 0, 2]
    heat = np.where(heat > 0.6 * heat.max(), 1.0, 0.0)
    y, x = np.mgrid[0 : heat.shape[0], 0 : heat.shape[1]] + 0.5
    return float((x * heat).sum() / heat.sum()), float((y * heat).sum() / heat.sum())


@pytest.mark.parametrize("preprocessing", [{"resize": "crop", "shorter": 32}, {"resize": "stretch", "shorter": None}])
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
@pytest.mark.parametrize("mode", ["fast", "exact"])
def test_the_map_lands_on_what_the_network_looks_at(
    reworded: Callable[..., Path], tmp_path: Path, preprocessing: dict[str, Any], orientation: int, mode: Any
):
    """The photo is stored turned; its overlay is upright, at its own size."""
    upright = draw((60, 44), SQUARE).resize((480, 352), Image.Resampling.NEAREST)
    back = {1: 0, 3: 180, 6: 90, 8: 270}[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    (tmp_path / "photos").mkdir()
    upright.rotate(back, expand=True).save(tmp_path / "photos" / "one.jpg", quality=95, exif=exif)
    runner = execute.load(reworded(**preprocessing))
    options = dataclasses.replace(QUIET, overlays=True, decode=mode, target=0)
    run(runner, tmp_path / "photos", tmp_path / "out", options)
    files = sorted(p.name for p in (tmp_path / "out" / "overlays").iterdir())
    assert files == ["one.jpg.activations.jpg", "one.jpg.grad_cam.jpg", "one.jpg.saliency.jpg"]
    x, y = centre_of_change(tmp_path / "out", "one.jpg", np.asarray(upright))
    left, top, right, bottom = (8 * v for v in SQUARE)
    cell = 480 / 8 if preprocessing["resize"] == "stretch" else 352 / 8
    assert abs(x - (left + right) / 2) < cell / 4, (x, y)
    assert abs(y - (top + bottom) / 2) < cell / 4, (x, y)


def test_a_photo_that_is_gone_or_too_thin_has_no_overlay_and_stops_nothing(
    runner: execute.Runner, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    reading = decode.read_upright

    def vanishing(path: str, name: str | None = None) -> npt.NDArray[np.uint8]:
        if path.endswith("3.png"):
            Path(path).unlink(missing_ok=True)
        return reading(path)

    monkeypatch.setattr(decode, "read_upright", vanishing)
    table = run(runner, photos, tmp_path / "out", dataclasses.replace(QUIET, overlays=True, threads=1))
    assert table["error"].null_count == 7
    drawn = {p.name for p in (tmp_path / "out" / "overlays").rglob("*.grad_cam.jpg")}
    assert drawn == {f"{i}.png.grad_cam.jpg" for i in (0, 1, 2, 4, 5, 6)}
    sink = object.__new__(explaining._Sink)
    sink._job = explaining.Job(tmp_path / "thin", QUIET, 64, frozenset())
    sink._storage = decode.Storage()
    record = Record(0, str(photos / "bright" / "0.png"), "0.png", view=(10.6, 0.0, 10.9, 64.0))
    sink._overlay(record, {"grad_cam": np.ones((8, 8), np.float32)}, {"grad_cam": (0.0, 1.0)})
    assert not (tmp_path / "thin").exists()


# ---- what goes wrong ----------------------------------------------------------------------------------------------


class Stops:
    """A runner that raises at the third batch."""

    runtime, device, precision, measured, origin = "onnxruntime", "cpu", "float32", {}, None

    def __init__(self, runner: execute.Runner, error: BaseException) -> None:
        self.spec, self._runner, self._error, self._calls = runner.spec, runner, error, 0

    def run(self, images: npt.NDArray[np.uint8], target: int) -> Maps:
        self._calls += 1
        if self._calls == 3:
            raise self._error
        return self._runner.run(images, target)


@pytest.mark.parametrize(
    ("error", "said"), [(KeyboardInterrupt(), "interrupted"), (SaccadeError("run: broken"), "failed")]
)
def test_what_was_finished_is_kept(
    runner: execute.Runner, photos: Path, tmp_path: Path, error: BaseException, said: str
):
    threads = threading.active_count()
    options = dataclasses.replace(QUIET, batch_size=2, shard_size=4)
    out = tmp_path / "out"
    with pytest.raises(type(error)):
        run(Stops(runner, error), photos, out, options)  # pyright: ignore[reportArgumentType]
    assert sinks.read_evidence(out).num_rows == 4
    assert status(out)["status"] == said
    assert status(out)["photos"] == {"listed": 7, "done": 4, "failed": 0}
    assert not list(out.rglob("*.part*"))
    assert threading.active_count() == threads
    whole = run(runner, photos, tmp_path / "whole", options)
    assert run(runner, photos, out, options).equals(whole)
    assert [start["before"] for start in status(out)["starts"]] == [0, 4]


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="asks Linux for the name of an open file")
@pytest.mark.parametrize("place", ["evidence/", "overlays/", ".sheet/", ".sheet-", ".run", "..manifest"])
def test_a_full_disk(runner: execute.Runner, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str):
    """Wherever the disk is full: one error, no half file under a final name, no thread left."""
    threads, syncing = threading.active_count(), os.fsync
    out = tmp_path / "out"

    def full(descriptor: int) -> None:
        file = os.path.relpath(os.readlink(f"/proc/self/fd/{descriptor}"), out)
        if file.startswith(place):
            raise OSError(errno.ENOSPC, "No space left on device")
        syncing(descriptor)

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(SaccadeError, match=r"^write: cannot write .*: No space left on device; free some space"):
        run(runner, photos, out, RunOptions(batch_size=1, overlays=True))
    assert not list(out.rglob("*.part*"))
    assert threading.active_count() == threads
    for picture in out.rglob("*.jpg"):
        Image.open(picture).load()
    begun = place not in (".run", "..manifest")
    assert out.exists() == begun, "what did not begin leaves no trace"
    assert len(list(out.rglob("*.parquet"))) == (place == ".sheet-")
    assert not (out / "sheet.jpg").exists()
    if begun:
        assert status(out)["status"] == "failed"
    monkeypatch.undo()
    run(runner, photos, out, RunOptions(batch_size=1, overlays=True))
    assert (status(out)["status"], sinks.read_evidence(out).num_rows) == ("finished", 7)
    Image.open(out / "sheet.jpg").load()


def test_a_writer_that_fails_at_once_does_not_hang(
    runner: execute.Runner, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def broken(*_: object) -> None:
        raise ValueError("broken")

    monkeypatch.setattr(sinks.EvidenceWriter, "write", broken)
    with pytest.raises(ValueError, match="broken"):
        run(runner, photos, tmp_path / "out", dataclasses.replace(QUIET, batch_size=1))
    assert status(tmp_path / "out")["status"] == "failed"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (RunOptions(batch_size=0), "batch size must be a number from 1 on"),
        (RunOptions(target=-2), "target -2 is out of range"),
        (RunOptions(look=Look(scale="calibrated")), "carries no range for grad_cam; compile it with --calibrate"),
        (RunOptions(look=Look("rainbow")), "rainbow"),
    ],
)
def test_options_are_checked_before_anything_is_written(
    runner: execute.Runner, photos: Path, tmp_path: Path, options: RunOptions, message: str
):
    with pytest.raises(UsageError, match=message):
        run(runner, photos, tmp_path / "out", options)
    assert not (tmp_path / "out").exists()


# ---- calibration and sheets ---------------------------------------------------------------------------------------


def test_calibration_covers_what_photos_have(runner: execute.Runner, photos: Path):
    listed = decode.list_photos([str(photos)])
    ranges = pipeline.calibrate(runner, listed)
    assert set(ranges) == {"grad_cam", "saliency", "activations"}
    views = np.stack([decode.read_view(p.path, runner.spec.preprocessing)[0] for p in listed])
    highest = runner.run(views).maps["grad_cam"].max(axis=(1, 2))
    assert ranges["grad_cam"] == (0.0, pytest.approx(float(np.quantile(highest, 0.99)), rel=1e-4))
    assert pipeline.calibrate(runner, listed, limit=2) != ranges


def test_calibration_needs_photos_with_something_on_them(runner: execute.Runner, tmp_path: Path):
    (tmp_path / "bad.jpg").write_bytes(b"no photo")
    with pytest.raises(SaccadeError, match="none of the photos could be read"):
        pipeline.calibrate(runner, decode.list_photos([str(tmp_path / "bad.jpg")]))
    blank = execute.Runner(runner.spec, "", "", "", lambda inputs: [0 * o for o in runner.session(inputs)])
    draw((40, 40), SQUARE).save(tmp_path / "good.png")
    with pytest.raises(SaccadeError, match="grad_cam is blank on all 1 photos"):
        pipeline.calibrate(blank, decode.list_photos([str(tmp_path / "good.png")]))


def mean_heat(out: Path) -> float:
    picture = np.asarray(Image.open(sinks.overlay_path(out, "one.png", "grad_cam"))).astype(float)
    return float((picture[..., 0] - picture[..., 2]).max())


def test_a_calibrated_scale_is_the_same_for_every_photo(reworded: Callable[..., Path], tmp_path: Path):
    """Under a high ceiling the very map that fills its own scale is pale."""
    (tmp_path / "photos").mkdir()
    draw((60, 60), SQUARE).save(tmp_path / "photos" / "one.png")
    ranges = {"grad_cam": (0.0, 1000.0), "saliency": (0.0, 1.0)}
    runner = execute.load(reworded(calibration=ranges))
    heat = {}
    for scale in ("image", "batch", "calibrated"):
        options = dataclasses.replace(QUIET, overlays=True, look=Look(scale=scale))
        run(runner, tmp_path / "photos", tmp_path / scale, options)
        heat[scale] = mean_heat(tmp_path / scale)
    assert heat["image"] == heat["batch"]
    assert heat["calibrated"] < heat["image"] - 50


def test_a_sheet_from_evidence_alone(runner: execute.Runner, photos: Path, tmp_path: Path):
    run(runner, photos, tmp_path / "out")
    assert not (tmp_path / "out" / "sheet.jpg").exists()
    (photos / "red" / "1.png").unlink()
    first = tmp_path / "all.png"
    assert pipeline.sheet(tmp_path / "out", first) == 7
    assert pipeline.sheet(tmp_path / "out", tmp_path / "some.png", "label = 'red'", "confidence desc", 2) == 2
    assert np.asarray(Image.open(first)).shape[0] > np.asarray(Image.open(tmp_path / "some.png")).shape[0]
    with pytest.raises(UsageError, match=r"no photo of .* matches label = 'blue'"):
        pipeline.sheet(tmp_path / "out", first, "label = 'blue'")
    with pytest.raises(UsageError, match="carries no range"):
        pipeline.sheet(tmp_path / "out", first, look=Look(scale="calibrated"))


@pytest.mark.parametrize("info", [{}, {"contract": None}, {"contract": {"schema": 1}}, {"contract": [float("nan")]}])
def test_a_run_file_of_somebody_else(runner: execute.Runner, photos: Path, tmp_path: Path, info: dict[str, Any]):
    run(runner, photos, tmp_path / "out")
    (tmp_path / "out" / "run.json").write_text(json.dumps({"schema": 2, **info}))
    with pytest.raises(SaccadeError, match="load: the contract"):
        pipeline.sheet(tmp_path / "out", tmp_path / "sheet.png")
    contract = json.loads(runner.spec.to_json())
    (tmp_path / "out" / "run.json").write_text(json.dumps({"schema": 2, "contract": contract, "options": [1]}))
    assert pipeline.sheet(tmp_path / "out", tmp_path / "sheet.png", "true -- all of them") == 7


def test_evenly():
    assert programs.evenly(10, 3) == [0, 4, 9]
    assert programs.evenly(3, 10) == [0, 1, 2]
    assert programs.evenly(0, 3) == programs.evenly(3, 0) == []
    assert len(programs.evenly(100_003, 48)) == 48


def test_the_engine_and_its_tests_mean_the_same_preprocessing(runner: execute.Runner):
    assert runner.spec.preprocessing == Preprocessing(32, 32, 3, "crop", 32)


# ---- opening ------------------------------------------------------------------------------------------------------


def open_it(program: Path, photos: Path, **options: Any) -> tuple[execute.Runner, str | None]:
    contract = read_contract(program)
    return pipeline.open_program(program, contract, decode.list_photos([str(photos)]), 4, device="cpu", **options)


def test_a_long_run_tries_the_runtimes_and_a_short_one_does_not(
    program: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    tried = []
    monkeypatch.setattr(execute, "candidates", lambda kind: ["onnxruntime", "openvino"])
    monkeypatch.setattr(
        execute,
        "fastest",
        lambda path, contract, images, batch, folder, target: (
            tried.append((len(images), batch)) or execute.Choice("onnxruntime", {"onnxruntime": 0.001}, {})
        ),
    )
    runner, said = open_it(program, photos)
    assert (tried, said, runner.measured) == ([], None, {})
    monkeypatch.setattr(programs, "WORTH_CHOOSING", 3)
    runner, said = open_it(program, photos)
    assert tried == [(7, 4)]
    assert said == "runtime: onnxruntime (for one image onnxruntime 1.0 ms)"
    run(runner, photos, tmp_path / "out", QUIET)
    assert status(tmp_path / "out")["measured"]["runtimes"]["runtime"] == "onnxruntime"
    assert open_it(program, photos, runtime="onnxruntime")[1] is None  # who says which one is taken at the word
    assert len(tried) == 1


def test_a_narrower_precision_is_measured_on_the_photos(
    program: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """No CPU that runs this test need have bfloat16: the narrow runner is the exact one with rounded maps."""
    true, asked = execute.load, []

    def load(
        path: Any,
        device: str = "auto",
        runtime: str = "auto",
        threads: Any = None,
        precision: Any = None,
        *_: Any,
        **__: Any,
    ):
        runner = true(path, device)
        if precision is not None:
            asked.append((runtime, precision))
            exact: Any = runner.session

            def narrow(inputs: Any) -> Any:
                return [np.float32(sign * np.float16(o)) for o in exact(inputs)]

            runner._session = narrow
            runner.precision = precision
        return runner

    monkeypatch.setattr(execute, "load", load)
    sign = 1
    runner, said = open_it(program, photos, precision="bfloat16")
    assert asked == [("openvino", "bfloat16")]
    assert said is not None
    assert said.startswith("bfloat16: 0.0% of 7 predictions change; grad_cam rank correlation 0.9")
    run(runner, photos, tmp_path / "out", QUIET)
    info = status(tmp_path / "out")
    assert (info["precision"], info["measured"]["agreement"]["images"]) == ("bfloat16", 7)
    sign = -1
    with pytest.raises(SaccadeError, match=r"run: bfloat16 changes .*; use --precision float32, or --force"):
        open_it(program, photos, precision="bfloat16")
    assert open_it(program, photos, precision="bfloat16", force=True)[0].precision == "bfloat16"


def test_what_is_asked_for_is_what_is_measured(
    program: Path, photos: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    """A unit has no default; a run's own target is what runtimes are tried with."""
    asked = []
    monkeypatch.setattr(programs, "WORTH_CHOOSING", 3)
    monkeypatch.setattr(execute, "candidates", lambda kind: ["onnxruntime", "openvino"])
    monkeypatch.setattr(
        execute, "fastest", lambda *words: asked.append(words[-1]) or execute.Choice("onnxruntime", {}, {})
    )
    open_it(program, photos, target=2)
    assert asked == [2]
