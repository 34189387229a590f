"""Programs for torch's tensors: what arrays give, where the tensors lie."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import saccade
from saccade.engine import execute
from saccade.engine.compiler import SUFFIX, wrap_module, write_forward
from saccade.engine.contract import ModelOptions, Preprocessing, Spec, UsageError
from saccade.engine.execute import onnxruntime_session, torchscript_session
from saccade.engine.execute.tensors import TensorRunner

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


@pytest.fixture
def images() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(8).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("kind", ["onnx", "torchscript", "aotinductor"])
def test_tensors_give_what_arrays_give(compiled: dict[str, Path], kind: str, device: str, images: torch.Tensor):
    if device == "cuda" and (not torch.cuda.is_available() or kind == "aotinductor"):
        pytest.skip("needs an NVIDIA GPU, and a package that was compiled for it")
    runner = execute.load(compiled[kind], device, trust=True)
    there = TensorRunner(runner)
    for target in (None, 1, [0, 1, 2, 0, 1], None):
        for part in (images, images[:2]):
            asked = target[: len(part)] if isinstance(target, list) else target
            expected = runner.run(part.numpy(), asked)
            found = there.run(part.to(device), asked)
            assert found.logits.device.type == device
            np.testing.assert_allclose(found.logits.cpu(), expected.logits, rtol=1e-4, atol=1e-5)
            assert found.features is not None
            assert expected.features is not None
            np.testing.assert_allclose(found.features.cpu(), expected.features, rtol=1e-4, atol=1e-5)
            for name, values in expected.maps.items():
                np.testing.assert_allclose(found.maps[name].cpu(), values, rtol=1e-4, atol=1e-5)
    other = there.run(images.flip(0).contiguous().to(device))
    assert not np.allclose(other.logits.cpu(), runner.run(images.numpy()).logits, atol=1e-5)


def test_what_was_given_stays_as_it_was(program: Path, images: torch.Tensor):
    there = TensorRunner(execute.load(program, "cpu"))
    before = images.clone()
    first = there.run(images)
    kept = first.logits.clone()
    there.run(255 - images)
    assert (images == before).all()
    assert (first.logits == kept).all()  # new memory for each batch


@pytest.mark.parametrize(
    ("change", "got"),
    [
        (lambda x: x.float(), r"float32 \[5, 32, 32, 3\] on cpu"),
        (lambda x: x[0], r"uint8 \[32, 32, 3\] on cpu"),
        (lambda x: x[:0], r"uint8 \[0, 32, 32, 3\] on cpu"),
        (lambda x: x[:, ::2], r"uint8 \[5, 16, 32, 3\] on cpu"),
        (lambda x: x.flip(0).transpose(1, 2), r"uint8 \[5, 32, 32, 3\] on cpu"),
        (lambda x: x.to("meta"), r"uint8 \[5, 32, 32, 3\] on meta"),
    ],
)
def test_other_tensors_are_refused(program: Path, images: torch.Tensor, change: Any, got: str):
    with pytest.raises(UsageError, match=rf"expected contiguous images uint8 \[N, 32, 32, 3\] on cpu, got {got}"):
        TensorRunner(execute.load(program, "cpu")).run(change(images))


@pytest.mark.parametrize("kind", ["onnx", "torchscript"])
def test_a_forward_pass_without_maps_runs_as_a_program_does(
    kind: Any, network: torch.nn.Module, images: torch.Tensor, tmp_path: Path
):
    """What `saccade bench` holds programs against on a GPU."""
    path = tmp_path / f"forward{SUFFIX[kind]}"
    write_forward(wrap_module(network, "net", ModelOptions(input_size=(32, 32))), path, kind)
    spec = Spec("net", "", Preprocessing(32, 32), (), None, 3)
    opening = {"onnx": onnxruntime_session, "torchscript": torchscript_session}[kind]
    session, _ = opening.open_session(path, spec, "cpu", 1)
    found = TensorRunner(execute.Runner(spec, kind, "cpu", "float32", session)).run(images)
    with torch.no_grad():
        expected = network(images.permute(0, 3, 1, 2).float() / 255)
    np.testing.assert_allclose(found.logits, expected, rtol=1e-4, atol=1e-5)
    assert (found.maps, found.features) == ({}, None)


def test_openvino_takes_none(program: Path):
    pytest.importorskip("openvino")
    with pytest.raises(UsageError, match="openvino takes no tensors; use --runtime onnxruntime"):
        TensorRunner(execute.load(program, "cpu", "openvino"))


def test_a_program_takes_them_and_names(program: Path, images: torch.Tensor):
    loaded = saccade.load(program, "cpu")
    names = loaded.spec.classes
    assert names is not None
    found = loaded.tensors(images, names[1])
    np.testing.assert_allclose(found.maps["grad_cam"], loaded(images, names[1]).grad_cam, rtol=1e-4, atol=1e-6)
