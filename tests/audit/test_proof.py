"""Trials: what is counted, and what a network is asked."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pytest

from saccade.audit.findings import Interval, Trial
from saccade.audit.proof import Group, Network, donors, effect_interval, interval, outcome, trial
from saccade.engine.contract import Maps

Pixels = npt.NDArray[np.uint8]


class Runner:
    """Says class 0 where the upper left pixel is bright, else class 1."""

    def __init__(self) -> None:
        self.spec = SimpleNamespace(num_outputs=2, softmax=True)
        self.seen: list[int] = []

    def run(self, images: Pixels) -> Maps:
        self.seen.append(len(images))
        bright = images[:, 0, 0, 0] / 255.0
        logits = np.stack([bright * 8 - 4, 4 - bright * 8], axis=1).astype(np.float32)
        return Maps(logits, logits.argmax(axis=1), {})


def network() -> tuple[Network, Runner]:
    runner = Runner()
    return Network(cast(Any, runner), 4), runner


def group(bright: list[bool], ask: Network) -> Group:
    images = np.full((len(bright), 8, 8, 3), 100, np.uint8)
    images[:, 0, 0] = np.where(bright, 255, 0)[:, None]
    return Group(np.arange(len(bright)) + 10, images, ask(images))


def test_the_network_is_asked_in_batches_and_counts():
    ask, runner = network()
    said = ask(np.zeros((10, 8, 8, 3), np.uint8))
    assert runner.seen == [4, 4, 2]
    assert ask.passes == 10
    np.testing.assert_allclose(said.sum(axis=1), 1, rtol=1e-6)
    assert said[0, 1] == pytest.approx(1 / (1 + np.exp(-8)))
    assert ask(np.zeros((0, 8, 8, 3), np.uint8)).shape == (0, 2)


def test_an_outcome_counts_flips_in_its_direction():
    ask, runner = network()
    images = group([True, True, False, False], ask)
    changed = images.images.copy()
    changed[0, 0, 0], changed[2, 0, 0] = 0, 255
    away, here = (outcome(ask, images, changed, 0, leaves) for leaves in (True, False))
    assert away.flipped.tolist() == [True, False, False, False]
    assert here.flipped.tolist() == [False, False, True, False]
    assert away.change[0] < -0.9
    assert away.change[2] > 0.9
    assert away.change[[1, 3]].tolist() == [0, 0]
    assert runner.seen[1:] == [2, 2]  # what did not change needs no second look


def test_a_trial_keeps_what_flipped_first():
    ask, _ = network()
    images = group([True] * 6, ask)
    changed = images.images.copy()
    changed[[1, 4], 0, 0] = 0
    treated, sham = (outcome(ask, images, pictures, 0, leaves=True) for pictures in (changed, images.images))
    rng = np.random.default_rng(0)
    made = trial(images, 0, "replace", ("blackened", treated), ("left", sham), ["day", "night"], rng)
    assert made.flips.value == pytest.approx(2 / 6)
    assert made.control_flips.value == 0
    assert made.effect == pytest.approx(2 / 6)
    assert [e.row for e in made.examples[:2]] == [11, 14]
    first = made.examples[0]
    assert (first.before, first.after) == ("day", "night")
    assert first.sure_before > 0.9 > 0.1 > first.sure_after
    assert first.picture_before[0, 0, 0] == 255
    assert first.picture_after[0, 0, 0] == 0
    alone = trial(images, 0, "replace", ("blackened", treated), ("left", None), ["day", "night"], rng)
    assert alone.control_flips.images == 0
    assert alone.effect == pytest.approx(2 / 6)


def test_intervals_hold_what_they_claim():
    """Of many samples with a known mean, about 95 % of the intervals hold it."""
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(300):
        found = interval(rng.random(40) < 0.3, rng)
        held += found.low <= 0.3 <= found.high
    assert 0.9 <= held / 300 <= 0.99


def test_an_interval_of_equal_values_is_no_point():
    found = interval(np.ones(30, bool), np.random.default_rng(0))
    assert (found.value, found.low, found.high, found.images) == (1, pytest.approx(0.9), 1, 30)
    assert interval(np.zeros(2, bool), np.random.default_rng(0)).high == 1
    assert np.isnan(interval(np.zeros(0, bool), np.random.default_rng(0)).value)


def made(flips: float, control: float, half: float) -> Trial:
    def around(value: float) -> Interval:
        return Interval(value, value - half, value + half, 50)

    return Trial("", "shift", around(flips), around(0), "", around(control), around(0))


def test_the_effect_is_the_mean_beyond_the_control():
    value, low, high = effect_interval([made(0.9, 0.1, 0.1), made(0.5, 0.1, 0.1)])
    assert value == pytest.approx(0.6)
    assert high - low == pytest.approx(0.2)
    assert effect_interval([]) == (0, 0, 0)


@pytest.mark.parametrize("count", [2, 3, 17])
def test_nobody_is_its_own_donor(count: int):
    given = donors(count, count, np.random.default_rng(0), others=False)
    assert sorted(given) == list(range(count))
    assert (given != np.arange(count)).all()
    assert donors(count, 3, np.random.default_rng(0), others=True).max() < 3
