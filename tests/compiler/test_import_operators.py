"""Each ONNX operator that is carried out in PyTorch against ONNX Runtime, on the same numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from artefacts import write_graph
from onnx import NodeProto, TensorProto, helper

from saccade.engine.compiler.importers.onnx_file import read_onnx
from saccade.engine.compiler.importers.onnx_import import REASONS, OnnxNetwork
from saccade.engine.compiler.importers.onnx_operators import TENSORS
from saccade.engine.compiler.importers.onnx_shapes import ARRAYS

RANDOM = np.random.default_rng(0)


def weights(*shape: int) -> np.ndarray:
    return RANDOM.standard_normal(shape).astype(np.float32)


def ints(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int64)


def one(operator: str, constants: dict[str, np.ndarray] | None = None, opset: int = 17, **attributes: Any) -> Any:
    """A graph of one operator on `x` and constants."""
    node = helper.make_node(operator, ["x", *(constants or {})], ["y"], "node", **attributes)
    return [node], constants or {}, opset


def chain(*steps: tuple[str, str, str], opset: int = 17, constants: dict[str, np.ndarray] | None = None) -> Any:
    """Several operators: (operator, inputs with spaces between, output)."""
    return [helper.make_node(o, i.split(" "), [to]) for o, i, to in steps], constants or {}, opset


def difference(got: np.ndarray, expected: np.ndarray) -> float:
    assert got.shape == expected.shape
    return float(np.abs(got - expected).max() / max(np.abs(expected).max(), 1e-30))


W, DEEP = {"w": weights(4, 3, 3, 3), "b": weights(4)}, {"w": weights(3, 4, 3, 3)}
NORM = {"s": weights(3), "b": weights(3), "m": weights(3), "v": weights(3) ** 2 + 0.1}
CASES: dict[str, tuple[list[NodeProto], dict[str, np.ndarray], int]] = {
    "Conv": one("Conv", W, pads=[1, 1, 1, 1]),
    "Conv pads on one side": one("Conv", W, pads=[0, 1, 2, 0], strides=[2, 2]),
    "Conv SAME_UPPER": one("Conv", W, auto_pad="SAME_UPPER", strides=[2, 3]),
    "Conv SAME_LOWER": one("Conv", W, auto_pad="SAME_LOWER", strides=[3, 2]),
    "Conv VALID": one("Conv", W, auto_pad="VALID"),
    "Conv groups": one("Conv", {"w": weights(6, 1, 3, 3)}, group=3, dilations=[2, 2]),
    "ConvTranspose": one("ConvTranspose", DEEP, strides=[2, 2], pads=[1, 1, 1, 1], output_padding=[1, 1]),
    "ConvTranspose pads on one side": one("ConvTranspose", DEEP, strides=[2, 2], pads=[0, 1, 1, 0]),
    "ConvTranspose SAME_UPPER": one("ConvTranspose", DEEP, strides=[2, 2], auto_pad="SAME_UPPER"),
    "ConvTranspose output_shape": one("ConvTranspose", DEEP, strides=[2, 2], output_shape=[16, 20]),
    "BatchNormalization": one("BatchNormalization", NORM, epsilon=1e-3),
    "InstanceNormalization": one("InstanceNormalization", {"s": weights(3), "b": weights(3)}),
    "LayerNormalization": one("LayerNormalization", {"s": weights(8, 10), "b": weights(8, 10)}, axis=2),
    "GroupNormalization": one("GroupNormalization", {"s": weights(3), "b": weights(3)}, 21, num_groups=3),
    "LRN": one("LRN", size=3, alpha=0.3, beta=0.6, bias=1.5),
    "LRN of five": one("LRN", size=5, alpha=0.3),
    "MaxPool": one("MaxPool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
    "MaxPool ceil": one("MaxPool", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1),
    "MaxPool pads on one side": one("MaxPool", kernel_shape=[3, 3], strides=[2, 2], pads=[0, 0, 1, 1]),
    "MaxPool SAME_LOWER": one("MaxPool", kernel_shape=[2, 2], auto_pad="SAME_LOWER"),
    "AveragePool": one("AveragePool", kernel_shape=[3, 2], strides=[2, 2], pads=[1, 0, 1, 0]),
    "AveragePool ceil": one("AveragePool", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1, opset=19),
    "AveragePool counts": one("AveragePool", kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1),
    "AveragePool pads on one side": one("AveragePool", kernel_shape=[3, 3], pads=[0, 0, 1, 2]),
    "AveragePool counts on one side": one("AveragePool", kernel_shape=[2, 2], pads=[0, 0, 1, 1], count_include_pad=1),
    "GlobalAveragePool": one("GlobalAveragePool"),
    "GlobalMaxPool": one("GlobalMaxPool"),
    "DepthToSpace": chain(("Tile", "x r", "t"), ("DepthToSpace", "t", "y"), constants={"r": ints(1, 4, 1, 1)}),
    "SpaceToDepth": one("SpaceToDepth", blocksize=2),
    "Clip": one("Clip", {"low": np.array(-0.5, np.float32), "high": np.array(0.5, np.float32)}),
    "Clip of operator set 9": one("Clip", opset=9, min=-0.5, max=0.7),
    "Clip below": one("Clip", {"low": np.array(-0.5, np.float32)}),
    "HardSigmoid": one("HardSigmoid"),
    "HardSigmoid of torch": one("HardSigmoid", alpha=1 / 6),
    "Gelu": one("Gelu", opset=20),
    "Gelu tanh": one("Gelu", opset=20, approximate="tanh"),
    "LeakyRelu": one("LeakyRelu", alpha=0.2),
    "PRelu": one("PRelu", {"slope": weights(3, 1, 1)}),
    "Celu": one("Celu", alpha=0.7),
    "Elu": one("Elu", alpha=0.7),
    "Selu": one("Selu"),
    **{name: one(name) for name in ("Relu", "Sigmoid", "Tanh", "Erf", "Exp", "Neg", "Abs", "HardSwish", "Softplus")},
    **{name: one(name) for name in ("Softsign", "Floor", "Ceil", "Sign", "Sin", "Cos", "Identity", "Dropout")},
    "Mish": one("Mish", opset=18),
    "Reciprocal": one("Reciprocal"),
    "Sqrt of Abs": chain(("Abs", "x", "a"), ("Sqrt", "a", "y")),
    "Log of Exp": chain(("Exp", "x", "a"), ("Log", "a", "y")),
    **{name: one(name, {"c": weights(3, 1, 1)}) for name in ("Add", "Sub", "Mul", "Div", "Max", "Min", "Sum", "Mean")},
    "Pow": chain(("Abs", "x", "a"), ("Pow", "a c", "y"), constants={"c": np.array(1.5, np.float32)}),
    "Where": chain(("Greater", "x c", "t"), ("Where", "t x c", "y"), constants={"c": np.array(0.1, np.float32)}),
    "Where LessOrEqual": chain(
        ("LessOrEqual", "x c", "t"), ("Where", "t x c", "y"), constants={"c": np.array(0.1, np.float32)}
    ),
    "Softmax": one("Softmax", axis=1),
    "Softmax of operator set 11": one("Softmax", opset=11, axis=1),
    "LogSoftmax": one("LogSoftmax", axis=-1),
    "Flatten": one("Flatten"),
    "Flatten 2": one("Flatten", axis=2),
    "Reshape": one("Reshape", {"s": ints(0, -1, 5)}),
    "Transpose": one("Transpose", perm=[0, 2, 3, 1]),
    "Squeeze": chain(("GlobalAveragePool", "x", "a"), ("Squeeze", "a s", "y"), constants={"s": ints(2, 3)}),
    "Squeeze of operator set 11": (
        [helper.make_node("GlobalMaxPool", ["x"], ["a"]), helper.make_node("Squeeze", ["a"], ["y"], axes=[-1, 2])],
        {},
        11,
    ),
    "Unsqueeze": one("Unsqueeze", {"a": ints(-1, 1)}),
    "Concat": chain(("Relu", "x", "a"), ("Neg", "x", "b"), ("Sub", "a b", "y")),
    "Concat of three": ([helper.make_node("Concat", ["x", "x", "x"], ["y"], axis=1)], {}, 17),
    "Split": ([helper.make_node("Split", ["x", "s"], ["a", "y"], axis=3)], {"s": ints(4, 6)}, 17),
    "Split evenly": ([helper.make_node("Split", ["x"], ["a", "y"], axis=2)], {}, 13),
    "Slice": one("Slice", {"s": ints(1), "e": ints(2**62), "a": ints(-1), "t": ints(2)}),
    "Slice backwards": one("Slice", {"s": ints(-1), "e": ints(-(2**62)), "a": ints(2), "t": ints(-1)}),
    "Slice of operator set 9": one("Slice", opset=9, starts=[1, 2], ends=[2, 9], axes=[1, 3]),
    "Gather": one("Gather", {"i": ints(2, 0, -1)}, axis=1),
    "Gather one": one("Gather", {"i": np.array(1, np.int64)}, axis=2),
    "Expand": chain(("GlobalMaxPool", "x", "a"), ("Expand", "a s", "y"), constants={"s": ints(1, 3, 4, 5)}),
    "Pad": one("Pad", {"p": ints(0, 0, 1, 2, 0, 1, 0, 3), "v": np.array(0.5, np.float32)}),
    "Pad reflect": one("Pad", {"p": ints(0, 0, 1, 2, 0, 0, 3, 1)}, mode="reflect"),
    "Pad edge": one("Pad", {"p": ints(0, 0, 1, 2, 0, 0, 3, 1)}, mode="edge"),
    "Pad of operator set 9": one("Pad", opset=9, pads=[0, 0, 1, 1, 0, 0, 2, 2], value=0.3),
    "ReduceMean": one("ReduceMean", axes=[2, 3], keepdims=0),
    "ReduceMean of operator set 18": one("ReduceMean", {"a": ints(-1, -2)}, 18),
    "ReduceSum": one("ReduceSum", {"a": ints(1)}),
    **{name: one(name, axes=[1, 3]) for name in ("ReduceMax", "ReduceMin", "ReduceL1", "ReduceL2", "ReduceSumSquare")},
    "Gemm": chain(
        ("GlobalAveragePool", "x", "a"), ("Flatten", "a", "f"), ("Gemm", "f w", "y"), constants={"w": weights(3, 5)}
    ),
    "Gemm scaled": (
        [
            *chain(("GlobalAveragePool", "x", "a"), ("Flatten", "a", "f"))[0],
            helper.make_node("Gemm", ["f", "w", "c"], ["y"], alpha=0.5, beta=2.0, transB=1),
        ],
        {"w": weights(5, 3), "c": weights(5)},
        17,
    ),
    "MatMul": one("MatMul", {"w": weights(10, 4)}),
    "shape arithmetic": chain(
        ("Shape", "x", "s"),
        ("Gather", "s zero", "n"),
        ("Unsqueeze", "n at", "u"),
        ("Mul", "three ten", "m"),
        ("Div", "m two", "d"),
        ("Concat", "u d rest", "r"),
        ("Reshape", "x r", "y"),
        constants={
            "zero": np.array(0, np.int64),
            "at": ints(0),
            "three": ints(6),
            "ten": ints(10),
            "two": ints(2),
            "rest": ints(-1),
        },
    ),
    "weights as whole numbers": (
        [
            helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["w"], axis=0),
            helper.make_node("Conv", ["x", "w"], ["y"]),
        ],
        {
            "q": RANDOM.integers(-128, 128, (4, 3, 3, 3)).astype(np.int8),
            "scale": np.abs(weights(4)),
            "zero": np.zeros(4, np.int8),
        },
        17,
    ),
}
CASES["DepthToSpace"][0][1].attribute.append(helper.make_attribute("blocksize", 2))
for node in CASES["shape arithmetic"][0]:
    if node.op_type == "Concat":
        node.attribute.append(helper.make_attribute("axis", 0))
for mode in ("nearest", "linear"):
    for where in ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric"):
        for how, more in {
            "up": {"scales": np.array([1, 1, 2, 3], np.float32)},
            "odd": {"scales": np.array([1, 1, 1.3, 0.7], np.float32)},
            "sizes": {"scales": np.array([], np.float32), "sizes": ints(2, 3, 13, 7)},
        }.items():
            CASES[f"Resize {mode} {where} {how}"] = (
                [helper.make_node("Resize", ["x", "", *more], ["y"], mode=mode, coordinate_transformation_mode=where)],
                more,
                17,
            )
for rounding in ("floor", "ceil", "round_prefer_ceil"):
    CASES[f"Resize {rounding}"] = (
        [helper.make_node("Resize", ["x", "", "s"], ["y"], mode="nearest", nearest_mode=rounding)],
        {"s": np.array([1, 1, 1.5, 2.5], np.float32)},
        17,
    )
CASES["Upsample"] = one("Upsample", {"s": np.array([1, 1, 2, 2], np.float32)}, 9, mode="nearest")


@pytest.mark.parametrize("name", CASES)
def test_operator_agrees_with_onnx_runtime(name: str, tmp_path: Path):
    nodes, constants, opset = CASES[name]
    path = write_graph(tmp_path / "one.onnx", nodes, constants, opset=opset)
    x = np.random.default_rng(1).standard_normal((2, 3, 8, 10)).astype(np.float32)
    expected = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]
    with torch.no_grad():
        got = OnnxNetwork(name, read_onnx(path))(torch.from_numpy(x)).numpy()
    assert difference(got, expected) <= 2e-6  # pyright: ignore[reportArgumentType]


def test_difference_is_seen():
    x = weights(2, 3)
    assert difference(x, x) == 0
    assert difference(x + np.float32(1e-4), x) > 1e-5
    with pytest.raises(AssertionError):
        difference(x, x[:1])


def test_every_operator_on_pictures_is_tried():
    tried = {node.op_type for nodes, *_ in CASES.values() for node in nodes}
    synonyms = {"And", "Or", "Not", "Equal", "Less", "GreaterOrEqual", "Cast", "CastLike", "Size", "Swish", "Round"}
    assert set(TENSORS) - tried <= synonyms
    assert not set(REASONS) & {*TENSORS, *ARRAYS}
    assert TensorProto.FLOAT == 1  # what `Cast` calls float32
