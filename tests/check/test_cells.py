"""Orders of cells, the pictures that they make, and the area under what a network says of them."""

from __future__ import annotations

import numpy as np
import pytest

from saccade.check.cells import CELLS, STEPS, Grid, area_under, exchanged, order_of


@pytest.mark.parametrize("size", [(224, 224), (32, 32), (100, 37), (5, 30)])
def test_cells_tile_the_picture(size: tuple[int, int]):
    grid = Grid(*size)
    rows, columns = grid.shape
    assert (rows, columns) == (min(CELLS, size[0]), min(CELLS, size[1]))
    seen = sum(grid.pixels(np.arange(rows * columns) == i).astype(int) for i in range(rows * columns))
    assert (np.asarray(seen) == 1).all()
    areas = [grid.pixels(np.arange(rows * columns) == i).sum() for i in range(rows * columns)]
    assert min(areas) > 0
    assert max(areas) <= (size[0] // rows + 1) * (size[1] // columns + 1)


def test_a_cells_score_is_the_mean_of_its_pixels():
    grid = Grid(50, 37)
    maps = np.random.default_rng(0).standard_normal((2, 50, 37)).astype(np.float32)
    count = np.prod(grid.shape)
    expected = [[m[grid.pixels(np.arange(count) == i)].mean() for i in range(count)] for m in maps]
    np.testing.assert_allclose(grid.scores(maps), expected, rtol=1e-4, atol=1e-6)
    assert not np.allclose(grid.scores(maps[::-1]), expected)


def test_a_coarse_map_puts_its_maximum_where_it_lies():
    grid = Grid(224, 224)
    maps = np.zeros((1, 7, 7), np.float32)
    maps[0, 2, 5] = 1
    row, column = np.unravel_index(grid.scores(maps)[0].argmax(), grid.shape)
    assert (row // 2, column // 2) == (2, 5)


def test_an_order_is_a_permutation_from_high_to_low_and_ties_are_not_in_reading_order():
    scores = np.array([0, 3, 0, 1, 0, 0, 2, 0, 0, 0], np.float32)
    found = [order_of(scores, np.random.default_rng(seed)) for seed in range(20)]
    for order in found:
        assert sorted(order) == list(range(10))
        assert order[:3].tolist() == [1, 6, 3]
    assert len({tuple(order) for order in found}) > 10


def test_the_centre_comes_first_and_the_corners_last():
    grid = Grid(56, 56)
    order = order_of(grid.scores(grid.from_centre())[0], np.random.default_rng(0))
    rows, columns = np.unravel_index(order, grid.shape)
    middle = (CELLS - 1) / 2
    distance = np.hypot(rows - middle, columns - middle)
    assert set(zip(rows[:4], columns[:4], strict=True)) == {(6, 6), (6, 7), (7, 6), (7, 7)}
    assert distance[:49].mean() < distance[49:98].mean() < distance[-49:].mean()


def test_more_and_more_of_the_other_picture_is_seen_in_order():
    grid = Grid(28, 28)
    black, white = np.zeros((28, 28, 3), np.uint8), np.full((28, 28, 3), 255, np.uint8)
    order = np.random.default_rng(0).permutation(196)
    shown = exchanged(black, white, order, grid)
    assert shown.shape == (STEPS - 1, 28, 28, 3)
    np.testing.assert_allclose(shown.mean(axis=(1, 2, 3)) / 255, np.arange(1, STEPS) / STEPS, atol=1 / 196)
    assert (np.diff(shown.astype(int), axis=0) >= 0).all()
    assert (shown[0][grid.pixels(np.isin(np.arange(196), order[:20]))] == 255).all()
    assert (shown[-1][grid.pixels(np.arange(196) == order[-1])] == 0).all()


def test_areas():
    assert area_under([0.3] * 11) == pytest.approx(0.3)
    assert area_under([1, 0]) == pytest.approx(0.5)
    assert area_under([1, 0, 0, 0, 0]) == pytest.approx(1 / 8)
    assert area_under([0, 1, 0.5]) == pytest.approx(0.625)


def test_the_map_that_knows_is_better_than_chance_and_its_contrary_worse():
    """A network whose probability is the share of the object that is left."""
    grid, rng = Grid(28, 28), np.random.default_rng(0)
    picture, other = np.full((28, 28, 1), 200, np.uint8), np.zeros((28, 28, 1), np.uint8)
    object_ = np.zeros((28, 28), np.float32)
    object_[4:12, 16:24] = 1

    def areas(scores: np.ndarray) -> tuple[float, float]:
        order = order_of(scores.astype(np.float32), rng)
        inside = object_ > 0
        left = [p[inside].mean() / 200 for p in exchanged(picture, other, order, grid)]
        back = [p[inside].mean() / 200 for p in exchanged(other, picture, order, grid)]
        return area_under([1, *left, 0]), area_under([0, *back, 1])

    knows, chance = areas(grid.scores(object_[None])[0]), areas(rng.random(196))
    contrary = areas(-grid.scores(object_[None])[0])
    assert knows[0] < 0.2 < chance[0] < 0.8 < contrary[0]
    assert knows[1] > 0.8 > chance[1] > 0.2 > contrary[1]
