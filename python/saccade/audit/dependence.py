"""How a number or a category goes with classes, for all classes at once; and how it does among images of one label.

Each function compares the images of every class with all the others. None permutes: the statistics have closed forms.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

LEAST = 10
"""Images of a class, and of the others, below which nothing is said."""
_EXPECTED = 5.0  # images expected in a cell of a table, for χ² to be near its distribution (Cochran 1954)


@dataclass(frozen=True)
class Dependence:
    """Of each class: float64 [K] each, NaN where too few images say something.

    Attributes:
        effect: −1 to 1, or 0 to 1 of a category.
        p: of two sides, if there were none; not corrected for the number of things tried.
    """

    effect: Values
    p: Values


def cliffs_delta(a: npt.NDArray[np.generic], b: npt.NDArray[np.generic]) -> float:
    """Cliff's delta (1993): how often a value of `a` is above one of `b`, minus how often below; −1 to 1."""
    from scipy.stats import rankdata

    if not len(a) or not len(b):
        return 0.0
    ranks = rankdata(np.concatenate([a, b]))[: len(a)].sum()
    return float(2 * (ranks - len(a) * (len(a) + 1) / 2) / (len(a) * len(b)) - 1)


def of_ranks(values: Values, classes: Indices, count: int) -> Dependence:
    """How a number goes with classes: Cliff's delta and the test of Mann and Whitney.

    Cliff's delta (1993), the rank-biserial correlation, is P(x > y) − P(x < y) for x of the class and y of the others,
    2·AUC − 1. The test (1947) takes the normal approximation with a correction for ties and for continuity, as
    `scipy.stats.mannwhitneyu(method="asymptotic")`.

    Args:
        values: finite [N].
        classes: int [N], 0 to `count` − 1, or −1 for none of them.
        count: K.
    """
    from scipy.stats import norm, rankdata

    total = len(values)
    sizes = np.bincount(classes + 1, minlength=count + 1)[1:].astype(np.float64)
    rest = total - sizes
    enough = (sizes >= LEAST) & (rest >= LEAST)
    sums = _sums(classes, rankdata(values), count)
    apart = sums - sizes * (total + 1) / 2
    ties = _ties(np.unique(values, return_counts=True)[1]).sum()
    variance = sizes * rest / 12 * ((total + 1) - ties / max(total * (total - 1), 1))
    enough &= variance > 0
    z = np.maximum(np.abs(apart) - 0.5, 0) / np.sqrt(np.where(enough, variance, 1))
    effect = 2 * apart / np.where(enough, sizes * rest, 1)
    return Dependence(np.where(enough, effect, np.nan), np.where(enough, 2 * norm.sf(z), np.nan))


def of_ranks_within(values: Values, classes: Indices, count: int, strata: Indices) -> Dependence:
    """The same among images of one stratum (one label): the stratified test of van Elteren (1960).

    Strata count with weights 1 ÷ (n + 1); the effect is the mean of their deltas with weights n₁n₂ ÷ (n + 1), so that
    both say the same. It is 0 on average where, at the same label, the prediction does not hang on the number.

    Args:
        values, classes, count: see `of_ranks`.
        strata: int [N], from 0.
    """
    from scipy.stats import norm

    order = np.lexsort((values, strata))
    ranks, ties = _ranks_within(values[order], strata[order])
    of, pair_class, sizes, pair = _pairs(strata[order], classes[order], count)
    n = np.bincount(strata)[of].astype(np.float64)
    rest = n - sizes
    apart = _sums(pair, ranks, len(of)) - sizes * (n + 1) / 2
    variance = sizes * rest / 12 * ((n + 1) - ties[of] / np.maximum(n * (n - 1), 1))
    weight = 1 / (n + 1)

    counted = (weight * apart, weight**2 * variance, weight * sizes * rest / 2, np.minimum(sizes, rest))
    total, spread, reach, informative = (_sums(pair_class, each, count) for each in counted)
    enough = (informative >= LEAST) & (spread > 0)
    z = np.abs(total) / np.sqrt(np.where(enough, spread, 1))
    effect = total / np.where(enough, reach, 1)
    return Dependence(np.where(enough, effect, np.nan), np.where(enough, 2 * norm.sf(z), np.nan))


def _sums(groups: Indices, values: Values, count: int) -> Values:
    """The sum of each group's values, [count]; those of group −1 are left out."""
    return np.bincount(groups + 1, weights=values, minlength=count + 1)[1:].astype(np.float64)


def _ties(counts: npt.NDArray[np.integer]) -> Values:
    many = counts.astype(np.float64)
    return many**3 - many


def _ranks_within(values: Values, strata: Indices) -> tuple[Values, Values]:
    """Mean ranks within each stratum of what is sorted by stratum and value, and Σ(t³ − t) of each stratum."""
    new = np.ones(len(values), bool)
    new[1:] = (np.diff(values) != 0) | (np.diff(strata) != 0)
    starts = np.flatnonzero(new)
    lengths = np.diff(np.append(starts, len(values)))
    begin = np.cumsum(np.bincount(strata)) - np.bincount(strata)
    ranks = np.repeat(starts + (lengths + 1) / 2, lengths) - begin[strata]
    return ranks, _sums(strata[starts], _ties(lengths), len(begin))


def _pairs(strata: Indices, classes: Indices, count: int) -> tuple[Indices, Indices, Values, Indices]:
    """The pairs of stratum and class that occur: stratum, class and images [P] each, and each row's pair [N]."""
    codes, pair, sizes = np.unique(strata * (count + 1) + classes + 1, return_inverse=True, return_counts=True)
    return codes // (count + 1), codes % (count + 1) - 1, sizes.astype(np.float64), pair


def of_table(levels: Indices, classes: Indices, count: int) -> Dependence:
    """How a category goes with classes: Cramér's V without its bias, and Pearson's χ².

    Of each class the table of levels × (class, others). Levels in which fewer than 5 images of either are expected are
    counted together. V has its bias corrected as Bergsma (2013) has it: φ² less (k − 1) ÷ (n − 1), and k and 2 made
    smaller, so that it is near 0 for a category of many levels that goes with nothing.

    Args:
        levels: int [N], from 0.
        classes, count: see `of_ranks`.
    """
    from scipy.stats import chi2

    total = len(levels)
    held = np.bincount(levels).astype(np.float64)
    order = np.argsort(-held, kind="stable")[: np.count_nonzero(held)]
    table, held = _table(levels, classes, count)[order], held[order]
    share = table.sum(axis=0) / total
    side = np.minimum(share, 1 - share)
    enough = total * side >= LEAST
    kept, rest = _kept(held, side)
    cells = np.vstack([np.zeros(count), np.cumsum(_chi2(table, held[:, None], share), axis=0)])
    column = np.arange(count)
    inside = np.vstack([np.zeros(count), np.cumsum(table, axis=0)])[kept, column]
    beside = np.where(rest > 0, _chi2(table.sum(axis=0) - inside, np.maximum(rest, 1), share), 0)
    statistic = cells[kept, column] + beside
    freedom = kept + (rest > 0) - 1
    enough &= freedom > 0
    freedom = np.where(enough, freedom, 1)
    effect = _unbiased_v(statistic / total, freedom, total)
    return Dependence(np.where(enough, effect, np.nan), np.where(enough, chi2.sf(statistic, freedom), np.nan))


def _table(levels: Indices, classes: Indices, count: int) -> Values:
    """Images by level and class: float64 [L, K]."""
    depth = int(levels.max()) + 1
    flat = np.bincount(levels * (count + 1) + classes + 1, minlength=depth * (count + 1))
    return flat.reshape(depth, count + 1)[:, 1:].astype(np.float64)


def _kept(held: Values, side: Values) -> tuple[Indices, Values]:
    """Of each class how many of the levels stand alone, the most frequent ones, and the images in all others."""
    kept = (held[:, None] * side >= _EXPECTED).sum(axis=0)
    sums = np.append(0, np.cumsum(held))
    rest = sums[-1] - sums[kept]
    kept = np.where((rest > 0) & (rest * side < _EXPECTED), np.maximum(kept - 1, 0), kept)
    return kept, sums[-1] - sums[kept]


def _chi2(observed: Values, images: Values, share: Values) -> Values:
    """Both cells of a level: (O − E)² ÷ E of the class and of the others."""
    known = np.where((share > 0) & (share < 1), share, 0.5)
    return (observed - images * known) ** 2 / (images * known * (1 - known))


def _unbiased_v(phi2: Values, freedom: npt.NDArray[np.integer], total: float | Values) -> Values:
    """Bergsma's V of a table with two columns and `freedom` + 1 rows."""
    one_less = np.maximum(total - 1, 1)
    rows = freedom + 1 - freedom**2 / one_less
    columns = 2 - 1 / one_less
    least = np.maximum(np.minimum(rows, columns) - 1, 1e-9)
    return np.minimum(np.sqrt(np.maximum(phi2 - freedom / one_less, 0) / least), 1)


def of_table_within(levels: Indices, classes: Indices, count: int, strata: Indices) -> Dependence:
    """The same among images of one stratum (one label): the generalised test of Cochran, Mantel and Haenszel.

    The test of general association (Landis, Heyman and Koch 1978): Q = Gᵀ V⁻¹ G, with G the images of each level beyond
    those expected, summed over strata, and V its covariance if there were no association. The effect is
    `of_table`'s V of φ² = Q ÷ Σ(n − 1), so that one stratum gives the same as there.

    Args:
        levels, classes, count, strata: see `of_table` and `of_ranks_within`.
    """
    from scipy.stats import chi2

    held = _table(strata, levels, int(levels.max()) + 1)  # [strata, L]
    n = held.sum(axis=1)
    of, pair_class, sizes, _ = _pairs(strata, classes, count)
    observed = _table(levels, classes, count)
    effect, p = np.full(count, np.nan), np.full(count, np.nan)
    order = np.argsort(pair_class, kind="stable")
    ends = np.searchsorted(pair_class[order], np.arange(count + 1))
    for c in range(count):
        mine = order[ends[c] : ends[c + 1]]
        k, own = of[mine], sizes[mine]
        rest = n[k] - own
        if np.minimum(own, rest).sum() < LEAST:
            continue
        statistic, freedom = _cmh(observed[:, c], held[k], n[k], own)
        if freedom:
            informative = float((n[k] - 1)[rest > 0].sum())
            # Bergsma's φ² is χ² ÷ n, and Q of one stratum χ² (n − 1) ÷ n.
            effect[c] = _unbiased_v(np.array(statistic / informative), np.array(freedom), informative + 1)
            p[c] = chi2.sf(statistic, freedom)
    return Dependence(effect, p)


def _cmh(observed: Values, held: Values, n: Values, own: Values) -> tuple[float, int]:
    """Q and its degrees of freedom, of a class's images by level [L] and its strata's by level [strata, L]."""
    rest = n - own
    expected = (own / n) @ held
    fewest = np.minimum(expected - ((own / n) * (rest == 0)) @ held, (rest / n) @ held)
    order = np.argsort(-fewest, kind="stable")
    alone = int((fewest >= _EXPECTED).sum())  # levels that stand alone, then all others as one
    if alone < len(order) and fewest[order[alone:]].sum() < _EXPECTED:
        alone -= 1
    if alone < 1:
        return 0.0, 0
    merged = np.zeros((len(observed), min(alone + 1, len(order))))
    merged[order, np.minimum(np.arange(len(order)), alone)] = 1
    apart = (observed - expected) @ merged
    held = held @ merged
    a = own * rest / (n**2 * np.maximum(n - 1, 1))
    covariance = np.diag((a * n) @ held) - (held * a[:, None]).T @ held
    freedom = len(apart) - 1
    if not freedom:
        return 0.0, 0
    solved = np.linalg.lstsq(covariance[:-1, :-1], apart[:-1], rcond=1e-9)
    return float(apart[:-1] @ solved[0]), int(solved[2])
