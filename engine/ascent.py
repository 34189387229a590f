"""Deep dream and activation maximisation: a picture is changed, step by step, so that a score grows.

The step, the score's gradient in the pixels, is a compiled program (method `ascent`) of one size. Pictures of any size
are covered with tiles of that size, under a shift that changes with every step so that no seam stays in its place.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from .contract import Spec, UsageError
from .execute import Runner

F32 = npt.NDArray[np.float32]
BATCH = 8
"""Tiles for one call of the program."""


@dataclass(frozen=True)
class Ascent:
    """How a picture is changed.

    Attributes:
        steps: steps in each octave.
        step_size: pixels 0..255 that a step moves, on average over the picture.
        octaves: sizes that the picture goes through, from small to its own.
        octave_scale: the ratio between two of them.
        jitter: the largest shift of the tiles, in pixels; by default half a tile.
        seed: of the shifts.
    """

    steps: int = 20
    step_size: float = 1.5
    octaves: int = 4
    octave_scale: float = 1.4
    jitter: int | None = None
    seed: int = 0


def ascend(
    runner: Runner,
    picture: npt.NDArray[np.uint8],
    target: Any = None,
    how: Ascent | None = None,
    on_progress: Callable[[int, int], None] = lambda done, steps: None,
) -> npt.NDArray[np.uint8]:
    """Change a picture so that the target's score grows.

    Mordvintsev et al., "Inceptionism", 2015: gradient ascent with octaves and jitter, each step's gradient scaled to
    its own mean magnitude.

    Args:
        runner: a program of the method `ascent`.
        picture: uint8 [H, W, C], of any size from the program's own up; noise for activation maximisation.
        target: what shall grow, as `Runner.run` takes it.
        how: see `Ascent`.
        on_progress: called with (steps done, all steps).

    Returns:
        uint8 [H, W, C].

    Raises:
        UsageError: another kind of program, a picture of another shape, or numbers out of range.
    """
    how = how or Ascent()
    height, width = _check(runner.spec, picture, how)
    sizes = _sizes(picture.shape[:2], (height, width), how)
    random = np.random.default_rng(how.seed)
    original = picture.astype(np.float32)
    detail = np.zeros((*sizes[0], picture.shape[2]), np.float32)
    shown = detail
    for octave, size in enumerate(sizes):
        base = _resize(original, size)
        shown = np.clip(base + _resize(detail, size), 0, 255)
        for step in range(how.steps):
            most = [min(height, width) // 2 if how.jitter is None else how.jitter] * 2
            shift = [int(random.integers(-m, m + 1)) for m in most]
            gradient = _tiled_gradient(runner, np.roll(shown, shift, (0, 1)), target)
            gradient = np.roll(gradient, [-s for s in shift], (0, 1))
            magnitude = np.abs(gradient).mean()
            if magnitude > 0:
                shown = np.clip(shown + how.step_size * gradient / magnitude, 0, 255)
            on_progress(octave * how.steps + step + 1, len(sizes) * how.steps)
        detail = shown - base
    return np.rint(shown).astype(np.uint8)


def noise(spec: Spec, seed: int = 0) -> npt.NDArray[np.uint8]:
    """A grey picture with a little noise, where activation maximisation starts: uint8 [H, W, C]."""
    p = spec.preprocessing
    drawn = np.random.default_rng(seed).normal(128, 12, (p.height, p.width, p.channels))
    return np.clip(drawn, 0, 255).astype(np.uint8)


def _check(spec: Spec, picture: npt.NDArray[np.uint8], how: Ascent) -> tuple[int, int]:
    p = spec.preprocessing
    if spec.pixels != "float32":
        raise UsageError(f"dream: {spec.model} was compiled for maps; compile it with the method ascent")
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != p.channels:
        raise UsageError(
            f"dream: expected a picture uint8 [H, W, {p.channels}], got {picture.dtype} {list(picture.shape)}"
        )
    if picture.shape[0] < p.height or picture.shape[1] < p.width:
        raise UsageError(
            f"dream: the picture is {picture.shape[1]}x{picture.shape[0]}; expected at least the network's input, "
            f"{p.width}x{p.height}"
        )
    for name, holds, expected in (
        ("steps", how.steps >= 1, "1 or more"),
        ("octaves", 1 <= how.octaves <= 20, "1 to 20"),
        ("octave_scale", 1 < how.octave_scale <= 4, "above 1, at most 4"),
        ("step_size", 0 < how.step_size <= 255, "above 0, at most 255"),
        ("jitter", how.jitter is None or how.jitter >= 0, "0 or more"),
    ):
        if not holds:
            raise UsageError(f"dream: {name}={getattr(how, name)}: expected {expected}")
    return p.height, p.width


def _sizes(size: tuple[int, ...], smallest: tuple[int, int], how: Ascent) -> list[tuple[int, int]]:
    """The octaves' sizes; those that would be smaller than a tile are left out."""
    found = []
    for i in reversed(range(how.octaves)):
        height, width = (round(side / how.octave_scale**i) for side in size)
        if height >= smallest[0] and width >= smallest[1]:
            found.append((height, width))
    return found


def _tiled_gradient(runner: Runner, picture: F32, target: Any) -> F32:
    """The gradient of every tile's own score; the last tiles of a row or column overlap those before."""
    p = runner.spec.preprocessing
    places = [(y, x) for y in _starts(picture.shape[0], p.height) for x in _starts(picture.shape[1], p.width)]
    total, count = np.zeros_like(picture), np.zeros((*picture.shape[:2], 1), np.float32)
    (name,) = (m.name for m in runner.spec.maps)
    # A segmentation's class grows in the whole picture: in noise there is no region of it that could.
    region = np.ones((p.height, p.width), np.uint8) if runner.spec.target == "region" else None
    for i in range(0, len(places), BATCH):
        part = places[i : i + BATCH]
        tiles = np.stack([picture[y : y + p.height, x : x + p.width] for y, x in part])
        for (y, x), gradient in zip(part, runner.run(tiles, target, region).maps[name], strict=True):
            total[y : y + p.height, x : x + p.width] += gradient
            count[y : y + p.height, x : x + p.width] += 1
    return total / count


def _starts(side: int, tile: int) -> list[int]:
    return [*range(0, side - tile, tile), side - tile]


def _resize(picture: F32, size: tuple[int, int]) -> F32:
    if picture.shape[:2] == size:
        return picture

    def channel(i: int) -> npt.NDArray[Any]:
        plane = Image.fromarray(np.ascontiguousarray(picture[..., i]), "F")
        return np.asarray(plane.resize(size[::-1], Image.Resampling.BICUBIC))

    with ThreadPoolExecutor(min(picture.shape[2], os.cpu_count() or 1)) as pool:
        return np.stack(list(pool.map(channel, range(picture.shape[2]))), axis=2)
