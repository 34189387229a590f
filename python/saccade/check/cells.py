"""Insertion and deletion: pictures whose parts are removed, or come back, in the order of a map.

What is ordered are cells of a grid rather than pixels. Scattered pixels are noise that breaks a network by itself,
wherever they lie: pixels in random order would pass for a better explanation than any smooth map, and maps of another
grain could not be compared (see docs/check.md for what was measured).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..engine.render.reference import upsample

Floats = npt.NDArray[np.float32]
Pixels = npt.NDArray[np.uint8]
Order = npt.NDArray[np.intp]
"""Cells of a grid, counted row by row: a permutation of them, the most important one first."""

CELLS = 14
"""Cells along each side of a picture (16 pixels each at 224); fewer where it has fewer pixels."""
STEPS = 10
"""How many times as many cells are removed, or come back."""


@dataclass(frozen=True)
class Grid:
    """Cells over a picture of height × width pixels."""

    height: int
    width: int

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of cells."""
        return min(CELLS, self.height), min(CELLS, self.width)

    def scores(self, maps: Floats) -> Floats:
        """Each cell's mean of maps [N, h, w], enlarged to the picture's size bilinearly: float32 [N, cells]."""
        large = maps if maps.shape[1:] == (self.height, self.width) else upsample(maps, (self.height, self.width))
        rows, columns = self._firsts()
        sums = np.add.reduceat(np.add.reduceat(large, rows, axis=1), columns, axis=2)
        areas = np.outer(np.diff([*rows, self.height]), np.diff([*columns, self.width]))
        return (sums / areas).reshape(len(maps), -1).astype(np.float32)

    def pixels(self, cells: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """The pixels of chosen cells: bool [cells] to bool [height, width]."""
        rows, columns = self._firsts()
        wide = np.repeat(cells.reshape(self.shape), np.diff([*rows, self.height]), axis=0)
        return np.repeat(wide, np.diff([*columns, self.width]), axis=1)

    def from_centre(self) -> Floats:
        """A map that knows nothing but that photographers aim: falls with the distance from the centre, [1, h, w]."""
        y, x = ((np.arange(n) + 0.5) / n - 0.5 for n in self.shape)
        return -np.hypot(y[:, None], x[None]).astype(np.float32)[None]

    def _firsts(self) -> tuple[Order, Order]:
        rows, columns = self.shape
        # The first pixel of each cell: they tile the picture, and differ by one pixel at most.
        return -(-np.arange(rows) * self.height // rows), -(-np.arange(columns) * self.width // columns)


def order_of(scores: Floats, rng: np.random.Generator) -> Order:
    """Cells from the highest score [cells] to the lowest; equal ones in random order."""
    return np.lexsort((rng.random(len(scores)), -scores))


def exchanged(picture: Pixels, other: Pixels, order: Order, grid: Grid) -> Pixels:
    """`picture` with more and more of its cells, in order, taken from `other`.

    Args:
        picture, other: uint8 [H, W, C].

    Returns:
        uint8 [STEPS - 1, H, W, C]; the pictures between all of the one and all of the other.
    """
    rank = np.empty(len(order), np.intp)
    rank[order] = np.arange(len(order))
    counts = [round(len(order) * step / STEPS) for step in range(1, STEPS)]
    return np.stack([np.where(grid.pixels(rank < count)[..., None], other, picture) for count in counts])


def area_under(probabilities: Sequence[float] | Floats) -> float:
    """The area under a curve of probabilities at equal steps from 0 to 1, by trapezoids: 0..1.

    Petsiuk et al., "RISE: Randomized Input Sampling for Explanation of Black-box Models", BMVC 2018, section 4.2.
    """
    return float(np.trapezoid(probabilities, dx=1 / (len(probabilities) - 1)))
