"""`saccade run`: from the shell's words to evidence, sheet, overlays and exit codes."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import resource
import signal
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from saccade.engine import sinks
from saccade.engine.contract import ATTRIBUTES

Say = Callable[..., Any]
STATISTICS = ("max", "mean", "border_mass", "corner_mass", "center_x", "center_y", "spread")


def test_a_run_from_the_shells_words(saccade_says: Say, program: Path, photos: Path, tmp_path: Path):
    out = tmp_path / "out"
    said = saccade_says("run", program, photos, "-o", out, "--overlays")
    assert (said.code, said.err) == (0, "")
    assert said.out.splitlines()[0].startswith("7 photos in ")
    assert said.out.splitlines()[1:] == [f"  {out / 'sheet.jpg'}", f"  {out / 'evidence'}"]
    table = pq.read_table(out / "evidence")
    columns = {"path", "label", "prediction", "prediction_index", "confidence", "target_index", "features", "error"}
    columns |= {"grad_cam", "grad_cam_scale", "saliency", "saliency_scale", "activations_mean", "activations_max"}
    columns |= {f"{name}_{statistic}" for name in ("grad_cam", "saliency") for statistic in STATISTICS}
    assert columns | set(ATTRIBUTES) <= set(table.schema.names)
    assert table.num_rows == 7
    sheet = Image.open(out / "sheet.jpg")
    assert sheet.width >= 800
    assert sheet.height >= 600
    assert len(np.unique(np.asarray(sheet).reshape(-1, 3), axis=0)) > 1000  # no empty page
    for path in photos.rglob("*.png"):
        overlay = sinks.overlay_path(out, path.relative_to(photos).as_posix(), "grad_cam")
        assert Image.open(overlay).size == Image.open(path).size
    ours = {".lock", "evidence", "manifest.arrow", "overlays", "run.json", "shards.jsonl", "sheet.jpg"}
    assert {p.name for p in out.iterdir()} == ours


def png_of(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds next to nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 99)) + chunk(b"IEND", b"")


def make_odd_photos(folder: Path) -> tuple[set[str], set[str]]:
    """Photos that can be read and some that cannot; the names of both."""
    folder.mkdir(exist_ok=True)
    grey = np.random.default_rng(0).integers(0, 255, (40, 50), dtype=np.uint8)
    colour = Image.fromarray(np.stack([grey] * 3, axis=2))
    colour.convert("CMYK").save(folder / "cmyk.jpg")
    Image.fromarray(grey.astype(np.uint16) * 257).save(folder / "deep.png")
    palette = colour.convert("P")
    palette.save(folder / "palette.png", transparency=0)
    colour.resize((1, 1)).save(folder / "pixel.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    colour.save(folder / "turned.jpg", exif=exif)
    good = {p.name for p in folder.iterdir()}
    colour.save(folder / "cut.jpg", quality=95)
    os.truncate(folder / "cut.jpg", 900)
    (folder / "letter.jpg").write_text("Dear all,\n")
    (folder / "nothing.png").write_bytes(b"")
    (folder / "bomb.png").write_bytes(png_of(30000, 30000))
    (folder / "link.png").symlink_to(folder / "nowhere.png")
    (folder / "new\nline.png").write_text("[bold]no photo[/bold]")
    return good, {p.name for p in folder.iterdir()} - good


def test_bad_photos_are_rows_with_their_error(saccade_says: Say, program: Path, tmp_path: Path):
    good, bad = make_odd_photos(tmp_path / "photos")
    said = saccade_says("run", program, tmp_path / "photos", "-o", tmp_path / "out", "--overlays")
    assert (said.code, said.err) == (3, "")
    assert f"{len(good) + len(bad)} photos" in said.out
    assert f"{len(bad)} failed (their rows say why)" in said.out
    rows = {r["name"]: r for r in sinks.read_evidence(tmp_path / "out").to_pylist()}
    assert {n for n, r in rows.items() if r["error"] is None} == good
    assert set(rows) == good | bad
    for name in bad:
        assert rows[name]["error"].startswith("decode: ")
        assert "\n" not in rows[name]["error"]
        assert rows[name]["prediction"] is None
    for name in good:
        assert rows[name]["prediction"] is not None
        overlay = Image.open(sinks.overlay_path(tmp_path / "out", name, "grad_cam"))
        assert overlay.size == (rows[name]["width"], rows[name]["height"])
    assert (rows["turned.jpg"]["width"], rows["turned.jpg"]["height"]) == (40, 50)
    assert json.loads((tmp_path / "out" / "run.json").read_text())["photos"]["failed"] == len(bad)


def test_nothing_but_bad_photos(saccade_says: Say, program: Path, tmp_path: Path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(b"no photo")
    said = saccade_says("run", program, tmp_path / "photos", "-o", tmp_path / "out")
    assert (said.code, said.err) == (1, "")
    assert not (tmp_path / "out" / "sheet.jpg").exists()
    assert sinks.read_evidence(tmp_path / "out").num_rows == 1


def test_wrong_words_are_one_line_and_2(saccade_says: Say, program: Path, photos: Path, tmp_path: Path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    (tmp_path / "labels.csv").write_text("path,label\nnowhere.png,x\n")
    (tmp_path / "two.txt").write_text("one\ntwo\n")
    run = ("run", program, photos, "-o", tmp_path / "out")
    for words, message in {
        ("run", program, tmp_path / "empty", "-o", tmp_path / "out"): "no photos in",
        ("run", program, tmp_path / "none", "-o", tmp_path / "out"): "does not exist",
        ("run", program, photos, "-o", tmp_path / "file"): "is a file; expected a folder",
        (*run, "--target", "brigth"): "target 'brigth' is no class of Sequential; near it: bright",
        (*run, "--target", "3"): "expected predicted, 0 to 2 or a class name",
        (*run, "--scale", "calibrated"): "carries no range for grad_cam; compile it with --calibrate PHOTOS",
        (*run, "--labels", tmp_path / "labels.csv"): "names none of the photos",
        (*run, "--labels", tmp_path / "none.csv"): "cannot read the labels file",
        (*run, "--classes", tmp_path / "two.txt"): "2 names for the 3 outputs",
        (*run, "--classes", tmp_path / "none.txt"): "cannot read it as text: No such file",
        (*run, "--classes", program): "cannot read it as text: it is not UTF-8",
        (*run, "--runtime", "torchscript"): "is for onnxruntime",
        (*run, "--method", "saliency"): "is compiled already; --method goes with a MODEL",
        (*run, "--input-size", "64"): "is compiled already; --input-size goes with a MODEL",
        (*run, "--weights", "random"): "is compiled already; --weights goes with a MODEL",
        (*run, "--input-size", "0x3"): "expected 224, or height x width",
        (*run, "--mean", "a,b"): "expected numbers with commas",
        (*run, "--std", "0"): "expected numbers above 0",
        ("run", tmp_path / "none.onnx", photos, "-o", tmp_path / "out"): "cannot open program",
        ("run", "resnet18", photos, "-o", tmp_path / "out"): "expected torchvision/NAME",
    }.items():
        said = saccade_says(*words)
        assert message in said.complaint, words
        assert (said.code, said.out) == (2, ""), words
        assert not (tmp_path / "out").exists(), words


@pytest.mark.parametrize("wrong", [("--batch-size", "0"), ("--scale", "x"), ("--shorter", "0"), ("--nonsense",)])
def test_options_that_the_parser_refuses(saccade_says: Say, program: Path, photos: Path, tmp_path: Path, wrong: Any):
    said = saccade_says("run", program, photos, "-o", tmp_path / "out", *wrong)
    assert (said.code, said.out) == (2, "")
    assert wrong[0] in said.complaint
    assert said.complaint.endswith("See saccade run --help")


def test_targets_labels_and_classes(saccade_says: Say, program: Path, photos: Path, tmp_path: Path):
    (tmp_path / "names.txt").write_text("\ufeffHell, weiß\r\nrot\r\nweder\r\n", encoding="utf-8", newline="")
    (tmp_path / "labels.csv").write_text("path,label\nbright/0.png,1\n1.png,rot\n")
    for target, index in {"rot": 1, "2": 2}.items():
        out = tmp_path / target
        words = ("--target", target, "--classes", tmp_path / "names.txt", "--labels", tmp_path / "labels.csv")
        assert saccade_says("run", program, photos, "-o", out, *words).code == 0
        table = sinks.read_evidence(out)
        assert table["target_index"].to_pylist() == [index] * 7
        assert set(table["prediction"].to_pylist()) <= {"Hell, weiß", "rot", "weder"}
        assert dict(zip(table["name"].to_pylist(), table["label"].to_pylist(), strict=True)) == {
            **{f"{('bright', 'red')[i % 2]}/{i}.png": None for i in range(7)},
            "bright/0.png": "1",
            "red/1.png": "rot",
        }


def test_every_option_does_something(saccade_says: Say, program: Path, photos: Path, tmp_path: Path):
    sheets = {}
    for options in ((), ("--colormap", "jet"), ("--scale", "batch"), ("--keep", "full"), ("--target", "red")):
        out = tmp_path / "-".join(("out", *options))
        words = ("--decode", "exact", "--batch-size", 1 if options == () else 7, "--device", "cpu")
        assert saccade_says("run", program, photos, "-o", out, *options, *words).code == 0
        sheets[options] = (out / "sheet.jpg").read_bytes()
    assert sheets[()] == sheets["--keep", "full"]
    assert len(set(sheets.values())) == 4
    full = sinks.read_evidence(tmp_path / "out---keep-full")
    assert sinks.restore_map(full, "activations").shape == (7, 6, 8, 8)
    assert json.loads((tmp_path / "out" / "run.json").read_text())["options"]["decode"] == "exact"


def test_another_run_is_kept_unless_it_is_said_to_replace_it(
    saccade_says: Say, program: Path, photos: Path, tmp_path: Path
):
    out = tmp_path / "out"
    run = ("run", program, photos, "-o", out)
    assert saccade_says(*run, "--overlays").code == 0
    (out / "notes.txt").write_text("mine")
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*") if p.name != ".lock" and p != out}
    said = saccade_says(*run)
    assert said.code == 2
    assert said.complaint == (
        f"run: {out} holds a run with other options: overlays was True, is False; repeat its command to go on, choose "
        "another folder, or --restart to remove it"
    )
    said = saccade_says("run", program, photos / "red", "-o", out, "--overlays")
    assert said.code == 2
    assert f"photos was {photos}, is {photos / 'red'};" in said.complaint
    narrow = ("--runtime", "onnxruntime", "--precision", "bfloat16")  # which OpenVINO may have
    for wrong in (("--scale", "calibrated"), ("--labels", tmp_path / "missing.csv"), narrow):
        assert saccade_says(*run, "--restart", *wrong).code in (1, 2)  # what cannot begin removes nothing
    assert {p: p.stat().st_mtime_ns for p in out.rglob("*") if p.name != ".lock" and p != out} == before
    (photos / "bright" / "0.png").unlink()
    said = saccade_says(*run, "--overlays")
    assert said.err == ""
    assert said.out.splitlines()[0] == "7 photos were finished before"
    assert saccade_says(*run, "--restart").code == 0
    assert sinks.read_evidence(out).num_rows == 6
    assert (out / "notes.txt").read_text() == "mine"
    assert not (out / "overlays").exists()


def test_a_folder_named_evidence_that_is_no_runs_is_left_alone(
    saccade_says: Say, program: Path, photos: Path, tmp_path: Path
):
    (tmp_path / "out" / "evidence").mkdir(parents=True)
    (tmp_path / "out" / "evidence" / "footprint.txt").write_text("size 44")
    said = saccade_says("run", program, photos, "-o", tmp_path / "out", "--restart")
    assert said.code == 2
    assert "holds 'evidence', which is no run's" in said.complaint
    assert (tmp_path / "out" / "evidence" / "footprint.txt").read_text() == "size 44"


@contextlib.contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize("size", [0, 3000, 15000])
def test_a_disk_without_room(saccade_says: Say, program: Path, photos: Path, tmp_path: Path, size: int):
    with files_of_at_most(size):
        said = saccade_says("run", program, photos, "-o", tmp_path / "out", "--keep", "full")
    assert said.code == 1
    assert "cannot write" in said.complaint
    assert "File too large" in said.complaint
    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert {path.name for path in files} <= {"run.json", "manifest.arrow", ".lock"}
    for path in files:
        if path.name == "run.json":
            json.loads(path.read_text())


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written(saccade_says: Say, program: Path, photos: Path, tmp_path: Path):
    (tmp_path / "locked").mkdir(mode=0o500)
    said = saccade_says("run", program, photos, "-o", tmp_path / "locked" / "out")
    assert said.code == 1
    assert "Permission denied; free some space, or choose a folder that you may write to" in said.complaint


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="/proc is a folder in which nobody can make one")
def test_a_folder_that_nobody_may_write(saccade_says: Say, program: Path, photos: Path):
    said = saccade_says("run", program, photos, "-o", "/proc/self/out")
    assert said.code == 1
    assert "cannot write /proc/self/out/.lock" in said.complaint


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_keeps_what_was_finished(program: Path, photos: Path, tmp_path: Path, number: signal.Signals):
    """In a process of its own, from the signal to the exit code; a scheduler's is the same."""
    one, many, out = photos / "bright" / "2.png", tmp_path / "many", tmp_path / "out"
    many.mkdir()
    for i in range(6000):
        os.link(one, many / f"{i:05}.png")
    words = [sys.executable, "-c", "from saccade.cli import main; main()", "run", program, many, "-o", out]
    # A job of a shell's background, as this test may be, has SIGINT ignored, and its children too.
    listen = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    with subprocess.Popen(
        [*map(str, words), "--overlays"], stderr=subprocess.PIPE, text=True, preexec_fn=listen
    ) as process:
        begin = time.monotonic()
        while not sinks.finished_shards(out):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() - begin < 60
            time.sleep(0.02)
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
    assert err == "saccade: stopped; what was finished is kept\n"
    assert process.returncode == 130
    info = json.loads((out / "run.json").read_text())
    assert info["status"] == "interrupted"
    rows = sinks.read_evidence(out)
    assert 0 < rows.num_rows < 6000
    assert rows.num_rows == info["shards"]["finished"] * 64
    assert rows["error"].null_count == rows.num_rows
    assert not list(out.rglob("*.part*"))
