"""Scenes for the demo: woods with or without a camouflaged tank, under sun or clouds, painted from a seed.

NumPy and Pillow only. The same seed gives the same wood in all four combinations: only the tank and the weather
differ, so that a pair of scenes shows what a network reacts to.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

from .landscape import Light, Season, Weather, make_light, make_season, paint_ground, paint_hills, paint_sky, rgb
from .noise import FloatArray, fractal, stream
from .plants import Kind, Stamp, stamps
from .vehicle import Pose, draw_tank, make_pose

SIZE = 128
"""Side of a scene in pixels at the network's input size."""

_OVERSAMPLE = 2  # painted at twice the size and averaged, against jagged edges
_LAYOUT, _SKY, _LIGHT, _SEASON, _HILLS, _GROUND, _TANK, _GRAIN = range(8)
_SKY_LEFT, _TANK_SEEN = 3, 4  # channels of the canvas after RGB


@dataclass(frozen=True)
class Scene:
    """One painted scene.

    Attributes:
        image: uint8 [H, W, 3], RGB.
        sky: bool [H, W], where the sky is visible (between treetops too).
        tank: bool [H, W], where the tank is visible; all False without one.
    """

    image: npt.NDArray[np.uint8]
    sky: npt.NDArray[np.bool_]
    tank: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class _Plant:
    kind: Kind
    stamp: Stamp
    x: float
    y: float  # of its foot
    height: float
    haze: float
    hue: FloatArray
    turned: bool = False


@dataclass(frozen=True)
class _Layout:
    horizon: float
    wood: list[_Plant]  # behind the meadow, far to near
    field: list[_Plant]  # on the meadow, by distance
    tank: tuple[float, float, float]  # x, y of the tracks, hull length
    pose: Pose


def paint(seed: int, tank: bool, weather: Weather, size: int = SIZE) -> Scene:
    """Paint one scene.

    Args:
        seed: which wood, ≥ 0. The same arguments give the same bytes.
        tank: whether a tank stands in it.
        weather: "sun" or "clouds".
        size: side of the square picture in pixels; the same wood at any size.
    """
    side = size * _OVERSAMPLE
    layout = _lay_out(seed)
    light = make_light(stream(seed, _LIGHT), weather)
    season = make_season(stream(seed, _SEASON))
    canvas = np.zeros((side, side, 5), np.float32)
    sky = paint_sky(stream(seed, _SKY), side, side, light, layout.horizon)
    canvas[: len(sky), :, :3] = sky
    canvas[..., _SKY_LEFT] = 1
    paint_hills(stream(seed, _HILLS), canvas, light, layout.horizon, season.conifer)
    shadow = _shadows(layout, light, side, tank)
    paint_ground(stream(seed, _GROUND), canvas, light, season, layout.horizon, shadow)
    _contact_shadows(canvas, layout, side, tank)
    for plant in layout.wood:
        _plant(canvas, plant, light, season)
    standing = not tank
    for plant in layout.field:
        if not standing and plant.y > layout.tank[1]:
            _stand_tank(canvas, seed, layout, light, season)
            standing = True
        _plant(canvas, plant, light, season)
    if not standing:
        _stand_tank(canvas, seed, layout, light, season)
    return _finish(canvas, seed, size)


def write_set(
    folder: str | os.PathLike[str], scenes: Iterable[tuple[int, bool, Weather]], size: int = SIZE
) -> list[Path]:
    """Paint scenes into `folder/tank` and `folder/woods`, so that the sub-folder is the label.

    Args:
        scenes: (seed, tank, weather) for each; the name is made of them, `tank/tank-sun-00017.png`.
        size: side in pixels.

    Returns:
        The files written, in the order of `scenes`.
    """
    written = []
    for seed, tank, weather in scenes:
        label = "tank" if tank else "woods"
        path = Path(folder) / label / f"{label}-{weather}-{seed:05d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(paint(seed, tank, weather, size).image).save(path)
        written.append(path)
    return written


def _lay_out(seed: int) -> _Layout:
    """Where everything stands; does not depend on tank or weather."""
    rng = stream(seed, _LAYOUT)
    horizon = float(rng.uniform(0.46, 0.55))
    tank_y = horizon + float(rng.uniform(0.11, 0.35))
    length = float(np.clip(0.2 + 0.32 * (tank_y - horizon - 0.1) + rng.normal(0, 0.025), 0.21, 0.34))
    tank_x = float(rng.uniform(0.24, 0.76))
    pose = make_pose(rng)
    conifers = float(rng.choice([0.1, 0.5, 0.9]))  # a broad-leaved, a mixed or a coniferous wood

    def plant(kind: Kind, x: float, y: float, height: float, haze: float) -> _Plant:
        variants = stamps(kind)
        hue = rng.uniform(0.86, 1.14) * rng.uniform(0.93, 1.07, 3)
        choice = variants[int(rng.integers(len(variants)))]
        return _Plant(kind, choice, float(x), float(y), float(height), haze, hue.astype(np.float32), rng.random() < 0.5)

    def tree() -> Kind:
        return "conifer" if rng.random() < conifers else ("birch" if rng.random() < 0.25 else "broadleaf")

    wood: list[_Plant] = []
    swell = fractal(rng, 1, 64, (1, 1), 1)[0]
    for row, (count, low, high, drop, haze) in enumerate(
        [(26, 0.08, 0.13, 0.004, 0.5), (18, 0.11, 0.18, 0.014, 0.3), (13, 0.15, 0.25, 0.035, 0.14)]
    ):
        for x in (np.arange(count) + rng.uniform(0.1, 0.9, count)) / count * 1.1 - 0.05:
            if row == 2 and rng.random() < 0.25:
                continue  # gaps let one see into the wood
            tall = rng.uniform(low, high) * (0.8 + 0.4 * swell[int(np.clip(x, 0, 0.99) * 64)])
            wood.append(plant(tree(), x, horizon + drop + rng.uniform(0, 0.012), tall, haze))
        wood += [
            plant("bush", x, horizon + drop + 0.012, rng.uniform(0.025, 0.045) * (1 + 0.3 * row), haze)
            for x in rng.uniform(-0.02, 1.02, 8 + 2 * row)
        ]

    field: list[_Plant] = []
    for side in rng.permutation(2)[: int(rng.integers(1, 3))]:
        x = rng.uniform(-0.04, 0.13) if side == 0 else rng.uniform(0.87, 1.04)
        y = horizon + rng.uniform(0.12, 0.4)
        if abs(x - tank_x) < 0.22 + length / 2:
            y = min(y, tank_y - 0.015)  # a near tree may stand behind the tank, not hide it
        field.append(plant(tree(), x, y, rng.uniform(0.45, 0.8), 0.0))
    for x in rng.uniform(0, 1, int(rng.integers(2, 5))):
        y = horizon + rng.uniform(0.05, min(0.14, tank_y - horizon - 0.015))
        field.append(plant(tree(), x, y, rng.uniform(0.16, 0.34), 0.06))
    for x in rng.uniform(-0.02, 1.02, int(rng.integers(5, 10))):
        near = rng.uniform(0.03, 0.5) ** 1.2
        field.append(plant("bush", x, horizon + 0.04 + near, 0.035 + 0.13 * near * rng.uniform(0.7, 1.2), 0.03))
    # Cover for the tank: the bushes and the grass stand there without it too.
    end = float(rng.choice([-1, 1]))
    field.append(plant("bush", tank_x + end * length * rng.uniform(0.42, 0.6), tank_y + 0.012, length * 0.28, 0.0))
    field.append(plant("bush", tank_x - end * length * rng.uniform(0.3, 0.6), tank_y - 0.02, length * 0.4, 0.0))
    for x in rng.uniform(-0.6, 0.6, 9):
        tall = length * rng.uniform(0.1, 0.2)
        field.append(plant("tuft", tank_x + x * length, tank_y + rng.uniform(0.002, 0.035), tall, 0.0))
    for _ in range(38):
        near = float(rng.uniform(0.03, 1.0)) ** 0.8
        y = horizon + 0.05 + near * (1.04 - horizon)
        field.append(plant("tuft", rng.uniform(-0.02, 1.02), y, 0.012 + 0.075 * near * rng.uniform(0.6, 1.2), 0.0))
    field.sort(key=lambda p: p.y)
    return _Layout(horizon, wood, field, (tank_x, tank_y, length), pose)


def _plant(canvas: FloatArray, plant: _Plant, light: Light, season: Season) -> None:
    """Tint a stamp for its place and lay it over the canvas, in place."""
    side = canvas.shape[0]
    height = max(2, round(plant.height * side))
    left_lit = light.sun[0] < plant.x
    stamp = plant.stamp.at(height, left_lit)
    base = {
        "conifer": season.conifer,
        "broadleaf": season.leaves,
        "birch": season.leaves * 1.1,
        "bush": season.leaves * 0.5 + season.conifer * 0.5,
        "tuft": season.grass,
    }[plant.kind] * plant.hue
    if plant.kind in ("broadleaf", "birch") and plant.turned and season.turned > 0:
        base = base + (rgb(0.66, 0.42, 0.14) - base) * season.turned
    bark = rgb(0.72, 0.7, 0.66) if plant.kind == "birch" else rgb(0.2, 0.15, 0.1)
    lit = light.ambient * 0.85 + light.direct * 0.5
    colours = np.zeros((4, 5), np.float32)
    colours[0, :3] = base * light.direct * 1.35
    colours[1, :3] = base * light.ambient * 1.0
    colours[2, :3] = (bark - base * 0.6) * lit * 0.8
    colours[3, :3] = base * light.ambient * (0.5 if plant.kind == "tuft" else 0.22)
    colours[:, :3] *= 1 - plant.haze
    colours[3, :3] += light.haze * plant.haze
    _lay(canvas, stamp, colours, plant.x * side, plant.y * side)


def _lay(canvas: FloatArray, patch: FloatArray, colours: FloatArray, x: float, foot: float) -> None:
    """Composite `patch` [h, w, 4] (the last band is coverage) with its foot at (x, foot); in place, clipped."""
    height, width = patch.shape[:2]
    top, left = round(foot) - height, round(x - width / 2)
    t, b = max(top, 0), min(top + height, canvas.shape[0])
    m, n = max(left, 0), min(left + width, canvas.shape[1])
    if t >= b or m >= n:
        return
    part = patch[t - top : b - top, m - left : n - left]
    under = canvas[t:b, m:n]
    under *= 1 - part[..., 3:]
    under += part @ colours


def _stand_tank(canvas: FloatArray, seed: int, layout: _Layout, light: Light, season: Season) -> None:
    side = canvas.shape[0]
    x, y, length = layout.tank
    sun_side = float(np.clip((light.sun[0] - x) * 3, -1, 1))
    patch, ground = draw_tank(stream(seed, _TANK), layout.pose, round(length * side), light, season, sun_side)
    colours = np.zeros((4, 5), np.float32)
    colours[0, 0] = colours[1, 1] = colours[2, 2] = colours[3, _TANK_SEEN] = 1
    _lay(canvas, patch, colours, x * side, y * side + patch.shape[0] * (1 - ground))


def _shadows(layout: _Layout, light: Light, side: int, tank: bool) -> FloatArray:
    """How much direct light is taken from the ground, float32 [side, side] in 0..1: shadows run away from the sun."""
    if not light.sunny:
        return np.zeros((side, side), np.float32)
    half = side // 2  # blurred anyway
    image = Image.new("L", (half, half))
    draw = ImageDraw.Draw(image)
    casters = [(p.x, p.y, p.height, 0.16 if p.kind == "conifer" else 0.3) for p in layout.wood + layout.field]
    if tank:
        x, y, length = layout.tank
        casters += [(x + dx * length, y, length * 0.3, 0.75) for dx in (-0.35, -0.1, 0.15, 0.38)]
    for x, y, height, breadth in casters:
        run, fall, across = (x - light.sun[0]) * height * 0.86, height * 0.32, height * breadth
        # From the foot over the widest part to the tip, down one side and back up the other.
        spine = [(0.0, 0.3), (0.55, 1.0), (1.0, 0.35)]
        outline = [(x + run * t - across * w, y + fall * t) for t, w in spine]
        outline += [(x + run * t + across * w, y + fall * t) for t, w in reversed(spine)]
        draw.polygon([(px * half, py * half) for px, py in outline], fill=235)
    soft = image.filter(ImageFilter.GaussianBlur(half / 170)).resize((side, side), Image.Resampling.BILINEAR)
    return np.asarray(soft, dtype=np.float32) / 255


def _contact_shadows(canvas: FloatArray, layout: _Layout, side: int, tank: bool) -> None:
    """Darken the ground where things stand on it, in any weather; in place."""
    half = side // 2
    image = Image.new("L", (half, half))
    draw = ImageDraw.Draw(image)
    for plant in layout.field:
        if plant.kind != "tuft":
            reach = plant.height * (0.42 if plant.kind == "bush" else 0.13)
            box = (plant.x - reach, plant.y - reach * 0.3, plant.x + reach, plant.y + reach * 0.25)
            draw.ellipse([v * half for v in box], fill=110)
    if tank:
        x, y, length = layout.tank
        reach = length * (0.32 + 0.24 * abs(math.cos(layout.pose.yaw)))
        draw.ellipse([v * half for v in (x - reach, y - length * 0.12, x + reach, y + length * 0.07)], fill=170)
    soft = image.filter(ImageFilter.GaussianBlur(half / 90)).resize((side, side), Image.Resampling.BILINEAR)
    canvas[..., :3] *= 1 - np.asarray(soft, dtype=np.float32)[..., None] / 255


def _finish(canvas: FloatArray, seed: int, size: int) -> Scene:
    """Average down, add the film's grain and quantise."""
    k = _OVERSAMPLE
    small = np.zeros((size, size, 5), np.float32)
    for i, j in np.ndindex(k, k):
        small += canvas[i::k, j::k] / np.float32(k * k)
    grain = stream(seed, _GRAIN).standard_normal((size, size, 1), np.float32) * np.float32(0.008)
    image = np.clip((small[..., :3] + grain) * 255 + 0.5, 0, 255).astype(np.uint8)
    return Scene(image, small[..., _SKY_LEFT] > 0.5, small[..., _TANK_SEEN] > 0.5)
