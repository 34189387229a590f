"""Structures, activations and norms, each in a small network, as TorchScript; and a selection of them as ONNX."""

import pytest
from check_small import check_small
from small_networks import OPERATORS

IN_ONNX = (
    "in-place ReLU behind the layer",
    "a module used twice, second call",
    "residual sums",
    "SiLU",
    "hardswish",
    "squeeze and excitation",
    "layer norm, channels last",
    "group norm",
    "instance norm",
    "bilinear upsampling",
)


@pytest.mark.parametrize("name", OPERATORS)
def test_operator_is_explained_as_eager_does(name: str, tmp_path):
    runtimes = ("torchscript", "onnx") if name in IN_ONNX else ("torchscript",)
    check_small(OPERATORS[name], runtimes, tmp_path)


def test_a_selection_is_still_there():
    assert set(IN_ONNX) <= set(OPERATORS)
