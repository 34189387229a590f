"""All painted scenes, kept in a folder in parts: what is painted once is not painted again."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import numpy.typing as npt

from saccade.demo.landscape import Weather
from saccade.engine.contract import replacing

from . import scenes
from .scenes import Pixels, Thing, Views

Bools = npt.NDArray[np.bool_]
PART = 100
"""Scenes in a file."""


@dataclass(frozen=True)
class Pool:
    """Painted scenes; the i-th entry is seed i.

    Attributes:
        images: uint8 [N, weathers, things, 64, 64, 3], in the order of `scenes.WEATHERS` and `scenes.THINGS`.
        sky: bool [N, 64, 64].
        thing: bool [N, things, 64, 64].
    """

    images: Pixels
    sky: Bools
    thing: Bools

    def __len__(self) -> int:
        return len(self.images)

    def image(self, seed: int, weather: Weather, thing: Thing, seen: float = 1.0) -> Pixels:
        """One scene, uint8 [64, 64, 3]; through haze `seen` of the thing is left."""
        views = self.images[seed, scenes.WEATHERS.index(weather)].astype(np.float32)
        without, whole = views[scenes.THINGS.index("nothing")], views[scenes.THINGS.index(thing)]
        return (without + (whole - without) * seen + 0.5).astype(np.uint8)

    def ground(self, seed: int, thing: Thing) -> Bools:
        """Where neither the sky nor the thing is, bool [64, 64]."""
        return ~self.sky[seed] & ~self.thing[seed, scenes.THINGS.index(thing)]


def paint_pool(folder: Path, count: int, workers: int = 2) -> None:
    """Paint the scenes of the seeds below `count` (a multiple of `PART`) that are not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    missing = [part for part in range(count // PART) if not _path(folder, part).is_file()]
    if not missing:
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as processes:
        list(processes.map(partial(_paint_part, folder), missing))


def read_pool(folder: Path, count: int) -> Pool:
    """The scenes of the seeds below `count`, which have to be painted."""
    parts = [np.load(_path(folder, part)) for part in range(count // PART)]
    return Pool(*(np.concatenate([part[name] for part in parts]) for name in ("images", "sky", "thing")))


def pool_of(views: list[Views]) -> Pool:
    """Scenes that were painted a moment ago."""
    return Pool(*(np.stack([getattr(v, name) for v in views]) for name in ("images", "sky", "thing")))


def _path(folder: Path, part: int) -> Path:
    return folder / f"scenes-{part:03d}.npz"


def _paint_part(folder: Path, part: int) -> None:
    found = pool_of([scenes.paint(seed) for seed in range(part * PART, (part + 1) * PART)])
    with replacing(_path(folder, part)) as temporary, temporary.open("wb") as file:
        np.savez(file, images=found.images, sky=found.sky, thing=found.thing)
