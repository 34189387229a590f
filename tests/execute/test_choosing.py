"""The fastest runtime: measured, agreed upon, remembered."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from saccade.engine import execute
from saccade.engine.contract import Maps, SaccadeError
from saccade.engine.contract.program_file import read_contract
from saccade.engine.execute import choosing


class Fake:
    """A runner that takes a while, and answers as it is told to."""

    def __init__(self, runner: execute.Runner, seconds: float, scale: float) -> None:
        self._runner, self._seconds, self._scale = runner, seconds, scale

    def run(self, images: npt.NDArray[np.uint8], target: Any) -> Maps:
        time.sleep(self._seconds)
        found = self._runner.run(images, target)
        return Maps(found.logits, found.target, {n: self._scale * m for n, m in found.maps.items()}, found.features)


@pytest.fixture
def pretend(monkeypatch: pytest.MonkeyPatch, program: Path):
    """`pretend(onnxruntime=(seconds, scale), openvino=…)`, whatever is installed."""

    def install(**runtimes: tuple[float, float] | SaccadeError) -> None:
        true = execute.load(program, "cpu")

        def load(path: Path, device: str, runtime: str, contract: Any) -> Any:
            found = runtimes[runtime]
            if isinstance(found, SaccadeError):
                raise found
            return Fake(true, *found)

        monkeypatch.setattr(choosing, "load", load)
        monkeypatch.setattr(choosing, "candidates", lambda kind: list(runtimes))

    return install


def choose(program: Path, folder: Path | None = None, batch: int = 4) -> execute.Choice:
    images = np.random.default_rng(5).integers(0, 256, (10, 32, 32, 3), dtype=np.uint8)
    return execute.fastest(program, read_contract(program), images, batch, folder)


def test_the_fastest_is_chosen(pretend: Any, program: Path):
    for slow, fast in (("onnxruntime", "openvino"), ("openvino", "onnxruntime")):
        pretend(**{name: (0.05 if name == slow else 0.0, 1.0) for name in ("onnxruntime", "openvino")})
        found = choose(program)
        assert found.runtime == fast
        assert found.seconds[slow] > found.seconds[fast]
        assert found.describe().startswith(f"{fast} (for one image {fast} ")


def test_what_gives_other_answers_is_never_chosen(pretend: Any, program: Path):
    pretend(onnxruntime=(0.05, 1.0), openvino=(0.0, -1.0))
    found = choose(program)
    assert found.runtime == "onnxruntime"
    assert "rank correlation -1.000" in found.refused["openvino"]
    assert list(found.seconds) == ["onnxruntime"]


def test_what_does_not_run_it_is_never_chosen(pretend: Any, program: Path):
    pretend(onnxruntime=(0.0, 1.0), openvino=SaccadeError("load: OpenVINO refuses it"))
    assert choose(program).refused == {"openvino": "load: OpenVINO refuses it"}
    pretend(onnxruntime=SaccadeError("load: damaged"), openvino=(0.0, 1.0))
    with pytest.raises(SaccadeError, match="damaged"):
        choose(program)


def test_a_choice_is_remembered_for_this_program_and_batch(pretend: Any, program: Path, reworded: Any, tmp_path: Path):
    pretend(onnxruntime=(0.03, 1.0), openvino=(0.0, 1.0))
    kept = tmp_path / "kept"
    contract = read_contract(program)
    assert execute.remembered(kept, contract, 4) is None
    found = choose(program, kept)
    assert execute.remembered(kept, contract, 4) == found
    assert execute.remembered(kept, contract, 5) is None
    assert execute.remembered(kept, read_contract(reworded(std=(2.0, 2.0, 2.0))), 4) is None
    (file,) = kept.iterdir()
    for text in ("", "{", "[]", '{"runtime": 3}', json.dumps({"runtime": "rm -rf", "seconds": {}, "refused": {}})):
        file.write_text(text)
        assert execute.remembered(kept, contract, 4) is None, text


def test_the_real_ones(program: Path):
    found = choose(program)
    assert set(found.seconds) | set(found.refused) == set(execute.candidates("onnx"))
    assert "onnxruntime" in found.seconds
