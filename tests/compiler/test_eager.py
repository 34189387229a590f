"""The eager reference is also the path that benchmarks compare with, so it runs the network no more than it has to."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from networks import seeded
from test_methods import Classifier

from saccade.engine.compiler.eager import Ask, explain

LAYER = "body"


@pytest.mark.parametrize(
    ("asks", "forwards"),
    [
        ([], 1),
        ([Ask("grad-cam", LAYER)], 1),
        ([Ask("activations", LAYER), Ask("grad-cam", LAYER), Ask("layer-cam", LAYER), Ask("cam", LAYER)], 1),
        ([Ask("saliency", "input"), Ask("input-x-gradient", "input"), Ask("grad-cam", LAYER)], 2),
        ([Ask("guided-grad-cam", LAYER), Ask("guided-backpropagation", "input")], 3),
        ([Ask("grad-cam", LAYER, rank=1), Ask("grad-cam", LAYER, rank=2)], 1),
    ],
)
def test_network_runs_once_for_each_place_and_rule(asks: list[Ask], forwards: int):
    module, x = seeded(Classifier), torch.rand(2, 3, 32, 40)
    calls = []
    module.register_forward_hook(lambda *_: calls.append(1))
    ranks = max((ask.rank for ask in asks), default=1)
    _, found = explain(module, x, torch.full((2, ranks), -1), asks)
    assert len(calls) == forwards
    alone = [explain(module, x, torch.full((2, ranks), -1), [ask])[1][0] for ask in asks]
    for together, by_itself in zip(found, alone, strict=True):
        np.testing.assert_array_equal(together.map.numpy(), by_itself.map.numpy())
