"""Strategies: the ways in which a network comes to a class, as clusters of its images by what was looked at.

Clusters are of the pooled features, because those do not say where: a tank on the left and a tank on the right are one
strategy, the sky and the tank are two. Only where a program gives no features (or they say nothing, being all equal)
clusters are of the maps, and then left and right are two.

A blank map shows no evidence, so its image belongs to no strategy. It counts among the class's images (`images`, and so
in the strategies' shares) and is counted in `blank`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from . import clusters
from .evidence import Evidence
from .findings import ClassFindings, Strategy
from .summaries import Groups, confusions, differences, label_counts, means

Floats = npt.NDArray[np.float32]
Values = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

SAMPLE = 2000
"""Images of a class that its clusters are fitted to; the others are assigned to them."""
LEAST = 8
"""Images of a class with evidence, below which it has no strategies."""
_BYTES = 2**28  # of vectors and maps that clusters are fitted to, at a time
_TYPICAL, _OUTLIERS = 24, 8
_MEASURES = ("border_mass", "corner_mass", "spread")


@dataclass(frozen=True)
class Strategies:
    """The strategies of a run.

    Attributes:
        classes: of each class that is predicted at all, the most images first.
        assignment: int16 [N], the number of each image's strategy among those of its predicted class (from 1), -1 where
            it has none.
    """

    classes: tuple[ClassFindings, ...]
    assignment: npt.NDArray[np.int16]


@dataclass(frozen=True)
class _Model:
    """How a class's images are told apart."""

    by_features: bool
    clusters: clusters.Clusters

    def assign(self, maps: Values, features: Floats | None) -> tuple[Indices, Values]:
        """Cluster and distance of n images' maps [n, h, w] and features [n, C]; -1 where they hold no numbers."""
        vectors = _vectors(maps, features, self.by_features)
        known = np.isfinite(vectors).all(axis=1)
        cluster, distance = np.full(len(vectors), -1), np.full(len(vectors), np.nan)
        if known.any():
            cluster[known], distance[known] = self.clusters.assign(vectors[known])
        return cluster, distance


def find(evidence: Evidence, seed: int = 0) -> Strategies:
    """Cluster the images of each predicted class, and say what the clusters are.

    Clusters are fitted to a sample of each class (see `clusters.fit`), all other images assigned as they are read: the
    time grows with the number of images, the memory by some bytes for each.

    Args:
        evidence: of the run.
        seed: of the sample and of the fit. The same seed gives the same strategies.
    """
    predicted = evidence.predicted
    usable = evidence.good & (predicted >= 0) & ~evidence.blank
    names, images = np.unique(predicted[evidence.good & (predicted >= 0)], return_counts=True)
    order = np.lexsort((names, -images))
    classes = names[order]
    models = _fitted(evidence, classes, usable, seed)
    cluster, distance = _assigned(evidence, usable, models)
    groups = Groups.of(classes, predicted, usable, cluster, {c: len(m.clusters.centres) for c, m in models.items()})
    maps = _mean_maps(evidence, groups)
    found = _classes(evidence, groups, images[order], distance, maps)
    return Strategies(found, groups.number.astype(np.int16))


def _fitted(evidence: Evidence, classes: Indices, usable: npt.NDArray[np.bool_], seed: int) -> dict[int, _Model]:
    """Each class's model, of those with enough images."""
    by_class = np.argsort(np.where(usable, evidence.predicted, -1), kind="stable")
    ends = np.cumsum(np.bincount(evidence.predicted[usable] + 1, minlength=len(evidence.names) + 1))
    first = len(usable) - int(usable.sum())
    models: dict[int, _Model] = {}
    waiting: dict[int, Indices] = {}
    features = evidence.spec.features or 0
    each = 4 * (features + 2 * evidence.map_shape[0] * evidence.map_shape[1])
    for c in classes.tolist():
        rows = by_class[first + ends[c] : first + ends[c + 1]]
        if len(rows) < LEAST:
            continue
        if len(rows) > SAMPLE:
            rows = np.sort(np.random.default_rng((seed, c)).choice(rows, SAMPLE, replace=False))
        if waiting and each * (len(rows) + sum(map(len, waiting.values()))) > _BYTES:
            models |= _fitted_together(evidence, waiting, seed)
            waiting = {}
        waiting[c] = rows
    return models | _fitted_together(evidence, waiting, seed)


def _fitted_together(evidence: Evidence, rows: dict[int, Indices], seed: int) -> dict[int, _Model]:
    """Models of some classes, whose `rows` are read at once: classes may be all over the run."""
    if not rows:
        return {}
    everything = np.concatenate(list(rows.values()))
    order = np.argsort(everything)
    maps, features = evidence.read(everything[order])
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    models: dict[int, _Model] = {}
    begin = 0
    for c, mine in rows.items():
        at = place[begin : begin + len(mine)]
        begin += len(mine)
        model = _model(_shares(maps[at]), None if features is None else features[at], seed)
        if model is not None:
            models[c] = model
    return models


def _model(maps: Values, features: Floats | None, seed: int) -> _Model | None:
    for by_features in (True, False):
        if by_features and features is None:
            continue
        vectors = _vectors(maps, features, by_features)
        vectors = vectors[np.isfinite(vectors).all(axis=1)]
        # Features that are all equal say nothing; then the maps are asked. Their being equal is an answer.
        if len(vectors) >= LEAST and (not by_features or np.ptp(vectors, axis=0).max() > 1e-6):
            return _Model(by_features, clusters.fit(vectors, seed))
    return None


def _vectors(maps: Values, features: Floats | None, by_features: bool) -> Values:
    """What is clustered: features of length 1, or the roots of the maps' shares, which have length 1 as well."""
    if not by_features or features is None:
        return np.sqrt(maps.reshape(len(maps), -1))
    vectors = features.astype(np.float64)
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(length > 0, length, 1)


def _shares(maps: Floats) -> Values:
    """Each map's evidence, divided by its sum: float64 [n, h, w]; NaN for a map without any."""
    evidence = np.maximum(maps, 0).astype(np.float64)
    top = evidence.max(axis=(1, 2), keepdims=True)
    with np.errstate(invalid="ignore"):  # an image with an error; a map that is damaged
        evidence /= np.where(top > 0, top, np.nan)
        return evidence / evidence.sum(axis=(1, 2), keepdims=True)


def _assigned(evidence: Evidence, usable: npt.NDArray[np.bool_], models: dict[int, _Model]) -> tuple[Indices, Values]:
    """Cluster (within its class, -1 for none) and distance from its centre of each image."""
    cluster, distance = np.full(len(evidence), -1), np.full(len(evidence), np.nan)
    if not models:
        return cluster, distance
    for first, maps, features in evidence.slices():
        for c, rows in _by_class(evidence.predicted, usable, first, len(maps)):
            if c in models:
                at = rows - first
                given = None if features is None else features[at]
                cluster[rows], distance[rows] = models[c].assign(_shares(maps[at]), given)
    return cluster, distance


def _by_class(
    predicted: Indices, usable: npt.NDArray[np.bool_], first: int, count: int
) -> Iterator[tuple[int, Indices]]:
    """The usable ones of `count` rows from `first`, class by class."""
    rows = first + np.flatnonzero(usable[first : first + count])
    rows = rows[np.argsort(predicted[rows], kind="stable")]
    classes, begins = np.unique(predicted[rows], return_index=True)
    yield from zip(classes.tolist(), np.split(rows, begins[1:]), strict=True)


@dataclass(frozen=True)
class _Maps:
    """Mean maps of classes [classes, h, w] and strategies [groups, h, w], and the strategies' same_place [groups]."""

    classes: Floats
    groups: Floats
    same_place: Values


def _mean_maps(evidence: Evidence, groups: Groups) -> _Maps:
    h, w = evidence.map_shape
    totals = np.zeros((groups.count, h, w))
    class_totals, class_counts = np.zeros((groups.classes, h, w)), np.zeros(groups.classes)
    for first, maps, _ in evidence.slices(features=False):
        rows = slice(first, first + len(maps))
        shares = _shares(maps)
        known = np.isfinite(shares).all(axis=(1, 2))
        for sums, of in ((totals, groups.group[rows]), (class_totals, groups.class_of[rows])):
            here = known & (of >= 0)
            np.add.at(sums, of[here], shares[here])  # in the images' order, however they are cut into slices
        np.add.at(class_counts, groups.class_of[rows][known & (groups.class_of[rows] >= 0)], 1)
    sizes = groups.sizes
    return _Maps(
        (class_totals / np.maximum(class_counts, 1)[:, None, None]).astype(np.float32),
        (totals / np.maximum(sizes, 1)[:, None, None]).astype(np.float32),
        _same_place(evidence, groups, totals.reshape(groups.count, h * w)),
    )


def _same_place(evidence: Evidence, groups: Groups, totals: Values) -> Values:
    """Mean over a strategy's images of the correlation (over cells) of the map with the mean of the others': [groups].

    NaN where there is none: of one image, or of maps that are flat.
    """
    sums, counts = np.zeros(groups.count), np.zeros(groups.count)
    centred = totals - totals.mean(axis=1, keepdims=True)
    for first, maps, _ in evidence.slices(features=False):
        of = groups.group[first : first + len(maps)]
        mine = _shares(maps[of >= 0]).reshape(-1, totals.shape[1])
        of = of[of >= 0]
        mine -= mine.mean(axis=1, keepdims=True)
        others = centred[of] - mine
        lengths = np.linalg.norm(mine, axis=1) * np.linalg.norm(others, axis=1)
        known = (lengths > 1e-9) & (groups.sizes[of] > 1)
        np.add.at(sums, of[known], (mine * others).sum(axis=1)[known] / lengths[known])
        np.add.at(counts, of[known], 1)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def _classes(
    evidence: Evidence, groups: Groups, images: Indices, distance: Values, maps: _Maps
) -> tuple[ClassFindings, ...]:
    e = evidence
    right = e.good & (e.labelled == e.predicted) & (e.predicted >= 0)
    judged = e.good & (e.labelled >= 0) & (e.predicted >= 0)
    total = len(e.names)
    labelled = np.bincount(e.labelled[e.good & (e.labelled >= 0)], minlength=total)
    hits, judgements = (np.bincount(e.predicted[which], minlength=total) for which in (right, judged))
    blank = np.bincount(e.predicted[e.blank & (e.predicted >= 0)], minlength=total)
    wrong = confusions(e, judged & ~right)
    strategies = _strategies(e, groups, images, distance, maps)
    return tuple(
        ClassFindings(
            name=e.names[c],
            index=c,
            images=int(images[place]),
            labelled=int(labelled[c]),
            recall=float(hits[c] / labelled[c]) if labelled[c] else None,
            precision=float(hits[c] / judgements[c]) if judgements[c] else None,
            blank=int(blank[c]),
            mean_map=maps.classes[place],
            strategies=strategies[place],
            confusions=wrong.get(c, ()),
        )
        for place, c in enumerate(groups.names.tolist())
    )


def _strategies(
    evidence: Evidence, groups: Groups, images: Indices, distance: Values, maps: _Maps
) -> list[tuple[Strategy, ...]]:
    """Each class's strategies, the largest first."""
    measured = {m: means(evidence.statistics[m], groups) for m in _MEASURES} | {"same_place": maps.same_place}
    differs = differences(evidence, groups)
    labels = label_counts(evidence, groups)
    right = evidence.labelled == evidence.predicted
    judged = np.bincount(groups.group[(groups.group >= 0) & (evidence.labelled >= 0)], minlength=groups.count)
    pure = np.bincount(groups.group[(groups.group >= 0) & right], minlength=groups.count)
    rows = np.flatnonzero(groups.group >= 0)
    rows = rows[np.lexsort((rows, distance[rows], groups.group[rows]))]
    members = np.split(rows, np.cumsum(groups.sizes)[:-1]) if groups.count else []
    found: list[tuple[Strategy, ...]] = []
    for place in range(groups.classes):
        mine = np.flatnonzero(groups.owner == place)
        found.append(
            tuple(
                Strategy(
                    number=number,
                    images=int(groups.sizes[g]),
                    share=float(groups.sizes[g] / images[place]),
                    purity=float(pure[g] / judged[g]) if judged[g] else None,
                    labels=labels[g],
                    mean_map=maps.groups[g],
                    typical=tuple(members[g][:_TYPICAL].tolist()),
                    outliers=tuple(members[g][_TYPICAL:][: -_OUTLIERS - 1 : -1].tolist()),
                    measures={m: float(values[g]) for m, values in measured.items() if np.isfinite(values[g])},
                    differs=differs[g],
                )
                for number, g in enumerate(mine.tolist(), 1)
            )
        )
    return found
