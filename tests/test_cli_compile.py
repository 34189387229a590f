"""`saccade compile`, `layers`, `sheet`, `doctor`, and `run` with a MODEL."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image

from saccade.engine import sinks
from saccade.engine.contract import SCHEMA
from saccade.engine.contract.program_file import read_contract

Say = Callable[..., Any]
SIZE = ("--input-size", "32")
SECTIONS = ("What to ask", "Pictures", "Speed", "The explanation", "The model")


# ---- layers, doctor -----------------------------------------------------------------------------------------------


def test_layers_in_a_pipe_are_whole(saccade_says: Say, tiny: str):
    said = saccade_says("layers", tiny, *SIZE)
    assert (said.code, said.err) == (0, "")
    lines = said.out.splitlines()
    assert lines[0] == "tinynet:build_network: input 3×32×32"
    assert lines[2].split() == ["#", "layer", "type", "output", "[N,", "…]"]
    rows = [line.split() for line in lines[3:]]
    types = ["Conv2d", "ReLU"] * 3 + ["AdaptiveAvgPool2d", "Flatten", "Linear"]
    assert [row[:3] for row in rows] == [[str(i + 1), str(i), kind] for i, kind in enumerate(types)]
    assert rows[5][3:] == ["6×8×8", "←"]  # the default layer of Grad-CAM
    assert "…" not in "".join(lines[3:])


def test_long_names_are_not_cut_or_wrapped_in_a_pipe(saccade_says: Say, tmp_path: Path, tiny: str):
    name = "a_layer_whose_name_is_far_longer_than_any_terminal_is_wide_" * 3
    source = (tmp_path / "tinynet.py").read_text()
    named = (
        source
        + f"\n\ndef build():\n    from torch import nn\n    return nn.Sequential(OrderedDict({name}=build_network()))\n"
    )
    (tmp_path / "tinynet.py").write_text(
        "from __future__ import annotations\nfrom collections import OrderedDict\n" + named.partition("\n")[2]
    )
    said = saccade_says("layers", "tinynet:build", *SIZE)
    assert said.code == 0
    assert sum(f"{name}.{i} " in line for i in range(9) for line in said.out.splitlines()[3:]) == 9


def test_the_doctor(saccade_says: Say, monkeypatch: pytest.MonkeyPatch):
    from saccade import doctor

    said = saccade_says("doctor")
    assert said.err == ""
    for name in ("Python", "extension", "onnxruntime", "torch", "GPU", "pyarrow"):
        assert any(line.split()[1] == name for line in said.out.splitlines()), name
    assert said.code == (1 if "✗" in said.out else 0)
    missing = doctor.Finding("thing", False, "missing", "pip install thing")
    monkeypatch.setattr(doctor, "examine", lambda: [missing])
    said = saccade_says("doctor")
    assert said.code == 1
    assert "✗  thing  missing" in said.out
    assert "→ pip install thing" in said.out


def test_help_and_no_words(saccade_says: Say):
    said = saccade_says("--help")
    assert said.code == 0
    for command in ("layers", "compile", "run", "sheet", "doctor", "demo"):
        assert command in said.out
    assert saccade_says("nonsense").complaint == "No such command 'nonsense'. See saccade --help"
    said = saccade_says()
    assert (said.code, said.out) == (2, "")
    assert "First steps:\n" in said.err


def test_help_of_a_command_has_sections_and_defaults(saccade_says: Say):
    said = saccade_says("run", "--help")
    assert (said.code, said.err) == (0, "")
    titles = [line for line in said.out.splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert titles == [f"{t}:" for t in ("Positional arguments", "Options", *SECTIONS)]
    speed = said.out.partition("Speed:\n")[2].partition("\n\n")[0]
    assert "--batch-size" in speed
    assert "[default: 16; 1<=x<=4096]" in speed
    assert "--mean" not in speed


# ---- compile ------------------------------------------------------------------------------------------------------


def test_compile_to_onnx_with_calibration_and_run_it(saccade_says: Say, tiny: str, photos: Path, tmp_path: Path):
    (tmp_path / "names.txt").write_text("bright\nred\nneither\n")
    out = tmp_path / "with [brackets]" / "tiny.onnx"
    words = (
        "--classes",
        "names.txt",
        "--calibrate",
        photos,
        "-m",
        "grad-cam",
        "-m",
        "saliency",
        "--mean",
        "0.5",
        "--std",
        "0.5,1,1",
    )
    said = saccade_says("compile", tiny, "-o", out, *SIZE, *words)
    assert (said.code, said.err) == (0, "")
    lines = said.out.splitlines()
    assert lines[0].startswith(f"{out}  (")
    assert lines[1].startswith("  grad_cam [N, 8×8]: grad-cam at 5; differs from autograd by ")
    assert lines[3].startswith("  convolutions: 3 in the network, ")
    spec = read_contract(out)[1]
    assert spec.model == tiny
    assert (spec.preprocessing.mean, spec.preprocessing.std) == ((0.5, 0.5, 0.5), (0.5, 1.0, 1.0))
    assert spec.calibration is not None
    assert set(spec.calibration) == {"grad_cam", "saliency"}
    onnx.checker.check_model(str(out))
    said = saccade_says("run", out, photos, "-o", tmp_path / "out", "--scale", "calibrated")
    assert (said.code, said.err) == (0, "")
    assert (tmp_path / "out" / "sheet.jpg").exists()


def test_compile_to_torchscript(saccade_says: Say, tiny: str, tmp_path: Path):
    said = saccade_says("compile", tiny, "-o", "tiny.ts", "--to", "torchscript", *SIZE, "--layer", "1")
    assert (said.code, said.err) == (0, "")
    kind, spec = read_contract(tmp_path / "tiny.ts")
    assert (kind, spec.maps[0].layer, spec.maps[0].shape) == ("torchscript", "1", (32, 32))


def test_compile_refuses_in_one_line(saccade_says: Say, tiny: str, tmp_path: Path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.py").write_text("def f():\n    return 3\n")
    out = ("-o", "tiny.onnx")
    for words, message in {
        (tiny, *out): "give it with --input-size",
        (tiny, *out, *SIZE, "--layer", "layer5"): "layer5",
        (tiny, *out, *SIZE, "-m", "grad-camel"): "grad-camel",
        (tiny, *out, *SIZE, "--to", "torchscript"): "expected a name that ends in .ts, or another --to",
        (tiny, "-o", "tiny.bin", *SIZE): "expected a name that ends in .onnx",
        (tiny, *out, *SIZE, "--calibrate", "empty"): "no photos in empty",
        (tiny, *out, *SIZE, "--mean", "1,2"): "--mean has 2 numbers",
        ("tinynet:other", *out, *SIZE): "no function 'other'",
        ("nowhere:f", *out, *SIZE): "no module 'nowhere'",
        ("broken:f", *out, *SIZE): "f() gave a int",
        ("torchvision/resnet19", *out): "near it: resnet1",
    }.items():
        said = saccade_says("compile", *words)
        assert message in said.complaint, words
        assert (said.code, said.out) == (2, ""), words
    assert not list(tmp_path.glob("*.onnx"))


# ---- run with a MODEL ---------------------------------------------------------------------------------------------


def test_a_model_is_compiled_once_and_again_when_it_or_the_file_changes(
    saccade_says: Say, tiny: str, photos: Path, tmp_path: Path
):
    cache = tmp_path / "cache" / "programs"

    def run(out: str) -> str:
        said = saccade_says("run", tiny, photos, "-o", tmp_path / out, *SIZE, "--runtime", "torchscript")
        assert (said.code, said.err) == (0, "")
        return said.out.splitlines()[0]

    first = run("one")
    (program,) = cache.iterdir()
    assert first == f"kept {program}"
    written = program.stat().st_size
    assert run("two") == f"using {program}"

    os.truncate(program, written // 2)
    assert run("three") == f"kept {program}"
    assert read_contract(program)[1].model == tiny

    source = tmp_path / "tinynet.py"
    source.write_text(source.read_text().replace("manual_seed(0)", "manual_seed(17)"))
    sys.modules.pop("tinynet")
    importlib.invalidate_caches()
    assert run("four").startswith("kept ")
    assert len(list(cache.iterdir())) == 2


# ---- programs that are none ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["onnx", "torchscript"])
def test_damaged_programs_are_one_line(
    saccade_says: Say, compiled: dict[str, Path], photos: Path, tmp_path: Path, kind: str
):
    whole = compiled[kind].read_bytes()
    changed = bytearray(whole)
    changed[len(whole) // 3] ^= 1
    for content, message in {
        whole[: len(whole) // 2]: "",
        bytes(changed): "",
        whole.replace(
            f'"schema": {SCHEMA}'.encode(), b'"schema": 7'
        ): f"has schema 7, this saccade reads schema {SCHEMA}|damaged",
        whole.replace(b'"hash": "sha256:', b'"hash": "sha257:'): "damaged",
        b"": "is empty",
    }.items():
        path = tmp_path / f"program{compiled[kind].suffix}"
        path.write_bytes(content)
        said = saccade_says("run", path, photos, "-o", tmp_path / "out")
        assert said.code in (1, 2)
        assert any(part in said.complaint for part in message.split("|"))
        assert str(path) in said.complaint
        assert not (tmp_path / "out").exists()


def test_a_name_in_a_message_cannot_write_on_the_terminal(saccade_says: Say, photos: Path, tmp_path: Path):
    said = saccade_says("run", "a\x1b[2J\nb.onnx", photos, "-o", tmp_path / "out")
    assert said.code == 2
    assert "a [2J b.onnx" in said.complaint


# ---- sheet --------------------------------------------------------------------------------------------------------


@pytest.fixture
def done(saccade_says: Say, program: Path, photos: Path, tmp_path: Path) -> Path:
    assert saccade_says("run", program, photos, "-o", tmp_path / "out").code == 0
    return tmp_path / "out"


def test_sheets_of_a_run(saccade_says: Say, done: Path, photos: Path, tmp_path: Path):
    (photos / "red" / "1.png").unlink()
    said = saccade_says(
        "sheet", done, "-o", tmp_path / "[a].png", "--where", "label = 'red'", "--order-by", "confidence desc"
    )
    assert (said.code, said.out, said.err) == (0, f"{tmp_path / '[a].png'}  (3 photos)\n", "")
    whole = (done / "sheet.jpg").read_bytes()
    assert saccade_says("sheet", done, "--limit", "5").out == f"{done / 'sheet.jpg'}  (5 photos)\n"
    assert (done / "sheet.jpg").read_bytes() != whole
    before = np.asarray(Image.open(tmp_path / "[a].png"))
    words = ("--where", "border_mass >= 0 and label = 'red'", "--order-by", "confidence desc", "--colormap", "gray")
    assert saccade_says("sheet", done, "-o", tmp_path / "grey.png", *words).code == 0
    assert not np.array_equal(np.asarray(Image.open(tmp_path / "grey.png")), before)


def test_wrong_questions_are_one_line_and_2(saccade_says: Say, done: Path, tmp_path: Path):
    (tmp_path / "empty").mkdir()
    for words, message in {
        (done, "--where", "lable = 'red'"): "lable",
        (done, "--where", "label = "): "does not work",
        (done, "--where", "true; drop table x"): "does not work",
        (done, "--where", "path = (select content from read_text('/etc/passwd'))"): "does not work",
        (done, "--order-by", "nonsense"): "nonsense",
        (done, "--where", "label = 'blue'"): "no photo of",
        (done, "--scale", "calibrated"): "carries no range",
        (done, "-o", tmp_path / "sheet.bmp"): "name it .jpg or .png",
        (tmp_path / "empty",): "is not the folder of a run",
        (tmp_path / "none",): "is not the folder of a run",
    }.items():
        said = saccade_says("sheet", *words)
        assert message in said.complaint, words
        assert (said.code, said.out) == (2, ""), words
    assert saccade_says("sheet", done, "--limit", "0").code == 2


def test_rows_with_an_error_are_on_no_sheet(saccade_says: Say, program: Path, photos: Path, tmp_path: Path):
    (photos / "bright" / "2.png").write_bytes(b"no photo")
    assert saccade_says("run", program, photos, "-o", tmp_path / "out").code == 3
    for where in ("true", "true or true", "error is not null or true", "true -- "):
        said = saccade_says("sheet", tmp_path / "out", "--where", where)
        assert said.out.endswith("(6 photos)\n"), where
    said = saccade_says("sheet", tmp_path / "out", "--where", "1=1) OR (1=1")
    assert (said.code, said.complaint[:9]) == (2, "evidence:")
    said = saccade_says("sheet", tmp_path / "out", "--where", "error is not null")
    assert "no photo of" in said.complaint
    assert sinks.read_evidence(tmp_path / "out").num_rows == 7
    assert json.loads((tmp_path / "out" / "run.json").read_text())["photos"]["failed"] == 1


# ---- in a process of its own --------------------------------------------------------------------------------------


def test_a_reader_that_leaves_early_makes_no_traceback():
    """`saccade doctor | true`."""
    words = [sys.executable, "-c", "from saccade.cli import main; main()", "doctor"]
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(words, stdout=writing, stderr=subprocess.PIPE, text=True, timeout=60)
    finally:
        os.close(writing)
    assert "Traceback" not in done.stderr
    assert done.returncode == 1
