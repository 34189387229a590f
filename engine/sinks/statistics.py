"""What a map says in a few numbers, over all photos at once.

Evidence is a map's positive part. Shares of it are NaN for a blank map, one without any: it is nowhere.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

STATISTICS = ("max", "mean", "border_mass", "corner_mass", "center_x", "center_y", "spread")
"""The keys of `map_statistics`, in the order of the evidence columns."""

BORDER = 1 / 8
"""The border's width on each side, as a share of the map's height and width."""

CORNER = 1 / 4
"""The four corners' height and width, as a share of the map's: a date stamp or a watermark fits."""


def map_statistics(maps: Floats) -> dict[str, Floats]:
    """Statistics of N maps.

    Cells that lie partly in the border or a corner count with that part of their area.

    Args:
        maps: float32 [N, h, w], finite.

    Returns:
        float32 [N] each:
        max: the greatest value, raw; 0 for a blank map.
        mean: the mean of the evidence, raw.
        border_mass: share of the evidence in the outer ring, 1/8 of height and width on each side; a uniform map has
            0.4375.
        corner_mass: share of the evidence in the four corners, each 1/4 of height by 1/4 of width; a uniform map has
            0.25.
        center_x, center_y: the evidence's centroid, 0 (left, top) to 1 (right, bottom).
        spread: share of the area that holds the strongest half of the evidence, above 0 to 0.5 (uniform).
    """
    count, height, width = maps.shape
    evidence = np.maximum(maps, 0).astype(np.float64)
    top = evidence.max(axis=(1, 2), initial=0.0)
    # Scaled by the maximum, neither a vanishing nor a huge map under- or overflows below.
    shares = evidence / np.where(top > 0, top, 1)[:, None, None]
    total = shares.sum(axis=(1, 2))
    # A blank map's shares are 0 / NaN = NaN, without a warning.
    shares /= np.where(total > 0, total, np.nan)[:, None, None]
    rows, columns = shares.sum(axis=2), shares.sum(axis=1)
    ring = (1 - _edge(height, BORDER))[:, None] * (1 - _edge(width, BORDER))
    corners = _edge(height, CORNER)[:, None] * _edge(width, CORNER)
    statistics = {
        "max": top,
        "mean": evidence.mean(axis=(1, 2)),
        "border_mass": 1 - np.tensordot(shares, ring, axes=2),
        "corner_mass": np.tensordot(shares, corners, axes=2),
        "center_x": columns @ ((np.arange(width) + 0.5) / width),
        "center_y": rows @ ((np.arange(height) + 0.5) / height),
        "spread": _spread(shares.reshape(count, height * width)),
    }
    return {name: values.astype(np.float32) for name, values in statistics.items()}


def channel_statistics(activations: Floats) -> tuple[Floats, Floats]:
    """Each channel's mean and maximum: float32 [N, C, h, w] → two of float32 [N, C]."""
    return activations.mean(axis=(2, 3), dtype=np.float64).astype(np.float32), activations.max(axis=(2, 3))


def area_average(maps: Floats, height: int, width: int) -> Floats:
    """Average maps over a coarser grid; a cell counts with the part of its area that lies in the new one.

    Args:
        maps: float32 [N, H, W].
        height: rows of the new grid; where it would be finer than the old one, the rows stay as they are.
        width: columns of it, likewise.

    Returns:
        float32 [N, min(height, H), min(width, W)].
    """
    count, rows, columns = maps.shape
    down = _averaging(rows, min(height, rows))
    across = _averaging(columns, min(width, columns))
    # The sides one after the other, the first as a single product: a hundred times faster than N small ones in float64.
    narrow = (maps.reshape(count * rows, columns) @ across.T).reshape(count, rows, len(across))
    averages: Floats = np.matmul(down, narrow, dtype=np.float32)
    return averages


def _edge(cells: int, share: float) -> npt.NDArray[np.float64]:
    """For each of `cells` along a side, the part of it within `share` of either end: [cells]."""
    begin = np.arange(cells) / cells
    end = begin + 1 / cells
    inside = np.minimum(end, 1 - share) - np.maximum(begin, share)
    return 1 - np.maximum(inside, 0) * cells


def _averaging(fine: int, coarse: int) -> Floats:
    """[coarse, fine], rows sum to 1: the overlap of the cells of two grids over the same side."""
    # In units of 1 / (fine · coarse) all borders are whole numbers, so an integral factor gives exact weights.
    old, new = np.arange(fine) * coarse, np.arange(coarse) * fine
    overlap = np.minimum(new[:, None] + fine, old + coarse) - np.maximum(new[:, None], old)
    return (np.maximum(overlap, 0) / fine).astype(np.float32)


def _spread(shares: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """[N, cells] → [N], the number of strongest cells that hold half, the last one in part, over all cells."""
    count, cells = shares.shape
    strongest = np.sort(shares, axis=1)[:, ::-1]
    held = np.cumsum(strongest, axis=1)
    last = np.minimum((held < 0.5).sum(axis=1), cells - 1)
    row = np.arange(count)
    before = held[row, last] - strongest[row, last]
    with np.errstate(invalid="ignore"):
        return (last + (0.5 - before) / strongest[row, last]) / cells
