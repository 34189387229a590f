"""examples/inspect, built as a user would from the installed library: verdicts, pictures, bad frames, deadlines."""

from __future__ import annotations

import csv
import dataclasses
import os
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from building import Library, tool
from PIL import Image

import saccade
from saccade.engine import decode, execute, render
from saccade.engine.contract import MapSpec
from saccade.engine.contract.program_file import append_contract, read_contract

ROOT = Path(__file__).resolve().parents[2]
U8 = npt.NDArray[np.uint8]
Run = Callable[..., subprocess.CompletedProcess[str]]
COLUMNS = (
    "frame name verdict class confidence score left top right bottom area evidence inside milliseconds message".split()
)


@pytest.fixture(scope="session")
def inspect(library: Library, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Runs the program: `inspect(PROGRAM, FRAMES, …)`."""
    folder = tmp_path_factory.mktemp("inspect")
    cmake, prefix = tool("cmake"), folder / "installed"
    ninja = ["-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={tool('ninja')}"]
    for words in (
        [cmake, "--install", library.folder, "--prefix", prefix],
        [cmake, "-S", ROOT / "examples/inspect", "-B", folder / "build", *ninja, f"-DCMAKE_PREFIX_PATH={prefix}"],
        [cmake, "--build", folder / "build"],
    ):
        done = subprocess.run([str(word) for word in words], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    places = ["--backends", prefix / "lib" / "saccade", "--library", library.onnxruntime]

    def run(*words: object, stdin: bytes | IO[bytes] = b"") -> subprocess.CompletedProcess[str]:
        command = [str(word) for word in (folder / "build" / "saccade-inspect", *words, *places)]
        source: dict[str, Any] = {"input": stdin} if isinstance(stdin, bytes) else {"stdin": stdin}
        done = subprocess.run(command, **source, capture_output=True, timeout=120)
        return subprocess.CompletedProcess(command, done.returncode, done.stdout.decode(), done.stderr.decode())

    return run


@pytest.fixture(scope="session")
def grad_cam(network: object, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small network that looks at bright things, with one map."""
    path = tmp_path_factory.mktemp("program") / "tiny.onnx"
    classes = ("bright", "red", "neither")
    saccade.compile(network, "grad-cam", input_size=32, classes=classes).save(path)  # pyright: ignore[reportArgumentType]
    return path


def pictures() -> dict[str, U8]:
    """Frames 60 wide and 40 high: a bright square left, a red one right, nothing."""
    found = {}
    for i, (name, x, colour) in enumerate(
        [("bright", 12, (250, 250, 250)), ("red", 36, (250, 20, 20)), ("dark", 0, (0, 0, 0))]
    ):
        frame = np.random.default_rng(i).integers(0, 90, (40, 60, 3), dtype=np.uint8)
        frame[14:26, x : x + 12] = colour
        found[name] = frame
    return found


def verdicts(out: Path) -> list[dict[str, str]]:
    with open(out / "verdicts.csv", newline="", encoding="utf-8") as table:
        reader = csv.DictReader(table)
        rows = list(reader)
    assert reader.fieldnames == COLUMNS
    return rows


def ppm(frame: U8) -> bytes:
    return b"P6\n%d %d\n255\n" % (frame.shape[1], frame.shape[0]) + frame.tobytes()


def test_each_frame_has_the_verdict_that_python_gives_it(inspect: Run, grad_cam: Path, tmp_path: Path):
    folder, out = tmp_path / "frames", tmp_path / "out"
    folder.mkdir()
    frames = pictures()
    Image.fromarray(frames["bright"]).save(folder / "1.ppm")
    Image.fromarray(frames["red"]).save(folder / "2.bmp")  # bottom row first, blue first
    Image.fromarray(frames["dark"]).convert("L").save(folder / "3.pgm")
    done = inspect(grad_cam, folder, "--out", out, "--fail-class", "red")
    assert done.returncode == 1
    rows = verdicts(out)
    assert [(r["name"], r["verdict"], r["class"]) for r in rows] == [
        ("1.ppm", "ok", "bright"),
        ("2.bmp", "fail", "red"),
        ("3.pgm", "ok", "neither"),
    ]
    runner = execute.load(grad_cam)
    for row, file in zip(rows, sorted(folder.iterdir()), strict=True):
        view = decode.read_view(file, runner.spec.preprocessing, "exact")
        maps = runner.run(view.image[None])
        confidence = runner.spec.confidence(maps.logits)
        assert confidence is not None
        assert float(row["confidence"]) == pytest.approx(float(confidence[0]), abs=1e-5)
        assert float(row["score"]) == pytest.approx(float(maps.logits.max()), rel=1e-5)
    # Where the thing is, it looked: the network shows the middle 40×40 of the 60×40 frame.
    left, top, right, bottom = (float(rows[0][side]) for side in ("left", "top", "right", "bottom"))
    assert left < 18 < right
    assert top < 20 < bottom
    assert 0 < float(rows[0]["area"]) < 0.5 < float(rows[0]["evidence"]) <= 1
    assert float(rows[1]["left"]) > right - 6
    assert sorted(p.name for p in out.iterdir()) == ["1-2.bmp", "verdicts.csv"]
    assert "3 frames in" in done.stderr
    assert "2 ok, 1 fail, 0 doubt, 0 late, 0 bad" in done.stderr


def test_the_picture_is_pythons_with_the_region_framed(inspect: Run, grad_cam: Path, tmp_path: Path):
    (tmp_path / "frames").mkdir()
    frame = pictures()["bright"]
    (tmp_path / "frames" / "a.ppm").write_bytes(ppm(frame))
    inspect(grad_cam, tmp_path / "frames", "--out", tmp_path / "out", "--fail-class", "0")
    drawn = np.asarray(Image.open(tmp_path / "out" / "0-a.bmp").convert("RGB"))
    runner = execute.load(grad_cam)
    view = decode.read_view(tmp_path / "frames" / "a.ppm", runner.spec.preprocessing, "exact")
    values = runner.run(view.image[None]).maps["grad_cam"]
    expected = overlay(frame, values[0], runner.spec.maps[0], view.rectangle)
    assert drawn.shape == expected.shape
    different = (drawn != expected).any(axis=2)
    assert (drawn[different] == 255).all(), "what differs is the white frame around the region"
    row = verdicts(tmp_path / "out")[0]
    rows, columns = np.nonzero(different)
    assert abs(columns.min() - float(row["left"])) <= 1
    assert abs(rows.min() - float(row["top"])) <= 1
    assert (overlay(frame, values[0].T, runner.spec.maps[0], view.rectangle) != drawn)[~different].any()


def overlay(frame: U8, values: npt.NDArray[np.float32], spec: MapSpec, view: tuple[float, ...]) -> U8:
    """The map over the frame as Python draws it, half and half, from 0 to the map's largest value."""
    assert spec.kind == "cam"
    canvas, ranges = np.empty_like(frame), np.array([[0, values.max()]], np.float32)
    size, places, boxes = frame.shape[:2], np.zeros((1, 2), np.int64), np.array([view])
    render.overlay(canvas, values[None], ranges, frame[None], size, places, boxes=boxes)
    return canvas


def test_a_network_that_looks_beside_the_part_is_doubted(inspect: Run, grad_cam: Path, tmp_path: Path):
    (tmp_path / "frames").mkdir()
    (tmp_path / "frames" / "a.ppm").write_bytes(ppm(pictures()["bright"]))
    for part, verdict in (("0.1,0.2,0.5,0.8", "ok"), ("0.6,0.2,0.9,0.8", "doubt")):
        inspect(grad_cam, tmp_path / "frames", "--out", tmp_path / part, "--part", part)
        row = verdicts(tmp_path / part)[0]
        assert row["verdict"] == verdict
        assert (float(row["inside"]) >= 0.5) == (verdict == "ok")
    assert row["message"] == "the network looked beside the part"
    inspect(grad_cam, tmp_path / "frames", "--out", tmp_path / "sure", "--min-confidence", "1")
    assert verdicts(tmp_path / "sure")[0]["verdict"] == "doubt"


def test_a_bad_frame_is_a_line_and_the_others_go_on(inspect: Run, grad_cam: Path, tmp_path: Path):
    folder = tmp_path / "frames"
    folder.mkdir()
    good = ppm(pictures()["bright"])
    bad = {
        "0-empty.ppm": b"",
        "1-cut.ppm": good[:-100],
        "2-huge.ppm": b"P6\n999999 999999\n255\n",
        "3-words.ppm": b"P6\nno numbers\n255\n",
        "4-deep.pgm": b"P5\n4 4\n65535\n" + bytes(32),
        "5-png.bmp": b"\x89PNG\r\n\x1a\n" + bytes(100),
        "6-cut.bmp": b"BM" + bytes(20),
        "7-claims.ppm": b"P6\n11000 11000\n255\n" + bytes(1000),
    }
    for name, content in bad.items():
        (folder / name).write_bytes(content)
    (folder / "9-good.ppm").write_bytes(good)
    done = inspect(grad_cam, folder, "--out", tmp_path / "out")
    assert done.returncode == 1
    rows = verdicts(tmp_path / "out")
    assert [r["verdict"] for r in rows] == ["bad"] * len(bad) + ["ok"]
    assert all(r["message"] for r in rows[:-1])
    assert "cut short" in rows[1]["message"]
    assert rows[-1]["class"] == "bright"


def test_a_pipe_of_frames(inspect: Run, grad_cam: Path, tmp_path: Path):
    frames = pictures()
    done = inspect(grad_cam, "-", "--out", tmp_path / "out", stdin=b"".join(map(ppm, frames.values())) + b"rubbish")
    rows = verdicts(tmp_path / "out")
    assert [r["class"] for r in rows[:3]] == ["bright", "red", "neither"]
    assert [r["verdict"] for r in rows] == ["ok", "ok", "ok", "bad"]
    assert done.returncode == 1


def test_what_is_not_done_in_its_budget_is_late_and_not_waited_for(inspect: Run, grad_cam: Path, tmp_path: Path):
    (tmp_path / "frames").mkdir()
    for i in range(5):
        (tmp_path / "frames" / f"{i}.ppm").write_bytes(ppm(pictures()["bright"]))
    done = inspect(grad_cam, tmp_path / "frames", "--out", tmp_path / "out", "--budget-ms", "0.001")
    assert {r["verdict"] for r in verdicts(tmp_path / "out")} == {"late"}
    assert done.returncode == 3
    done = inspect(grad_cam, tmp_path / "frames", "--out", tmp_path / "free", "--budget-ms", "10000")
    assert {r["verdict"] for r in verdicts(tmp_path / "free")} == {"ok"}
    assert done.returncode == 0


def test_a_frame_of_a_pipe_arrives_when_it_was_read(inspect: Run, grad_cam: Path, tmp_path: Path):
    """However long the camera took to start: nothing is late but what the line itself holds up."""
    fifo, frame = tmp_path / "camera", ppm(pictures()["bright"])
    os.mkfifo(fifo)

    def film() -> None:
        with open(fifo, "wb", buffering=0) as camera:
            for _ in range(4):
                time.sleep(0.7)
                camera.write(frame)

    filming = threading.Thread(target=film)
    filming.start()
    with open(fifo, "rb") as camera:
        inspect(grad_cam, "-", "--out", tmp_path / "out", "--budget-ms", "600", stdin=camera)
    filming.join()
    assert [r["verdict"] for r in verdicts(tmp_path / "out")] == ["ok"] * 4


def test_a_network_without_classes_has_no_confidence_to_ask_for(inspect: Run, grad_cam: Path, tmp_path: Path):
    spec = read_contract(grad_cam)[1]
    model = onnx.load(grad_cam)
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "sigmoid.onnx")
    append_contract(tmp_path / "sigmoid.onnx", "onnx", dataclasses.replace(spec, softmax=False))
    (tmp_path / "frames").mkdir()
    (tmp_path / "frames" / "a.ppm").write_bytes(ppm(pictures()["bright"]))
    words = [tmp_path / "sigmoid.onnx", tmp_path / "frames", "--out", tmp_path / "out"]
    done = inspect(*words, "--min-confidence", "0.9")
    assert done.returncode == 2
    assert "no softmax" in done.stderr
    assert inspect(*words).returncode == 0
    assert verdicts(tmp_path / "out")[0]["confidence"] == ""


def test_at_a_rate_frames_come_in_their_time(inspect: Run, grad_cam: Path, tmp_path: Path):
    (tmp_path / "frames").mkdir()
    (tmp_path / "frames" / "a.ppm").write_bytes(ppm(pictures()["bright"]))
    done = inspect(grad_cam, tmp_path / "frames", "--out", tmp_path / "out", "--rate", "100", "--seconds", "1.5")
    rows = verdicts(tmp_path / "out")
    assert 100 < len(rows) <= 151
    assert done.returncode == 0
    assert "memory:" in done.stderr
    assert "others took" in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "expected PROGRAM and FRAMES"),
        (["--rate", "fast"], "--rate fast: expected a number"),
        (["--part", "0.5,0,0.2,1"], "expected LEFT,TOP,RIGHT,BOTTOM"),
        (["--nothing", "1"], "there is no such option"),
        (["p.onnx", "-", "--rate", "5"], "frames of a pipe come when they come"),
    ],
)
def test_a_command_line_that_cannot_be_followed(inspect: Run, words: list[str], said: str):
    done = inspect(*words)
    assert done.returncode == 2
    assert done.stderr.startswith("saccade-inspect: ")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_what_cannot_be_inspected(inspect: Run, grad_cam: Path, program: Path, tmp_path: Path):
    (tmp_path / "none").mkdir()
    (tmp_path / "cut.onnx").write_bytes(grad_cam.read_bytes()[:-50])
    for words, code, said in (
        ([tmp_path / "no.onnx", tmp_path / "none"], 4, "no.onnx"),
        ([tmp_path / "cut.onnx", tmp_path / "none"], 4, "cut.onnx"),
        ([grad_cam, tmp_path / "none"], 2, "found none"),
        ([grad_cam, tmp_path / "missing"], 2, "cannot be listed"),
        ([grad_cam, tmp_path / "none", "--fail-class", "blue"], 2, "no such class"),
    ):
        done = inspect(*words, "--out", tmp_path / "out")
        assert done.returncode == code, done.stderr
        assert said in done.stderr
        assert done.stderr.count("\n") == 1
    assert "--part" in inspect("--help").stdout
