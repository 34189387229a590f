"""Convolutions, pools, heads and inputs of every shape, as TorchScript; and a selection of them as ONNX."""

import pytest
from check_small import check_small
from small_networks import SHAPES

IN_ONNX = (
    "depthwise with a multiplier, strided",
    "strided, a margin unread",
    "padding same",
    "transposed",
    "overlapping max pool",
    "average pool in ceil mode without counting padding",
    "adaptive average pool that does not divide",
    "sigmoid at the end",
    "one output",
    "grey",
    "tall input",
)


@pytest.mark.filterwarnings("ignore:Using padding=.same. with even kernel")
@pytest.mark.parametrize("name", SHAPES)
def test_shape_is_explained_as_eager_does(name: str, tmp_path):
    runtimes = ("torchscript", "onnx") if name in IN_ONNX else ("torchscript",)
    check_small(SHAPES[name], runtimes, tmp_path)


def test_a_selection_is_still_there():
    assert set(IN_ONNX) <= set(SHAPES)
