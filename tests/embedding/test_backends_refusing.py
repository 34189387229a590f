"""A backend refuses what is not as the contract says it, with a code and one line, and prints nothing."""

from __future__ import annotations

import dataclasses
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import capi
import numpy as np
import numpy.typing as npt
import pytest
from backends import (
    DAMAGED,
    FAILED,
    FORMATS,
    INPUTS,
    INVALID,
    KINDS,
    PYTHON,
    UNAVAILABLE,
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
from building import Library, tool
from onnx import TensorProto, helper

from saccade.engine.contract.program_file import read_contract
from saccade.engine.execute.devices import cuda_devices

pytestmark = pytest.mark.usefixtures("silence")

F = TensorProto.FLOAT


def lying(path: Path, name: str) -> Path:
    """A graph whose `logits` are not the float32 [2, 4] that is expected of them."""
    cast = helper.make_node("Cast", ["target"], ["number"], to=F)
    as_float = helper.make_node("Cast", ["images"], ["pixels"], to=F)
    rows, many = np.array([2, 96]), np.zeros((2, 999), np.float32)
    nodes, kind, constants = {
        "declared": ([helper.make_node("Reshape", ["pixels", "rows"], ["logits"])], (F, ["N", 96]), {"rows": rows}),
        "undeclared": ([helper.make_node("Reshape", ["pixels", "rows"], ["logits"])], (F, ["N", "K"]), {"rows": rows}),
        "constant": ([], (F, ["N", "K"]), {"logits": many}),
        "smaller": ([helper.make_node("Identity", ["number"], ["logits"])], (F, ["N"]), {}),
        "another type": ([helper.make_node("Shape", ["images"], ["logits"])], (TensorProto.INT64, ["K"]), {}),
        "four values": ([helper.make_node("ReduceMax", ["pixels"], ["logits"], keepdims=1)], (F, [1, 1, 1, 1]), {}),
    }[name]
    return graph(path, [cast, as_float, *nodes], {"logits": kind}, constants)


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("name", ["declared", "undeclared", "constant", "smaller", "another type", "four values"])
def test_outputs_that_are_not_the_contracts_are_not_written(
    opened: Callable[..., Model], tmp_path: Path, backend: str, name: str
):
    memory = np.full(2 * 999 + 64, 7, np.float32)  # what is expected, and what comes behind it
    context = Context(opened(backend, lying(tmp_path / "lying.onnx", name), list(INPUTS), ["logits"]))
    for _ in range(2):
        with pytest.raises(BackendError) as raised:
            context.run(INPUTS, {"logits": memory[:8].reshape(2, 4)})
        assert raised.value.code in (DAMAGED, FAILED)
        assert "lying.onnx" in str(raised.value)
    assert (memory[8:] == 7).all()
    context.close()


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_outputs_that_are_known_not_to_be_the_contracts_are_refused_when_loaded(
    opened: Callable[..., Model], compiled: dict[str, Path], tmp_path: Path, backend: str
):
    path = compiled["onnx"]
    spec = read_contract(path)[1]
    names = input_names(spec), list(output_shapes(spec, 1))
    right = image_shapes(spec)
    opened(backend, path, *names, shapes=right)
    for i, shape in enumerate(right):
        for wrong in ((*shape[:-1], 1 << 34), (*shape, 1), shape[:-1]):
            with pytest.raises(BackendError) as raised:
                opened(backend, path, *names, shapes=[*right[:i], wrong, *right[i + 1 :]])
            assert raised.value.code == DAMAGED
            said = [", ".join(["N", *map(str, sides)]) for sides in (shape, wrong)]
            assert str(raised.value) == (
                f"load: {names[1][i]} of {path} is [{said[0]}], its contract says [{said[1]}]; compile it again"
            )
    # A side that only a run shows is left to the run.
    node = helper.make_node("NonZero", ["target"], ["logits"])
    unknown = graph(tmp_path / "unknown.onnx", [node], {"logits": (TensorProto.INT64, ["M", "K"])})
    opened(backend, unknown, list(INPUTS), ["logits"], shapes=[(7,)])
    with pytest.raises(BackendError, match=r"is \[N, \?\], its contract says \[N, 7, 7\]"):
        opened(backend, unknown, list(INPUTS), ["logits"], shapes=[(7, 7)])


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_a_contract_that_claims_larger_maps_than_its_graph_has_opens_no_program(
    c_library: capi.Library, library: Library, reworded: Callable[..., Path], program: Path, backend: str
):
    library.backend(backend)
    spec = read_contract(program)[1]
    first, *rest = spec.maps
    assert len(first.shape) == 2
    words: dict[str, Any] = {"backend": backend, "backends": library.folder, "library": library.onnxruntime}
    capi.Program(c_library, reworded(maps=spec.maps), **words).close()
    lying = reworded(maps=(dataclasses.replace(first, shape=(4096, 4096)), *rest))
    with pytest.raises(capi.SaccadeError, match=r"its contract says \[N, 4096, 4096\]; compile it again") as raised:
        capi.Program(c_library, lying, **words)
    assert raised.value.status == DAMAGED


@pytest.mark.parametrize(("backend", "kind"), KINDS)
def test_tensors_that_are_not_the_contracts_are_refused(
    opened: Callable[..., Model], compiled: dict[str, Path], backend: str, kind: str
):
    path = compiled[kind]
    spec = read_contract(path)[1]
    context = Context(opened(backend, path, input_names(spec), list(output_shapes(spec, 1))))
    inputs, right = asked(spec, 3), empty(spec, 3)

    def refused(code: int, part: str, inputs: Arrays = inputs, device: int = 0, **outputs: npt.NDArray[Any]) -> None:
        memory = empty(spec, 3) | outputs
        with pytest.raises(BackendError) as raised:
            context.run(inputs, memory, device=device)
        said = str(raised.value)
        assert raised.value.code == code, said
        assert part in said
        assert path.name in said
        assert "\n" not in said

    refused(DAMAGED, "grad_cam", grad_cam=np.zeros((3, 4, 4), np.float32))
    refused(DAMAGED, "grad_cam", grad_cam=np.zeros((3, 80, 80), np.float32))
    refused(DAMAGED, "logits", logits=np.zeros((3, 3), np.int64))
    refused(INVALID, "of 3 images", logits=np.zeros((2, 3), np.float32))
    refused(INVALID, "of 3 images", {**inputs, "target": np.array([1, 1])})
    refused(INVALID, "expected 2 tensors", {"images": inputs["images"]})
    refused(INVALID, "lies on device 1:0", device=1)
    if kind == "onnx":  # torch's programs check nothing of the kind
        refused(DAMAGED, "images", {**inputs, "images": np.zeros((3, 16, 32, 3), np.uint8)})
        refused(DAMAGED, "images", {**inputs, "images": np.zeros((3, 32, 32, 3), np.float32)})
    context.run(inputs, right)  # what was wrong before leaves nothing behind
    runtime = PYTHON.get(f"{backend} {kind}", backend)
    assert agree(right, python_says(path, runtime, inputs, spec))
    context.close()


@pytest.mark.parametrize(("backend", "kind"), KINDS)
def test_files_that_are_not_the_contracts_are_refused(
    opened: Callable[..., Model], compiled: dict[str, Path], tmp_path: Path, backend: str, kind: str
):
    path = compiled[kind]
    data = path.read_bytes()
    spec = read_contract(path)[1]
    names = input_names(spec), list(output_shapes(spec, 1))

    def refused(code: int, part: str, program: Path | None, *names: list[str], **request: Any) -> None:
        with pytest.raises(BackendError) as raised:
            opened(backend, program, *names, **request)
        said = str(raised.value)
        assert raised.value.code == code, said
        assert said.startswith("load: ")
        assert part in said
        assert "\n" not in said

    for length in (0, 1, 100, len(data) // 2, len(data) - 30):
        cut = tmp_path / f"cut{path.suffix}"
        cut.write_bytes(data[:length])
        if length or kind != "onnx":  # an empty file is an empty protobuf message; both runtimes have their own view
            refused(DAMAGED, cut.name, cut, *names)
            refused(
                DAMAGED, "refuses the program", None, *names, data=data[:length] or b"\0", format=FORMATS[path.suffix]
            )
    refused(UNAVAILABLE, "there is no file", tmp_path / f"none{path.suffix}", *names)
    refused(INVALID, "another runtime", path, *names, format=1 if kind == "onnx" else 0)
    refused(INVALID, "threads must be", path, *names, threads=-1)
    refused(INVALID, "the index of the device must be 0 or more, not -1", path, *names, index=-1)
    refused(INVALID, "expected a program's path or its bytes", None, *names, format=FORMATS[path.suffix])
    if kind == "onnx":  # torch's files have no names
        refused(DAMAGED, "no output nonsense", path, names[0], [*names[1], "nonsense"])
        refused(DAMAGED, "no input region", path, [*names[0], "region"], names[1])
        refused(DAMAGED, "2 inputs, its contract names 1", path, names[0][:1], names[1])
    else:
        context = Context(opened(backend, path, names[0], names[1][:1]))
        with pytest.raises(BackendError, match="gives 5 tensors, its contract names 1") as raised:
            context.run(asked(spec, 1), {"logits": np.zeros((1, 3), np.float32)})
        assert raised.value.code == DAMAGED
        context.close()


@pytest.mark.parametrize(("backend", "kind"), KINDS)
def test_without_cuda_one_line_says_so(
    opened: Callable[..., Model], compiled: dict[str, Path], backend: str, kind: str
):
    if cuda_devices():
        pytest.skip("there is a GPU")
    with pytest.raises(BackendError, match=r"CUDA|CPU") as raised:
        opened(backend, compiled[kind], ["images", "target"], ["logits"], device=1)
    assert raised.value.code == (INVALID if backend == "openvino" else UNAVAILABLE)
    assert "use the CPU" in str(raised.value)


@pytest.mark.parametrize(("backend", "kind"), KINDS)
def test_no_machine_has_that_many_gpus(
    opened: Callable[..., Model], compiled: dict[str, Path], backend: str, kind: str
):
    with pytest.raises(BackendError) as raised:  # torch would keep eight of its bits, which are 0
        opened(backend, compiled[kind], ["images", "target"], ["logits"], device=1, index=256)
    assert raised.value.code == (INVALID if backend == "openvino" else UNAVAILABLE)


@pytest.mark.gpu
@pytest.mark.skipif(not cuda_devices(), reason="needs a GPU")
@pytest.mark.parametrize(("backend", "kind"), [KINDS[0], KINDS[2]])
def test_cuda_computes_what_the_cpu_does(
    opened: Callable[..., Model], compiled: dict[str, Path], backend: str, kind: str
):
    import torch  # whose packages bring CUDA's libraries

    assert torch.cuda.is_available()
    spec = read_contract(compiled[kind])[1]
    names = input_names(spec), list(output_shapes(spec, 1))
    inputs, found = asked(spec, 3), []
    for device in (0, 1):
        context = Context(opened(backend, compiled[kind], *names, device=device))
        found.append(empty(spec, 3))
        context.run(inputs, found[-1])
        context.close()
    for name in ("logits", "grad_cam"):
        np.testing.assert_allclose(found[1][name], found[0][name], rtol=1e-3, atol=1e-4)


# ---- finding ONNX Runtime ------------------------------------------------------------------------------------------


OTHER_LIBRARIES = {
    "nothing": "int nothing;",
    # What it does not have it is not asked for: it would print.
    "old": """
#include <stdint.h>
#include <stdio.h>
static const void* api(uint32_t version) { puts("asked"); return 0; }
static const char* version(void) { return "1.10.9"; }
static const struct { const void* (*api)(uint32_t); const char* (*version)(void); } base = {api, version};
const void* OrtGetApiBase(void) { return &base; }
""",
}


def test_the_library_is_where_one_says(
    library: Library, compiled: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    backend, path = library.backend("onnxruntime"), compiled["onnx"]
    spec = read_contract(path)[1]
    names = input_names(spec), list(output_shapes(spec, 1))

    def runtime(where: Path | None) -> str:
        model = Model(backend, path, *names, library=os.fsencode(where) if where else None)
        said = model.runtime
        model.close()
        return said

    def refused(where: Path | None) -> str:
        with pytest.raises(BackendError) as raised:
            runtime(where)
        assert raised.value.code == UNAVAILABLE
        return str(raised.value)

    folder = library.onnxruntime
    file = next(folder.glob("libonnxruntime.so*"))
    said = runtime(folder)
    assert runtime(file) == said
    monkeypatch.setenv("SACCADE_ONNXRUNTIME", str(folder))
    assert runtime(None) == said
    monkeypatch.setenv("SACCADE_ONNXRUNTIME", str(tmp_path))
    assert runtime(folder) == said  # what is asked for goes first
    assert refused(None) == (
        f"load: folder {tmp_path} has no libonnxruntime.so; say the file of ONNX Runtime's library or its folder"
    )
    assert refused(tmp_path / "none").startswith(f"load: there is no {tmp_path}/none; say the file")
    (tmp_path / "libonnxruntime.so").write_text("no library" * 99)
    assert "invalid ELF header" in refused(tmp_path)
    for name, source in OTHER_LIBRARIES.items():
        made = tmp_path / name / "libonnxruntime.so.1.10.9"
        made.parent.mkdir()
        words = [tool("cc"), "-shared", "-fPIC", "-x", "c", "-", "-o", str(made)]
        subprocess.run(words, input=source, text=True, check=True)
    assert refused(tmp_path / "nothing").endswith("is not ONNX Runtime's library")
    assert "is ONNX Runtime 1.10.9, not 1.11 or later" in refused(tmp_path / "old")


def test_a_backend_shows_one_symbol_and_onnxruntimes_needs_nothing(library: Library):
    nm, readelf = tool("nm"), tool("readelf")
    for name in library.backends:
        file = str(library.backend(name))
        said = subprocess.run([nm, "-D", "--defined-only", file], capture_output=True, text=True, check=True).stdout
        assert [line.split()[-1] for line in said.splitlines()] == ["saccade_backend"]
    said = subprocess.run([readelf, "-d", str(library.backend("onnxruntime"))], capture_output=True, text=True).stdout
    needed = [line.partition("[")[2].partition(".so")[0] for line in said.splitlines() if "(NEEDED)" in line]
    assert set(needed) <= {"libstdc++", "libc++", "libm", "libgcc_s", "libc", "libdl", "libpthread", "ld-linux-x86-64"}
