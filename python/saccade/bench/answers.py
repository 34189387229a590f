"""What contenders' answers are held against: hooks and autograd in float64."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ..engine.contract.agreement import spearman
from ..engine.contract.spec import Precision
from . import measuring
from .contenders import module_and_ask

if TYPE_CHECKING:
    from ..engine.compiler import Model

TOLERANCE = 1e-3
"""Largest difference from float64 of logits and of CAMs in float32, relative to each map's own maximum."""
NARROW = 0.1
"""The same of logits in half precision."""
ALIKE = 0.9
"""Smallest rank correlation with float64 of maps that ties and narrow numbers move: the median over the batch."""


def reference(model: Model, method: str, images: npt.NDArray[np.uint8]) -> dict[str, npt.NDArray[np.float64]]:
    """Logits and map in float64, with hooks and autograd."""
    import torch

    from ..engine.compiler.eager import explain
    from ..engine.compiler.trace import normalise

    module, ask = module_and_ask(model, method)
    x = normalise(torch.from_numpy(images), model.preprocessing, torch.float64)
    logits, found = explain(copy.deepcopy(module).double(), x, torch.full((len(x),), -1), [ask])
    return {"logits": logits.detach().numpy(), "map": found[0].map.numpy()}


def exactly_held(model: Model, method: str, precision: Precision) -> bool:
    """Whether a map is held to float64's values: in float32, where no tie moves it."""
    from ..engine.compiler import METHODS

    return precision == "float32" and METHODS[method].kind == "cam"


def check(
    name: str,
    answer: Mapping[str, npt.NDArray],
    scaled: str,
    exact: Mapping[str, npt.NDArray[np.float64]],
    exactly: bool,
    precision: Precision = "float32",
) -> dict[str, float]:
    """How far an answer is from float64's.

    Args:
        answer: `logits` and `map`, each if it was given.
        scaled: see `contenders.Answer`.
        exactly: whether the map's values count, or the ranks of its places.
        precision: of the contender; logits in float32 are held to float64's values.

    Raises:
        WrongAnswerError: too far.
    """
    found: dict[str, float] = {}
    same = np.ones(len(exact["logits"]), bool)
    if "logits" in answer:
        tolerance = TOLERANCE if precision == "float32" else NARROW
        found["logits"] = measuring.demand(f"{name}, logits", answer["logits"], exact["logits"], tolerance)
        same = answer["logits"].argmax(axis=1) == exact["logits"].argmax(axis=1)
        found["changed"] = float(1 - same.mean())
    if "map" not in answer:
        return found
    if not same.any():  # another class's map says nothing; and nothing unlooked-at is timed
        raise measuring.WrongAnswerError(f"{name}: predicts another class for every picture; try other weights")
    expected = as_scaled(exact["map"], scaled, answer["map"].shape[1:])[same]
    got = answer["map"][same]
    if exactly:
        return found | {"map": measuring.demand(f"{name}, map", got, expected, TOLERANCE)}
    if got.shape != expected.shape or not np.isfinite(got).all():
        raise measuring.WrongAnswerError(f"{name}, map: expected finite {list(expected.shape)}, got {list(got.shape)}")
    rank = float(np.median([spearman(a, b) for a, b in zip(got, expected, strict=True)]))
    if not rank >= ALIKE:
        raise measuring.WrongAnswerError(f"{name}, map: rank correlation {rank:.3f}; expected at least {ALIKE}")
    return found | {"rank_correlation": measuring.short(rank)}


def as_scaled(maps: npt.NDArray, scaled: str, size: Sequence[int]) -> npt.NDArray:
    """Maps [N, h, w] from 0 to 1, once or again after they were enlarged, as other packages give them."""
    if scaled == "no":
        return maps

    def from_0_to_1(m: npt.NDArray) -> npt.NDArray:
        return (m - m.min()) / (1e-7 + (m.max() - m.min()))

    once = np.stack([from_0_to_1(m.astype(np.float64)) for m in maps])
    if scaled == "once":
        return once
    import cv2  # what the package grad-cam enlarges with

    return np.stack([from_0_to_1(cv2.resize(m, (size[1], size[0]))) for m in once])
