"""How alike two maps are: rank correlation, and structural similarity."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from ..engine.contract.agreement import spearman

Floats = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.float64]

_SIGMA, _RADIUS = 1.5, 5  # of the window, 11 × 11 places
_K1, _K2 = 0.01, 0.03


def rank_correlations(maps: Floats, others: Floats) -> Numbers:
    """Spearman's rank correlation of each map with its counterpart, as Adebayo et al. ("Sanity Checks for Saliency
    Maps", NeurIPS 2018, section 3) compare maps: of their values as they are, or of what the caller made absolute.

    Args:
        maps, others: float [N, h, w].

    Returns:
        float64 [N], -1..1; 0 where one of the two has no order (it is blank) and the other has, 1 where both have none,
        NaN where a value is no number.
    """
    pairs = zip(maps, others, strict=True)
    return np.array([spearman(a, b) if np.isfinite(a).all() and np.isfinite(b).all() else np.nan for a, b in pairs])


def structural_similarities(maps: Floats, others: Floats) -> Numbers:
    """The mean structural similarity (SSIM) of each map with its counterpart, both divided by their largest magnitude.

    Wang et al., "Image Quality Assessment: From Error Visibility to Structural Similarity", IEEE TIP 2004, equations 13
    and 17, with their Gaussian window of 11 × 11 places and their constants; the range is 1, or 2 where a map has
    negative values. Beyond its border a map is mirrored, as those of a CAM are smaller than the window.

    Args:
        maps, others: float [N, h, w].

    Returns:
        float64 [N], -1..1; NaN where a value is no number.
    """
    x, y = _scaled(maps), _scaled(others)
    signed = ((x < 0) | (y < 0)).any(axis=(1, 2))
    span = np.where(signed, 2.0, 1.0)[:, None, None]
    c1, c2 = (_K1 * span) ** 2, (_K2 * span) ** 2
    mean_x, mean_y = _local_mean(x), _local_mean(y)
    variances = _local_mean(x * x) - mean_x**2 + _local_mean(y * y) - mean_y**2
    covariance = _local_mean(x * y) - mean_x * mean_y
    similar = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    return (similar / ((mean_x**2 + mean_y**2 + c1) * (variances + c2))).mean(axis=(1, 2))


def _scaled(maps: Floats) -> Numbers:
    values = maps.astype(np.float64)
    values[~np.isfinite(values).all(axis=(1, 2))] = np.nan
    largest = np.abs(values).max(axis=(1, 2), keepdims=True)
    return values / np.where(largest > 0, largest, 1)


def _local_mean(values: Numbers) -> Numbers:
    return ndimage.gaussian_filter(values, (0, _SIGMA, _SIGMA), mode="reflect", radius=(0, _RADIUS, _RADIUS))
