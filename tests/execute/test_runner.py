"""One call for every runtime: batches, loading, refusals."""

from __future__ import annotations

import dataclasses
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from torch import nn

from saccade.engine import execute, pipeline
from saccade.engine.compiler import wrap_module
from saccade.engine.contract import MapSpec, ModelOptions, SaccadeError, UsageError
from saccade.engine.contract.program_file import read_contract
from saccade.engine.contract.spec import Precision
from saccade.engine.execute import aotinductor_session, devices
from saccade.engine.execute.runner import RUNTIMES

EVERY = [(kind, runtime) for kind, runtimes in RUNTIMES.items() for runtime in runtimes]


def load(compiled: dict[str, Path], kind: str, runtime: str, **options: Any) -> execute.Runner:
    if runtime == "openvino":
        pytest.importorskip("openvino")
    return execute.load(compiled[kind], "cpu", runtime, trust=True, **options)


@pytest.fixture(scope="module")
def images() -> npt.NDArray[np.uint8]:
    return np.random.default_rng(8).integers(0, 256, (9, 32, 32, 3), dtype=np.uint8)


def agree(got: npt.NDArray, expected: npt.NDArray) -> bool:
    """Equal up to rounding; 2 % may differ, where a ReLU of the drawn network is at a tie."""
    return got.shape == expected.shape and bool(np.isclose(got, expected, rtol=1e-3, atol=1e-5).mean() > 0.98)


@pytest.mark.parametrize(("kind", "runtime"), EVERY)
@pytest.mark.parametrize("size", [1, 2, 3, 4, 6, 8, 9])
def test_a_photo_has_the_same_maps_in_every_batch(compiled: Any, kind: str, runtime: str, size: int, images: Any):
    """3, 4 and 6 are also numbers of channels and classes of the network."""
    runner = load(compiled, kind, runtime)
    target = np.arange(9) % 3
    whole = runner.run(images, target)
    part = runner.run(images[:size], target[:size])
    for name, values in {"logits": whole.logits, "features": whole.features, **whole.maps}.items():
        got = {"logits": part.logits, "features": part.features, **part.maps}[name]
        assert values is not None
        assert agree(got, values[:size]), name
    for values in whole.maps.values():
        assert not agree(values[0], values[1])


@pytest.mark.parametrize(("kind", "runtime"), EVERY[1:])
def test_every_runtime_gives_the_same_maps(compiled: Any, kind: str, runtime: str, images: Any):
    a, b = load(compiled, *EVERY[0]).run(images), load(compiled, kind, runtime).run(images)
    assert (a.target == b.target).all()
    assert agree(a.logits, b.logits)
    for name in a.maps:
        if (runtime, name) == ("openvino", "saliency"):
            # Its sums put other ReLUs of this drawn network at a tie; on photos it is held closer (check_parity.py).
            assert np.median(np.abs(a.maps[name] - b.maps[name]) / np.abs(a.maps[name]).max()) < 1e-3
            continue
        assert agree(a.maps[name], b.maps[name]), name


@pytest.mark.parametrize(("kind", "runtime"), EVERY)
def test_threads_that_share_a_runner_do_not_see_each_other(compiled: Any, kind: str, runtime: str, images: Any):
    runner = load(compiled, kind, runtime, threads=1)
    expected = [runner.run(images[i : i + 1]).logits for i in range(len(images))]
    with ThreadPoolExecutor(3) as pool:
        found = pool.map(lambda i: runner.run(images[i : i + 1]).logits, list(range(len(images))) * 20)
        assert all(np.allclose(got, expected[i % len(images)], rtol=1e-5) for i, got in enumerate(found))


@pytest.mark.parametrize(("kind", "runtime"), EVERY)
def test_images_that_lie_strangely_in_memory_are_read_alike(compiled: Any, kind: str, runtime: str, images: Any):
    runner = load(compiled, kind, runtime, threads=1)
    mirrored = images[::-1, :, ::-1]
    np.testing.assert_array_equal(runner.run(mirrored).logits, runner.run(np.ascontiguousarray(mirrored)).logits)


def test_native_code_runs_only_for_those_who_trust_it(compiled: dict[str, Path]):
    with pytest.raises(UsageError, match=r"tiny.pt2 is native code .* say --trust if you know who compiled it"):
        execute.load(compiled["aotinductor"])
    with pytest.raises(UsageError, match="was compiled for cpu; use --device cpu"):
        aotinductor_session.open_session(compiled["aotinductor"], read_contract(compiled["onnx"])[1], "cuda", None)


def test_a_precision_that_the_file_does_not_have(program: Path, compiled: dict[str, Path]):
    with pytest.raises(
        UsageError,
        match="computes in float32, not float16; compile it with --precision float16, or use --runtime openvino",
    ):
        execute.load(program, precision="float16")
    with pytest.raises(UsageError, match=r"compile it with --precision bfloat16$"):
        execute.load(compiled["torchscript"], precision="bfloat16")
    assert execute.load(program, precision="float32").precision == "float32"


def test_openvino_refuses_what_the_cpu_does_not_compute(program: Path):
    openvino = pytest.importorskip("openvino")
    has = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    precisions: dict[Precision, str] = {"bfloat16": "BF16", "float16": "FP16"}
    for precision, name in precisions.items():
        if name in has:
            assert execute.load(program, runtime="openvino", precision=precision).precision == precision
        else:
            with pytest.raises(UsageError, match=f"this CPU computes no {precision}"):
                execute.load(program, runtime="openvino", precision=precision)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "tpu"}, "device 'tpu': expected auto, cpu or cuda"),
        (
            {"runtime": "tensorrt"},
            "runtime 'tensorrt': expected one of onnxruntime, openvino, torchscript, aotinductor",
        ),
        ({"runtime": "torchscript"}, "is for onnxruntime or openvino; compile it again with --to"),
    ],
)
def test_loading_with_what_is_not_to_be_had(program: Path, options: dict[str, Any], message: str):
    with pytest.raises(UsageError, match=message):
        execute.load(program, **options)


def test_cuda_is_refused_without_a_device(program: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("saccade.engine.execute.runner.cuda_devices", lambda: 0)
    with pytest.raises(UsageError, match="the driver shows no CUDA device here; use --device cpu"):
        execute.load(program, device="cuda")
    assert execute.load(program).device == "cpu"


def test_auto_is_the_cpu_where_there_is_no_device(program: Path):
    runner = execute.load(program)
    assert runner.device == ("cuda" if devices.cuda_devices() else "cpu")
    assert runner.runtime == "onnxruntime"


@pytest.mark.parametrize("runtime", RUNTIMES["onnx"])
def test_contract_that_names_an_output_that_the_file_lacks(program: Path, reworded: Any, runtime: str):
    spec = execute.load(program, device="cpu").spec
    more = (*spec.maps, MapSpec("occlusion", "occlusion", "input", "gradient", (32, 32)))
    with pytest.raises(SaccadeError, match=r"lacks \['occlusion'\] that its contract names"):
        load({"onnx": reworded(maps=more)}, "onnx", runtime)


def test_openvino_says_what_it_cannot_do(program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("openvino")
    monkeypatch.setattr("saccade.engine.execute.runner.cuda_devices", lambda: 1)
    with pytest.raises(UsageError, match="'openvino' runs on the CPU; use --device cpu"):
        execute.load(program, "cuda", "openvino")
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    model = wrap_module(module, "net", ModelOptions(input_size=(8, 8)))
    pipeline.compile_program(model, ["smooth-grad"], tmp_path / "loop.onnx")
    with pytest.raises(SaccadeError, match=r"OpenVINO refuses .*Scan.*; use --runtime onnxruntime"):
        execute.load(tmp_path / "loop.onnx", "cpu", "openvino")
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(UsageError, match=r"pip install 'saccade\[openvino\]', or use --runtime onnxruntime"):
        execute.load(program, "cpu", "openvino")


def test_logits_of_another_number_than_the_contract_says(reworded: Any, images: Any):
    runner = execute.load(reworded(num_outputs=4, classes=None), device="cpu")
    with pytest.raises(SaccadeError, match=r"logits of \w+ has shape \[1, 3\], its contract says \[1, 4\]"):
        runner.run(images[:1])


def test_a_map_of_another_shape_than_the_contract_says(program: Path, reworded: Any, images: Any):
    spec = execute.load(program, device="cpu").spec
    maps = tuple(dataclasses.replace(m, shape=(9, 9)) if m.kind == "cam" else m for m in spec.maps)
    runner = execute.load(reworded(maps=maps), device="cpu")
    with pytest.raises(SaccadeError, match=r"grad_cam of .* has shape \[\d+, 8, 8\], its contract says \[\d+, 9, 9\]"):
        runner.run(images[:1])
