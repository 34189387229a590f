"""Places of a picture: a part of it, the same in every image, whatever the image shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from ..engine import sinks
from ..engine.render.reference import upsample

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

GRID = 16
"""Places are parts of a grid of so many cells a side."""

LARGEST = 0.5
"""A place is at most so much of the picture: what is larger is no place in it."""

CONTENT = 0.35
"""Cohen's d between classes in what a place shows, from which it is the same in all images: chosen on five kinds of
benchmarks/shortcuts. Half a class with a frame has 0.5; an object that moves about makes 0.15."""

_CELLS = 3  # a place has at least so many
_USUAL = 20.0  # grey levels: the contrast of an ordinary cell
_LARGE = 1.0  # d: where there is so much, what is half as large as the greatest is no less of a difference
_MASS = 0.6  # of the evidence's mean map that a place found from it holds
_BY_CHANCE = 3.9  # above the mean of the greatest of six squared normal numbers (3.0)

SAME = 0.75
"""Intersection over union from which two places are one."""


@dataclass(frozen=True)
class Place:
    """A part of the picture.

    Attributes:
        name: what it is called, "the upper left corner".
        where: float32 [GRID, GRID], 1 within it.
    """

    name: str
    where: Floats = field(repr=False)

    @property
    def area(self) -> float:
        """Share of the picture."""
        return float(self.where.mean())


def plain_places() -> list[Place]:
    """Where things are that are no objects: the border, the corners, the outer thirds."""
    eighth, quarter, third = GRID // 8, GRID // 4, GRID // 3
    border = np.ones((GRID, GRID), np.float32)
    border[eighth:-eighth, eighth:-eighth] = 0
    found = [border]
    for rows in (slice(quarter), slice(-quarter, None)):
        found += [_part(rows, columns) for columns in (slice(quarter), slice(-quarter, None))]
    found += [_part(rows, slice(None)) for rows in (slice(third), slice(-third, None))]
    found += [_part(slice(None), columns) for columns in (slice(third), slice(-third, None))]
    return [Place(describe(where), where) for where in found]


def place_of_map(mean_map: Floats) -> Place | None:
    """Where a mean map points: its strongest cells, until they hold most of it; None if that is no place.

    Args:
        mean_map: float [h, w] ≥ 0.
    """
    if not mean_map.sum() > 0:
        return None
    fine = _finer(mean_map)
    order = np.argsort(-fine, axis=None, kind="stable")
    held = np.cumsum(fine.ravel()[order]) / fine.sum()
    where = np.zeros(GRID * GRID, np.float32)
    where[order[: int(np.searchsorted(held, _MASS)) + 1]] = 1
    return _cleaned(where.reshape(GRID, GRID))


def places_of_content(difference: Floats) -> list[Place]:
    """Where two classes' images differ, at the same place in all of them.

    Args:
        difference: of `content_difference`, float32 [GRID, GRID].
    """
    labels, count = ndimage.label(differing(difference))  # pyright: ignore[reportGeneralTypeIssues]
    found = [_cleaned((labels == i).astype(np.float32)) for i in range(1, count + 1)]
    return [place for place in found if place is not None]


def differing(difference: Floats) -> npt.NDArray[np.bool_]:
    """The cells in which classes differ much, for a difference that is nowhere very large: bool [GRID, GRID]."""
    return difference >= np.clip(difference.max() / 2, CONTENT, _LARGE)


def fit(place: Place, difference: Floats) -> float:
    """How well a place is where classes differ: the Dice coefficient (1945) with the cells of `differing`, 0 to 1."""
    within, most = place.where > 0.5, differing(difference)
    return float(2 * (within & most).sum() / max(within.sum() + most.sum(), 1))


def part(place: Place, difference: Floats) -> Place | None:
    """The part of a place in which classes differ much; None if that is next to nothing."""
    return _cleaned(place.where * differing(difference))


def content_difference(own: Floats, others: Floats) -> Floats:
    """For each cell, the greatest |d| (Cohen 1988) between two classes' colour and contrast there.

    An object that is now here, now there, makes a small one; a stamp in the corner a large one. What the greatest of
    several would be by chance alone is taken off, in squares: with few images that is much.

    Args:
        own, others: of `cells_of`, float32 [N, GRID, GRID, 2 C], or of `relative`.

    Returns:
        float32 [GRID, GRID].
    """
    if min(len(own), len(others)) < 2:
        return np.zeros((GRID, GRID), np.float32)
    spread = np.sqrt((own.var(axis=0, ddof=1) + others.var(axis=0, ddof=1)) / 2)
    d = np.abs(own.mean(axis=0) - others.mean(axis=0)) / np.maximum(spread, 1.0)  # one grey level is no difference
    by_chance = _BY_CHANCE * (1 / len(own) + 1 / len(others))
    return np.sqrt(np.maximum(d.max(axis=-1) ** 2 - by_chance, 0)).astype(np.float32)


def evidence_in(maps: Floats, places: Sequence[Place]) -> Floats:
    """Share of each map's evidence in each place: [N, h, w] → float32 [N, P], NaN for a blank map."""
    evidence = np.maximum(maps, 0)
    if evidence.shape[1] > GRID or evidence.shape[2] > GRID:
        evidence = sinks.area_average(evidence, GRID, GRID)
    count, h, w = evidence.shape
    weights = sinks.area_average(np.stack([p.where for p in places]), h, w).reshape(len(places), h * w)
    flat = evidence.reshape(count, h * w).astype(np.float64)
    total = flat.sum(axis=1, keepdims=True)
    return (flat @ weights.T / np.where(total > 0, total, np.nan)).astype(np.float32)


def elsewhere(place: Place) -> Place | None:
    """A place of the same form and size, away from it; None if there is no room for that."""
    rows, columns = np.nonzero(place.where > 0)
    if not len(rows):
        return None
    shifts = [
        (y, x)
        for y in range(-int(rows.min()), GRID - int(rows.max()))
        for x in range(-int(columns.min()), GRID - int(columns.max()))
    ]
    best = min(shifts, key=lambda by: (overlap(np.roll(place.where, by, (0, 1)), place.where), -np.hypot(*by)))
    where = np.roll(place.where, best, (0, 1))
    return Place(describe(where), where) if overlap(where, place.where) < 0.1 else None


def central(place: Place) -> bool:
    """Whether it is mostly in the middle, where photographers put what they mean."""
    middle = np.zeros((GRID, GRID), np.float32)
    middle[GRID // 4 : -GRID // 4, GRID // 4 : -GRID // 4] = 1
    return bool((place.where * middle).sum() > 0.5 * place.where.sum())


def overlap(a: Floats, b: Floats) -> float:
    """Intersection over union of two regions on the same grid."""
    union = np.maximum(a, b).sum()
    return float(np.minimum(a, b).sum() / union) if union > 0 else 0.0


def distinct(places: Sequence[Place]) -> list[Place]:
    """Those that are not nearly one that comes before."""
    kept: list[Place] = []
    for place in places:
        if all(overlap(place.where, other.where) < SAME for other in kept):
            kept.append(place)
    return kept


def describe(where: Floats) -> str:
    """A place in words."""
    inside = where > 0.5
    if not inside.any():
        return "nowhere"
    ring = np.ones((GRID, GRID), bool)
    ring[GRID // 8 : -GRID // 8, GRID // 8 : -GRID // 8] = False
    area = inside.mean()
    sides = (inside[0].mean(), inside[-1].mean(), inside[:, 0].mean(), inside[:, -1].mean())
    if min(sides) > 0.6 and inside[~ring].mean() < 0.25:
        return "the border"
    if area > 0.6:
        return "most of the picture"
    rows, columns = np.nonzero(inside)
    top, bottom, left, right = rows.min(), rows.max() + 1, columns.min(), columns.max() + 1
    y, x = (rows.mean() + 0.5) / GRID, (columns.mean() + 0.5) / GRID
    high = "upper" if y < 0.4 else "lower" if y > 0.6 else ""
    side = "left" if x < 0.4 else "right" if x > 0.6 else ""
    small = bottom - top <= GRID * 0.45 and right - left <= GRID * 0.45
    touches = (top == 0 or bottom == GRID) and (left == 0 or right == GRID)
    if high and side and small:
        return f"the {high} {side} corner" if touches else f"a spot in the {high} {side}"
    if right - left >= GRID * 0.7 and high:
        return f"the {high} part"
    if bottom - top >= GRID * 0.7 and side:
        return f"the {side} side"
    if not (high or side):
        return "the middle"
    if small:
        return f"a spot in the {high} {side or 'middle'}" if high else f"a spot on the {side}"
    return f"the {high} {side} part" if high and side else f"the {high or side} part"


def _part(rows: slice, columns: slice) -> Floats:
    where = np.zeros((GRID, GRID), np.float32)
    where[rows, columns] = 1
    return where


def _finer(mean_map: Floats) -> Floats:
    """A map on the places' grid."""
    if mean_map.shape[0] > GRID or mean_map.shape[1] > GRID:
        mean_map = sinks.area_average(mean_map[None].astype(np.float32), GRID, GRID)[0]
    return upsample(mean_map[None].astype(np.float32), (GRID, GRID))[0]


def _cleaned(where: Floats) -> Place | None:
    """Without holes and single cells; None if nothing is left, or more than a place may be."""
    inside = ndimage.binary_closing(np.pad(where > 0.5, 2, mode="edge"))[2:-2, 2:-2]
    labels, count = ndimage.label(inside)  # pyright: ignore[reportGeneralTypeIssues]
    sizes = ndimage.sum_labels(inside, labels, range(1, count + 1))
    kept = np.isin(labels, [i + 1 for i, size in enumerate(sizes) if size >= _CELLS])
    found = kept.astype(np.float32)
    return Place(describe(found), found) if 0 < found.mean() <= LARGEST else None


def cells_of(images: Pixels) -> Floats:
    """Mean and standard deviation of each cell's channels: uint8 [N, H, W, C] → float32 [N, GRID, GRID, 2 C]."""
    found = []
    values = images.astype(np.float32)
    for channel in range(images.shape[3]):
        mean = _averaged(values[..., channel])
        square = _averaged(values[..., channel] ** 2)
        found += [mean, np.sqrt(np.maximum(square - mean**2, 0))]
    return np.stack(found, axis=-1)


def relative(cells: Floats) -> Floats:
    """Cells' colours less the image's mean, and their contrasts as multiples of its mean contrast, in grey levels: what
    the whole image has, a cast or a blur, is no difference of a cell then.
    """
    mean, contrast = cells[..., 0::2], cells[..., 1::2]
    found = np.empty_like(cells)
    found[..., 0::2] = mean - mean.mean(axis=(1, 2), keepdims=True)
    found[..., 1::2] = _USUAL * contrast / (contrast.mean(axis=(1, 2), keepdims=True) + 1)
    return found


def _averaged(values: Floats) -> Floats:
    """[N, H, W] → [N, GRID, GRID], also where the picture is smaller than the grid."""
    small = sinks.area_average(values, GRID, GRID)
    rows = np.arange(GRID) * small.shape[1] // GRID
    columns = np.arange(GRID) * small.shape[2] // GRID
    return small[:, rows][:, :, columns]
