"""From what a person asks to a program's inputs, and what was scored."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from saccade.engine.contract import MapSpec, Preprocessing, Spec, UsageError
from saccade.engine.execute.asking import explained, program_inputs

CLASS = Spec(
    model="net",
    weights_hash="",
    preprocessing=Preprocessing(4, 6),
    maps=(MapSpec("grad_cam", "grad-cam", "body", "cam", (2, 3)),),
    features=None,
    num_outputs=3,
)
TOP = dataclasses.replace(CLASS, target_count=2)
OUTPUTS = dataclasses.replace(CLASS, target="outputs", classes=("left", "right", "up"))
UNIT = dataclasses.replace(CLASS, target="unit", target_layer="body", target_shape=(5, 2, 3))
REGION = dataclasses.replace(CLASS, target="region", output_size=(2, 3))


@pytest.mark.parametrize(
    ("spec", "target", "expected"),
    [
        (CLASS, None, [-1, -1]),
        (CLASS, 2, [2, 2]),
        (CLASS, [0, -1], [0, -1]),
        (TOP, None, [[-1, -1], [-1, -1]]),
        (TOP, [2, -1], [[2, -1], [2, -1]]),
        (TOP, [[0, 1], [2, -1]], [[0, 1], [2, -1]]),
        (OUTPUTS, None, [[1, 1, 1], [1, 1, 1]]),
        (OUTPUTS, 1, [[0, 1, 0], [0, 1, 0]]),
        (OUTPUTS, [0.5, 0, -2], [[0.5, 0, -2], [0.5, 0, -2]]),
        (UNIT, 4, [[4, -1, -1], [4, -1, -1]]),
        (UNIT, (4, 1, 2), [[4, 1, 2], [4, 1, 2]]),
        (REGION, 1, [1, 1]),
    ],
)
def test_targets_become_inputs(spec: Spec, target: Any, expected: list):
    found = program_inputs(spec, 2, target)["target"]
    assert found.tolist() == expected
    assert found.dtype == (np.float32 if spec is OUTPUTS else np.int64)


@pytest.mark.parametrize(
    ("spec", "target", "message"),
    [
        (CLASS, 3, "target 3 is out of range; net has classes 0 to 2"),
        (CLASS, -2, "target -2 is out of range"),
        (CLASS, [0, 1, 2], "expected target as one class index or 2 of them"),
        (CLASS, 1.5, "expected target as whole numbers"),
        (CLASS, "cat", "expected target as numbers"),
        (CLASS, [[0], [1, 2]], "expected target as numbers"),
        (TOP, 1, "expected target as 2 class indices, or 2 for each image"),
        (OUTPUTS, 3, "target 3 is out of range; net has outputs 0 to 2"),
        (OUTPUTS, [1.0, float("nan"), 0], "3 finite weights"),
        (OUTPUTS, [1e300, 0, 0], "3 finite weights"),
        (UNIT, [[0, 0, 0], [1, 5, 0]], r"unit \[1, 5, 0\] is out of range"),
        (OUTPUTS, [1.0, 2.0], "an output's index or 3 finite weights"),
        (UNIT, None, "expected target as a channel of body"),
        (UNIT, 5, r"unit \[5, -1, -1\] is out of range; body gives \[5, 2, 3\]"),
        (UNIT, (0, 2, 0), "is out of range"),
        (UNIT, (0, -2, 0), "is out of range"),
        (UNIT, -1, "is out of range"),
    ],
)
def test_targets_that_the_program_has_not(spec: Spec, target: Any, message: str):
    with pytest.raises(UsageError, match=message):
        program_inputs(spec, 2, target)


def test_regions():
    mask = np.zeros((4, 6), bool)
    mask[1, 2] = True
    assert program_inputs(REGION, 2, None, mask)["region"].tolist() == [mask.astype(int).tolist()] * 2
    assert program_inputs(REGION, 2, None)["region"].max() == 0
    with pytest.raises(UsageError, match="expected region as uint8 or bool"):
        program_inputs(REGION, 2, None, np.zeros((4, 5), bool))
    with pytest.raises(UsageError, match="expected region as uint8 or bool"):
        program_inputs(REGION, 2, None, np.zeros((4, 6)))
    with pytest.raises(UsageError, match="it takes no region"):
        program_inputs(CLASS, 2, None, mask)


LOGITS = np.array([[1, 3, 2], [5, 5, 4]], np.float32)


def ask(spec: Spec, logits: np.ndarray, target: Any = None, region: Any = None) -> tuple[list, list | None]:
    found, score = explained(spec, logits, program_inputs(spec, len(logits), target, region))
    return found.tolist(), None if score is None else score.tolist()


def test_scores_of_classes_outputs_and_units():
    assert ask(CLASS, LOGITS) == ([1, 0], [3, 5])
    assert ask(CLASS, LOGITS, [2, -1]) == ([2, 0], [2, 5])
    assert ask(TOP, LOGITS) == ([[1, 2], [0, 1]], [[3, 2], [5, 5]])
    assert ask(TOP, LOGITS, [0, -1]) == ([[0, 2], [0, 1]], [[1, 2], [5, 5]])
    assert ask(OUTPUTS, LOGITS, [1, 0, -1])[1] == [-1, 1]
    assert ask(UNIT, LOGITS, 2) == ([[2, -1, -1]] * 2, None)


def test_scores_of_regions():
    logits = np.zeros((1, 3, 2, 3), np.float32)
    logits[0, 2, 0] = 2
    logits[0, 1, 1, 0] = 7
    assert ask(REGION, logits) == ([2], [6.0])
    assert ask(REGION, logits, 1) == ([1], [7.0])
    mask = np.zeros((4, 6), bool)
    mask[3, 0] = True  # a quarter of the place [1, 0]
    assert ask(REGION, logits, 1, mask) == ([1], [1.75])


@pytest.mark.parametrize(
    ("spec", "text", "expected"),
    [
        (CLASS, "predicted", -1),
        (CLASS, "2", 2),
        (OUTPUTS, "predicted", [1, 1, 1]),
        (OUTPUTS, "right", [0, 1, 0]),
        (OUTPUTS, "left=0.5, 2=-1", [0.5, 0, -1]),
        (UNIT, "4", 4),
        (UNIT, "4,1,0", (4, 1, 0)),
        (UNIT, "4,-1,2", (4, -1, 2)),
    ],
)
def test_targets_in_words(spec: Spec, text: str, expected: Any):
    assert spec.read_target(text) == expected


@pytest.mark.parametrize(
    ("spec", "text", "message"),
    [
        (OUTPUTS, "lft", "near it: left"),
        (OUTPUTS, "left=x", "expected OUTPUT=WEIGHT"),
        (OUTPUTS, "left,predicted", "predicted stands for all outputs, alone"),
        (UNIT, "4,1", "expected a channel of body"),
        (UNIT, "predicted", "expected a channel of body"),
    ],
)
def test_words_that_mean_no_target(spec: Spec, text: str, message: str):
    with pytest.raises(UsageError, match=message):
        spec.read_target(text)
