"""One call for every runtime: batches, loading, refusals."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from saccade.engine import execute
from saccade.engine.contract import MapSpec, SaccadeError, UsageError
from saccade.engine.execute import devices

KINDS = ("onnx", "torchscript")


@pytest.fixture(scope="module")
def images() -> npt.NDArray[np.uint8]:
    return np.random.default_rng(8).integers(0, 256, (9, 32, 32, 3), dtype=np.uint8)


def agree(got: npt.NDArray, expected: npt.NDArray) -> bool:
    """Equal up to rounding; 2 % may differ, where a ReLU of the drawn network is at a tie."""
    return got.shape == expected.shape and bool(np.isclose(got, expected, rtol=1e-3, atol=1e-5).mean() > 0.98)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [1, 2, 3, 4, 6, 8, 9])
def test_a_photo_has_the_same_maps_in_every_batch(compiled: dict[str, Path], kind: str, size: int, images: Any):
    """3, 4 and 6 are also numbers of channels and classes of the network."""
    runner = execute.load(compiled[kind], device="cpu")
    target = np.arange(9) % 3
    whole = runner.run(images, target)
    part = runner.run(images[:size], target[:size])
    for name, values in {"logits": whole.logits, "features": whole.features, **whole.maps}.items():
        got = {"logits": part.logits, "features": part.features, **part.maps}[name]
        assert values is not None
        assert agree(got, values[:size]), name
    for values in whole.maps.values():
        assert not agree(values[0], values[1])


def test_both_runtimes_give_the_same_maps(compiled: dict[str, Path], images: Any):
    a, b = (execute.load(compiled[kind], device="cpu").run(images) for kind in KINDS)
    assert (a.target == b.target).all()
    assert agree(a.logits, b.logits)
    for name in a.maps:
        assert agree(a.maps[name], b.maps[name]), name


@pytest.mark.parametrize("kind", KINDS)
def test_images_that_lie_strangely_in_memory_are_read_alike(compiled: dict[str, Path], kind: str, images: Any):
    runner = execute.load(compiled[kind], device="cpu", threads=1)
    mirrored = images[::-1, :, ::-1]
    np.testing.assert_array_equal(runner.run(mirrored).logits, runner.run(np.ascontiguousarray(mirrored)).logits)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "tpu"}, "device 'tpu': expected auto, cpu or cuda"),
        ({"runtime": "openvino"}, "runtime 'openvino': expected one of onnxruntime, torchscript"),
        ({"runtime": "torchscript"}, "is for onnxruntime; compile it again with --to"),
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
    assert set(devices.available()) == set(KINDS)


def test_contract_that_names_an_output_that_the_file_lacks(program: Path, reworded: Any):
    spec = execute.load(program, device="cpu").spec
    more = (*spec.maps, MapSpec("occlusion", "occlusion", "input", "gradient", (32, 32)))
    with pytest.raises(SaccadeError, match=r"lacks \['occlusion'\] that its contract names"):
        execute.load(reworded(maps=more), device="cpu")


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
