"""Photos as points, neighbours where the network looks alike, and groups of them: what ViRelAy shows first."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]


class PrincipalComponents:
    """The axes along which vectors differ most, from as many parts as there are: memory is that of the covariance."""

    def __init__(self, length: int) -> None:
        self._count = 0
        self._mean = np.zeros(length)
        self._scatter = np.zeros((length, length))

    def add(self, vectors: Floats) -> None:
        """Take [N, length] into account."""
        part = vectors.astype(np.float64)
        mean = part.mean(axis=0)
        # Chan, Golub and LeVeque's update: the raw sums of squares would cancel.
        before, self._count = self._count, self._count + len(part)
        shift = mean - self._mean
        part -= mean
        self._scatter += part.T @ part + np.outer(shift, shift) * (before * len(vectors) / self._count)
        self._mean += shift * (len(vectors) / self._count)

    def axes(self, most: int) -> tuple[Doubles, Doubles, Doubles]:
        """The mean [length], at least two and at most `most` axes [length, k], and the variance along each [k].

        Axes beyond the vectors' own number are zero; an axis's largest component is positive.
        """
        values, vectors = np.linalg.eigh(self._scatter / max(1, self._count))
        kept = max(2, min(most, len(values)))
        axes, variances = np.zeros((len(values), kept)), np.zeros(kept)
        own = min(kept, len(values))
        axes[:, :own], variances[:own] = vectors[:, ::-1][:, :own], np.maximum(values[::-1][:own], 0)
        largest = np.take_along_axis(axes, np.abs(axes).argmax(axis=0)[None], axis=0)
        return self._mean, axes * np.where(largest < 0, -1, 1), variances


def k_means(points: Floats, k: int, rounds: int = 50) -> npt.NDArray[np.uint32]:
    """Group points [N, d] around at most k means, Lloyd's algorithm: the group of each, [N], the largest being 0.

    It begins with the point nearest the mean and then those farthest from all before, so that it gives the same groups
    each time.
    """
    values = points.astype(np.float64)
    centres = values[[int(((values - values.mean(axis=0)) ** 2).sum(axis=1).argmin())]]
    nearest = ((values - centres[0]) ** 2).sum(axis=1)
    while len(centres) < k and nearest.max() > 0:
        centres = np.vstack([centres, values[nearest.argmax()]])
        nearest = np.minimum(nearest, ((values - centres[-1]) ** 2).sum(axis=1))
    groups = np.zeros(len(values), np.int64)
    for round in range(rounds):
        distances = (centres**2).sum(axis=1) - 2 * values @ centres.T  # and the point's own square, the same for all
        now = distances.argmin(axis=1)
        if round and (now == groups).all():
            break
        groups = now
        for group in np.unique(groups):  # one that has lost its points keeps its place
            centres[group] = values[groups == group].mean(axis=0)
    sizes = np.bincount(groups, minlength=len(centres))
    rank = np.empty(len(centres), np.uint32)
    rank[np.argsort(-sizes, kind="stable")] = np.arange(len(centres))
    return rank[groups]
