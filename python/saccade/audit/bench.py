"""Where the trials of a run are made: its images read again, its program loaded, what may be tried and for how long."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ..engine import execute, pipeline
from ..engine.contract import UsageError
from . import candidates, objects, places, suspects
from .evidence import Evidence
from .findings import ClassFindings, Suspect
from .objects import Objects
from .proof import Group, Network
from .strategies import Strategies

Say = Callable[[str], None]
Floats = npt.NDArray[np.float32]
Rows = npt.NDArray[np.intp]

LEAST = 8
"""Images of a class, and of others, for there to be a trial."""

_IMAGES = 96  # of a class, and of the others, that are read again for trials
_MAPS = 1000  # of a class, from which it is told where its evidence lies
_CLASS_PASSES = 400  # what looking at a class and the first trials of what stands out in it take, about
_BATCH = 32
_BYTES = 2**31  # of views that are held for trials
_READ = 256  # views held at a time while the page is drawn


@dataclass
class Clock:
    """How long each part takes.

    Attributes:
        seconds: part → seconds.
    """

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def of(self, part: str) -> Iterator[None]:
        """Count what is done within."""
        begin = time.perf_counter()
        yield
        self.seconds[part] = round(self.seconds.get(part, 0.0) + time.perf_counter() - begin, 3)


class Bench:
    """The trials of a run.

    Attributes:
        network: the program; counts its passes.
        untried: classes that were not tried, for want of passes.
        few: classes of whose images too few are still there, or still predicted so.
        left: candidates that were not.
        gone: rows of photos that are not there any more.
    """

    def __init__(
        self,
        evidence: Evidence,
        runner: execute.Runner,
        mode: Literal["fast", "exact"],
        batch_size: int,
        where: Objects | None,
        limit: int,
        seed: int,
        clock: Clock,
        say: Say,
    ) -> None:
        self.network = Network(runner, min(_BATCH, batch_size))
        self.untried: list[str] = []
        self.few: list[str] = []
        self.left = 0
        self.gone: set[int] = set()
        self._evidence, self._objects = evidence, where
        self._found_inside: dict[int, tuple[Floats, Floats]] = {}
        self._mode: Literal["fast", "exact"] = mode
        self._preprocessing = runner.spec.preprocessing
        self._limit, self._seed, self._clock, self._say = limit, seed, clock, say

    def suspects(self, classes: Sequence[ClassFindings]) -> list[Suspect]:
        """All classes' suspects, as far as the passes reach."""
        known = sum(c.images for c in classes)
        enough = [c for c in classes if c.images >= LEAST and known - c.images >= LEAST]
        pair = len(classes) == 2
        order = sorted(enough, key=lambda c: -self._interest(c))
        view = self._preprocessing.height * self._preprocessing.width * self._preprocessing.channels
        most = min(self._limit // _CLASS_PASSES, _BYTES // (2 * _IMAGES * view))
        most = len(order) if pair else max(1, most)
        if self._limit == 0:
            most = 0
        self.untried = [c.name for c in order[most:]]
        proposed: list[tuple[suspects.Sides, candidates.Candidate]] = []
        for c in order[:most]:
            self._say(f"looking for what may stand for “{c.name}”")
            own, others = self._groups(c.index)
            if min(len(own), len(others)) < LEAST:
                self.few.append(c.name)
                continue
            other = next((f"“{o.name}” images" for o in classes if pair and o.index != c.index), "other images")
            sides = suspects.cut(c.index, c.name, other, c.images, own, others)
            with self._clock.of("candidates"):
                asked = classes if pair else [c]
                means = [m for k in asked for m in (k.mean_map, *(s.mean_map for s in k.strategies))]
                found = self._candidates(c.index, own, others, self._maps(c.index), means)
                proposed += [(sides, candidate) for candidate in found]
        if pair:
            # What the one class has more of the other has less of: it is tried once, for the class that looks there.
            # Where both do, the network's first.
            proposed.sort(key=lambda item: (-round(5 * item[1].share), item[1].index, -item[1].prior))
            proposed = [
                item
                for i, item in enumerate(proposed)
                if not any(candidates.same(item[1], before[1]) for before in proposed[:i])
            ]
        self._say(f"trying {len(proposed)} things")
        with self._clock.of("trials"):
            rest = self._limit - self.network.passes
            tried, self.left = suspects.try_all(self.network, proposed, self._evidence.names, rest, self._seed, pair)
        return tried

    def views(self, rows: Sequence[int]) -> Iterator[tuple[int, npt.NDArray[np.uint8]]]:
        """What the network saw of some images, those that are still there."""
        for begin in range(0, len(rows), _READ):
            some = rows[begin : begin + _READ]
            images, there = pipeline.read_views(self._evidence.photos(some), self._preprocessing, self._mode)
            yield from zip((some[i] for i in there), images, strict=True)

    def check_objects(self) -> None:
        """See that some photos have a mask or a box, before anything is tried.

        Raises:
            UsageError: none of them has, or what there is does not fit.
        """
        rows = self._drawn(self._evidence.good, 50, 3)
        if self._objects is not None and len(rows) and np.isnan(self._masks(rows, (1, 1))).all():
            raise UsageError(
                f"audit: none of {len(rows)} photos has its object in {self._objects.source}; see that the names fit"
            )

    def with_objects(self, found: Strategies) -> tuple[ClassFindings, ...]:
        """The classes, each strategy with the share of its evidence inside of the objects, where these are known."""
        if self._objects is None:
            return found.classes
        return tuple(self._measured(c, found.assignment) for c in found.classes)

    def _measured(self, c: ClassFindings, assignment: npt.NDArray[np.int16]) -> ClassFindings:
        rows = self._class_rows(c.index)
        inside, pointing = self._inside(c.index)
        measured = []
        for s in c.strategies:
            here = assignment[rows] == s.number
            more = {}
            if np.isfinite(inside[here]).any():
                more = {"inside": float(np.nanmean(inside[here])), "pointing": float(np.nanmean(pointing[here]))}
            measured.append(replace(s, measures={**s.measures, **more}))
        return replace(c, strategies=tuple(measured))

    def _candidates(
        self, index: int, own: Group, others: Group, maps: Floats, means: list[Floats]
    ) -> list[candidates.Candidate]:
        found = candidates.place_candidates(index, own, others, maps, means)
        found += candidates.attribute_candidates(index, own, others, self._quality(own, others))
        found += candidates.pattern_candidates(index, own, others, self._evidence.read(own.rows, features=False)[0])
        if self._objects is not None:
            inside, pointing = self._inside(index)
            found += candidates.outside_candidates(index, own, others, self._masks, inside, pointing)
        return found

    def _class_rows(self, index: int) -> Rows:
        return self._drawn(self._evidence.good & (self._evidence.predicted == index), _MAPS, 0)

    def _maps(self, index: int) -> Floats:
        return self._evidence.read(self._class_rows(index), features=False)[0]

    def _inside(self, index: int) -> tuple[Floats, Floats]:
        """Share of the evidence in the objects, and whether its maximum is there, of a class's `_class_rows`.

        float32 [n], NaN where unknown. Kept: it takes reading a thousand masks.
        """
        if index not in self._found_inside:
            self._found_inside[index] = self._look_inside(self._class_rows(index), self._maps(index))
        return self._found_inside[index]

    def _look_inside(self, rows: Rows, maps: Floats) -> tuple[Floats, Floats]:
        masks = self._masks(rows, maps.shape[1:3])
        known = np.isfinite(masks).all(axis=(1, 2))
        inside, pointing = (np.full(len(rows), np.nan, np.float32) for _ in range(2))
        if known.any():
            inside[known] = objects.evidence_inside(maps[known], masks[known])
            pointing[known] = objects.pointing(maps[known], masks[known])
        pointing[np.isnan(inside)] = np.nan
        return inside, pointing

    def _masks(self, rows: Rows, shape: tuple[int, int]) -> Floats:
        """float32 [n, h, w], NaN where nobody said where the object is."""
        assert self._objects is not None
        masks = np.full((len(rows), *shape), np.nan, np.float32)
        for i, frame in enumerate(self._evidence.frames(rows)):
            mask = self._objects.mask(frame.name, frame.view, frame.size, shape)
            if mask is not None:
                masks[i] = mask
        return masks

    def _interest(self, c: ClassFindings) -> float:
        """Classes whose evidence lies on average at a place outside of the middle come first, then the large ones."""
        outer = [place for place in places.plain_places() if not places.central(place)]
        held = places.evidence_in(c.mean_map[None], outer)[0]
        if not np.isfinite(held).all():
            return 0.0
        lift = held / np.array([place.area for place in outer])
        return float((held * np.minimum(lift / 3, 1)).max()) + c.images / len(self._evidence) / 10

    def _groups(self, index: int) -> tuple[Group, Group]:
        """Images to be tried: of the class, and of others, predicted rightly where that is known."""
        e = self._evidence
        right = (e.labelled < 0) | (e.labelled == e.predicted)
        found = []
        with self._clock.of("reading"):
            for turn, ours in enumerate((True, False), 1):
                which = e.good & (e.predicted >= 0) & ((e.predicted == index) == ours)
                rows = self._drawn(which & right if (which & right).sum() >= LEAST else which, _IMAGES, turn)
                group = self._group(rows)
                # On another machine than the run's, what was at a tie may have turned. In any order, so that the first
                # of them are of all folders.
                kept = np.flatnonzero((group.said.argmax(axis=1) == index) == ours)
                found.append(group.part(np.random.default_rng((self._seed, turn, index)).permutation(kept)))
        return found[0], found[1]

    def _group(self, rows: Rows) -> Group:
        images, there = pipeline.read_views(self._evidence.photos(rows), self._preprocessing, self._mode)
        self.gone |= set(np.delete(rows, there).tolist())
        return Group(rows[there], images, self.network(images))

    def _drawn(self, which: npt.NDArray[np.bool_], count: int, turn: int) -> Rows:
        rows = np.flatnonzero(which)
        if len(rows) > count:
            rows = np.sort(np.random.default_rng((self._seed, turn)).choice(rows, count, replace=False))
        return rows

    def _quality(self, *groups: Group) -> dict[int, float]:
        """Row → JPEG quality of the groups' images that have one."""
        column = self._evidence.further.get("jpeg_quality")
        rows = np.concatenate([group.rows for group in groups])
        if column is None:
            return {}
        values = column.take(pa.array(rows)).to_pylist()
        return {int(row): float(value) for row, value in zip(rows, values, strict=True) if value is not None}
