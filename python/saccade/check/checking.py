"""The check itself: photos through the network, its redrawn relatives and its own removal and return of parts."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..audit.interventions import blurred
from ..audit.proof import interval
from ..engine import decode, pipeline
from ..engine.compiler import Model
from ..engine.contract import Batch, MapSpec, SaccadeError
from .cells import Grid, area_under, exchanged, order_of
from .redrawing import WeightLayer, depths_of, redrawn, weight_layers
from .results import FEW, Check, Interval, Located, MethodFindings, Order, Redrawn
from .similarity import rank_correlations, structural_similarities
from .subject import Subject

if TYPE_CHECKING:
    from ..audit.objects import Objects

Floats = npt.NDArray[np.float32]
Pixels = npt.NDArray[np.uint8]

_BATCH = 5  # photos that share one drawing of new weights: more of them would be fewer networks
_RANDOM, _CENTRE = "random", "centre"


class _Numbers:
    """Numbers by what they are, a list with one for each photo; NaN where there is none."""

    def __init__(self) -> None:
        self.of: defaultdict[tuple[Any, ...], list[float]] = defaultdict(list)

    def add(self, values: Sequence[float] | npt.NDArray[Any], *what: Any) -> None:
        self.of[what].extend(float(v) for v in values)

    def array(self, *what: Any) -> npt.NDArray[np.float64]:
        return np.array(self.of[what], np.float64)

    def mean(self, *what: Any) -> Interval:
        return _interval(self.array(*what))


def check(
    model: Model,
    methods: Sequence[str],
    photos: Sequence[decode.Photo],
    layer: str | None = None,
    limit: int = 50,
    objects: Objects | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Check:
    """Check explanations of a classifier: each photo's predicted class is what is explained.

    Args:
        model: the network, its preprocessing and classes.
        methods: names of `compiler.METHODS` that give one map for a class.
        photos: what it is shown; `limit` of them, spread evenly.
        layer: the target layer of the methods that have one; None for the default.
        objects: masks or boxes, for the pointing game.
        say: told how far it is, now and then.

    Raises:
        UsageError: no classifier that gives logits, or a method or layer that does not fit.
        SaccadeError: none of the photos could be read, or the network's maps are blank on all of them.
    """
    start = time.monotonic()
    subject = Subject(model, methods, layer)
    chosen = [photos[i] for i in pipeline.evenly(len(photos), limit)]
    course = _Course(subject, objects)
    failed = 0
    with decode.Decoder(decode.batches_of(chosen, _BATCH), subject.preprocessing, "exact") as batches:
        for number, batch in enumerate(batches):
            say(f"checking {model.network.name}: {number * _BATCH} of {len(chosen)} photos")
            failed += len(batch.records) - len(batch.images)
            if len(batch.images):
                course.take(batch, number)
    if failed == len(chosen):
        raise SaccadeError(f"check: none of {failed} photos could be read; give a folder of photos")
    return course.finish(len(chosen), failed, start)


class _Course:
    """A check on its way."""

    def __init__(self, subject: Subject, objects: Objects | None) -> None:
        p = subject.preprocessing
        self._subject, self._objects = subject, objects
        self._layers: list[WeightLayer] = weight_layers(subject.network)
        if not self._layers:
            raise SaccadeError(f"check: {subject.network.name} has no weights that could be drawn anew")
        self._grid = Grid(p.height, p.width)
        self._numbers = _Numbers()
        self._before: dict[str, Floats] = {}  # each method's map of the photo before this one
        self._rng = np.random.default_rng(0)

    def take(self, batch: Batch, number: int) -> None:
        """Measure a batch; `number` is the seed of its new weights."""
        images = batch.images
        sure = self._subject.probabilities(images)
        classes = sure.argmax(axis=1)
        self._numbers.add(sure.max(axis=1), "confidence")
        maps = self._subject.explain(images, classes)
        self._compare_photos(maps)
        self._redraw(images, classes, maps, number)
        self._reorder(images, classes, maps)
        if self._objects is not None:
            self._locate(batch, maps)

    # ---- does it depend on the network? ----------------------------------------------------------------------------

    def _compare_photos(self, maps: dict[str, Floats]) -> None:
        for name, found in maps.items():
            row = np.abs(np.concatenate([self._before.get(name, found[:0]), found[~_blank(found)]]))
            self._numbers.add(rank_correlations(row[1:], row[:-1]), name, "others")
            self._before[name] = row[-1:]

    def _redraw(self, images: Pixels, classes: npt.NDArray[np.int64], maps: dict[str, Floats], number: int) -> None:
        new = redrawn(self._subject.network, self._layers, number)
        for depth in depths_of(len(self._layers)):
            state = {name: value for layer in new[-depth:] for name, value in layer.items()}
            others = self._subject.explain(images, classes, state)
            for name, found in maps.items():
                there = ~_blank(found)
                blank = _blank(others[name])
                self._numbers.add(blank[there], name, "blank", depth)
                # The class of a redrawn network may be dead behind a last ReLU: then there is nothing to compare.
                own, other = found[there & ~blank], others[name][there & ~blank]
                self._numbers.add(rank_correlations(own, other), name, "rank", depth)
                self._numbers.add(rank_correlations(np.abs(own), np.abs(other)), name, "rank_absolute", depth)
                self._numbers.add(structural_similarities(own, other), name, "ssim", depth)

    # ---- is its order that of the network? -------------------------------------------------------------------------

    def _reorder(self, images: Pixels, classes: npt.NDArray[np.int64], maps: dict[str, Floats]) -> None:
        scores = {name: (self._grid.scores(found), _blank(found)) for name, found in maps.items()}
        centre = self._grid.scores(self._grid.from_centre())[0]
        for i, (image, index) in enumerate(zip(images, classes, strict=True)):
            orders = {_RANDOM: self._rng.permutation(len(centre)), _CENTRE: order_of(centre, self._rng)}
            orders |= {name: order_of(s[i], self._rng) for name, (s, blank) in scores.items() if not blank[i]}
            removed, blurry = np.broadcast_to(self._subject.baseline, image.shape), blurred(image[None])[0]
            shown = [image, removed, blurry]
            for order in orders.values():
                shown += [*exchanged(image, removed, order, self._grid), *exchanged(blurry, image, order, self._grid)]
            sure = self._subject.probabilities(np.stack(shown))[:, index]
            whole, gone, faint = sure[:3]
            curves = sure[3:].reshape(len(orders), 2, -1)
            areas = {
                name: (area_under([whole, *deleted, gone]), area_under([faint, *inserted, whole]))
                for name, (deleted, inserted) in zip(orders, curves, strict=True)
            }
            for name in (_RANDOM, _CENTRE, *maps):
                deletion, insertion = areas.get(name, (np.nan, np.nan))
                self._numbers.add([deletion], name, "deletion")
                self._numbers.add([insertion], name, "insertion")

    # ---- where does it lie? ----------------------------------------------------------------------------------------

    def _locate(self, batch: Batch, maps: dict[str, Floats]) -> None:
        from ..audit.objects import area, evidence_inside, pointing

        assert self._objects is not None
        masks = []
        for record in batch.records:
            if record.error is None:
                assert record.view is not None
                assert record.size is not None
                masks.append(self._objects.mask(record.name, record.view, record.size, self._grid.shape))
        # On the cells of one grid, so that a hit is as near for every method.
        there = [i for i, mask in enumerate(masks) if mask is not None]
        if not there:
            return
        found = np.stack([mask for mask in masks if mask is not None])
        centre = np.broadcast_to(1 + self._grid.from_centre(), found.shape)
        self._numbers.add(pointing(centre, found), _CENTRE, "pointing")
        self._numbers.add(np.where(found.any(axis=(1, 2)), area(found), np.nan), _CENTRE, "inside")
        for name, values in maps.items():
            cells = np.where(_blank(values)[:, None], 0, self._grid.scores(values))[there].reshape(found.shape)
            self._numbers.add(pointing(cells, found), name, "pointing")
            self._numbers.add(evidence_inside(cells, found), name, "inside")

    # ---- what was found --------------------------------------------------------------------------------------------

    def finish(self, photos: int, failed: int, start: float) -> Check:
        """Means and intervals over all photos."""
        located = self._located(_CENTRE)
        notes = []
        if failed:
            notes.append(f"{failed} of {photos} photos could not be read and are left out.")
        if photos - failed < FEW:
            notes.append(f"With fewer than {FEW} photos ({photos - failed}) there are numbers and no verdicts.")
        if self._objects is not None and located is None:
            notes.append("None of the photos has a mask or a box: the pointing game was not played.")
        return Check(
            self._subject.network.name,
            photos,
            failed,
            len(self._layers),
            self._numbers.mean("confidence"),
            self._order(_RANDOM),
            self._order(_CENTRE),
            located,
            tuple(self._method(m) for m in self._subject.maps),
            tuple(notes),
            time.monotonic() - start,
        )

    def _method(self, m: MapSpec) -> MethodFindings:
        numbers = self._numbers
        cascade = [
            Redrawn(
                depth,
                self._layers[-depth].name,
                numbers.mean(m.name, "rank", depth),
                numbers.mean(m.name, "rank_absolute", depth),
                numbers.mean(m.name, "ssim", depth),
                float(np.mean(numbers.array(m.name, "blank", depth))) if numbers.of[m.name, "blank", depth] else np.nan,
            )
            for depth in depths_of(len(self._layers))
        ]
        return MethodFindings(
            m.method,
            m.layer,
            int(np.isnan(numbers.array(m.name, "deletion")).sum()),
            numbers.mean(m.name, "others"),
            tuple(cascade),
            self._order(m.name),
            self._gain(m.name, _RANDOM),
            self._gain(m.name, _CENTRE),
            self._located(m.name),
        )

    def _order(self, name: str) -> Order:
        return Order(self._numbers.mean(name, "deletion"), self._numbers.mean(name, "insertion"))

    def _gain(self, name: str, baseline: str) -> Order:
        array = self._numbers.array
        return Order(
            _interval(array(baseline, "deletion") - array(name, "deletion")),
            _interval(array(name, "insertion") - array(baseline, "insertion")),
        )

    def _located(self, name: str) -> Located | None:
        if (_CENTRE, "inside") not in self._numbers.of:
            return None
        return Located(self._numbers.mean(name, "pointing"), self._numbers.mean(name, "inside"))


def _interval(values: npt.NDArray[np.float64]) -> Interval:
    """The mean over the photos that have a number, with its interval; always the same for the same numbers."""
    return interval(values[np.isfinite(values)], np.random.default_rng(0))


def _blank(maps: Floats) -> npt.NDArray[np.bool_]:
    """Maps that say nothing: the same value everywhere, as a Grad-CAM without positive evidence."""
    return np.ptp(maps.reshape(len(maps), -1), axis=1) == 0 if len(maps) else np.zeros(0, bool)
