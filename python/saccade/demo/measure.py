"""Where the demo's networks look, in figures: the share of the evidence in the painter's masks, and accuracy.

NumPy only. The maps may come from any runtime: a network enters as a function from images to logits and maps.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .landscape import Weather
from .scenes import Scene, paint

Explain = Callable[[npt.NDArray[np.uint8], int], tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]]
"""(images uint8 [N, 128, 128, 3], class index or -1 for the predicted one) → logits [N, 2], maps [N, h, w] ≥ 0."""

HELD_OUT = 1_000_000
"""First of the seeds that training never paints."""
MARGIN = 8
"""Pixels by which the tank's mask is dilated: one cell of the 16 × 16 map, which cannot point finer than that."""

_TANK, _WOODS = 0, 1


@dataclass(frozen=True)
class Figures:
    """What the demo claims, all means over held-out scenes, as fractions.

    Attributes:
        scenes: held-out scenes of each combination of tank and weather.
        weather_sky: network 1, weather as in its training, predicted class: share of the evidence in the sky.
        sky_area: share of the picture that is sky in the same scenes, what a map that points nowhere would give.
        tanks_tank: network 2, scenes with a tank in either weather, class tank: share of the evidence in the tank's
            mask dilated by `MARGIN`.
        tank_area: share of the picture that is dilated tank in the same scenes.
        blank: maps without evidence, left out of both means: (network 1, network 2).
        weather_as_trained, weather_swapped: network 1's accuracy with tanks in the sun and none under clouds, and the
            other way round.
        tanks_as_trained, tanks_swapped: network 2's accuracy on the same scenes.
    """

    scenes: int
    weather_sky: float
    sky_area: float
    tanks_tank: float
    tank_area: float
    blank: tuple[int, int]
    weather_as_trained: float
    weather_swapped: float
    tanks_as_trained: float
    tanks_swapped: float

    def to_dict(self) -> dict[str, object]:
        """The figures for JSON, rounded to four digits."""
        raw = dataclasses.asdict(self)
        return {k: round(v, 4) if isinstance(v, float) else v for k, v in raw.items()}


def enlarge_maps(maps: npt.NDArray[np.float32], height: int, width: int) -> npt.NDArray[np.float32]:
    """Bilinear to float32 [N, height, width] from [N, h, w]; a cell's value sits at its centre, edges repeat."""
    rows, columns = _bilinear(maps.shape[1], height), _bilinear(maps.shape[2], width)
    return (rows @ maps @ columns.T).astype(np.float32)


def _bilinear(cells: int, pixels: int) -> npt.NDArray[np.float32]:
    """Weights float32 [pixels, cells] of linear interpolation between cell centres."""
    centre = np.clip((np.arange(pixels) + 0.5) * cells / pixels - 0.5, 0, cells - 1)
    low = np.minimum(centre.astype(np.intp), max(cells - 2, 0))
    part = (centre - low).astype(np.float32)
    weights = np.zeros((pixels, cells), np.float32)
    weights[np.arange(pixels), low] = 1 - part
    weights[np.arange(pixels), np.minimum(low + 1, cells - 1)] += part
    return weights


def dilate(masks: npt.NDArray[np.bool_], pixels: int) -> npt.NDArray[np.bool_]:
    """Grow masks bool [N, H, W] by a square of `pixels` to every side."""
    grown = masks.copy()
    for axis in (1, 2):
        before = grown.copy()
        for shift in range(1, pixels + 1):
            ahead, behind = [slice(None)] * 3, [slice(None)] * 3
            ahead[axis], behind[axis] = slice(shift, None), slice(None, -shift)
            grown[tuple(ahead)] |= before[tuple(behind)]
            grown[tuple(behind)] |= before[tuple(ahead)]
    return grown


def evidence_share(maps: npt.NDArray[np.float32], masks: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.float64], int]:
    """How much of each map's mass lies in its mask.

    Args:
        maps: float32 [N, h, w], ≥ 0 and unscaled, as Grad-CAM gives them; enlarged bilinearly to the masks' size.
        masks: bool [N, H, W].

    Returns:
        Shares float64 [N] in 0..1: mass inside the mask ÷ whole mass, NaN for a map without any mass; and how many
        of those there are. Take means with `np.nanmean` and say the count.

    Raises:
        ValueError: the numbers of maps and masks differ, or a map is negative or not finite.
    """
    if maps.ndim != 3 or masks.ndim != 3 or len(maps) != len(masks):
        raise ValueError(
            f"evidence_share: expected maps [N, h, w] and masks [N, H, W], got {maps.shape}, {masks.shape}"
        )
    if not (np.isfinite(maps).all() and (maps >= 0).all()):
        raise ValueError("evidence_share: expected finite maps ≥ 0, as Grad-CAM gives them; clip at 0 first")
    large = enlarge_maps(maps, *masks.shape[1:]).astype(np.float64)
    total = large.sum((1, 2))
    inside = (large * masks).sum((1, 2))
    shares = np.divide(inside, total, out=np.full(len(maps), np.nan), where=total > 0)
    return shares, int((total <= 0).sum())


def held_out(count: int, tank: bool, weather: Weather) -> list[Scene]:
    """`count` scenes from seeds that training never paints; the same woods for all four combinations."""
    return [paint(HELD_OUT + i, tank, weather) for i in range(count)]


def figures(weather: Explain, tanks: Explain, scenes: int = 64) -> Figures:
    """Measure both networks on 4 × `scenes` held-out scenes (`weather` is network 1, `tanks` network 2)."""
    tank_sun, tank_clouds = held_out(scenes, True, "sun"), held_out(scenes, True, "clouds")
    woods_sun, woods_clouds = held_out(scenes, False, "sun"), held_out(scenes, False, "clouds")
    as_trained, swapped = _images(tank_sun + woods_clouds), _images(tank_clouds + woods_sun)
    truth = np.repeat([_TANK, _WOODS], scenes)

    logits, maps = weather(as_trained, -1)
    sky = np.stack([s.sky for s in tank_sun + woods_clouds])
    sky_shares, sky_blank = evidence_share(maps, sky)
    with_tank = tank_sun + tank_clouds
    _, tank_maps = tanks(_images(with_tank), _TANK)
    near_tank = dilate(np.stack([s.tank for s in with_tank]), MARGIN)
    tank_shares, tank_blank = evidence_share(tank_maps, near_tank)

    def accuracy(explain: Explain, images: npt.NDArray[np.uint8]) -> float:
        return float((explain(images, -1)[0].argmax(1) == truth).mean())

    return Figures(
        scenes=scenes,
        weather_sky=float(np.nanmean(sky_shares)),
        sky_area=float(sky.mean()),
        tanks_tank=float(np.nanmean(tank_shares)),
        tank_area=float(near_tank.mean()),
        blank=(sky_blank, tank_blank),
        weather_as_trained=float((logits.argmax(1) == truth).mean()),
        weather_swapped=accuracy(weather, swapped),
        tanks_as_trained=accuracy(tanks, as_trained),
        tanks_swapped=accuracy(tanks, swapped),
    )


def _images(scenes: list[Scene]) -> npt.NDArray[np.uint8]:
    return np.stack([s.image for s in scenes])
