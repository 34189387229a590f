from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from saccade.engine.sinks import STATISTICS, area_average, channel_statistics, map_statistics

SHARES = [name for name in STATISTICS if name not in ("max", "mean")]


def of_one(values: npt.ArrayLike) -> dict[str, float]:
    found = map_statistics(np.asarray(values, np.float32)[None])
    assert tuple(found) == STATISTICS
    assert all(v.dtype == np.float32 and v.shape == (1,) for v in found.values())
    return {name: float(v[0]) for name, v in found.items()}


@pytest.mark.parametrize("shape", [(7, 7), (1, 1), (3, 20), (28, 28), (8, 8)])
def test_a_uniform_map(shape: tuple[int, int]) -> None:
    found = of_one(np.full(shape, 3))
    expected = {"max": 3, "mean": 3, "border_mass": 0.4375, "corner_mass": 0.25}
    assert found == pytest.approx(expected | {"center_x": 0.5, "center_y": 0.5, "spread": 0.5})


def test_a_single_cell() -> None:
    middle = np.zeros((8, 8))
    middle[3, 4] = 5
    expected = {"max": 5, "mean": 5 / 64, "border_mass": 0, "corner_mass": 0}
    assert of_one(middle) == pytest.approx(
        expected | {"center_x": 4.5 / 8, "center_y": 3.5 / 8, "spread": 0.5 / 64}, abs=1e-7
    )
    corner = np.zeros((8, 8))
    corner[7, 0] = 1
    found = of_one(corner)
    assert (found["border_mass"], found["corner_mass"]) == pytest.approx((1, 1))
    assert (found["center_x"], found["center_y"]) == pytest.approx((0.5 / 8, 7.5 / 8))


def test_cells_count_with_the_part_of_their_area() -> None:
    """On 2×2, a cell reaches from the edge to the middle: 9/16 of it is inner, a quarter in the corner."""
    found = of_one([[1, 0], [0, 0]])
    assert found["border_mass"] == pytest.approx(1 - (3 / 4) ** 2)
    assert found["corner_mass"] == pytest.approx(1 / 4)


def test_spread_interpolates_the_last_cell() -> None:
    assert of_one([[4, 3], [2, 1]])["spread"] == pytest.approx((1 + 1 / 3) / 4)


@pytest.mark.parametrize("values", [np.zeros((7, 7)), -np.ones((7, 7)), np.zeros((1, 1))])
def test_a_blank_map_is_nowhere(values: npt.NDArray[np.float64]) -> None:
    found = of_one(values)
    assert (found["max"], found["mean"]) == (0, 0)
    assert all(np.isnan(found[name]) for name in SHARES)


def test_no_maps_at_all() -> None:
    assert all(v.shape == (0,) for v in map_statistics(np.zeros((0, 7, 7), np.float32)).values())


def test_maps_do_not_touch_each_other() -> None:
    maps = np.random.default_rng(0).random((5, 6, 9), np.float32)
    maps[2] = 0
    together = map_statistics(maps)
    for i, one in enumerate(maps):
        assert of_one(one) == pytest.approx({k: float(v[i]) for k, v in together.items()}, nan_ok=True)


@settings(deadline=None)
@given(
    arrays(
        np.float32,
        st.tuples(st.just(3), st.integers(1, 12), st.integers(1, 12)),
        elements=st.floats(-(2.0**120), 2.0**127, width=32),
    ),
    st.sampled_from([1.0, 1e-30, 1e-42]),
)
def test_in_range_for_any_finite_map(maps: npt.NDArray[np.float32], scale: float) -> None:
    maps = (maps * np.float32(scale)).astype(np.float32)
    found = map_statistics(maps)
    blank = maps.max(axis=(1, 2)) <= 0
    for name in SHARES:
        assert np.isnan(found[name][blank]).all()
        values = found[name][~blank]
        assert ((values >= -1e-6) & (values <= 1 + 1e-6)).all(), name
    assert (found["spread"][~blank] <= 0.5 + 1e-6).all()
    assert (found["spread"][~blank] > 0).all()


def test_channels() -> None:
    activations = np.arange(48, dtype=np.float32).reshape(2, 3, 2, 4) - 20
    mean, most = channel_statistics(activations)
    np.testing.assert_allclose(mean, activations.reshape(2, 3, -1).mean(axis=2))
    np.testing.assert_array_equal(most, activations.reshape(2, 3, -1).max(axis=2))
    assert mean.dtype == most.dtype == np.float32


@settings(deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 12), st.integers(1, 12), st.integers(0, 3))
def test_area_average_against_brute_force(height: int, width: int, down: int, across: int, seed: int) -> None:
    maps = np.random.default_rng(seed).random((2, height, width), np.float32)
    down, across = min(down, height), min(across, width)
    fine = np.repeat(np.repeat(maps.astype(np.float64), down, axis=1), across, axis=2)  # a common grid of both
    expected = fine.reshape(2, down, height, across, width).mean(axis=(2, 4))
    found = area_average(maps, down, across)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    with pytest.raises(AssertionError):
        np.testing.assert_allclose(found * 1.001, expected, rtol=1e-5)


def test_area_average_never_refines() -> None:
    maps = np.random.default_rng(0).random((2, 5, 30), np.float32)
    assert area_average(maps, 28, 28).shape == (2, 5, 28)
    np.testing.assert_array_equal(area_average(maps, 28, 30), maps)
