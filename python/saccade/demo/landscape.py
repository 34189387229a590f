"""What lies behind the trees: the light of the weather, the sky, the hills and the meadow.

Colours are float32 RGB in 0..1, as shown on a screen; coordinates are fractions of the picture's side, y down.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from .noise import FloatArray, enlarge, fractal, smoothstep

Weather = Literal["sun", "clouds"]


def rgb(red: float, green: float, blue: float) -> FloatArray:
    """A colour as float32 [3]."""
    return np.array([red, green, blue], np.float32)


@dataclass(frozen=True)
class Light:
    """The light on everything under the sky.

    Attributes:
        sunny: whether there is direct light.
        sun: x, y of the sun.
        direct, ambient: float32 [3], light from the sun's side and from the whole sky; colours are multiplied by it.
        haze: float32 [3], what distance fades to.
        warmth: 0..1, how late in the day it is.
    """

    sunny: bool
    sun: tuple[float, float]
    direct: FloatArray
    ambient: FloatArray
    haze: FloatArray
    warmth: float


def make_light(rng: np.random.Generator, weather: Weather) -> Light:
    """The light of one scene.

    Exposure and strength vary so much from scene to scene that the ground's brightness says little about the weather.
    """
    sun = (float(rng.uniform(0.08, 0.92)), float(rng.uniform(0.05, 0.2)))
    warmth, strength, exposure, veil = rng.random(4, np.float32)
    level = 0.84 + 0.3 * exposure
    if weather == "sun":
        direct = (rgb(1.1, 0.98, 0.72) * (1 - warmth) + rgb(1.2, 0.9, 0.52) * warmth) * (0.36 + 0.5 * strength) * level
        ambient = rgb(0.66, 0.74, 0.82) * (0.9 - 0.22 * strength) * level
        haze = rgb(0.7, 0.78, 0.84) * (1 - warmth) + rgb(0.82, 0.8, 0.74) * warmth
    else:
        direct = rgb(0.95, 1.0, 1.0) * (0.12 + 0.2 * strength) * level
        ambient = rgb(0.93, 0.96, 0.96) * (0.9 + 0.1 * warmth) * level
        haze = (rgb(0.69, 0.75, 0.79) * (1 - warmth) + rgb(0.75, 0.76, 0.74) * warmth) * (0.88 + 0.16 * veil)
    return Light(weather == "sun", sun, direct.astype(np.float32), ambient.astype(np.float32), haze, float(warmth))


def paint_sky(rng: np.random.Generator, height: int, width: int, light: Light, horizon: float) -> FloatArray:
    """The sky of a frame of `height` × `width` from its top to below the horizon, float32 [rows, width, 3].

    Painted at half the size: nothing in a sky is sharp.
    """
    below = int((horizon + 0.05) * height)
    small = _half_sky(rng, height // 2, width // 2, light, horizon)[: (below + 1) // 2]
    return np.stack([enlarge(small[..., c], below, width) for c in range(3)], axis=-1)


def _half_sky(rng: np.random.Generator, height: int, width: int, light: Light, horizon: float) -> FloatArray:
    y = (np.arange(height, dtype=np.float32) + 0.5)[:, None] / height
    x = (np.arange(width, dtype=np.float32) + 0.5)[None, :] / width
    # Clouds lie on a ceiling: towards the horizon they come closer together.
    down = np.clip(y[:, 0] / horizon, 0, 1)
    rows = ((0.65 * down + 0.35 * down**2) * (height - 1)).astype(np.intp)
    field = fractal(rng, height, width, (5, 3), 5, 0.55)[rows]
    second = fractal(rng, height, width, (7, 2), 4, 0.55)[rows]
    cover, mood = rng.random(2, np.float32)
    t = np.clip(y / horizon, 0, 1)[..., None] * np.ones((1, width, 1), np.float32)
    if light.sunny:
        return _blue_sky(x, y, t, field, second, float(cover), light)
    return _grey_sky(t, field, second, float(cover), float(mood), light)


def _blue_sky(
    x: FloatArray, y: FloatArray, t: FloatArray, field: FloatArray, second: FloatArray, cover: float, light: Light
) -> FloatArray:
    zenith = rgb(0.16, 0.37, 0.72) * (1 - light.warmth) + rgb(0.27, 0.43, 0.7) * light.warmth
    middle = rgb(0.47, 0.68, 0.91) * (1 - light.warmth) + rgb(0.62, 0.73, 0.86) * light.warmth
    low = rgb(0.83, 0.9, 0.95) * (1 - light.warmth) + rgb(0.99, 0.87, 0.66) * light.warmth
    sky = np.where(t < 0.55, zenith + (middle - zenith) * (t / 0.55), middle + (low - middle) * ((t - 0.55) / 0.45))
    distance = np.sqrt((x - light.sun[0]) ** 2 + (y - light.sun[1]) ** 2)[..., None]
    glow = 0.5 * np.exp(-distance / 0.2) + 0.5 * np.exp(-((distance / 0.075) ** 2))
    sky = sky + (rgb(1.0, 0.95, 0.78) - sky) * np.clip(glow, 0, 1)
    # Fair-weather clouds: white, lit from the sun's side by the slope of the noise, thin in most scenes.
    slope = _shifted(field, 3) - field
    puffs = smoothstep(field, 0.72 - 0.2 * cover, 0.98 - 0.2 * cover)[..., None]
    lit = np.clip(0.93 + 1.2 * slope, 0.7, 1.0)[..., None]
    sky = sky + (rgb(1.0, 0.99, 0.96) * lit - sky) * puffs * 0.9
    cirrus = smoothstep(second, 0.55, 1.1)[..., None]
    sky = sky + (1.0 - sky) * cirrus * 0.4
    disc = 1 - smoothstep(distance, 0.03, 0.038)
    return sky + (rgb(1.0, 0.99, 0.92) - sky) * disc


def _shifted(values: FloatArray, rows: int) -> FloatArray:
    """Rows moved down by `rows` (up if negative); the edge row repeats."""
    return values[np.clip(np.arange(len(values)) - rows, 0, len(values) - 1)]


def _grey_sky(
    t: FloatArray, field: FloatArray, second: FloatArray, cover: float, mood: float, light: Light
) -> FloatArray:
    dark = rgb(0.36, 0.39, 0.44) + 0.14 * np.float32(mood)
    bright = rgb(0.8, 0.82, 0.84) + 0.08 * np.float32(mood)
    # Two decks: a soft high one and ragged lower ones, whose undersides are dark and whose edges catch light.
    relief = _shifted(field, -4) - field
    value = 0.42 * second + 0.38 * field + (0.4 + 0.9 * cover) * relief + 0.1
    sky = dark + (bright - dark) * smoothstep(value, 0.1, 0.95)[..., None]
    rags = smoothstep(field, 0.52, 0.85)[..., None]
    sky = sky + (dark * 0.92 - sky) * rags * (0.25 + 0.4 * cover)
    return sky + (light.haze * 1.06 - sky) * (t**2.2) * 0.75


def paint_hills(
    rng: np.random.Generator, picture: FloatArray, light: Light, horizon: float, foliage: FloatArray
) -> None:
    """Two or three hazy ridges over `picture` (float32 [H, W, ≥4], channel 3 is how much sky is left), in place."""
    height, width = picture.shape[:2]
    first, last = int((horizon - 0.22) * height), int((horizon + 0.03) * height)
    y = (np.arange(first, last, dtype=np.float32) + 0.5)[:, None]
    band = picture[first:last]
    for ridge in range(3):
        line = fractal(rng, 2, width, (1, 2), 1)[0] * 0.1 + fractal(rng, 4, width, (1, 11), 2)[0] * 0.02
        lift = 0.125 - 0.045 * ridge
        # The nearest ridge is wooded: its line is ragged with treetops.
        teeth = np.abs(fractal(rng, 4, width, (1, 60), 1)[0] - 0.5) * 0.035 * ridge / 2
        top = (horizon - line - lift + 0.06 - teeth) * height
        alpha = np.clip(y - top[None, :] + 0.5, 0, 1)[..., None]
        fade = 0.86 - 0.2 * ridge
        body = foliage * (light.ambient * 0.8 + light.direct * 0.5)
        colour = body * (1 - fade) + (light.haze * rgb(0.86, 0.92, 1.0)) * fade
        texture = 1 + (fractal(rng, last - first, width, (4, 24), 2) - 0.5)[..., None] * 0.09 * ridge
        band[..., :3] += (colour * texture - band[..., :3]) * alpha
        band[..., 3:] *= 1 - alpha


@dataclass(frozen=True)
class Season:
    """The colours of one scene's plants and soil, each float32 [3]."""

    grass: FloatArray
    dry: FloatArray
    earth: FloatArray
    conifer: FloatArray
    leaves: FloatArray
    turned: float  # share of broad-leaved trees in autumn colours


def make_season(rng: np.random.Generator) -> Season:
    """Late spring to early autumn, independent of the weather."""
    year = float(rng.random())
    fresh, late = rgb(0.46, 0.58, 0.22), rgb(0.62, 0.56, 0.31)
    leaf_fresh, leaf_late = rgb(0.44, 0.58, 0.18), rgb(0.47, 0.49, 0.2)
    hue = rng.uniform(0.93, 1.07, 3).astype(np.float32)
    return Season(
        grass=(fresh + (late - fresh) * year) * hue,
        dry=rgb(0.72, 0.64, 0.38) * hue,
        earth=rgb(0.43, 0.34, 0.23) * hue,
        conifer=rgb(0.27, 0.39, 0.21) * rng.uniform(0.85, 1.1, 3).astype(np.float32),
        leaves=leaf_fresh + (leaf_late - leaf_fresh) * year,
        turned=max(0.0, year - 0.6) * 1.2,
    )


def paint_ground(
    rng: np.random.Generator,
    picture: FloatArray,
    light: Light,
    season: Season,
    horizon: float,
    shadow: FloatArray,
) -> None:
    """The meadow below the horizon over `picture` (float32 [H, W, ≥4]), in place.

    Args:
        shadow: float32 [H, W] in 0..1, how much of the direct light something takes away.
    """
    height, width = picture.shape[:2]
    edge = (horizon + (fractal(rng, 4, width, (1, 4), 2)[0] - 0.5) * 0.02) * height
    first = int(edge.min())
    y = np.arange(first, height, dtype=np.float32)[:, None] + 0.5
    near = np.clip((y - first) / (height - first), 0, 1)
    # Perspective: rows of the texture lie closer together far away.
    deep = height // 2
    rows = (near[:, 0] ** 0.45 * (deep - 1)).astype(np.intp)
    patches = fractal(rng, deep, width, (5, 4), 4, 0.6)[rows]
    soil = fractal(rng, deep, width, (6, 3), 4, 0.55)[rows]
    fine = fractal(rng, deep, width, (30, 44), 2, 0.9)[rows]
    # Blades of grass: noise that is taller than wide, growing towards the viewer.
    blades = enlarge(rng.random((96, 128), np.float32), height - first, width) - 0.5
    colour = season.grass + (season.dry - season.grass) * smoothstep(patches, 0.45, 0.95)[..., None]
    colour = colour + (season.earth - colour) * (smoothstep(soil, 0.62, 0.95) * 0.8)[..., None]
    texture = 0.82 + 0.42 * (fine - 0.2) * (0.45 + 0.55 * near) + 0.4 * blades * near
    dark_far = 1 - 0.3 * np.exp(-near / 0.05)  # the wood's own shade, where the meadow meets the trees
    lit = light.ambient * 0.95 + light.direct * (0.78 * (1 - shadow[first:]))[..., None]
    ground = colour * (texture * dark_far * (1 - 0.12 * near))[..., None] * lit
    fade = (0.24 * np.exp(-near / 0.1))[..., None]
    ground += (light.haze - ground) * fade
    alpha = np.clip(y - edge[None, :] + 0.5, 0, 1)[..., None]
    picture[first:, :, :3] += (ground - picture[first:, :, :3]) * alpha
    picture[first:, :, 3:] *= 1 - alpha
