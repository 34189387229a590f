"""What a traced graph is rewritten to: fewer operators, the same values."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import parity
import pytest
import torch
from check_small import model_of
from small_networks import Case, Head
from torch import fx, nn

from saccade.engine.compiler import compiling, rewrites
from saccade.engine.compiler.emit import emit
from saccade.engine.compiler.network import short_name
from saccade.engine.compiler.proof import error_to_maximum, pictures
from saccade.engine.compiler.targets import parse_target
from saccade.engine.compiler.trace import Traced, trace

POOLED = Case(lambda: Head(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU()))


def dense(width: int) -> Case:
    """A max pool of 8 channels of 5×6, and two linear layers."""

    def build() -> nn.Module:
        body = nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(4), nn.Flatten()
        return nn.Sequential(*body, nn.Linear(240, width), nn.ReLU(), nn.Linear(width, 5))

    return Case(build)


DENSE = dense(16)


def traced(case: Case, target: str, *methods: str) -> tuple[parity.Compiled, Traced]:
    model, goal = model_of(case), parse_target(target)
    requests = compiling.make_requests(model.network, methods, None, goal)
    found = trace(model.network, model.preprocessing, requests, goal)
    return parity.Compiled(model, model.network, goal, requests, found, {}, {}), found


def operators(graph: fx.Graph) -> Counter[str]:
    return Counter(short_name(n.target) for n in graph.nodes if n.op == "call_function")


def test_a_pooled_gradient_is_averaged_before_it_is_repeated():
    """Grad-CAM at the layer in front of the pooling; saliency has to repeat it."""
    compiled, found = traced(POOLED, "class", "grad-cam")
    assert operators(found.module.graph)["expand"] == 0
    images = pictures(compiled.model.preprocessing, ["textured"] * 3, seed=4)
    asked = np.array([0, 4, -1])
    got = parity.graph_in_float64(found, images, [asked])
    for name, expected in parity.eager_maps(compiled, images, [asked], torch.float64).items():
        assert error_to_maximum(got[name], expected) < 1e-12
    _, found = traced(POOLED, "class", "saliency")
    assert operators(found.module.graph)["expand"] == 1


@pytest.mark.parametrize("case", [POOLED, DENSE], ids=["pooled", "dense"])
@pytest.mark.parametrize("target", ["class", "top-2"])
def test_the_backward_of_a_class_begins_with_a_row_of_the_weights(
    monkeypatch: pytest.MonkeyPatch, case: Case, target: str
):
    compiled, found = traced(case, target, "grad-cam", "saliency")
    count = operators(found.module.graph)
    ranks = 2 if target == "top-2" else 1
    assert count["index_select"] == ranks
    assert count["scatter_add"] == (ranks if case is DENSE else 0)  # of the max pool
    assert count["mm"] == (ranks if case is DENSE else 0)  # of the first linear layer
    images = pictures(compiled.model.preprocessing, ["textured"] * 3, seed=4)
    asked = np.array([[0, 3], [4, 1], [-1, -1]])[:, :ranks].reshape((3, 2) if ranks == 2 else (3,))
    got = parity.graph_in_float64(found, images, [asked])
    for name, expected in parity.eager_maps(compiled, images, [asked], torch.float64).items():
        assert error_to_maximum(got[name], expected) <= 1e-9, name
    monkeypatch.setattr(rewrites, "_gather_rows", lambda graph: None)
    assert operators(traced(case, target, "grad-cam", "saliency")[1].module.graph)["mm"] > count["mm"]


def test_no_weights_are_transposed_twice():
    graph = traced(DENSE, "class", "saliency")[1].module.graph
    twice = [n for n in graph.nodes if short_name(n.target) == "t" and short_name(n.args[0].target) == "t"]
    assert twice == []


def test_other_sums_of_rows_stay_as_they_are():
    """Several outputs with weights are a product of matrices, no row."""
    count = operators(traced(POOLED, "outputs", "grad-cam")[1].module.graph)
    assert (count["index_select"], count["mm"]) == (0, 1)


def test_what_nothing_reads_is_not_there():
    """Grad-CAM stops at its layer: no index of a max pool before it, no flipped kernel, one convolution for each."""
    case = Case(lambda: Head(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 8, 3), nn.ReLU()))
    cam, saliency = (operators(traced(case, "class", m)[1].module.graph) for m in ("grad-cam", "saliency"))
    assert (cam["convolution"], saliency["convolution"]) == (2, 4)
    assert (cam["flip"], cam["scatter_add"], cam["getitem"]) == (0, 0, 1)
    assert (saliency["flip"], saliency["scatter_add"], saliency["getitem"]) == (2, 1, 2)


def test_in_front_of_a_linear_layer_it_is_the_weights_that_are_averaged(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    """Grad-CAM at the max pool; the file holds them averaged, and not the product of the rest with all of them."""
    compiled, found = traced(dense(1024), "class", "grad-cam")
    product = next(n for n in found.module.graph.nodes if short_name(n.target) == "mm")
    assert short_name(product.args[1].target) == "mean"
    images, asked = pictures(compiled.model.preprocessing, ["textured"] * 3, seed=4), np.array([0, 4, -1])
    got = parity.graph_in_float64(found, images, [asked])
    for name, expected in parity.eager_maps(compiled, images, [asked], torch.float64).items():
        assert error_to_maximum(got[name], expected) < 1e-12
    monkeypatch.setattr(rewrites, "_FOLD_LIMIT", 0)  # as if they were many: it is less than they come from
    emit(found, "onnx", tmp_path / "program.onnx")
    shapes = [tuple(each.dims) for each in onnx.load(tmp_path / "program.onnx").graph.initializer]
    assert (1024, 8) in shapes
    assert sum(n in ((1024, 240), (240, 1024)) for n in shapes) == 1


def test_several_classes_share_the_averaged_weights():
    assert operators(traced(DENSE, "top-3", "grad-cam")[1].module.graph)["mean"] == 1


def test_weights_are_not_averaged_where_each_place_is_needed_too():
    graph = traced(DENSE, "class", "grad-cam", "hires-cam")[1].module.graph
    assert operators(graph)["mm"] == 1


def test_gradients_of_places_are_not_averaged_with_the_weights():
    """HiResCAM weights each place by itself."""
    graph = traced(DENSE, "class", "hires-cam")[1].module.graph
    product = next(n for n in graph.nodes if short_name(n.target) == "mm")
    assert product.meta["val"].shape[1] == 240


@pytest.mark.parametrize("act", [nn.ReLU, nn.ReLU6])
@pytest.mark.parametrize("method", ["saliency", "guided-backpropagation", "deconvnet"])
def test_what_a_max_pool_hands_back_is_masked_where_it_was_taken(
    monkeypatch: pytest.MonkeyPatch, act: type[nn.Module], method: str
):
    """On the places of the pooled value; flat pictures tie everywhere."""
    layers = nn.Conv2d(3, 8, 3, padding=1), act(), nn.MaxPool2d(3, 2, 1), nn.Conv2d(8, 8, 3, padding=1)
    case = Case(lambda: Head(*layers))
    compiled, found = traced(case, "class", method)
    masks = [n for n in found.module.graph.nodes if short_name(n.target) == "where" and n.meta["val"].dim() > 2]
    places = {int(np.prod(mask.meta["val"].shape[2:])) for mask in masks}
    height, width = compiled.model.preprocessing.height, compiled.model.preprocessing.width
    assert places == (set() if method == "deconvnet" else {(height // 2) * (width // 2)})
    images = pictures(compiled.model.preprocessing, ["textured", "flat", "letterboxed", "black"], seed=4)
    asked = np.array([0, 4, -1, 2])
    got = parity.graph_in_float64(found, images, [asked])
    for name, expected in parity.eager_maps(compiled, images, [asked], torch.float64).items():
        assert error_to_maximum(got[name], expected) < 1e-9
    monkeypatch.setattr(rewrites, "_mask_before_spreading", lambda graph: None)
    plain = parity.graph_in_float64(traced(case, "class", method)[1], images, [asked])
    assert all(np.array_equal(got[name], plain[name]) for name in plain)


def test_a_mask_of_what_is_also_read_elsewhere_stays_where_it_is():
    """Two ways lead back from the activation: their sum is masked, on all of its places."""

    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Conv2d(3, 8, 3, padding=1), nn.Linear(8, 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = torch.relu(self.first(x))
            return self.last(nn.functional.max_pool2d(x, 2).mean(dim=(2, 3)) + x.mean(dim=(2, 3)))

    compiled, found = traced(Case(Both), "class", "saliency")
    spec = compiled.model.preprocessing
    masks = [n for n in found.module.graph.nodes if short_name(n.target) == "where" and n.meta["val"].dim() > 2]
    assert [tuple(mask.meta["val"].shape[2:]) for mask in masks] == [(spec.height, spec.width)]


def test_a_mask_of_what_is_read_unmasked_too_stays_where_it_is():
    """What the max pool hands back to windows of zeros counts for Grad-CAM there, and goes no further."""
    case = Case(lambda: Head(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 8, 3, padding=1)))
    model, goal = model_of(case), parse_target("class")
    requests = [
        *compiling.make_requests(model.network, ["grad-cam", "hires-cam"], "body.1", goal),
        *compiling.make_requests(model.network, ["saliency"], None, goal),
    ]
    found = trace(model.network, model.preprocessing, requests, goal)
    compiled = parity.Compiled(model, model.network, goal, requests, found, {}, {})
    images, asked = pictures(model.preprocessing, ["textured", "flat"], seed=4), np.array([0, 4])
    got = parity.graph_in_float64(found, images, [asked])
    for name, expected in parity.eager_maps(compiled, images, [asked], torch.float64).items():
        assert error_to_maximum(got[name], expected) < 1e-9, name


def test_somebodys_own_scattering_is_no_max_pool():
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 8, 3, padding=1)
            self.index: torch.Tensor
            self.register_buffer("index", torch.arange(8).flip(0))
            self.fc = nn.Linear(8, 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.conv(x).mean(dim=(2, 3))
            places = self.index.reshape(1, 8).expand(8, 8)
            moved = x.new_zeros(8, 8).scatter_add(1, places, x.new_ones(8, 8))
            return self.fc(x @ torch.where(moved <= 0, 0.0, moved))

    compiled, found = traced(Case(Own), "class", "saliency")
    images, asked = pictures(compiled.model.preprocessing, ["textured"] * 2, seed=4), np.array([0, 4])
    got = parity.graph_in_float64(found, images, [asked])
    for name, expected in parity.eager_maps(compiled, images, [asked], torch.float64).items():
        assert error_to_maximum(got[name], expected) < 1e-9


def test_what_is_folded_twice_overwrites_nothing():
    """As of a program in half precision: before its weights are narrowed, and when it is written."""
    graph = fx.Graph()
    x = graph.placeholder("x")
    sums = [graph.call_function(torch.add, (graph.get_attr("a"), i)) for i in (1, 2)]
    graph.output(graph.call_function(torch.mul, (graph.call_function(torch.add, (x, sums[0])), sums[1])))
    root = nn.Module()
    root.register_buffer("a", torch.tensor([10.0]))
    once = rewrites.fold_constants(fx.GraphModule(root, graph))
    first = next(n for n in once.graph.nodes if n.op == "get_attr")
    with once.graph.inserting_after(first):
        more = once.graph.call_function(torch.neg, (first,))
    next(n for n in once.graph.nodes if n.target is torch.mul).replace_input_with(
        next(n for n in reversed(once.graph.nodes) if n.op == "get_attr"), more
    )
    once.recompile()
    x = torch.tensor([1.0])
    assert once(x) == (1 + 11) * -11
    assert rewrites.fold_constants(once)(x) == once(x)
