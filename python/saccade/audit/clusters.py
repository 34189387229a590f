"""How many groups there are in some vectors, one included, and which is whose."""

from __future__ import annotations

import itertools
import warnings
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]

MOST = 8
"""Groups at most."""
DIMENSIONS = 10
"""Principal components that are looked at."""
VALLEY = 0.25
"""Two groups are one unless the density between them falls below this share of the lower one's."""
_LEAST = 30  # vectors, below which there is one group
_EACH = 20  # vectors for each dimension and for each component of the mixture, at least
_WIDTH = 0.1  # of the way between two means, to either side, in which vectors are counted
_SMALL, _FEW = 0.02, 8  # share of the vectors, and vectors, below which there is no group of their own
_STEPS = 31  # places on the way between two means at which the density is looked at
_NOTHING = 1e-12  # variance of vectors that are all equal
_FLOOR = 1e-3  # of the whole variance, added to each direction's: equal vectors are no group of no extent


@dataclass(frozen=True)
class Clusters:
    """Groups of vectors: those modes of a mixture of normal distributions that a valley parts.

    Attributes:
        mean, axes: float64 [C] and [d, C]: (x − mean) axesᵀ is a vector on the principal components, of variance 1 in
            all of them together.
        weights, means, roots: float64 [k], [k, d] and [k, d, d]: the mixture; `roots` are the Cholesky factors of the
            components' precisions.
        group: int64 [k], the group that a component belongs to.
        centres: float64 [groups, d], the mean of each group's vectors.
    """

    mean: Values
    axes: Values
    weights: Values
    means: Values
    roots: Values
    group: npt.NDArray[np.int64]
    centres: Values

    def assign(self, vectors: npt.NDArray[np.floating]) -> tuple[npt.NDArray[np.int64], Values]:
        """The likeliest group of each vector [N, C], int64 [N], and its distance from that group's centre [N]."""
        points = (vectors - self.mean) @ self.axes.T
        groups = np.zeros((len(points), len(self.centres)))
        parts = _densities(points, self.weights, self.means, self.roots)
        best = parts.max(axis=1, keepdims=True)
        np.add.at(groups.T, self.group, np.exp(parts - best).T)
        chosen = groups.argmax(axis=1)
        return chosen, np.linalg.norm(points - self.centres[chosen], axis=1)


def fit(vectors: npt.NDArray[np.floating], seed: int) -> Clusters:
    """Find the groups of N vectors.

    The vectors are reduced to their first principal components. A mixture of normal distributions is fitted to them,
    its number of components chosen by the BIC (Schwarz 1978). Of a group that is no normal distribution that is several
    components, so components are merged where there is no valley between them (modes, as in Hennig 2010, "Methods for
    merging Gaussian mixture components"): where the density on the straight line from one mean to the other, of the
    mixture or of the vectors themselves, stays above a quarter of that at the lower end. A share and no test: the
    number of groups does not grow with N. One group is an answer as good as any other, however long or bent it is.

    Args:
        vectors: finite [N, C], N ≥ 1.
        seed: of the mixture's start.
    """
    mean = vectors.mean(axis=0, dtype=np.float64)
    axes = _principal(vectors - mean, seed)
    points = (vectors - mean) @ axes.T
    mixture = _mixture(points, seed)
    if mixture is None:
        d = points.shape[1]
        one = np.ones(1), np.zeros((1, d)), np.eye(d)[None]
        return Clusters(mean, axes, *one, np.zeros(1, np.int64), np.zeros((1, d)))
    weights, means, roots = mixture
    group = _merged(points, weights, means, roots)
    chosen = Clusters(mean, axes, weights, means, roots, group, np.zeros((group.max() + 1, means.shape[1])))
    of, _ = chosen.assign(vectors)
    centres = np.stack([points[of == g].mean(axis=0) for g in range(group.max() + 1)])
    return Clusters(mean, axes, weights, means, roots, group, centres)


def _principal(centred: Values, seed: int) -> Values:
    """The first principal axes [d, C], scaled so that the whole variance is 1; d = 0 of vectors that are all equal."""
    from sklearn.utils.extmath import randomized_svd

    total = float((centred**2).mean(axis=0).sum())
    if total < _NOTHING:
        return np.zeros((0, centred.shape[1]))
    count = max(1, min(DIMENSIONS, len(centred) // _EACH, centred.shape[1]))
    return randomized_svd(centred, count, random_state=seed)[2] / np.sqrt(total)


def _mixture(points: Values, seed: int) -> tuple[Values, Values, Values] | None:
    """Weights, means and roots of the mixture of the least BIC; None where there is too little for more than one."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    if len(points) < _LEAST or not points.shape[1]:
        return None
    found: list[tuple[float, GaussianMixture]] = []
    for shape in ("tied", "full"):  # components of one shape for all: fewer parameters, so fewer vectors are enough
        least, since = np.inf, 0
        for count in range(1, min(MOST, len(points) // _EACH) + 1):
            mixture = GaussianMixture(count, covariance_type=shape, reg_covar=_FLOOR, random_state=seed, max_iter=200)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)  # equal vectors: fewer means than were asked for
                bic = float(mixture.fit(points).bic(points))
            found.append((bic, mixture))
            least, since = (bic, 0) if bic < least else (least, since + 1)
            if since == 2:
                break
    best = min(found, key=lambda pair: pair[0])[1]
    weights, means, roots = (np.asarray(a) for a in (best.weights_, best.means_, best.precisions_cholesky_))
    return weights, means, np.broadcast_to(roots, (len(weights), *roots.shape[-2:]))


def _densities(points: Values, weights: Values, means: Values, roots: Values) -> Values:
    """The logarithm of each weighted component's density at each point, less a constant: [N, k]."""
    found = [
        np.log(np.diagonal(root)).sum() - 0.5 * (((points - mean) @ root) ** 2).sum(axis=1)
        for mean, root in zip(means, roots, strict=True)
    ]
    return np.stack(found, axis=1) + np.log(np.maximum(weights, 1e-300))


def _merged(points: Values, weights: Values, means: Values, roots: Values) -> npt.NDArray[np.int64]:
    """The group of each component: those without a valley between them are one; a small one is its nearest's."""
    count = len(weights)
    least = max(_FEW, _SMALL * len(points))
    of = _densities(points, weights, means, roots).argmax(axis=1)
    sizes = np.bincount(of, minlength=count)
    valleys = np.ones((count, count))
    for i, j in itertools.combinations(range(count), 2):
        ours = points[(of == i) | (of == j)]
        valleys[i, j] = max(_valley(i, j, weights, means, roots), _thinning(ours, means[i], means[j]))
        valleys[j, i] = valleys[i, j]
    group = np.arange(count)
    for i, j in zip(*np.nonzero(valleys >= VALLEY), strict=True):
        group[group == group[i]] = group[j]
    while True:
        names = np.unique(group)
        held = np.array([sizes[group == g].sum() for g in names])
        if len(names) == 1 or held.min() >= least:
            return np.searchsorted(names, group)
        small = group == names[held.argmin()]
        nearest = np.where(small, -1, valleys[small].max(axis=0)).argmax()
        group[small] = group[nearest]


def _valley(i: int, j: int, weights: Values, means: Values, roots: Values) -> float:
    """The mixture's least density between two means, over that at the lower of them."""
    way = means[i] + np.linspace(0, 1, _STEPS)[:, None] * (means[j] - means[i])
    log = np.logaddexp.reduce(_densities(way, weights, means, roots), axis=1)
    return float(np.exp(log.min() - min(log[0], log[-1])))


def _thinning(points: Values, one: Values, other: Values) -> float:
    """The same of the points themselves: how many project halfway between two means, over the fewer at either mean.

    What the mixture says between its means hangs on its components being normal; these need not be.
    """
    way = other - one
    length = float(way @ way)
    if length < _NOTHING:
        return 1.0
    at = (points - one) @ way / length
    around = [int((np.abs(at - place) <= _WIDTH).sum()) for place in np.linspace(0, 1, 1 + round(1 / _WIDTH))]
    return min(around) / min(around[0], around[-1]) if min(around[0], around[-1]) else 1.0
