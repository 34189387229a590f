import numpy as np
import pytest
from agree import identical, off_by_one_at_most_seldom
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from saccade.engine import render
from saccade.engine.render import reference

F32_MAX = float(np.finfo(np.float32).max)

stacks = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=4, max_dims=4, min_side=1, max_side=6),
    elements=st.floats(-1e6, 1e6, width=32) | st.sampled_from([np.nan, np.inf, -np.inf, 0.0]),
)
maps3 = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=9),
    elements=st.floats(-100, 100, width=32) | st.sampled_from([np.nan, np.inf, -np.inf]),
)
limits = st.tuples(st.floats(-100, 100, width=32), st.floats(-100, 100, width=32))


@settings(deadline=None)
@given(stacks, st.sampled_from(["map", "image", "batch"]), st.sampled_from([(0, 100), (1, 99), (5, 50)]), st.booleans())
def test_ranges_are_the_references(maps: np.ndarray, scope: render.Scope, percentiles: tuple, zero: bool):
    got = render.value_ranges(maps, scope, percentiles, zero)
    wanted = reference.value_ranges(maps, scope, percentiles, zero)
    assert got.shape == wanted.shape == (*maps.shape[:2], 2)
    # Two formulas for the point between two order statistics, both in float64 and then rounded.
    np.testing.assert_allclose(got, wanted, rtol=1e-6, atol=1e-6)
    if percentiles == (0, 100):
        identical(got, wanted)


@settings(deadline=None)
@given(maps3, limits, st.tuples(st.integers(1, 40), st.integers(1, 40)), st.sampled_from(["bilinear", "nearest"]))
def test_index_is_the_references(maps: np.ndarray, pair: tuple, size: tuple[int, int], sampling: render.Sampling):
    ranges = np.tile(np.array(pair, np.float32), (len(maps), 1))
    # Every floating-point step is one IEEE operation in the same order, so there is nothing to be off by.
    identical(
        render.index_maps(maps, ranges, size, sampling, threads=2), reference.index_maps(maps, ranges, size, sampling)
    )


@pytest.mark.parametrize("value", [0.0, 3.5, -2.0, np.nan, np.inf, -np.inf, F32_MAX])
def test_a_flat_map_is_blank(value: float):
    maps = np.full((1, 1, 5, 5), value, np.float32)
    for percentiles in ((0, 100), (1, 99)):
        ranges = render.value_ranges(maps, percentiles=percentiles)[:, 0]
        assert np.isfinite(ranges).all()
        assert not render.index_maps(maps[:, 0], ranges, (11, 11)).any()


def test_nan_is_zero_and_does_not_spread_from_an_exact_hit():
    maps = np.array([[[1, np.nan], [2, np.inf]]], np.float32)
    assert render.index_maps(maps, [(0, 2)]).tolist() == [[[128, 0], [255, 255]]]


def test_the_widest_range_is_not_blank():
    maps = np.array([[[-F32_MAX, 0, F32_MAX]]], np.float32)
    assert render.index_maps(maps, render.value_ranges(maps[:, None])[:, 0]).tolist() == [[[0, 128, 255]]]


def test_sparse_evidence_is_not_lost_to_its_percentile():
    maps = np.zeros((1, 1, 50, 50), np.float32)
    maps[0, 0, 3, 4] = 2.0
    assert render.value_ranges(maps, percentiles=(0, 99), zero=True).tolist() == [[[0.0, 2.0]]]


def test_evidence_without_anything_positive_has_no_range():
    assert render.value_ranges(np.full((1, 1, 3, 3), -1, np.float32), zero=True).tolist() == [[[0.0, 0.0]]]


def test_an_empty_batch():
    assert render.value_ranges(np.empty((0, 3, 2, 2), np.float32), "batch").shape == (0, 3, 2)
    assert render.index_maps(np.empty((0, 2, 2), np.float32), np.empty((0, 2)), (4, 4)).shape == (0, 4, 4)


@pytest.mark.parametrize(("source", "size"), [((7, 7), (224, 224)), ((14, 9), (37, 100)), ((32, 32), (11, 5))])
def test_bilinear_is_torchs(source: tuple[int, int], size: tuple[int, int]):
    torch = pytest.importorskip("torch")
    maps = torch.randn(4, 1, *source, generator=torch.Generator().manual_seed(0))
    theirs = torch.nn.functional.interpolate(maps, size, mode="bilinear", align_corners=False)[:, 0].numpy()
    ours = reference.upsample(maps[:, 0].numpy(), size)
    np.testing.assert_allclose(ours, theirs, atol=2e-5)
    ranges = render.value_ranges(maps)[:, 0]
    indices = render.index_maps(maps[:, 0], ranges, size)
    off_by_one_at_most_seldom(indices, reference.quantise(reference.levels(theirs, ranges)), 0.01)


def test_nearest_is_torchs_nearest_exact():
    torch = pytest.importorskip("torch")
    maps = torch.randn(2, 1, 5, 8)
    theirs = torch.nn.functional.interpolate(maps, (13, 64), mode="nearest-exact")[:, 0].numpy()
    identical(reference.upsample(maps[:, 0].numpy(), (13, 64), "nearest"), theirs)
