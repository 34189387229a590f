"""The suite of shortcuts: its scores, on numbers whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.shortcuts import scores


def test_auroc_is_scikit_learns():
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    for _ in range(20):
        positive = rng.random(30) < 0.4
        found = np.round(rng.normal(positive, 1), 1)  # with ties
        expected = metrics.roc_auc_score(positive, found)
        assert scores.auroc(found, positive) == pytest.approx(expected)
        assert scores.auroc(-found, positive) == pytest.approx(1 - expected)
        assert scores.auroc(found, ~positive) != pytest.approx(expected)
    assert scores.auroc(np.ones(4), np.array([True, False, True, False])) == 0.5
    assert np.isnan(scores.auroc(np.ones(3), np.ones(3, bool)))


def test_spearman_is_scipys():
    from scipy import stats

    rng = np.random.default_rng(1)
    a = np.round(rng.random(40), 1)
    b = np.round(a + rng.normal(0, 0.3, 40), 1)
    assert scores.spearman(a, b) == pytest.approx(stats.spearmanr(a, b)[0])
    assert scores.spearman(a, -b) == pytest.approx(-scores.spearman(a, b))
    assert np.isnan(scores.spearman(a, np.ones(40)))


def test_an_interval_holds_the_value_and_narrows_with_the_networks():
    few = scores.figure(scores.share, np.arange(10) < 7)
    many = scores.figure(scores.share, np.arange(1000) < 700)
    assert few.value == many.value == 0.7
    assert few.low < many.low < 0.7 < many.high < few.high
    # Of a binomial share: 1.96 standard errors.
    assert many.high - many.low == pytest.approx(2 * 1.96 * np.sqrt(0.7 * 0.3 / 1000), rel=0.1)
    nothing = scores.figure(scores.share, np.zeros(0, bool))
    assert nothing.to_dict() == {"value": None, "low": None, "high": None, "networks": 0}


@pytest.mark.parametrize("allowed", [0.0, 0.05, 0.3])
def test_a_threshold_keeps_its_false_alarms(allowed: float):
    rng = np.random.default_rng(2)
    positive = np.arange(200) < 80
    found = np.round(rng.normal(positive, 1), 2)
    bar = scores.threshold(found, positive, allowed)
    assert (found[~positive] >= bar).mean() <= allowed
    assert (found[~positive] >= np.sort(found[found < bar])[-1]).mean() > allowed, "a lower one would do"
