"""What the exporter's ONNX graph is rewritten to: the same values in what ONNX Runtime is fast at."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from small_networks import Case, Head
from test_rewrites import traced
from torch import nn

import saccade
from saccade.engine.compiler.emit import emit
from saccade.engine.compiler.onnx_rewrites import simplify
from saccade.engine.compiler.proof import pictures
from saccade.engine.contract.spec import Precision
from saccade.engine.execute.openvino_session import _simple_masks


def head(act: type[nn.Module], channels: int) -> Case:
    """Pooled, with overlapping windows, between two activations."""
    layers = nn.Conv2d(3, channels, 3, padding=1), act(), nn.MaxPool2d(3, 2, 1), nn.Conv2d(channels, 32, 3), act()
    return Case(lambda: Head(*layers, nn.Conv2d(32, 8, 3, padding=1)))


def pooled(act: type[nn.Module]) -> Case:
    """The gradient of the pooling is the first that is masked."""
    return Case(lambda: Head(nn.Conv2d(3, 16, 3), act(), nn.Conv2d(16, 16, 3), act(), width=16))


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


def input_size(path: Path) -> tuple[int, int]:
    sides = onnx.load(path).graph.input[0].type.tensor_type.shape.dim
    return sides[1].dim_value, sides[2].dim_value


@pytest.mark.parametrize(("act", "bounds"), [(nn.ReLU, 1), (nn.ReLU6, 2)])
@pytest.mark.parametrize(
    ("network", "masks"), [(lambda act: head(act, 16), 1), (pooled, 2)], ids=["max pool", "pooled"]
)
def test_masks_are_products_and_nothing_changes(
    tmp_path: Path, network: Callable[[type[nn.Module]], Case], masks: int, act: type[nn.Module], bounds: int
):
    """What a max pool hands back is in no blocks, and its mask stays a choice."""
    case = network(act)
    paths = files(case, tmp_path)
    count, plain = operators(paths["cpu"]), operators(paths["cuda"])
    assert count["Tanh"] == count["BatchNormalization"] == masks * bounds
    assert (plain["Tanh"], plain["Where"] - count["Where"]) == (0, masks)
    assert (count["LessOrEqual"], plain["LessOrEqual"]) == (2 - masks, 2)
    assert count["GreaterOrEqual"] == count["Or"] == (2 - masks) * (bounds - 1)
    compiled, _ = traced(case, "class", "saliency")
    kinds = ["textured", "flat", "textured", "black", "textured"]
    images = pictures(compiled.model.preprocessing, kinds, seed=2)
    assert np.abs(answers(paths["cpu"], images)[1]).max() > 0
    for ours, theirs in zip(answers(paths["cpu"], images), answers(paths["cuda"], images), strict=True):
        assert np.array_equal(ours, theirs)


def test_where_a_plane_begins_is_found_without_a_max_pool(tmp_path: Path):
    for path in files(head(nn.ReLU, 16), tmp_path).values():
        assert (operators(path)["MaxPool"], operators(path)["Range"]) == (1, 1)


@pytest.mark.parametrize("precision", ["float32", "float16"])
@pytest.mark.parametrize("act", [nn.ReLU, nn.ReLU6])
def test_openvino_gives_the_same(tmp_path: Path, act: type[nn.Module], precision: Precision):
    """Which has no 2^100 in float16."""
    openvino = pytest.importorskip("openvino")
    if precision == "float16" and "FP16" not in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip("this CPU computes no float16")
    torch.manual_seed(0)
    program = saccade.compile(head(act, 16).build(), "saliency", input_size=(24, 30), mean=[0.5] * 3, std=[0.25] * 3)
    program.save(tmp_path / "program.onnx")
    images = np.random.default_rng(1).integers(0, 256, (3, 24, 30, 3), np.uint8)
    expected = saccade.load(tmp_path / "program.onnx", runtime="onnxruntime")(images).saliency
    found = saccade.load(tmp_path / "program.onnx", runtime="openvino", precision=precision)(images).saliency
    error = np.abs(found - expected).max() / expected.max()
    assert error < (1e-5 if precision == "float32" else 0.2)
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > (0.99999 if precision == "float32" else 0.98)


@pytest.mark.parametrize("groups", [1, 4])
def test_a_convolution_and_its_way_back_share_no_kernel_that_could_be_taken_for_the_other(tmp_path: Path, groups: int):
    """OpenVINO packs one of them for both, where there are as many channels in as out."""
    square = nn.Conv2d(64, 64, 3, stride=2, padding=1, groups=groups)
    other = nn.Conv2d(64, 32, 3, stride=2, padding=1)
    case = Case(lambda: Head(nn.Conv2d(3, 64, 3), nn.ReLU(), square, nn.ReLU(), other, width=32))
    path = files(case, tmp_path)["cpu"]
    graph = onnx.load(path).graph
    forward, back = ([n.input[1] for n in graph.node if n.op_type == kind] for kind in ("Conv", "ConvTranspose"))
    outputs = {each.name: each.dims[0] for each in graph.initializer if each.dims}
    assert [(outputs[name], name in forward) for name in back] == [(32, True), (64, False)]
    images = np.random.default_rng(1).integers(0, 256, (3, *input_size(path), 3), np.uint8)
    expected = answers(path, images)[1]
    openvino = pytest.importorskip("openvino")
    found = openvino.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    given = found({"images": images, "target": np.full(3, -1)})[1]
    assert np.corrcoef(given.ravel(), expected.ravel())[0, 1] > 0.999
    assert np.abs(given - expected).max() < 0.05 * expected.max()


@pytest.mark.parametrize("act", [nn.ReLU, nn.ReLU6])
def test_in_openvino_no_mask_is_left_as_it_was_written(tmp_path: Path, act: type[nn.Module]):
    """Also where the CPU computes no float16."""
    openvino = pytest.importorskip("openvino")
    model = openvino.Core().read_model(str(files(pooled(act), tmp_path)["cpu"]))

    def count() -> Counter[str]:
        return Counter(operator.get_type_name() for operator in model.get_ordered_ops())

    before = count()
    assert min(before["Tanh"], before["BatchNormInference"], before["GroupConvolution"]) > 0
    _simple_masks(model)
    assert {"Tanh", "BatchNormInference", "GroupConvolution"} & set(count()) == set()
    assert count()["Greater"] + count()["Less"] - before["Greater"] - before["Less"] == before["Tanh"]


def test_indices_do_not_end_where_float32_does(tmp_path: Path):
    """At 2^24, which the second picture of 16 channels of 1024×1024 is beyond."""
    openvino = pytest.importorskip("openvino")
    path, sides = tmp_path / "pool.onnx", ["N", 16, 1024, 1024]
    names = {"x": (TensorProto.FLOAT, sides), "within": (TensorProto.INT64, ["N", 16, 512, 512])}
    x, within = (helper.make_tensor_value_info(name, *about) for name, about in names.items())
    one = helper.make_tensor_value_info("y", TensorProto.FLOAT, sides)
    nodes = [
        helper.make_node("Neg", ["x"], ["y"]),
        helper.make_node("MaxPool", ["y"], ["m", "all"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("MaxPool", ["y"], ["s", "each"], kernel_shape=[1, 1]),
        helper.make_node("Slice", ["each", "zeros", "ones", "axes"], ["first"]),
        helper.make_node("Sub", ["all", "first"], ["within"]),
    ]
    lists = {"zeros": [0, 0], "ones": [1, 1], "axes": [2, 3]}
    constants = [numpy_helper.from_array(np.array(value, np.int64), name) for name, value in lists.items()]
    graph = helper.make_graph(nodes, "pool", [x], [within], constants, value_info=[one])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    images = np.random.default_rng(0).standard_normal((2, 16, 1024, 1024), np.float32)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    expected = np.asarray(session.run(None, {"x": images})[0])
    simplify(model, "cpu")
    assert Counter(node.op_type for node in model.graph.node)["MaxPool"] == 1
    onnx.save(model, path)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    ours = np.asarray(session.run(None, {"x": images})[0])
    theirs = openvino.Core().compile_model(str(path), "CPU")(images)[0]
    assert np.array_equal(ours, expected)
    assert np.array_equal(theirs, expected)


class Root(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.sqrt(x)


def test_an_infinity_that_a_choice_hides_stays_hidden(tmp_path: Path):
    """Where a whole window of the max pool is closed, the root's gradient is infinite."""
    layers = nn.Conv2d(3, 16, 3), nn.ReLU(), nn.MaxPool2d(2), Root(), nn.Conv2d(16, 16, 3), nn.ReLU()
    case = Case(lambda: Head(*layers, width=16))
    paths = files(case, tmp_path)
    assert operators(paths["cpu"])["Tanh"] == 1  # of the last
    compiled, _ = traced(case, "class", "saliency")
    images = pictures(compiled.model.preprocessing, ["black", "textured"], seed=2)
    maps = [answers(path, images)[1] for path in paths.values()]
    assert np.isfinite(maps[1]).all()
    assert np.array_equal(maps[0], maps[1])


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
    ("maker", "low", "gradient", "rewritten"),
    [
        ("Relu", 0.0, "Neg", True),
        ("Relu", 0.5, "Neg", False),
        ("Identity", 0.0, "Neg", False),  # nn.Threshold's; tanh would make -1 of what lies below
        ("Relu", 0.0, "Reciprocal", False),  # as of sqrt(relu(x)); 0 times its infinity is none
    ],
)
def test_what_would_not_be_the_same_is_left_as_it_is(maker: str, low: float, gradient: str, rewritten: bool):
    model = masked(maker, low, gradient)
    simplify(model, "cpu")
    onnx.checker.check_model(model)
    assert ("Tanh" in {node.op_type for node in model.graph.node}) == rewritten
    x, given = np.random.default_rng(0).standard_normal((2, 1, 16, 4, 4)).astype(np.float32)
    given[x <= 0] *= gradient == "Neg"
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    y = np.maximum(x, 0) if maker == "Relu" else x
    [found] = session.run(None, {"x": x, "given": given})
    with np.errstate(divide="ignore"):
        back = -given if gradient == "Neg" else 1 / given
    assert np.allclose(np.asarray(found), np.where(y <= low, 0, back), rtol=1e-6)


def masked(maker: str, low: float, gradient: str) -> onnx.ModelProto:
    names, sides = ("x", "given", "y", "g", "out"), ["N", 16, 4, 4]
    x, given, y, g, out = (helper.make_tensor_value_info(name, TensorProto.FLOAT, sides) for name in names)
    nodes = [
        helper.make_node(maker, ["x"], ["y"]),
        helper.make_node(gradient, ["given"], ["g"]),
        helper.make_node("LessOrEqual", ["y", "low"], ["closed"]),
        helper.make_node("Where", ["closed", "zero", "g"], ["out"]),
    ]
    constants = [numpy_helper.from_array(np.array(v, np.float32), n) for n, v in (("low", low), ("zero", 0))]
    graph = helper.make_graph(nodes, "masked", [x, given], [out], constants, value_info=[y, g])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
