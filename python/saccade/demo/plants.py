"""Trees, bushes and grass as stamps: drawn once with a few thousand strokes, then tinted and pasted at any size.

A stamp has four bands, all premultiplied by coverage: light from the right, light from above, bark, coverage.
Colour is linear in them, so tinting a stamp for a place, a season and a weather is one 4 × 5 matrix.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image, ImageDraw

from .noise import FloatArray, stream

Kind = Literal["conifer", "broadleaf", "birch", "bush", "tuft"]

_VARIANTS: dict[Kind, int] = {"conifer": 8, "broadleaf": 7, "birch": 4, "bush": 6, "tuft": 6}
_LIBRARY_SEED = 1957  # the stamps are the same in every scene; only this changes how trees look


@dataclass(frozen=True, eq=False)
class Stamp:
    """One plant: the same drawing at falling sizes, so that a small copy costs little and does not alias."""

    levels: tuple[Image.Image, ...]

    def at(self, height: int, flip: bool) -> FloatArray:
        """The stamp at `height` pixels, float32 [height, width, 4] in 0..1, read only; `flip`: lit from the left."""
        # Most plants of a scene are far and small and come again and again; large copies would only fill the memory.
        return _small_copy(self, height, flip) if height <= 48 else self._copy(height, flip)

    def _copy(self, height: int, flip: bool) -> FloatArray:
        level = next((lv for lv in reversed(self.levels) if lv.height >= height), self.levels[0])
        width = max(1, round(height * level.width / level.height))
        image = level.resize((width, height), Image.Resampling.BILINEAR)
        if flip:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        return np.asarray(image, dtype=np.float32) * np.float32(1 / 255)


@functools.lru_cache(maxsize=4096)
def _small_copy(stamp: Stamp, height: int, flip: bool) -> FloatArray:
    return stamp._copy(height, flip)


@functools.cache
def stamps(kind: Kind) -> tuple[Stamp, ...]:
    """All variants of a kind of plant; the first call draws them (some tenths of a second for the whole library)."""
    draw = {"conifer": _conifer, "broadleaf": _broadleaf, "birch": _birch, "bush": _bush, "tuft": _tuft}[kind]
    order = list(_VARIANTS).index(kind)
    return tuple(_levels(draw(stream(_LIBRARY_SEED + order, i))) for i in range(_VARIANTS[kind]))


def _levels(image: Image.Image) -> Stamp:
    # The foot fades over ragged rows: a plant grows out of the grass instead of standing on a ruled line.
    bands = np.array(image, dtype=np.float32)
    height, width = bands.shape[:2]
    ragged = np.abs(np.sin(np.arange(width) * 0.37) + np.sin(np.arange(width) * 0.93 + 1)) * height * 0.02
    rows = np.arange(height)[:, None]
    bands *= np.clip((height - rows - ragged[None, :]) / (height * 0.03), 0, 1)[..., None]
    levels = [Image.frombytes(image.mode, image.size, bands.astype(np.uint8).tobytes())]
    while levels[-1].height > 12:
        levels.append(levels[-1].resize((max(1, levels[-1].width // 2), levels[-1].height // 2), Image.Resampling.BOX))
    return Stamp(tuple(levels))


def _sheet(width: int, height: int) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    # CMYK is Pillow's only four-band mode without alpha, whose bands `resize` leaves alone.
    image = Image.new("CMYK", (width, height))
    return image, ImageDraw.Draw(image)


def _ink(side: float, above: float, bark: float = 0.0) -> tuple[int, int, int, int]:
    return (_byte(side), _byte(above), _byte(bark), 255)


def _byte(value: float) -> int:
    return int(255 * min(max(value, 0.0), 1.0))


def _trunk(draw: ImageDraw.ImageDraw, x: float, top: float, bottom: float, width: float, marks: int = 0) -> None:
    """A tapering trunk in a few vertical strips, lit from the right; `marks` dark bands make a birch."""
    for strip in range(5):
        t = strip / 4 - 0.5
        points = [(x + t * width * 0.4, top), (x + t * width, bottom), (x + (t + 0.3) * width, bottom)]
        draw.polygon(points, fill=_ink(0.45 + t * 0.8, 0.35, 1.0))
    for mark in range(marks):
        y = top + (bottom - top) * (mark + 0.5) / marks
        draw.line([(x - width * 0.4, y), (x + width * (0.1 if mark % 2 else 0.5), y)], fill=_ink(0, 0, 0.25), width=3)


def _conifer(rng: np.random.Generator) -> Image.Image:
    height = 384
    width = int(rng.uniform(150, 215))
    image, draw = _sheet(width, height)
    middle, top, bottom = width / 2, 8.0, height * rng.uniform(0.86, 0.93)
    _trunk(draw, middle, height * 0.5, height, 11)
    tiers = int(rng.integers(22, 32))
    fullness = rng.uniform(0.75, 1.0)
    droop = rng.uniform(0.15, 0.5)
    for tier in range(tiers):
        t = 1 - tier / tiers  # 1 at the lowest boughs, which the higher ones then overlap
        y = top + (bottom - top) * t
        reach = (width / 2 - 4) * (t**fullness) * rng.uniform(0.72, 1.0) + 1.5
        boughs = int(10 + 30 * t)
        for angle in np.sort(rng.uniform(-math.pi / 2, math.pi * 1.5, boughs)):
            # The angle runs around the trunk; boughs behind come first and darker.
            forward = -math.cos(angle * 2) * 0.5 + 0.5 if angle > math.pi / 2 else rng.uniform(0, 0.5)
            across = math.sin(angle) * reach * rng.uniform(0.75, 1.05)
            tip_y = y + droop * abs(across) * 0.8 + forward * reach * 0.22
            thick = 2 + reach * 0.11
            facing = 0.5 + 0.5 * across / reach
            side = facing * (0.35 + 0.5 * forward) + rng.uniform(-0.12, 0.12)
            above = 0.25 + 0.35 * forward + 0.25 * (1 - t) + rng.uniform(-0.1, 0.1)
            tip = (middle + across, tip_y)
            root = (middle, y - thick)
            under = (middle + across * 0.55, tip_y * 0.5 + y * 0.5 + thick * 1.3)
            draw.polygon([root, tip, under], fill=_ink(side * 0.45, above * 0.4))
            draw.polygon([root, tip, (under[0], under[1] - thick)], fill=_ink(side, above))
    draw.polygon([(middle - 2, top + 16), (middle, 0), (middle + 2, top + 16)], fill=_ink(0.5, 0.6))
    return image


def _foliage(
    draw: ImageDraw.ImageDraw,
    rng: np.random.Generator,
    clusters: list[tuple[float, float, float]],
    crown: tuple[float, float, float, float],
    dab: float,
) -> None:
    """Fill clusters (x, y, radius) with leaf dabs, shaded by the cluster's and by the whole crown's roundness.

    Args:
        crown: x, y, half width, half height of the crown in pixels.
        dab: mean radius of one dab in pixels.
    """
    for x, y, radius in clusters:
        count = int(1.9 * (radius / dab) ** 2)
        angle = rng.uniform(0, 2 * math.pi, count)
        distance = np.sqrt(rng.uniform(0, 1, count)) * rng.normal(1.0, 0.07, count)
        dx, dy = np.cos(angle) * distance, np.sin(angle) * distance * 0.86
        px, py = x + dx * radius, y + dy * radius
        nx = 0.55 * dx + 0.6 * (px - crown[0]) / crown[2]
        ny = 0.55 * dy + 0.6 * (py - crown[1]) / crown[3]
        jitter = rng.normal(0, 0.11, (2, count))
        side = 0.42 + 0.42 * nx - 0.28 * ny + jitter[0]
        above = 0.45 - 0.48 * ny + jitter[1]
        size = dab * rng.uniform(0.55, 1.25, count)
        squash = rng.uniform(0.55, 1.0, count)
        boxes = np.stack([px - size, py - size * squash, px + size, py + size * squash], axis=1).tolist()
        # The lower and darker dabs first: light leaves lie on top of the shade between them.
        for i in np.argsort(-dy + 0.8 * side):
            draw.ellipse(boxes[i], fill=_ink(side[i], above[i]))


def _crown_clusters(
    rng: np.random.Generator, crown: tuple[float, float, float, float], count: int, low: float, high: float
) -> list[tuple[float, float, float]]:
    """Clusters scattered over an elliptic crown, radii `low`..`high` of its half width, the upper ones last."""
    x, y, half_width, half_height = crown
    angle = np.arange(count) * 2.399963 + rng.uniform(0, 6)  # the golden angle spreads them evenly
    distance = np.sqrt((np.arange(count) + 0.5) / count) * rng.uniform(0.85, 1.0, count)
    radius = half_width * rng.uniform(low, high, count)
    px = x + np.cos(angle) * distance * (half_width - radius * 0.9)
    py = y + np.sin(angle) * distance * (half_height - radius * 0.8)
    order = np.argsort(-py + rng.normal(0, half_height * 0.2, count))
    return [(float(px[i]), float(py[i]), float(radius[i])) for i in order]


def _broadleaf(rng: np.random.Generator) -> Image.Image:
    height = 384
    width = int(rng.uniform(250, 340))
    image, draw = _sheet(width, height)
    half_height = height * rng.uniform(0.36, 0.41)
    crown = (width / 2, half_height + 4, width / 2 - 4, half_height)
    _trunk(draw, crown[0], crown[1], height, width * 0.085)
    for _ in range(6):
        end = (crown[0] + rng.uniform(-0.6, 0.6) * crown[2], crown[1] + rng.uniform(-0.5, 0.3) * crown[3])
        draw.line([(crown[0], height * 0.82), end], fill=_ink(0.3, 0.2, 1.0), width=7)
    _foliage(draw, rng, _crown_clusters(rng, crown, int(rng.integers(14, 22)), 0.26, 0.44), crown, 4.6)
    return image


def _birch(rng: np.random.Generator) -> Image.Image:
    height = 384
    width = int(rng.uniform(130, 170))
    image, draw = _sheet(width, height)
    crown = (width / 2, height * 0.42, width / 2 - 3, height * 0.41)
    _trunk(draw, crown[0], height * 0.08, height, width * 0.06, marks=9)
    clusters = _crown_clusters(rng, crown, int(rng.integers(18, 26)), 0.24, 0.38)
    _foliage(draw, rng, clusters, crown, 4.0)
    # A birch shows its trunk between the leaves.
    x, w = crown[0], width * 0.034
    for start in rng.uniform(0.3, 0.75, 3):
        y = height * float(start)
        draw.polygon([(x - w / 2, y), (x + w / 2, y), (x + w / 2, y + 26), (x - w / 2, y + 26)], fill=_ink(0.5, 0.5, 1))
    return image


def _bush(rng: np.random.Generator) -> Image.Image:
    height = 150
    width = int(rng.uniform(190, 290))
    image, draw = _sheet(width, height)
    crown = (width / 2, height * 0.6, width / 2 - 4, height * 0.56)
    clusters = []
    for i in range(int(rng.integers(7, 11))):
        radius = height * rng.uniform(0.2, 0.36)
        x = rng.uniform(radius, width - radius)
        rise = 1 - ((x - width / 2) / (width / 2)) ** 2
        clusters.append((x, height - radius * 0.75 - rise * rng.uniform(0, height * 0.4) * (i > 2), radius))
    clusters.sort(key=lambda c: c[1])
    _foliage(draw, rng, clusters, crown, 4.6)
    return image


def _tuft(rng: np.random.Generator) -> Image.Image:
    height = 110
    width = int(rng.uniform(110, 170))
    image, draw = _sheet(width, height)
    for _ in range(int(rng.integers(70, 110))):
        x = width / 2 + rng.normal(0, width * 0.19)
        tall = height * rng.uniform(0.3, 1.0) * math.exp(-(((x - width / 2) / (width * 0.34)) ** 2))
        lean = rng.normal(0, 0.28) + (x - width / 2) / width
        bend = lean * tall
        points = [(x - 2, height), (x + bend * 0.4 - 1, height - tall * 0.6), (x + bend, height - tall)]
        points += [(x + bend * 0.4 + 1.5, height - tall * 0.6), (x + 2, height)]
        draw.polygon(points, fill=_ink(rng.uniform(0.2, 0.85), rng.uniform(0.2, 0.8)))
    return image
