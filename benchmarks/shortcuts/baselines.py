"""What is found without an audit: clusters of the maps alone, and attributes beside the labels without a network."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

NEIGHBOURS = 10
MOST_CLUSTERS = 8


def spray(maps: Floats, predicted: npt.NDArray[np.int64]) -> float:
    """SpRAy: how clearly the maps of a class fall into several clusters, the largest over the classes.

    Lapuschkin et al. (2019), Unmasking Clever Hans predictors and assessing what machines really learn, Methods: maps,
    reduced and normalised, a symmetric graph of the nearest neighbours, the normalised Laplacian, and the gap between
    its neighbouring eigenvalues, the smallest of which are 0 for as many clusters as there are.

    Args:
        maps: float32 [N, h, w]; blank ones are left out.
        predicted: int64 [N].

    Returns:
        The greatest gap after the second eigenvalue or a later one, 0..2; 0 for too few maps.
    """
    return max((_eigengap(maps[predicted == k]) for k in np.unique(predicted)), default=0.0)


def _eigengap(maps: Floats) -> float:
    from scipy.sparse.csgraph import laplacian
    from sklearn.neighbors import kneighbors_graph

    flat = np.nan_to_num(maps.reshape(len(maps), -1)).astype(np.float64)
    flat = flat[flat.sum(axis=1) > 0]
    if len(flat) <= 2 * NEIGHBOURS:
        return 0.0
    flat /= flat.sum(axis=1, keepdims=True)
    graph = kneighbors_graph(flat, NEIGHBOURS).toarray()
    values = np.linalg.eigvalsh(laplacian(np.maximum(graph, graph.T), normed=True))[: MOST_CLUSTERS + 1]
    return float(np.diff(values)[1:].max())


def correlation(attributes: Mapping[str, Floats], labels: npt.NDArray[np.int64]) -> tuple[float, str]:
    """How well one plain attribute of the image tells the label, without a network.

    As cleanlab's Datalab looks for spurious correlations: the accuracy, five-fold, of a Gaussian naive Bayes
    classifier of one attribute, as a share of what is left above always saying the most frequent label.

    Args:
        attributes: name → float32 [N]; constant ones and those with unknown values say nothing.
        labels: int64 [N], at least 5 of each.

    Returns:
        The best attribute's share, at most 1 (below 0: worse than the most frequent label), and its name.
    """
    from sklearn.model_selection import StratifiedKFold, cross_val_score
    from sklearn.naive_bayes import GaussianNB

    base = float(np.bincount(labels).max() / len(labels))
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    found = []
    for name, values in attributes.items():
        if not np.isfinite(values).all() or np.ptp(values) == 0 or base == 1:
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # a fold in which an attribute is constant
            right = float(cross_val_score(GaussianNB(), values[:, None].astype(np.float64), labels, cv=folds).mean())
        found.append(((right - base) / (1 - base), name))
    return max(found, default=(0.0, ""))
