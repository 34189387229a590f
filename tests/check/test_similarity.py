"""Rank correlation and structural similarity, against loops over places and what they must be."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from saccade.check.similarity import rank_correlations, structural_similarities


def drawn(seed: int, count: int = 3, size: tuple[int, int] = (9, 12), signed: bool = False) -> np.ndarray:
    maps = np.random.default_rng(seed).standard_normal((count, *size)).astype(np.float32)
    return maps if signed else np.abs(maps)


def slow_ssim(a: np.ndarray, b: np.ndarray, span: float) -> float:
    """Wang et al.'s equations, place by place: the window's weights from the definition, mirrored borders."""
    offsets = np.arange(-5, 6)
    weights = np.exp(-(offsets[:, None] ** 2 + offsets[None] ** 2) / (2 * 1.5**2))
    weights /= weights.sum()
    a, b = a.astype(np.float64) / np.abs(a).max(), b.astype(np.float64) / np.abs(b).max()
    wide_a, wide_b = np.pad(a, 5, "symmetric"), np.pad(b, 5, "symmetric")
    c1, c2 = (0.01 * span) ** 2, (0.03 * span) ** 2
    found = []
    for y, x in np.ndindex(*a.shape):
        p, q = wide_a[y : y + 11, x : x + 11], wide_b[y : y + 11, x : x + 11]
        mp, mq = (weights * p).sum(), (weights * q).sum()
        vp, vq = (weights * (p - mp) ** 2).sum(), (weights * (q - mq) ** 2).sum()
        c = (weights * (p - mp) * (q - mq)).sum()
        found.append((2 * mp * mq + c1) * (2 * c + c2) / ((mp**2 + mq**2 + c1) * (vp + vq + c2)))
    return float(np.mean(found))


@pytest.mark.parametrize(("signed", "span"), [(False, 1.0), (True, 2.0)])
def test_structural_similarity_is_that_of_the_loops(signed: bool, span: float):
    a, b = drawn(0, signed=signed), drawn(1, signed=signed)
    b[2] = a[2] + 0.3 * b[2]
    expected = [slow_ssim(x, y, span) for x, y in zip(a, b, strict=True)]
    np.testing.assert_allclose(structural_similarities(a, b), expected, rtol=1e-6)
    assert expected[2] > expected[0] + 0.1  # the loops tell like from unlike
    assert abs(slow_ssim(a[0], b[0], 3 - span) - expected[0]) > 1e-4  # and the wrong range is seen


def test_structural_similarity_of_equal_maps_is_1_it_is_symmetric_and_scale_does_not_matter():
    a, b = drawn(2), drawn(3)
    np.testing.assert_allclose(structural_similarities(a, a), 1)
    np.testing.assert_allclose(structural_similarities(a, (1e-6 * a).astype(np.float32)), 1)
    np.testing.assert_allclose(structural_similarities(a, b), structural_similarities(b, a))
    assert (structural_similarities(a, b) < 0.9).all()


def test_maps_smaller_than_the_window_and_blank_ones_have_a_similarity():
    small = drawn(4, size=(2, 3))
    assert np.isfinite(structural_similarities(small, small[::-1].copy())).all()
    assert (structural_similarities(small, np.zeros_like(small)) < 0.5).all()


def test_rank_correlation_is_scipys_with_ties():
    a, b = drawn(5), drawn(6)
    a[:, 3:] = 0  # as a ReLU leaves it
    both = zip(a, b, strict=True)
    expected = [stats.spearmanr(x.ravel(), y.ravel()).statistic for x, y in both]  # pyright: ignore[reportAttributeAccessIssue]
    np.testing.assert_allclose(rank_correlations(a, b), expected, rtol=1e-9, atol=1e-12)
    assert not np.allclose(rank_correlations(a, a), expected)


def test_rank_correlation_of_equal_turned_and_blank_maps():
    a = drawn(7)
    np.testing.assert_allclose(rank_correlations(a, a**3), 1)
    np.testing.assert_allclose(rank_correlations(a, -a), -1)
    np.testing.assert_array_equal(rank_correlations(a, np.zeros_like(a)), 0)


def test_what_is_no_number_has_no_similarity_and_hurts_no_other():
    a, b = drawn(8), drawn(9)
    b[1, 0, 0] = np.inf
    for measure in (rank_correlations, structural_similarities):
        found = measure(a, b)
        assert np.isnan(found).tolist() == [False, True, False]
        np.testing.assert_allclose(found[[0, 2]], measure(a[[0, 2]], b[[0, 2]]))
