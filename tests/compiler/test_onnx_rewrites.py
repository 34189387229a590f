"""What the exporter's ONNX graph is rewritten to: the same values, bit for bit, in what ONNX Runtime is fast at."""

from __future__ import annotations

import platform
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from small_networks import Case, Head
from test_rewrites import traced
from torch import nn

from saccade.engine.compiler.emit import emit
from saccade.engine.compiler.onnx_rewrites import simplify
from saccade.engine.compiler.proof import pictures


def head(act: type[nn.Module], channels: int) -> Case:
    """Pooled, with overlapping windows, between two activations."""
    layers = nn.Conv2d(3, channels, 3, padding=1), act(), nn.MaxPool2d(3, 2, 1), nn.Conv2d(channels, 32, 3), act()
    return Case(lambda: Head(*layers, nn.Conv2d(32, 8, 3, padding=1)))


def operators(path: Path) -> Counter[str]:
    return Counter(node.op_type for node in onnx.load(path).graph.node)


def files(case: Case, folder: Path) -> dict[str, Path]:
    """The program as it is for each device."""
    _, found = traced(case, "class", "saliency")
    paths = {device: folder / f"{device}.onnx" for device in ("cpu", "cuda")}
    for device, path in paths.items():
        emit(found, "onnx", path, device)
    return paths


def answers(path: Path, images: np.ndarray) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    classes = {each.name: np.full(len(images), -1, np.int64) for each in session.get_inputs()[1:]}
    return [np.asarray(each) for each in session.run(None, {"images": images, **classes})]


@pytest.mark.parametrize(("act", "bounds"), [(nn.ReLU, 1), (nn.ReLU6, 2)])
def test_masks_are_products_and_no_bit_changes(tmp_path: Path, act: type[nn.Module], bounds: int):
    case = head(act, 16)
    paths = files(case, tmp_path)
    count, plain = operators(paths["cpu"]), operators(paths["cuda"])
    assert count["Tanh"] == count["BatchNormalization"] == 2 * bounds
    assert (plain["Tanh"], plain["Where"] - count["Where"]) == (0, 2)
    assert (count["LessOrEqual"], count["GreaterOrEqual"], count["Or"]) == (0, 0, 0)
    compiled, _ = traced(case, "class", "saliency")
    kinds = ["textured", "flat", "textured", "black", "textured"]
    images = pictures(compiled.model.preprocessing, kinds, seed=2)
    assert np.abs(answers(paths["cpu"], images)[1]).max() > 0
    for ours, theirs in zip(answers(paths["cpu"], images), answers(paths["cuda"], images), strict=True):
        assert np.array_equal(ours, theirs)


def test_an_index_within_its_plane_is_a_remainder(tmp_path: Path):
    """With a max pool of 1×1 windows the exporter finds where a plane begins."""
    for path in files(head(nn.ReLU, 16), tmp_path).values():
        assert (operators(path)["MaxPool"], operators(path)["Mod"]) == (1, 1)


def test_other_numbers_of_channels_are_left_as_they_are(tmp_path: Path):
    paths = files(head(nn.ReLU, 12), tmp_path)  # 12 before the pool, 32 behind it
    assert operators(paths["cpu"])["Tanh"] == 1
    assert operators(paths["cuda"])["Where"] == operators(paths["cpu"])["Where"] + 1


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="the layout is that of x86-64")
def test_onnx_runtime_makes_masks_convolutions_of_its_blocked_layout(tmp_path: Path):
    counts = {}
    for device, path in files(head(nn.ReLU, 16), tmp_path).items():
        options = onnxruntime.SessionOptions()
        options.optimized_model_filepath = str(tmp_path / f"{device}-optimised.onnx")
        options.log_severity_level = 3
        onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        counts[device] = operators(Path(options.optimized_model_filepath))
    assert (counts["cpu"]["BatchNormalization"], counts["cpu"]["Tanh"]) == (0, 0)
    assert counts["cpu"]["ReorderOutput"] < counts["cuda"]["ReorderOutput"]


@pytest.mark.parametrize(
    ("maker", "low", "rewritten"), [("Relu", 0.0, True), ("Relu", 0.5, False), ("Identity", 0.0, False)]
)
def test_what_may_lie_beyond_its_bound_is_no_mask(maker: str, low: float, rewritten: bool):
    """nn.Threshold's backward has the same form, of the input; tanh would make -1 of what lies below."""
    model = masked(maker, low)
    simplify(model, "cpu")
    onnx.checker.check_model(model)
    assert ("Tanh" in {node.op_type for node in model.graph.node}) == rewritten
    x, gradient = np.random.default_rng(0).standard_normal((2, 1, 16, 4, 4)).astype(np.float32)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    y = np.maximum(x, 0) if maker == "Relu" else x
    [found] = session.run(None, {"x": x, "gradient": gradient})
    assert np.array_equal(np.asarray(found), np.where(y <= low, 0, gradient))


def masked(maker: str, low: float) -> onnx.ModelProto:
    names, sides = ("x", "gradient", "y", "g", "out"), ["N", 16, 4, 4]
    x, gradient, y, g, out = (helper.make_tensor_value_info(name, TensorProto.FLOAT, sides) for name in names)
    nodes = [
        helper.make_node(maker, ["x"], ["y"]),
        helper.make_node("Neg", ["gradient"], ["n"]),
        helper.make_node("Neg", ["n"], ["g"]),
        helper.make_node("LessOrEqual", ["y", "low"], ["closed"]),
        helper.make_node("Where", ["closed", "zero", "g"], ["out"]),
    ]
    constants = [numpy_helper.from_array(np.array(v, np.float32), n) for n, v in (("low", low), ("zero", 0))]
    graph = helper.make_graph(nodes, "masked", [x, gradient], [out], constants, value_info=[y, g])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
