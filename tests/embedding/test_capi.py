"""The C API gives what the Python package gives, of every runtime, kind of target and layout of frames."""

from __future__ import annotations

import ctypes as c
import re
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from capi import (
    INVALID,
    LATE,
    ROOT,
    UNAVAILABLE,
    Answer,
    Library,
    Program,
    Request,
    SaccadeError,
    Session,
    declared,
    image_of,
    images_of,
)
from torch import Tensor, nn

import saccade
from saccade.engine import execute
from saccade.engine.contract import Maps

Pixels = npt.NDArray[np.uint8]
SIZE = (24, 32)
RUNTIMES = {"onnxruntime": "onnx", "openvino": "onnx", "torchscript": "torchscript", "aotinductor": "aotinductor"}
"""Python's names of the runtimes, and the kind of file that each runs."""


def backend_of(runtime: str) -> str:
    return runtime if RUNTIMES[runtime] == "onnx" else "torch"


def frames(count: int, seed: int = 0) -> list[Pixels]:
    """Pictures of various sizes with a brighter part, [H, W, 3], with bytes between their rows."""
    rng, made = np.random.default_rng(seed), []
    for _ in range(count):
        height, width = (int(n) for n in rng.integers(20, 120, 2))
        frame = rng.integers(0, 120, (height, width + 3, 3), dtype=np.uint8)[:, :width]
        frame[: height // 2, : width // 3] += 100
        made.append(frame)
    return made


def near(a: npt.NDArray[Any] | None, b: npt.NDArray[Any] | None) -> bool:
    """Within 1e-6 of the largest magnitude."""
    if a is None or b is None:
        return a is b
    return a.shape == b.shape and bool(np.abs(a - b).max() <= 1e-6 * np.abs(b).max())


def agree(found: Answer, wanted: Maps, runner: execute.Runner) -> list[str]:
    """What differs."""
    spec = runner.spec
    confidence = spec.confidence(wanted.logits)
    differing = [name for name, values in wanted.maps.items() if not near(found.maps[name], values)]
    pairs = {
        "logits": (found.logits, wanted.logits),
        "features": (found.features, wanted.features),
        "score": (found.score, wanted.score),
        "confidence": (None if np.isnan(found.confidence).all() else found.confidence, confidence),
    }
    differing += [name for name, (a, b) in pairs.items() if not near(a, b)]
    if not np.array_equal(found.prediction, spec.predicted(wanted.logits)):
        differing.append("prediction")
    if spec.target in ("class", "region") and not near(found.explained, wanted.target):
        differing.append("explained")
    return differing


class Loaded:
    """The same file in Python and in C."""

    def __init__(self, path: Path, library: Any, c_library: Library, runtime: str) -> None:
        self.runner = execute.load(path, "cpu", runtime, trust=True)
        library.backend(backend_of(runtime))
        folders = {"backends": library.folder, "library": library.onnxruntime}
        self.program = Program(c_library, path, backend=backend_of(runtime), trust_code=1, **folders)
        self.session = Session(self.program)

    def prepared(self, pictures: list[Pixels]) -> Pixels:
        return np.stack([self.program.prepare(image_of(p))[0] for p in pictures])

    def differences(
        self, pictures: list[Pixels], request: Request, target: Any = None, region: Any = None
    ) -> list[str]:
        found = self.session.run(*map(image_of, pictures), request=request)
        return agree(found, self.runner.run(self.prepared(pictures), target, region), self.runner)


@pytest.fixture
def load(library: Any, c_library: Library) -> Callable[..., Loaded]:
    return lambda path, runtime="onnxruntime": Loaded(path, library, c_library, runtime)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_every_runtime_gives_what_it_gives_in_python(load: Callable[..., Loaded], compiled: Any, runtime: str):
    both = load(compiled[RUNTIMES[runtime]], runtime)
    contract, spec = both.program.contract, both.runner.spec
    assert contract.json.decode() == spec.to_json()
    assert [contract.maps[i].name.decode() for i in range(contract.num_maps)] == [m.name for m in spec.maps]
    for count in (1, 3, 2):
        pictures = frames(count, seed=count)
        assert both.differences(pictures, Request()) == []
        target = np.arange(count) % spec.num_outputs
        assert both.differences(pictures, Request(target=target.ctypes.data), target) == []
    # The comparison finds another picture and another target.
    wanted = both.runner.run(both.prepared(frames(2, seed=9)))
    found = both.session.run(*map(image_of, pictures))
    assert {"logits", "score", "confidence", "saliency"} <= set(agree(found, wanted, both.runner))
    other = both.runner.run(both.prepared(pictures), found.explained - 1 if found.explained is not None else 0)
    assert "explained" in agree(found, other, both.runner)


def test_a_batch_that_is_ready_is_run_as_it_is(load: Callable[..., Loaded], program: Path):
    both = load(program)
    images = both.prepared(frames(3))
    found = both.session.run_batch(images)
    assert agree(found, both.runner.run(images), both.runner) == []
    assert (found.views == [0, 0, images.shape[2], images.shape[1]]).all()


def test_a_program_may_lie_in_memory(load: Callable[..., Loaded], library: Any, c_library: Library, program: Path):
    both = load(program)
    opened = Program(c_library, program.read_bytes(), backends=library.folder, library=library.onnxruntime)
    session = Session(opened)
    opened.close()  # the session holds it
    session.program = both.program
    assert agree(session.run(image_of(frames(1)[0])), both.runner.run(both.prepared(frames(1))), both.runner) == []
    session.close()


class Segmentation(nn.Module):
    """Four classes at half the size of the input."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 1, 1), nn.ReLU())
        self.head = nn.Conv2d(8, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x))


@pytest.fixture(scope="module")
def of_target(network: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A program compiled for a target."""
    import torch

    folder = tmp_path_factory.mktemp("targets")

    def make(target: str) -> Path:
        torch.manual_seed(0)
        module = Segmentation().eval() if target == "region" else network
        path = folder / f"{target.partition(':')[0]}.onnx"
        if not path.exists():
            methods = ("saliency",) if target.startswith("unit") else ("grad-cam", "saliency")
            saccade.compile(module, *methods, input_size=SIZE, target=target).save(path)
        return path

    return make


def test_the_likeliest_classes(load: Callable[..., Loaded], of_target: Callable[[str], Path]):
    both = load(of_target("top-2"))
    asked = np.array([[-1, -1], [2, -1], [-1, 0]])
    assert both.differences(frames(3), Request()) == []
    assert both.differences(frames(3), Request(target=asked.ctypes.data), asked) == []


def test_a_region_of_a_segmentation(load: Callable[..., Loaded], of_target: Callable[[str], Path]):
    both = load(of_target("region"))
    assert both.runner.spec.output_size == (12, 16)
    asked = np.array([2, -1, 0])
    assert both.differences(frames(3), Request()) == []
    assert both.differences(frames(3), Request(target=asked.ctypes.data), asked) == []
    masks = np.zeros((3, *SIZE), np.uint8)
    masks[0, 3:9, 4:17] = 255
    masks[2, 10:11, 7:8] = 1  # and of the second its own
    regions = images_of([image_of(mask, "L") for mask in masks])
    request = Request(target=asked.ctypes.data, regions=regions)
    assert both.differences(frames(3), request, asked, masks) == []
    assert both.differences(frames(3), request, asked, None) != [], "the masks are seen"


def test_the_outputs_of_a_regression(load: Callable[..., Loaded], of_target: Callable[[str], Path]):
    both = load(of_target("outputs"))
    weights = np.random.default_rng(0).normal(size=(3, both.runner.spec.num_outputs)).astype(np.float32)
    assert both.differences(frames(3), Request()) == []
    assert both.differences(frames(3), Request(weights=weights.ctypes.data), weights) == []


def test_a_unit_of_a_layer(load: Callable[..., Loaded], of_target: Callable[[str], Path]):
    both = load(of_target("unit:2"))
    asked = np.array([[1, -1, -1], [0, 3, 4], [1, 2, -1]])
    assert both.differences(frames(3), Request(target=asked.ctypes.data), asked) == []
    with pytest.raises(SaccadeError, match=r"expected target as \(channel, row, column\) of 2") as error:
        both.session.run(image_of(frames(1)[0]))
    assert error.value.status == INVALID


def test_results_in_the_callers_memory(load: Callable[..., Loaded], program: Path):
    both = load(program)
    found = both.session.run(*map(image_of, frames(2)))
    logits = np.full_like(found.logits, -1)
    cam = np.full_like(found.maps["grad_cam"], -1)
    pointers = (c.c_void_p * len(found.maps))()
    pointers[list(found.maps).index("grad_cam")] = cam.ctypes.data
    again = both.session.run(*map(image_of, frames(2)), request=Request(logits=logits.ctypes.data, maps=pointers))
    assert (logits == found.logits).all()
    assert (cam == found.maps["grad_cam"]).all()
    assert all((again.maps[name] == values).all() for name, values in found.maps.items())


def test_a_call_over_its_deadline_is_late_and_the_next_one_is_not(load: Callable[..., Loaded], program: Path):
    both = load(program)
    with pytest.raises(SaccadeError, match="deadline") as error:
        both.session.run(image_of(np.zeros((2000, 2000, 3), np.uint8)), request=Request(timeout_us=1))
    assert error.value.status == LATE
    assert both.differences(frames(2), Request(timeout_us=60_000_000)) == []


def test_sessions_of_one_program_run_side_by_side(load: Callable[..., Loaded], program: Path):
    both = load(program)
    pictures = [frames(2, seed=i) for i in range(4)]
    wanted = [both.runner.run(both.prepared(p)) for p in pictures]
    wrong: list[Any] = []

    def work(i: int) -> None:
        session = Session(both.program)
        for _ in range(10):
            wrong.extend(agree(session.run(*map(image_of, pictures[i])), wanted[i], both.runner))
        session.close()
        wrong.append("done")

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == ["done"] * 4


@pytest.mark.parametrize(
    ("options", "status", "message"),
    [
        ({"backend": "tensorflow"}, UNAVAILABLE, r"no backend libsaccade_tensorflow\.so in "),
        ({"backend": "../x"}, INVALID, r"backend '\.\./x' is not a name"),
        ({"backend": "torch"}, INVALID, "backend torch does not run ONNX programs; use onnxruntime or openvino"),
        ({"library": "/nowhere"}, UNAVAILABLE, "/nowhere"),
        ({"threads": -1}, INVALID, "threads must be 0"),
        ({"device": 5}, INVALID, r"device 5: expected 0 \(CPU\) or 1 \(CUDA\)"),
        ({"device": 1, "device_index": 99}, UNAVAILABLE, "CUDA"),
        ({"backends": "/nowhere"}, UNAVAILABLE, "in /nowhere"),
    ],
)
def test_what_cannot_be_opened(
    library: Any, c_library: Library, program: Path, options: dict[str, Any], status: int, message: str
):
    if options.get("backend") == "torch":
        library.backend("torch")
    folders = {"backends": library.folder, "library": library.onnxruntime}
    with pytest.raises(SaccadeError, match=message) as error:
        Program(c_library, program, **(folders | options))
    assert error.value.status == status


def test_native_code_runs_only_where_that_was_said(library: Any, c_library: Library, compiled: Any):
    library.backend("torch")
    with pytest.raises(SaccadeError, match="say trust_code if you know who compiled it") as error:
        Program(c_library, compiled["aotinductor"], backends=library.folder)
    assert error.value.status == INVALID


def exported(library: Path, nm: str) -> list[str]:
    said = subprocess.run([nm, "-D", "--defined-only", str(library)], capture_output=True, text=True, check=True)
    names = [line.split() for line in said.stdout.splitlines()]
    return sorted(name for _, kind, name in names if kind != "A")


def test_the_symbols_are_those_of_the_header_and_of_the_page(library: Any, nm: str):
    page = (ROOT / "docs/embedding.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `(saccade_\w+)` \| 1 \|", page, re.MULTILINE)
    assert sorted(listed) == sorted(declared())
    assert exported(library.path, nm) == [f"{name}@@SACCADE_1" for name in sorted(listed)]
    assert exported(library.backend("onnxruntime"), nm) != exported(library.path, nm), "others have others"
