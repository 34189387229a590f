"""What strategies are, in numbers: means, differences, labels, over all images of a run at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .evidence import Evidence, encoded

Values = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

_LABELS = 10
_CONFUSIONS, _ROWS = 10, 6
_DIFFERENCES = 10
_SMALL = 0.2  # of Cohen's d, a small effect (Cohen 1988): below it nothing differs worth a word
_MOST = 100.0  # of Cohen's d, where there is no variance to divide by


@dataclass(frozen=True)
class Groups:
    """All classes' strategies, counted through.

    Attributes:
        names: int64 [classes], the classes' indices.
        owner: int64 [groups], the place in `names` of the class that it is a strategy of; ascending, and of one class
            the largest first.
        sizes: int64 [groups], images.
        group: int64 [N], each image's group, -1 for none.
        class_of: int64 [N], the place in `names` of each usable image's class, else -1.
        number: int64 [N], the group's number within its class, from 1, -1 for none.
    """

    names: Indices
    owner: Indices
    sizes: Indices
    group: Indices
    class_of: Indices
    number: Indices

    @property
    def count(self) -> int:
        """Strategies of all classes."""
        return len(self.owner)

    @property
    def classes(self) -> int:
        """Classes, with strategies or without."""
        return len(self.names)

    @classmethod
    def of(
        cls,
        names: Indices,
        predicted: Indices,
        usable: npt.NDArray[np.bool_],
        cluster: Indices,
        counts: Mapping[int, int],
    ) -> Groups:
        """Number clusters by their size.

        Args:
            names: as above.
            predicted: int64 [N].
            usable: bool [N], the image may have a strategy.
            cluster: int64 [N], its cluster within its predicted class, or -1.
            counts: class → number of its clusters; some may have no image.
        """
        each = np.array([counts.get(c, 0) for c in names.tolist()], np.int64)
        begins = np.cumsum(each) - each
        place = np.full((int(names.max()) if len(names) else 0) + 2, -1)
        place[names] = np.arange(len(names))
        class_of = np.where(usable, place[np.where(usable, predicted, -1)], -1)
        has = cluster >= 0
        raw = np.where(has, begins[class_of] + cluster if len(names) else -1, -1)
        owner = np.repeat(np.arange(len(names)), each)
        sizes = np.bincount(raw[has], minlength=len(owner))
        order = np.lexsort((np.arange(len(owner)), -sizes, owner))
        order = order[sizes[order] > 0]
        renamed = np.full(len(owner) + 1, -1)
        renamed[order] = np.arange(len(order))
        owner, sizes = owner[order], sizes[order]
        number = np.arange(len(owner)) - np.searchsorted(owner, owner) + 1
        group = renamed[raw]
        return cls(names, owner, sizes, group, class_of, np.append(number, -1)[group])


def means(values: npt.NDArray[np.floating], groups: Groups) -> Values:
    """Each group's mean of the values [N] that are known, [groups]; NaN where none is."""
    count, total, _ = _moments(values, groups)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _moments(values: npt.NDArray[np.floating], groups: Groups) -> tuple[Values, Values, Values]:
    """Number, sum and sum of squares of the known values, [groups] each."""
    known = (groups.group >= 0) & np.isfinite(values)
    of, these = groups.group[known], values[known].astype(np.float64)
    count = np.bincount(of, minlength=groups.count).astype(np.float64)
    total, squares = (np.bincount(of, w, groups.count).astype(np.float64) for w in (these, these**2))
    return count, total, squares


def differences(evidence: Evidence, groups: Groups) -> list[dict[str, float]]:
    """What each group differs in from its class's other groups: attribute or map statistic → Cohen's d, largest first.

    Cohen's d (1988) is the difference of the means over the pooled standard deviation; at most ±100, for what does not
    vary within the groups. Differences below 0.2 are left out.
    """
    found: list[dict[str, float]] = [{} for _ in range(groups.count)]
    several = np.bincount(groups.owner, minlength=groups.classes)[groups.owner] > 1
    if not several.any():
        return found
    known = {**evidence.attributes, **evidence.statistics, "confidence": evidence.confidence}
    for name, values in known.items():
        for g in np.flatnonzero(several & (np.abs(d := _cohens_d(values, groups)) >= _SMALL)):
            found[g][name] = float(d[g])
    return [dict(sorted(f.items(), key=lambda item: -abs(item[1]))[:_DIFFERENCES]) for f in found]


def _cohens_d(values: npt.NDArray[np.floating], groups: Groups) -> Values:
    """Of each group against its class's others, [groups]; 0 where it is not known."""
    finite = values[np.isfinite(values)]
    centre = float(finite.mean(dtype=np.float64)) if len(finite) else 0.0
    own = _moments(values - np.float64(centre), groups)  # near 0, squares keep their digits
    rest = [np.bincount(groups.owner, weights=m, minlength=groups.classes)[groups.owner] - m for m in own]
    (n, s, q), (m, t, r) = own, rest
    enough = (n >= 2) & (m >= 2)
    n, m = np.where(enough, n, 1), np.where(enough, m, 2)
    difference = s / n - t / m
    variance = np.maximum((q - s**2 / n) + (r - t**2 / m), 0) / np.maximum(n + m - 2, 1)
    scale = np.maximum((q + r) / (n + m), 1e-300)
    deviation = np.sqrt(np.where(variance > 1e-10 * scale, variance, 0))
    d = np.where(deviation > 0, difference / np.where(deviation > 0, deviation, 1), np.sign(difference) * _MOST)
    d = np.where((deviation > 0) | (np.abs(difference) > 1e-6 * np.sqrt(scale)), d, 0)
    return np.where(enough, np.clip(d, -_MOST, _MOST), 0)


def label_counts(evidence: Evidence, groups: Groups) -> list[dict[str, int]]:
    """Each group's labels, as the classes spell them: label → images, the most frequent first, at most 10."""
    codes, texts = encoded(evidence.label)
    total = len(evidence.names)
    key = np.where(evidence.labelled >= 0, evidence.labelled, np.where(codes >= 0, codes + total, -1))
    has = (groups.group >= 0) & (key >= 0)
    pairs, counts = np.unique(groups.group[has] * (total + len(texts)) + key[has], return_counts=True)
    found: list[dict[str, int]] = [{} for _ in range(groups.count)]
    for at in np.lexsort((pairs, -counts)):
        group, label = divmod(int(pairs[at]), total + len(texts))
        name = evidence.names[label] if label < total else texts[label - total]
        if len(found[group]) < _LABELS:
            found[group][name] = found[group].get(name, 0) + int(counts[at])
    return found


def confusions(
    evidence: Evidence, wrong: npt.NDArray[np.bool_]
) -> dict[int, tuple[tuple[str, int, tuple[int, ...]], ...]]:
    """The wrong predictions (bool [N]): predicted class → (label, images, the surest few rows), most frequent first."""
    rows = np.flatnonzero(wrong)
    key = evidence.predicted[rows] * len(evidence.names) + evidence.labelled[rows]
    doubt = -np.nan_to_num(evidence.confidence[rows], nan=0.0)
    rows = rows[np.lexsort((rows, doubt, key))]
    keys, begins, counts = np.unique(np.sort(key), return_index=True, return_counts=True)
    found: dict[int, list[tuple[str, int, tuple[int, ...]]]] = {}
    for at in np.lexsort((keys, -counts)):
        predicted, label = divmod(int(keys[at]), len(evidence.names))
        several = found.setdefault(predicted, [])
        if len(several) < _CONFUSIONS:
            some = rows[begins[at] : begins[at] + min(_ROWS, counts[at])]
            several.append((evidence.names[label], int(counts[at]), tuple(some.tolist())))
    return {c: tuple(several) for c, several in found.items()}
