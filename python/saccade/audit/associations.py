"""What goes with the prediction: attributes of the whole image, columns of the manifest, traces in the file's name.

An attribute that goes with the prediction may do so because it goes with the class itself. Whether it does beyond that
is seen among images of the same label: there it goes with the prediction only if errors go with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from .dependence import LEAST, Dependence, of_ranks, of_ranks_within, of_table, of_table_within
from .evidence import Evidence, encoded

Values = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

SAMPLE = 200_000
"""Images that are looked at, drawn from all that were explained."""
ALPHA = 0.05
"""The level of the corrected p values below which an association is one."""
SMALL = 0.1
"""The effect below which an association is not worth a word, however sure it is."""
_LEVELS = 32  # of a category; all rarer ones are one level
_SHOWN = 6
_OTHER, _NONE = "(other)", "(none)"


@dataclass(frozen=True)
class Association:
    """An attribute that goes with the prediction of a class.

    Attributes:
        attribute: its name in the evidence; of a column that is not always given, `COLUMN is given` as well.
        kind: "number" or "category".
        class_name, class_index: the class, whose images are compared with those predicted as others.
        images: images predicted as the class for which the attribute is known, of the sample.
        with_prediction: Cliff's delta of a number, −1 to 1, above 0 where the class has more of it; Cramér's V of a
            category, 0 to 1, without its bias.
        with_label: the same between images labelled as the class and as others; None where there are too few.
        beyond_label: the same between images of one label that are predicted as the class or as others; None where
            there are too few errors.
        p, p_beyond: of `with_prediction` and `beyond_label`, corrected for the number of things tried.
        median, median_of_others: of a number, in images predicted as the class and as others.
        levels: of a category, value → its share of the images predicted as the class, and of the others; those that
            differ most, at most 6.
    """

    attribute: str
    kind: Literal["number", "category"]
    class_name: str
    class_index: int
    images: int
    with_prediction: float
    with_label: float | None
    beyond_label: float | None
    p: float
    p_beyond: float | None
    median: float | None
    median_of_others: float | None
    levels: Mapping[str, tuple[float, float]]

    @property
    def strength(self) -> float:
        """The effect, 0 to 1: with the prediction, or beyond the label where that is larger and no accident."""
        beyond = self.beyond_label if self.p_beyond is not None and self.p_beyond < ALPHA else None
        return max(abs(self.with_prediction), abs(beyond or 0.0))


@dataclass(frozen=True)
class Associations:
    """What was found, the strongest first, and how many p values were looked at for it."""

    tried: int
    found: tuple[Association, ...]


@dataclass(frozen=True)
class _Sample:
    """Some of the images.

    Attributes:
        rows: int64 [n], of the evidence.
        classes: int64 [K], the classes with enough images.
        predicted, labelled: int64 [n], the place in `classes`, -1 for none of them.
        has_label: bool [n].
        stratum: int64 [n], the labels by number; -1 without one.
    """

    rows: Indices
    classes: Indices
    predicted: Indices
    labelled: Indices
    has_label: npt.NDArray[np.bool_]
    stratum: Indices


def find(evidence: Evidence, seed: int = 0) -> Associations:
    """Find what goes with the prediction of each class.

    For each class with at least 10 images (and 10 others) and each attribute: its association with the prediction, with
    the label, and with the prediction among images of one label (see `dependence` for the statistics). p values of the
    first and the last are corrected as Holm (1979) has it over all that were tried: the chance of naming anything at
    all is at most 5 % where nothing goes with the prediction, however much the attributes hang together (brightness and
    red always do). Each suspect is an accusation; what a false discovery rate allows, some false ones among many, is
    not wanted. Associations are kept at a corrected p below 0.05 and an effect of at least 0.1.

    Texts of which there are more than half as many as images (ids) are left out, rare ones counted together, and so is
    left out what only says the label in other words, as a folder may.

    Args:
        evidence: of the run.
        seed: of the sample of at most 200,000 images.
    """
    sample = _sampled(evidence, seed)
    if not len(sample.classes):
        return Associations(0, ())
    given = evidence.further.take(sample.rows)
    found: list[Association] = []
    for name, values in evidence.attributes.items():
        found += _of_number(name, values[sample.rows].astype(np.float64), evidence, sample)
    for name, column in given.items():
        if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
            numbers = column.cast(pa.float64()).to_numpy()
            found += _of_number(name, numbers, evidence, sample)
            absent = np.isnan(numbers).astype(np.int64)
            found += _of_category(f"{name} is given", absent, ["yes", "no"], evidence, sample)
        else:
            codes, texts = encoded(column.cast(pa.string()))
            found += _of_category(name, codes, texts, evidence, sample)
    corrected, tried = _corrected(found)
    kept = [a for a in corrected if _holds(a.p, a.with_prediction) or _holds(a.p_beyond, a.beyond_label)]
    kept.sort(key=lambda a: (-a.strength, a.class_index, a.attribute))
    return Associations(tried, tuple(kept))


def _holds(p: float | None, effect: float | None) -> bool:
    return p is not None and effect is not None and p < ALPHA and abs(effect) >= SMALL


def _sampled(evidence: Evidence, seed: int) -> _Sample:
    rows = np.flatnonzero(evidence.good & (evidence.predicted >= 0))
    if len(rows) > SAMPLE:
        rows = np.sort(np.random.default_rng(seed).choice(rows, SAMPLE, replace=False))
    classes, images = np.unique(evidence.predicted[rows], return_counts=True)
    classes = classes[(images >= LEAST) & (len(rows) - images >= LEAST)]
    place = np.full(len(evidence.names) + 1, -1)
    place[classes] = np.arange(len(classes))
    codes = encoded(evidence.label)[0][rows]
    has = codes >= 0
    # An index and a name of one class are one label.
    labels = np.where(evidence.labelled[rows] >= 0, evidence.labelled[rows], codes + len(evidence.names))
    stratum = np.full(len(rows), -1)
    stratum[has] = np.unique(labels[has], return_inverse=True)[1]
    return _Sample(rows, classes, place[evidence.predicted[rows]], place[evidence.labelled[rows]], has, stratum)


def _of_number(name: str, values: Values, evidence: Evidence, sample: _Sample) -> Iterator[Association]:
    known = np.isfinite(values)
    if not known.any() or np.ptp(values[known]) == 0:
        return
    values, count = values[known], len(sample.classes)
    predicted, among = sample.predicted[known], sample.has_label[known]
    found = [of_ranks(values, predicted, count), None, None]
    if among.any():
        found[1] = of_ranks(values[among], sample.labelled[known][among], count)
        found[2] = of_ranks_within(values[among], predicted[among], count, sample.stratum[known][among])
    medians = _medians(values, predicted, count)
    for c, images, effects in _each(found, predicted, sample):
        yield Association(
            name, "number", evidence.names[sample.classes[c]], int(sample.classes[c]), images, *effects, *medians[c], {}
        )


def _of_category(
    name: str, codes: Indices, texts: list[str], evidence: Evidence, sample: _Sample
) -> Iterator[Association]:
    """`codes` are the places in `texts`, -1 for null."""
    distinct = len(np.unique(codes[codes >= 0]))
    if 2 * distinct > len(codes) or _renames(codes, sample):
        return
    levels, names = _frequent(codes, texts)
    if len(names) < 2:
        return
    count, among = len(sample.classes), sample.has_label
    predicted = sample.predicted
    found = [of_table(levels, predicted, count), None, None]
    if among.any():
        found[1] = of_table(levels[among], sample.labelled[among], count)
        found[2] = of_table_within(levels[among], predicted[among], count, sample.stratum[among])
    table = np.zeros((len(names), count + 1))
    np.add.at(table, (levels, predicted), 1)  # those of no class in the last column
    for c, images, effects in _each(found, predicted, sample):
        own, others = table[:, c] / images, (table.sum(axis=1) - table[:, c]) / (len(levels) - images)
        shown = np.argsort(-np.abs(own - others), kind="stable")[:_SHOWN]
        yield Association(
            name,
            "category",
            evidence.names[sample.classes[c]],
            int(sample.classes[c]),
            images,
            *effects,
            None,
            None,
            {names[i]: (float(own[i]), float(others[i])) for i in shown},
        )


Effects = tuple[float, float | None, float | None, float, float | None]


def _each(
    found: Sequence[Dependence | None], predicted: Indices, sample: _Sample
) -> Iterator[tuple[int, int, Effects]]:
    """Class by class of those about which something is known: its place, its images, and the effects and p values of
    `found` (with the prediction, with the label, beyond it) in the order in which `Association` has them.
    """
    sizes = np.bincount(predicted + 1, minlength=len(sample.classes) + 1)[1:]

    def known(which: int, values: str, c: int) -> float | None:
        dependence = found[which]
        value = np.nan if dependence is None else float(getattr(dependence, values)[c])
        return None if np.isnan(value) else value

    for c in range(len(sample.classes)):
        effect, p = known(0, "effect", c), known(0, "p", c)
        if effect is not None and p is not None:
            label, beyond, p_beyond = known(1, "effect", c), known(2, "effect", c), known(2, "p", c)
            yield c, int(sizes[c]), (effect, label, beyond, p, p_beyond)


def _medians(values: Values, predicted: Indices, count: int) -> list[tuple[float | None, float | None]]:
    """Each class's median, and that of all others; O(N log N) however many classes."""
    order = np.argsort(values, kind="stable")
    ordered, classes = values[order], predicted[order]
    by_class = np.argsort(classes, kind="stable")  # places in `ordered`, class by class and ascending
    ends = np.searchsorted(classes[by_class], np.arange(count + 1))
    found: list[tuple[float | None, float | None]] = []
    for c in range(count):
        mine = by_class[ends[c] : ends[c + 1]]
        before = mine - np.arange(len(mine))  # how many others come before each
        halves = [(len(values) - len(mine) - 1) // 2, (len(values) - len(mine)) // 2]
        others = [j + int(np.searchsorted(before, j, side="right")) for j in halves]
        some, rest = len(mine) > 0, len(mine) < len(values)
        found.append(
            (
                float(ordered[mine[[(len(mine) - 1) // 2, len(mine) // 2]]].mean()) if some else None,
                float(ordered[others].mean()) if rest else None,
            )
        )
    return found


def _renames(codes: Indices, sample: _Sample) -> bool:
    """Whether a category is the label in other words: each value has one label, and each label one value."""
    among = sample.has_label
    if not among.any():
        return False
    pairs = np.unique(np.stack([codes[among], sample.stratum[among]]), axis=1)
    return len(np.unique(pairs[0])) == pairs.shape[1] == len(np.unique(pairs[1]))


def _frequent(codes: Indices, texts: list[str]) -> tuple[Indices, list[str]]:
    """The category with its rare values as one: levels int64 [n], the most frequent first, and their names."""
    values, counts = np.unique(codes, return_counts=True)
    order = np.lexsort((values, -counts))
    kept = order[counts[order] >= LEAST][:_LEVELS]
    rest = len(codes) - int(counts[kept].sum())
    names = [_NONE if values[i] < 0 else texts[values[i]] for i in kept]
    sizes = counts[kept].tolist()
    place = np.full(len(values), len(kept))
    place[kept] = np.arange(len(kept))
    if rest >= LEAST:
        names, sizes = [*names, _OTHER], [*sizes, rest]
    elif len(kept):  # too few to be a level: with the rarest of those that are
        place = np.minimum(place, len(kept) - 1)
    renamed = np.empty(len(names), np.int64)
    by_size = np.argsort(-np.array(sizes), kind="stable")
    renamed[by_size] = np.arange(len(names))
    return renamed[place[np.searchsorted(values, codes)]] if names else codes, [names[i] for i in by_size]


def _corrected(found: Sequence[Association]) -> tuple[list[Association], int]:
    """The same with p values corrected as Holm (1979) has it, and how many there are."""
    raw = [a.p for a in found] + [a.p_beyond for a in found if a.p_beyond is not None]
    corrected = holm(np.array(raw)).tolist()
    beyond = iter(corrected[len(found) :])
    both = [
        replace(a, p=p, p_beyond=None if a.p_beyond is None else next(beyond))
        for a, p in zip(found, corrected[: len(found)], strict=True)
    ]
    return both, len(raw)


def holm(p: Values) -> Values:
    """Correct n p values for their number (Holm 1979): the i-th smallest times n − i + 1, none below the one before."""
    order = np.argsort(p, kind="stable")
    corrected = np.empty(len(p))
    corrected[order] = np.minimum(np.maximum.accumulate(p[order] * (len(p) - np.arange(len(p)))), 1)
    return corrected
