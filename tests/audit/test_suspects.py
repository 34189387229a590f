"""Verdicts: what it takes to be a shortcut, and what an attribute that cannot be set is."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest

from saccade.audit.candidates import Candidate
from saccade.audit.findings import Interval, Trial
from saccade.audit.proof import Group
from saccade.audit.suspects import SHORTCUT, SUSPECT, Sides, both_ways, judged
from saccade.engine.contract import Maps

PICTURES = np.random.default_rng(0).integers(0, 256, (12, 8, 8, 3)).astype(np.uint8)
GROUP = Group(np.arange(12), PICTURES, np.tile(np.array([[0.9, 0.1]], np.float32), (12, 1)))
OTHERS = Group(np.arange(12, 24), PICTURES[::-1], np.tile(np.array([[0.2, 0.8]], np.float32), (12, 1)))
SIDES = Sides(0, "tank", "other images", 100, (GROUP, OTHERS), (GROUP, OTHERS))


def candidate(kind: Literal["place", "attribute"] = "attribute", fit: float = 1.0) -> Candidate:
    def nothing(images: Group, donors: Group, inward: bool):
        return images.images

    measures = {"fit": fit} if kind == "place" else {}
    words = ("{own}", "{others}")
    return Candidate(kind, "JPEG quality", 0, 1.0, 0.5, "", measures, words, words, nothing, nothing)


def trial(effect: float, kind: Literal["shift", "shift-in"]) -> Trial:
    def around(value: float) -> Interval:
        return Interval(value, value - 0.02, value + 0.02, 50)

    return Trial("", kind, around(effect), around(0), "", around(0), around(0))


class Never:
    """A network that must not be asked."""

    passes = 0

    def __call__(self, images: np.ndarray) -> np.ndarray:
        assert len(images) == 0
        return np.zeros((0, 2), np.float32)

    def run(self, *_: object) -> Maps:
        raise AssertionError


def test_an_attribute_that_cannot_be_set_has_no_trials_and_is_clear():
    trials = both_ways(Never(), SIDES, SIDES.first, candidate(), ["tank", "woods"], 0)  # pyright: ignore[reportArgumentType]
    assert trials == ()
    found = judged(candidate(), SIDES, trials, SHORTCUT)
    assert (found.verdict, found.score) == ("clear", 0)
    assert "could not be tried" in found.sentence


@pytest.mark.parametrize(
    ("away", "here", "least", "verdict"),
    [
        (0.5, 0.5, SHORTCUT, "shortcut"),
        (0.5, 0.0, SHORTCUT, "suspect"),  # it damages, and brings nothing
        (0.5, 0.5, 2.0, "suspect"),  # of the first trials alone
        (SUSPECT / 2, SUSPECT / 2, SHORTCUT, "clear"),
    ],
)
def test_an_attribute_is_used_in_both_directions(away: float, here: float, least: float, verdict: str):
    trials = (trial(away, "shift"), trial(here, "shift-in"))
    assert judged(candidate(), SIDES, trials, least).verdict == verdict


@pytest.mark.parametrize(("fit", "verdict"), [(1.0, "shortcut"), (0.2, "suspect"), (0.1, "clear")])
def test_a_place_counts_as_far_as_it_is_where_images_differ(fit: float, verdict: str):
    trials = (trial(0.5, "shift"), trial(0.5, "shift-in"))
    found = judged(candidate("place", fit), SIDES, trials, SHORTCUT)
    assert found.verdict == verdict
    assert ("may be the thing itself" in found.sentence) == (verdict == "clear")
