"""What a traced graph is rewritten to: fewer operators, the same values."""

from __future__ import annotations

from collections import Counter

import numpy as np
import parity
import pytest
import torch
from check_small import model_of
from small_networks import Case, Head
from torch import fx, nn

from saccade.engine.compiler import compiling, rewrites
from saccade.engine.compiler.network import short_name
from saccade.engine.compiler.proof import error_to_maximum, pictures
from saccade.engine.compiler.targets import parse_target
from saccade.engine.compiler.trace import Traced, trace

POOLED = Case(lambda: Head(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU()))
DENSE = Case(
    lambda: nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(4),
        nn.Flatten(),
        nn.Linear(240, 16),
        nn.ReLU(),
        nn.Linear(16, 5),
    )
)


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
