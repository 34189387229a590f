"""Compiled programs have as many operators as they had: a graph that gets longer is seen here, on any machine."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def operators(benchmark_module: Callable[[str], ModuleType]) -> ModuleType:
    return benchmark_module("operators")


def test_the_counts_are_the_committed_ones(operators: ModuleType):
    wanted = json.loads(operators.COUNTS.read_text(encoding="utf-8"))
    found = operators.measure()
    if found["torch"] != wanted["torch"]:
        pytest.skip(f"the counts are of torch {wanted['torch']}, this is {found['torch']}")
    assert operators.differences(found, wanted) == [], "if it is meant: python benchmarks/operators.py --write"


def test_the_comparison_sees_one_operator_more(operators: ModuleType):
    wanted = json.loads(operators.COUNTS.read_text(encoding="utf-8"))
    assert operators.differences(wanted, wanted) == []
    longer = copy.deepcopy(wanted)
    longer["operators"]["resnet18, grad-cam"]["convolution"] += 20
    assert operators.differences(longer, wanted) == [
        f"resnet18, grad-cam: {sum(longer['operators']['resnet18, grad-cam'].values())} operators, not "
        f"{sum(wanted['operators']['resnet18, grad-cam'].values())}: convolution 20 → 40"
    ]


def test_an_explanation_adds_little_to_the_forward_pass(operators: ModuleType):
    """One forward pass, and a backward that stops at the layer."""
    counts = json.loads(operators.COUNTS.read_text(encoding="utf-8"))["operators"]
    for name in operators.PROGRAMS:
        forward, cam, saliency = (counts[f"{name}, {what}"] for what in ("forward", "grad-cam", "saliency"))
        assert cam["convolution"] <= forward["convolution"] + 1  # squeezenet's classifier is a convolution behind it
        assert saliency["convolution"] == 2 * forward["convolution"]
        for graph in (cam, saliency):
            assert not {"native_batch_norm", "_native_batch_norm_legit_no_training", "one_hot"} & graph.keys()
