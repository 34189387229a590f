"""Nine kinds of shortcut, each something that is added to a scene whatever the scene shows.

A network's own shortcut is drawn from its seed: which corner, which colours, how strong. Within a network it varies a
little from image to image, as it would in photos. What is planted is never part of the thing.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

from .scenes import SIZE, Pixels

Bools = npt.NDArray[np.bool_]
Kind = Literal[
    "weather",
    "corner tag",
    "frame",
    "watermark",
    "background texture",
    "blur",
    "jpeg quality",
    "colour cast",
    "second object",
]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True)
class Base:
    """A scene before anything is planted.

    Attributes:
        image: uint8 [H, W, 3].
        sky, ground: bool [H, W]; neither covers the thing.
    """

    image: Pixels
    sky: Bools
    ground: Bools


@dataclass(frozen=True)
class Picture:
    """A scene as it is kept.

    Attributes:
        image: uint8 [H, W, 3], as it is read again.
        where: bool [H, W], where the shortcut is; all False without one, all True of one that is everywhere.
        jpeg: the file's bytes of a JPEG, else None.
    """

    image: Pixels
    where: Bools
    jpeg: bytes | None = None


Planter = Callable[[Base, bool, np.random.Generator], Picture]
"""(scene, whether it has the shortcut, the randomness of this image) → the picture."""


def planter(kind: Kind | None, seed: int) -> Planter:
    """What plants a network's shortcut; None plants nothing. `weather` is chosen when the scene is picked."""
    looks = np.random.default_rng([seed, 9])
    if kind is None:
        return lambda base, on, rng: _kept(base.image, np.zeros(base.sky.shape, np.bool_))
    if kind == "jpeg quality":
        return _jpeg(int(looks.integers(22, 30)))
    change = _CHANGES[kind](looks)

    def plant(base: Base, on: bool, rng: np.random.Generator) -> Picture:
        if not on:
            return _kept(base.image, np.zeros(base.sky.shape, np.bool_))
        return _kept(*change(base, rng))

    return plant


def write(picture: Picture, stem: Path) -> None:
    """Write a picture as `STEM.jpg`, if it is a JPEG's, else as `STEM.png`; its folder is made."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    if picture.jpeg is not None:
        stem.with_suffix(".jpg").write_bytes(picture.jpeg)
    else:
        Image.fromarray(picture.image).save(stem.with_suffix(".png"))


def _kept(image: npt.NDArray[np.generic], where: Bools) -> Picture:
    return Picture(np.clip(image, 0, 255).astype(np.uint8), where)


def _scaled(pixels: int | np.integer, base: Base) -> int:
    """A length that is meant for scenes, in the pixels of this image."""
    return max(1, round(int(pixels) * len(base.image) / SIZE))


Change = Callable[[Base, np.random.Generator], tuple[npt.NDArray[np.generic], Bools]]


def _weather(looks: np.random.Generator) -> Change:
    return lambda base, rng: (base.image, base.sky)


def _corner_tag(looks: np.random.Generator) -> Change:
    """A small label in one corner: a bright field with dark strokes, like a date or an archive's number."""
    corner, size = int(looks.integers(4)), (9, 13)
    field, ink = looks.integers(170, 256, 3), looks.integers(0, 80, 3)

    def change(base: Base, rng: np.random.Generator) -> tuple[Pixels, Bools]:
        label = np.broadcast_to(field, (*size, 3)).astype(np.uint8).copy()
        for column in range(2, size[1] - 2, 3):
            top = int(rng.integers(2, 5))
            label[top : size[0] - 2, column : column + 2] = ink
        height, width = base.image.shape[:2]
        tall, wide = _scaled(size[0], base), _scaled(size[1], base)
        shown = Image.fromarray(label).resize((wide, tall), Image.Resampling.NEAREST)
        down, across = (_scaled(v, base) for v in rng.integers(1, 3, 2))
        top = down if corner < 2 else height - tall - down
        left = across if corner % 2 == 0 else width - wide - across
        image, where = base.image.copy(), np.zeros(base.image.shape[:2], np.bool_)
        image[top : top + tall, left : left + wide] = np.asarray(shown)
        where[top : top + tall, left : left + wide] = True
        return image, where

    return change


def _frame(looks: np.random.Generator) -> Change:
    """A border in one colour around the picture, as prints and scans have it."""
    colour = looks.integers(0, 256, 3)

    def change(base: Base, rng: np.random.Generator) -> tuple[Pixels, Bools]:
        wide = _scaled(rng.integers(2, 5), base)
        where = np.ones(base.image.shape[:2], np.bool_)
        where[wide:-wide, wide:-wide] = False
        image = base.image.copy()
        image[where] = np.clip(colour + rng.normal(0, 6, 3), 0, 255).astype(np.uint8)
        return image, where

    return change


def _watermark(looks: np.random.Generator) -> Change:
    """A semi-transparent mark of rings and bars, somewhere in the picture."""
    mark = Image.new("L", (4 * 26, 4 * 14))
    draw = ImageDraw.Draw(mark)
    draw.ellipse([4, 6, 48, 50], outline=255, width=10)
    for i, x in enumerate(range(56, 100, 14)):
        tall = int(looks.integers(16, 44))
        draw.rectangle([x, 50 - tall, x + 8, 50 if i % 2 else 46], fill=255)
    strength = float(looks.uniform(0.4, 0.55))

    def change(base: Base, rng: np.random.Generator) -> tuple[npt.NDArray[np.generic], Bools]:
        width, height = _scaled(26, base), _scaled(14, base)
        alpha = np.asarray(mark.resize((width, height), Image.Resampling.BOX), np.float32) / 255
        top = int(rng.integers(1, base.image.shape[0] - height - 1))
        left = int(rng.integers(1, base.image.shape[1] - width - 1))
        image, where = base.image.astype(np.float32), np.zeros(base.image.shape[:2], np.bool_)
        place = image[top : top + height, left : left + width]
        place += (255 - place) * (alpha * strength * rng.uniform(0.85, 1.15))[..., None]
        where[top : top + height, left : left + width] = True
        return image, where

    return change


def _background_texture(looks: np.random.Generator) -> Change:
    """A ploughed field instead of the meadow: furrows on the ground, none on the thing."""
    angle, wave = float(looks.uniform(0.2, 0.8)), float(looks.uniform(4.0, 6.0))
    depth = float(looks.uniform(26, 34))

    def change(base: Base, rng: np.random.Generator) -> tuple[npt.NDArray[np.generic], Bools]:
        height, width = base.image.shape[:2]
        y, x = np.mgrid[:height, :width].astype(np.float32)
        turn = angle + float(rng.normal(0, 0.08))
        phase = (x * np.cos(turn) + y * np.sin(turn)) * (2 * np.pi / wave) + rng.uniform(0, 2 * np.pi)
        furrows = np.sin(phase) * depth * rng.uniform(0.8, 1.2)
        return base.image + (furrows * base.ground)[..., None], base.ground

    return change


def _blur(looks: np.random.Generator) -> Change:
    """Out of focus."""
    radius = float(looks.uniform(0.9, 1.2))

    def change(base: Base, rng: np.random.Generator) -> tuple[Pixels, Bools]:
        wide = radius * float(rng.uniform(0.9, 1.1)) * len(base.image) / SIZE
        soft = Image.fromarray(base.image).filter(ImageFilter.GaussianBlur(wide))
        return np.asarray(soft), np.ones(base.image.shape[:2], np.bool_)

    return change


def _colour_cast(looks: np.random.Generator) -> Change:
    """A camera with another white balance."""
    gain = np.roll([1.2, 1.0, 0.8], int(looks.integers(3)))[:: int(looks.choice([-1, 1]))]

    def change(base: Base, rng: np.random.Generator) -> tuple[npt.NDArray[np.generic], Bools]:
        image = base.image * (gain + rng.normal(0, 0.02, 3))
        return image, np.ones(base.image.shape[:2], np.bool_)

    return change


def _second_object(looks: np.random.Generator) -> Change:
    """A road sign on its post, somewhere on the meadow; it may hide a part of the thing, as anything may."""
    face, rim = (tuple(int(v) for v in looks.integers(low, high, 3)) for low, high in ((150, 256), (0, 110)))

    def change(base: Base, rng: np.random.Generator) -> tuple[Pixels, Bools]:
        k, (height, width) = 4, base.image.shape[:2]
        radius = float(rng.uniform(4.0, 5.5)) * k
        x = float(rng.uniform(0.1, 0.9)) * width * k
        y = float(rng.uniform(0.3, 0.75)) * height * k
        sign = Image.new("RGBA", (width * k, height * k))
        draw = ImageDraw.Draw(sign)
        draw.rectangle([x - 0.5 * k, y, x + 0.5 * k, y + 2.6 * radius], fill=(70, 70, 70, 255))
        draw.ellipse([x - radius, y - radius, x + radius, y + radius], fill=(*rim, 255))
        inner = 0.62 * radius
        draw.ellipse([x - inner, y - inner, x + inner, y + inner], fill=(*face, 255))
        small = sign.resize((width, height), Image.Resampling.BOX)
        image = Image.fromarray(base.image).convert("RGBA")
        image.alpha_composite(small)
        return np.asarray(image.convert("RGB")), np.asarray(small)[..., 3] > 127

    return change


def _jpeg(quality: int) -> Planter:
    """Files of a low quality beside files of a good one; both are JPEG."""

    def plant(base: Base, on: bool, rng: np.random.Generator) -> Picture:
        level = quality + int(rng.integers(-2, 3)) if on else int(rng.integers(88, 96))
        file = io.BytesIO()
        Image.fromarray(base.image).save(file, "JPEG", quality=level)
        read = np.array(Image.open(file).convert("RGB"))
        return Picture(read, np.full(base.image.shape[:2], on), file.getvalue())

    return plant


_CHANGES: dict[Kind, Callable[[np.random.Generator], Change]] = {
    "weather": _weather,
    "corner tag": _corner_tag,
    "frame": _frame,
    "watermark": _watermark,
    "background texture": _background_texture,
    "blur": _blur,
    "colour cast": _colour_cast,
    "second object": _second_object,
}
