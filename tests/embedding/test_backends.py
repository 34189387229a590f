"""The runtimes behind csrc/runtime/backend.h compute what Python does in the same runtime, to the last digits, within
their deadline; and print nothing.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from backends import (
    INPUTS,
    KINDS,
    LATE,
    PYTHON,
    Arrays,
    BackendError,
    Context,
    Model,
    agree,
    asked,
    empty,
    graph,
    image_shapes,
    input_names,
    output_shapes,
    python_says,
)
from building import Library
from onnx import TensorProto, helper

from saccade.engine.contract.program_file import read_contract

pytestmark = pytest.mark.usefixtures("silence")


def test_the_comparison_sees_what_is_wrong():
    right = {"a": np.array([1.0, 2.0], np.float32)}
    assert agree(right, {"a": right["a"].copy()})
    assert not agree(right, {"a": right["a"] + np.float32(1e-5)})
    assert not agree(right, {"a": right["a"][:1]})
    assert not agree(right, {"b": right["a"]})
    assert not agree({"a": np.array([1.0, np.nan], np.float32)}, right)


# ---- the same answers ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("backend", "kind"), KINDS)
def test_a_backend_computes_what_python_does(
    opened: Callable[..., Model], compiled: dict[str, Path], backend: str, kind: str
):
    path = compiled[kind]
    spec = read_contract(path)[1]
    names = input_names(spec), list(output_shapes(spec, 1))
    runtime = PYTHON.get(f"{backend} {kind}", backend)
    contexts = [
        Context(opened(backend, path, *names, shapes=image_shapes(spec))),
        Context(opened(backend, path, *names, data=path.read_bytes())),  # the path is only its name
    ]
    for count, target in ((1, None), (3, [2, -1, 0]), (2, 1)):  # the batch may change from call to call
        inputs = asked(spec, count, target, seed=count)
        expected = python_says(path, runtime, inputs, spec)
        for context in contexts:
            for _ in range(2):  # with other memory and with the same
                outputs = empty(spec, count)
                context.run(inputs, outputs)
                assert agree(outputs, expected)
    for context in contexts:
        context.close()


BARE_PROCESS = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import numpy as np
from backends import Context, Model, empty, input_names, output_shapes
from saccade.engine.contract.program_file import read_contract
backend, program, given, found = map(Path, sys.argv[2:6])
spec = read_contract(program)[1]
library = {"library": sys.argv[6].encode()} if len(sys.argv) > 6 else {}
model = Model(backend, program, input_names(spec), list(output_shapes(spec, 1)), **library)
context = Context(model)
outputs = empty(spec, 3)
context.run(dict(np.load(given)), outputs)
np.savez(found, **outputs)
context.close()
model.close()
assert not {"torch", "onnxruntime", "openvino"} & set(sys.modules)
"""


@pytest.mark.parametrize(("backend", "kind"), KINDS)
def test_it_needs_nothing_that_pythons_package_loads_and_leaves_nothing(
    library: Library, compiled: dict[str, Path], tmp_path: Path, backend: str, kind: str
):
    path, given, found = compiled[kind], tmp_path / "given.npz", tmp_path / "found.npz"
    spec = read_contract(path)[1]
    inputs = asked(spec, 3)
    np.savez(given, allow_pickle=False, **inputs)
    where = [str(library.onnxruntime)] if backend == "onnxruntime" else []
    files = map(str, (Path(__file__).parent, library.backend(backend), path, given, found))
    written = tmp_path / "written"
    written.mkdir()
    # Runtimes report nothing on CI; and elsewhere?
    env = {name: value for name, value in os.environ.items() if name not in ("CI", "ORT_DISABLE_TELEMETRY")}
    env |= dict.fromkeys(("TMPDIR", "HOME", "XDG_CACHE_HOME"), str(written)) | {"PYTHONDONTWRITEBYTECODE": "1"}
    words = [sys.executable, "-c", BARE_PROCESS, *files, *where]
    done = subprocess.run(words, capture_output=True, text=True, env=env)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(written.rglob("*")) == []
    with np.load(found) as outputs:
        assert agree(dict(outputs), python_says(path, PYTHON.get(f"{backend} {kind}", backend), inputs, spec))


def test_other_targets_have_other_inputs(opened: Callable[..., Model], tmp_path: Path):
    import torch
    from torch import nn

    import saccade

    class Segmentation(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.features = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(), nn.Conv2d(4, 5, 3, 1, 1), nn.ReLU())
            self.head = nn.Conv2d(5, 3, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.features(x))

    torch.manual_seed(3)
    regression = nn.Sequential(
        nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 6)
    )
    half = np.zeros((16, 16), np.uint8)
    half[:8] = 1
    cases: list[tuple[nn.Module, str, Any, Any]] = [
        (Segmentation(), "region", [1, -1], np.stack([half, half * 0])),
        (regression, "outputs", np.linspace(-1, 1, 12).reshape(2, 6), None),
    ]
    for network, kind, target, region in cases:
        path = tmp_path / f"{kind}.onnx"
        saccade.compile(network, "grad-cam", input_size=16, target=kind).save(path)
        spec = read_contract(path)[1]
        inputs = asked(spec, 2, target, region)
        for backend in ("onnxruntime", "openvino"):
            names = input_names(spec), list(output_shapes(spec, 1))
            context = Context(opened(backend, path, *names, shapes=image_shapes(spec)))
            outputs = empty(spec, 2)
            context.run(inputs, outputs)
            assert agree(outputs, python_says(path, backend, inputs, spec)), (kind, backend)
            context.close()


@pytest.mark.parametrize(("backend", "kind"), KINDS)
def test_threads_share_a_model(opened: Callable[..., Model], compiled: dict[str, Path], backend: str, kind: str):
    path = compiled[kind]
    spec = read_contract(path)[1]
    model = opened(backend, path, input_names(spec), list(output_shapes(spec, 1)), threads=2)
    jobs = [asked(spec, 1 + i % 3, seed=i) for i in range(4)]
    expected = []
    context = Context(model)
    for inputs in jobs:
        expected.append(empty(spec, len(inputs["images"])))
        context.run(inputs, expected[-1])
    context.close()
    wrong: list[Any] = []

    def work(i: int) -> None:
        try:
            own = Context(model)
            for turn in range(12):
                job = (i + turn) % len(jobs)
                outputs = empty(spec, len(jobs[job]["images"]))
                own.run(jobs[job], outputs, timeout_us=60_000_000 if turn % 2 else 0)
                if not agree(outputs, expected[job]):
                    wrong.append((i, turn))
            own.close()
        except BackendError as error:
            wrong.append(error)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_idle_threads_of_onnxruntime_sleep(opened: Callable[..., Model], compiled: dict[str, Path]):
    path = compiled["onnx"]
    spec = read_contract(path)[1]

    def tasks() -> int:
        return len(os.listdir("/proc/self/task"))

    if not Path("/proc/self/task").exists():
        pytest.skip("needs /proc")
    before = tasks()
    model = opened("onnxruntime", path, input_names(spec), list(output_shapes(spec, 1)), threads=3)
    assert tasks() == before + 2  # and the one that calls
    context, outputs = Context(model), empty(spec, 8)
    context.run(asked(spec, 8), outputs)
    spent = time.process_time()
    time.sleep(0.3)
    assert time.process_time() - spent < 0.1
    context.close()


THREADS_OF_TORCH = """
import sys, threading
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import torch
from backends import Context, Model, asked, empty, input_names, output_shapes
from saccade.engine.contract.program_file import read_contract
backend, program = map(Path, sys.argv[2:4])
spec = read_contract(program)[1]
names = input_names(spec), list(output_shapes(spec, 1))
inputs, outputs = asked(spec, 2), empty(spec, 2)
two = Context(Model(backend, program, *names, threads=2))
two.run(inputs, outputs)
counts = [torch.get_num_threads()]
own = Context(Model(backend, program, *names))  # opened and run where another has set the number
for context in (own, two, own):
    context.run(inputs, outputs)
    counts.append(torch.get_num_threads())
def elsewhere():
    own.run(inputs, outputs)
    counts.append(torch.get_num_threads())
two.run(inputs, outputs)
thread = threading.Thread(target=elsewhere)
thread.start()
thread.join()
print(*counts)
"""


def test_a_program_of_torch_runs_with_its_own_number_of_threads(library: Library, compiled: dict[str, Path]):
    files = [str(Path(__file__).parent), str(library.backend("torch")), str(compiled["torchscript"])]
    words = [sys.executable, "-c", THREADS_OF_TORCH, *files]
    done = subprocess.run(words, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert (done.returncode, done.stdout, done.stderr) == (0, "2 1 2 1 1\n", "")


def test_a_runtime_says_its_version(library: Library, opened: Callable[..., Model], compiled: dict[str, Path]):
    import onnxruntime

    spec = read_contract(compiled["onnx"])[1]
    names = input_names(spec), list(output_shapes(spec, 1))
    assert opened("onnxruntime", compiled["onnx"], *names).runtime == f"ONNX Runtime {onnxruntime.__version__}"
    if "openvino" in library.backends:
        import openvino

        version = openvino.get_version().partition("-")[0]
        assert opened("openvino", compiled["onnx"], *names).runtime == f"OpenVINO {version}"
    if "torch" in library.backends:
        import torch

        version = torch.__version__.partition("+")[0]
        assert opened("torch", compiled["torchscript"], *names).runtime == f"torch {version}"


# ---- deadlines -----------------------------------------------------------------------------------------------------


def slow_graph(path: Path) -> Path:
    """Half a second of work in hundreds of operators; `logits` is the target as float32 [N, 1]."""
    constants: Arrays = {
        "w": np.eye(512, dtype=np.float32),
        "columns": np.array([-1, 1]),
        "zero": np.zeros((), np.float32),
    }
    nodes = [
        helper.make_node("Cast", ["target"], ["number"], to=TensorProto.FLOAT),
        helper.make_node("Reshape", ["number", "columns"], ["column"]),
        helper.make_node("ReduceMax", ["number"], ["some"], keepdims=0),
        helper.make_node("Add", ["w", "some"], ["m0"]),  # depends on an input: nothing is computed at load
        *(helper.make_node("MatMul", [f"m{i}", "w"], [f"m{i + 1}"]) for i in range(60)),
        helper.make_node("ReduceMax", ["m60"], ["most"], keepdims=0),
        helper.make_node("Mul", ["most", "zero"], ["nothing"]),
        helper.make_node("Add", ["column", "nothing"], ["logits"]),
    ]
    return graph(path, nodes, {"logits": (TensorProto.FLOAT, ["N", 1])}, constants)


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_a_deadline_stops_the_runtime(opened: Callable[..., Model], tmp_path: Path, backend: str):
    context = Context(opened(backend, slow_graph(tmp_path / "slow.onnx"), list(INPUTS), ["logits"]))
    outputs = {"logits": np.full((2, 1), np.nan, np.float32)}
    start = time.perf_counter()
    context.run(INPUTS, outputs)
    whole = time.perf_counter() - start
    assert whole > 0.05, "nothing to be late for"
    for share in (0.02, 0.3):
        start = time.perf_counter()
        with pytest.raises(BackendError, match=f"not done after {int(whole * share * 1e6)} us") as raised:
            context.run(INPUTS, outputs, timeout_us=int(whole * share * 1e6))
        assert raised.value.code == LATE
        assert time.perf_counter() - start < 0.8 * whole
    outputs["logits"][:] = np.nan
    context.run(INPUTS, outputs, timeout_us=600_000_000)  # it runs again, and longer deadlines do not come
    assert outputs["logits"].tolist() == [[3], [5]]
    context.run(INPUTS, outputs)
    context.close()


@pytest.mark.parametrize("kind", ["torchscript", "aotinductor"])
def test_torch_says_that_it_was_late(opened: Callable[..., Model], compiled: dict[str, Path], kind: str):
    spec = read_contract(compiled[kind])[1]
    context = Context(opened("torch", compiled[kind], input_names(spec), list(output_shapes(spec, 1))))
    outputs = empty(spec, 2)
    with pytest.raises(BackendError, match="not done after 1 us") as raised:
        context.run(asked(spec, 2), outputs, timeout_us=1)
    assert raised.value.code == LATE
    assert all(np.isnan(value).all() for value in outputs.values())
    context.run(asked(spec, 2), outputs, timeout_us=600_000_000)
    assert all(np.isfinite(value).all() for value in outputs.values())
    context.close()
