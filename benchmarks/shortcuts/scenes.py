"""The suite's scenes: a meadow under a sky, and on it a tank, a barn or nothing, painted from a seed.

Made of the demo's painter (sky, hills, ground, plants, tank), without its woods: what tells the classes apart has to be
learnt in seconds by a small network. The thing varies in place, size, turn and colour; the light, the season, the
horizon and the plants vary alike in every class.
"""

from __future__ import annotations

import colorsys
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from saccade.demo import landscape
from saccade.demo.landscape import Light, Season, Weather
from saccade.demo.noise import FloatArray, stream
from saccade.demo.plants import Kind, stamps
from saccade.demo.vehicle import draw_tank, make_pose

Pixels = npt.NDArray[np.uint8]
Thing = Literal["nothing", "tank", "barn"]
THINGS: tuple[Thing, ...] = get_args(Thing)
WEATHERS: tuple[Weather, ...] = get_args(Weather)
SIZE = 64
"""Side of a scene in pixels."""

_OVERSAMPLE = 2
_LAYOUT, _SKY, _LIGHT, _SEASON, _HILLS, _GROUND, _THING, _GRAIN = range(8)
_GRAIN_SIZE = 0.02
_GROUND_PLANTS: tuple[Kind, ...] = ("bush", "conifer", "broadleaf")


@dataclass(frozen=True)
class Views:
    """One seed's scene in every weather, with every thing on the same meadow.

    Attributes:
        images: uint8 [weathers, things, 64, 64, 3], in the order of `WEATHERS` and `THINGS`.
        sky: bool [64, 64], where the sky is visible; the same in all of them but for a thing's own top.
        thing: bool [things, 64, 64], where the thing is.
    """

    images: Pixels
    sky: npt.NDArray[np.bool_]
    thing: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class _Place:
    horizon: float
    x: float
    y: float  # of its foot
    length: float  # of the thing, in widths of the picture


def paint(seed: int) -> Views:
    """Paint one seed's scenes; the same seed gives the same bytes."""
    side = SIZE * _OVERSAMPLE
    rng = stream(seed, _LAYOUT)
    horizon = float(rng.uniform(0.28, 0.48))
    y = float(rng.uniform(horizon + 0.16, 0.94))
    near = (y - horizon) / (0.94 - horizon)
    place = _Place(horizon, float(rng.uniform(0.2, 0.8)), y, float(rng.uniform(0.18, 0.26) + 0.12 * near))
    plants = _plants(rng, horizon)
    season = landscape.make_season(stream(seed, _SEASON))
    images = np.empty((len(WEATHERS), len(THINGS), SIZE, SIZE, 3), np.uint8)
    things = np.zeros((len(THINGS), SIZE, SIZE), np.bool_)
    sky = np.zeros((SIZE, SIZE), np.bool_)
    grain = stream(seed, _GRAIN).standard_normal((SIZE, SIZE, 1), np.float32) * np.float32(_GRAIN_SIZE)
    for w, weather in enumerate(WEATHERS):
        light = landscape.make_light(stream(seed, _LIGHT), weather)
        meadow = _meadow(seed, side, horizon, light, season)
        for plant in plants:
            _plant(meadow, *plant, light, season)
        for t, thing in enumerate(THINGS):
            canvas = meadow.copy() if thing != "nothing" else meadow
            covered = _stand(canvas, seed, thing, place, light, season)
            small = _average(canvas)
            images[w, t] = np.clip((small[..., :3] + grain) * 255 + 0.5, 0, 255).astype(np.uint8)
            things[t] = _average(covered[..., None])[..., 0] > 0.5
            if thing == "nothing":
                sky = small[..., 3] > 0.5
    return Views(images, sky, things)


def _meadow(seed: int, side: int, horizon: float, light: Light, season: Season) -> FloatArray:
    """Sky, hills and ground, float32 [side, side, 4]; channel 3 is how much sky is left."""
    canvas = np.zeros((side, side, 4), np.float32)
    sky = landscape.paint_sky(stream(seed, _SKY), side, side, light, horizon)
    canvas[: len(sky), :, :3] = sky
    canvas[..., 3] = 1
    landscape.paint_hills(stream(seed, _HILLS), canvas, light, horizon, season.conifer)
    no_shadow = np.zeros((side, side), np.float32)
    landscape.paint_ground(stream(seed, _GROUND), canvas, light, season, horizon, no_shadow)
    return canvas


def _plants(rng: np.random.Generator, horizon: float) -> list[tuple[Kind, int, float, float, float]]:
    """(kind, variant, x, y of the foot, height) of some plants, far to near."""
    found = []
    for _ in range(int(rng.integers(8, 18))):
        near = float(rng.uniform(0, 1)) ** 1.5
        kind: Kind = _GROUND_PLANTS[int(rng.integers(len(_GROUND_PLANTS)))]
        tall = (0.08 + 0.14 * near) * float(rng.uniform(0.7, 1.4)) * (0.6 if kind == "bush" else 1.2)
        variant = int(rng.integers(len(stamps(kind))))
        found.append((kind, variant, float(rng.uniform(0, 1)), horizon + 0.03 + near * (0.9 - horizon), tall))
    return sorted(found, key=lambda plant: plant[3])


def _plant(
    canvas: FloatArray,
    kind: Kind,
    variant: int,
    x: float,
    y: float,
    tall: float,
    light: Light,
    season: Season,
) -> None:
    side = len(canvas)
    stamp = stamps(kind)[variant].at(max(2, round(tall * side)), light.sun[0] < x)
    base = season.conifer if kind == "conifer" else season.leaves
    lit = light.ambient * 0.85 + light.direct * 0.5
    colours = np.zeros((4, 3), np.float32)
    colours[0], colours[1] = base * light.direct * 1.35, base * light.ambient
    colours[2], colours[3] = (landscape.rgb(0.2, 0.15, 0.1) - base * 0.6) * lit * 0.8, base * light.ambient * 0.22
    _lay(canvas, stamp @ colours, stamp[..., 3], x * side, y * side)


def _lay(canvas: FloatArray, colour: FloatArray, alpha: FloatArray, x: float, foot: float) -> FloatArray:
    """Composite a premultiplied patch [h, w, 3] with its foot at (x, foot), in place; its coverage [side, side]."""
    height, width = alpha.shape
    top, left = round(foot) - height, round(x - width / 2)
    t, b = max(top, 0), min(top + height, canvas.shape[0])
    m, n = max(left, 0), min(left + width, canvas.shape[1])
    covered = np.zeros(canvas.shape[:2], np.float32)
    if t < b and m < n:
        part = (slice(t - top, b - top), slice(m - left, n - left))
        covered[t:b, m:n] = alpha[part]
        canvas[t:b, m:n] *= 1 - alpha[part][..., None]
        canvas[t:b, m:n, :3] += colour[part]
    return covered


def _stand(canvas: FloatArray, seed: int, thing: Thing, place: _Place, light: Light, season: Season) -> FloatArray:
    """Stand a thing on the meadow, in place; its coverage [side, side]."""
    side = len(canvas)
    if thing == "nothing":
        return np.zeros((side, side), np.float32)
    rng = stream(seed, _THING)
    # Camouflage: the meadow's own colours, repainted by a third.
    tones = [own + (_colour(rng) - own) * np.float32(0.35) for own in (season.grass, season.conifer, season.earth)]
    if thing == "tank":
        painted = dataclasses.replace(season, grass=tones[0], conifer=tones[1], earth=tones[2])
        sun_side = float(np.clip((light.sun[0] - place.x) * 3, -1, 1))
        patch, foot = draw_tank(rng, make_pose(rng), round(place.length * side), light, painted, sun_side)
    else:
        patch, foot = _barn(rng, tones, round(place.length * side), light)
    y = place.y * side + patch.shape[0] * (1 - foot)
    return _lay(canvas, patch[..., :3], patch[..., 3], place.x * side, y)


def _colour(rng: np.random.Generator) -> FloatArray:
    hue, saturation, value = rng.uniform(0, 1), rng.uniform(0.05, 0.5), rng.uniform(0.25, 0.9)
    return np.array(colorsys.hsv_to_rgb(hue, saturation, value), np.float32)


def _barn(rng: np.random.Generator, tones: Sequence[FloatArray], length: int, light: Light) -> tuple[FloatArray, float]:
    """A barn with two walls, a gable and a roof, as `draw_tank` gives a tank."""
    k = 2
    wide, deep = length * k * rng.uniform(0.5, 0.6), length * k * rng.uniform(0.25, 0.45)
    wall, roof = length * k * rng.uniform(0.26, 0.38), length * k * rng.uniform(0.18, 0.28)
    width, height = int(wide + deep + 6), int(wall + roof + 6)
    image = Image.new("RGBA", (width, height))
    draw = ImageDraw.Draw(image)
    base, eaves, ridge = height - 2, height - 2 - wall, height - 2 - wall - roof
    left, corner, right = 2.0, 2.0 + deep, 2.0 + deep + wide
    lit = light.ambient * 0.85 + light.direct * 0.62

    def ink(tone: FloatArray, shade: float) -> tuple[int, int, int]:
        red, green, blue = (int(v) for v in np.clip(tone * lit * shade * 255, 0, 255))
        return red, green, blue

    middle = (left + corner) / 2
    draw.polygon([(left, base), (corner, base), (corner, eaves), (middle, ridge), (left, eaves)], ink(tones[0], 0.72))
    draw.rectangle([corner, eaves, right, base], ink(tones[0], 1.0))
    draw.polygon(
        [(middle, ridge), (right - deep / 2, ridge), (right + 2, eaves + 2), (corner, eaves + 2)], ink(tones[1], 0.9)
    )
    door = corner + wide * rng.uniform(0.2, 0.6)
    draw.rectangle([door, base - wall * 0.6, door + wide * 0.2, base], ink(tones[2], 0.6))
    if rng.random() < 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    small = np.asarray(image.resize((width // k, height // k), Image.Resampling.BOX), np.float32) / 255
    patch = small.copy()  # Pillow's box filter premultiplies and divides again
    patch[..., :3] *= small[..., 3:]
    return patch, 0.96


def _average(canvas: FloatArray) -> FloatArray:
    """[side, side, C] to [64, 64, C]."""
    k = _OVERSAMPLE
    return canvas.reshape(SIZE, k, SIZE, k, -1).mean((1, 3))
