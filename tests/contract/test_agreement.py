"""How near answers are: the measure, fed with wrong answers."""

from __future__ import annotations

import json

import numpy as np
import pytest

from saccade.engine.contract import Maps, SaccadeError, agree
from saccade.engine.contract.agreement import spearman

RANDOM = np.random.default_rng(3)


def answers(count: int = 8) -> Maps:
    logits = RANDOM.normal(0, 3, (count, 5)).astype(np.float32)
    return Maps(logits, logits.argmax(axis=1), {"grad_cam": RANDOM.gamma(1, 1, (count, 7, 7)).astype(np.float32)})


def changed(maps: Maps, **of: np.ndarray) -> Maps:
    return Maps(of.get("logits", maps.logits), maps.target, {"grad_cam": of.get("grad_cam", maps.maps["grad_cam"])})


def test_spearman_is_scipys():
    stats = pytest.importorskip("scipy.stats")
    for _ in range(20):
        a, b = RANDOM.integers(0, 6, (2, 40)).astype(np.float32)  # with ties, as a CAM's zeros are
        assert spearman(a, b) == pytest.approx(stats.spearmanr(a, b).statistic)
    flat, other = np.zeros(5), np.arange(5.0)
    assert (spearman(flat, flat + 1), spearman(flat, other), spearman(other, -other)) == (1, 0, -1)


def test_the_same_answers_agree():
    maps = answers()
    found = agree([maps, maps], [maps, maps])
    assert (found.images, found.changed, found.finite) == (16, 0, True)
    assert found.rank_correlation == {"grad_cam": pytest.approx(1)}
    assert found.max_error == {"grad_cam": 0}
    found.check("run: bfloat16", "use --precision float32")
    assert json.loads(json.dumps(found.to_json()))["images"] == 16
    assert "0.0% of 16 predictions change; grad_cam rank correlation 1.0000" in found.describe()


def test_wrong_answers_are_refused():
    maps = answers()
    cam = maps.maps["grad_cam"]
    broken = cam.copy()
    broken[0, 0, 0] = np.inf
    cases = {
        "changes grad_cam: rank correlation": changed(maps, grad_cam=cam[::-1]),
        "changes grad_cam: rank correlation -1.000, expected at least 0.95": changed(maps, grad_cam=-cam),
        "changes 12.5% of the predictions, expected at most 2%": changed(
            maps, logits=np.concatenate([-maps.logits[:1], maps.logits[1:]])
        ),
        "gives values that are no numbers": changed(maps, grad_cam=broken),
    }
    for message, wrong in cases.items():
        found = agree([wrong], [maps])
        with pytest.raises(SaccadeError, match=message):
            found.check("run: bfloat16", "use --precision float32")
    nothing = agree([changed(maps, grad_cam=broken)], [maps])
    with pytest.raises(SaccadeError, match="no numbers"):  # what no force gets through
        nothing.check("run: float16", "use --precision float32", force=True)


def test_what_may_be_forced():
    maps = answers()
    agree([changed(maps, grad_cam=-maps.maps["grad_cam"])], [maps]).check("run:", "", force=True)
    other = changed(maps, logits=-maps.logits)
    assert agree([other], [maps]).changed == 1
    agree([other], [maps]).check("run:", "", predictions=False)
    assert agree([other], [maps], classes=False).changed == 0
