"""Things that look the same in each image, wherever they are: a watermark, a logo, a sticker, a sign.

An object differs from image to image, in size, pose and light; what was put there by a copier does not. A window of an
image is correlated with all places of others (normalised cross-correlation): where a class has a thing that is always
the same, windows on it are found again in its images and not in others'.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Corners = npt.NDArray[np.intp]

_SIDE = 96  # pixels: larger pictures are looked at in smaller ones
_WINDOW = 1 / 4  # of the shorter side
_AROUND = 1.5  # how much larger what is changed is than the window that was found
_TEMPLATES = 32
_PEAKS = 2  # of each map: a network may look at the thing first, and at its sign then
_FINE = 24  # of the shorter side: what is smoother than this part of it is background
_FLAT = 10.0  # grey levels of contrast that a place has at least in a correlation: noise on a flat wall is no pattern
RARE = 0.05
"""Share of the others' images in which something as alike is found by chance."""


@dataclass(frozen=True)
class Pattern:
    """A window that is found again.

    Attributes:
        template: float32 [P, P, C], without what is smooth.
        threshold: the correlation from which an image has it.
        excess: how far the correlations in the class's images lie above it on average, 0 where they do not: 0 to 1.
        recurs: share of the class's images that have it.
        size: of the pictures that the template is from, (height, width).
    """

    template: Floats = field(repr=False)
    threshold: float
    excess: float
    recurs: float
    size: tuple[int, int]


def find_pattern(own: Pixels, others: Pixels, maps: Floats) -> Pattern | None:
    """The window at the maps' maxima that recurs most in a class's images and not in others'.

    Args:
        own, others: uint8 [N, H, W, C] of the class and of others.
        maps: float32 [N, h, w] of `own`.

    Returns:
        None where no image has evidence, or there are too few.
    """
    if min(len(own), len(others)) < 4:
        return None
    a, b = _detail(own), _detail(others)
    size = a.shape[1:3]
    window = max(3, round(min(size) * _WINDOW))
    there = np.flatnonzero(np.nan_to_num(maps).max(axis=(1, 2)) > 0)[:_TEMPLATES]
    if not len(there):
        return None
    corners, lit = _at_maxima(maps[there], size, window)
    from_, corners = np.tile(there, _PEAKS)[lit], corners[lit]
    templates = np.stack([a[i, y : y + window, x : x + window] for i, (y, x) in zip(from_, corners, strict=True)])
    mine, theirs = (_correlated(templates, images)[0] for images in (a, b))
    mine[np.arange(len(from_)), from_] = np.nan  # each is itself
    threshold = np.quantile(theirs, 1 - RARE, axis=1)
    excess = np.nanmean(np.maximum(mine - threshold[:, None], 0), axis=1)
    best = int(excess.argmax())
    recurs = float(np.nanmean(mine[best] > threshold[best]))
    return Pattern(templates[best], float(threshold[best]), float(excess[best]), recurs, (own.shape[1], own.shape[2]))


def locate(pattern: Pattern, images: Pixels) -> tuple[Corners, npt.NDArray[np.bool_]]:
    """Where images have a pattern.

    Args:
        images: uint8 [N, H, W, C], of the pattern's own size.

    Returns:
        The upper left corners int [N, 2] (row, column), in pixels, of windows that `side_of` gives the side of; and
        whether it is there, bool [N].
    """
    detail = _detail(images)
    found, corners = _correlated(pattern.template[None], detail)
    scale = images.shape[1] / detail.shape[1]
    window = pattern.template.shape[0]
    middle = (corners[0] + window / 2) * scale
    side = side_of(pattern)
    most = np.array(images.shape[1:3]) - side
    return np.clip(np.rint(middle - side / 2), 0, most).astype(np.intp), found[0] > pattern.threshold


def side_of(pattern: Pattern) -> int:
    """The side in pixels of the square that is taken for the pattern: somewhat more than what was found again."""
    shorter = min(pattern.size)
    small = min(_SIDE, max(pattern.size))
    window = pattern.template.shape[0] * max(pattern.size) / small
    return min(shorter, round(window * _AROUND))


def elsewhere(corners: Corners, side: int, size: tuple[int, int], seed: int) -> Corners:
    """For each window one of the same size that touches it as little as can be: int [N, 2]."""
    rng = np.random.default_rng(seed)
    most = np.array(size) - side
    tries = rng.integers(0, most + 1, (32, len(corners), 2))
    apart = np.abs(tries - corners).max(axis=2)
    return tries[apart.argmax(axis=0), np.arange(len(corners))]


def windows(corners: Corners, side: int, size: tuple[int, int]) -> Floats:
    """Soft-edged squares: float32 [N, H, W] in 0..1."""
    found = np.zeros((len(corners), *size), np.float32)
    for mask, (y, x) in zip(found, corners, strict=True):
        mask[y : y + side, x : x + side] = 1
    return ndimage.gaussian_filter(found, (0, side / 20, side / 20), mode="nearest").astype(np.float32)


def _detail(images: Pixels) -> Floats:
    """Smaller pictures without what is smooth: float32 [N, h, w, C]."""
    values = images.astype(np.float32)
    longer = max(images.shape[1:3])
    if longer > _SIDE:
        scale = _SIDE / longer
        sigma = 0.5 / scale
        smooth = ndimage.gaussian_filter(values, (0, sigma, sigma, 0))
        values = np.asarray(ndimage.zoom(smooth, (1, scale, scale, 1), order=1), np.float32)
    sigma = min(values.shape[1], values.shape[2]) / _FINE
    return values - np.asarray(ndimage.gaussian_filter(values, (0, sigma, sigma, 0)), np.float32)


def _at_maxima(maps: Floats, size: tuple[int, int], window: int) -> tuple[Corners, npt.NDArray[np.bool_]]:
    """The corners of windows around each map's greatest cell, then around the greatest away from that: int [2 N, 2];
    and whether there is any evidence, bool [2 N].
    """
    _, h, w = maps.shape
    left = np.nan_to_num(maps).copy()
    rows, columns = (np.arange(n) + 0.5 for n in (h, w))
    found, lit = [], []
    for _ in range(_PEAKS):
        place = left.reshape(len(maps), -1).argmax(axis=1)
        middle = np.stack([(place // w + 0.5) * size[0] / h, (place % w + 0.5) * size[1] / w], axis=1)
        lit.append(left.reshape(len(maps), -1).max(axis=1) > 0)
        found.append(np.clip(middle - window / 2, 0, np.array(size) - window).astype(np.intp))
        near_row = np.abs(rows * size[0] / h - middle[:, :1]) < window
        near_column = np.abs(columns * size[1] / w - middle[:, 1:]) < window
        left[near_row[:, :, None] & near_column[:, None]] = -1
    return np.concatenate(found), np.concatenate(lit)


def _correlated(templates: Floats, images: Floats) -> tuple[npt.NDArray[np.float64], Corners]:
    """The greatest normalised cross-correlation of each template with each image [T, N], and where [T, N, 2]."""
    count, height, width, channels = images.shape
    window = templates.shape[1]
    rows, columns = height - window + 1, width - window + 1
    spectrum = np.fft.rfft2(images, axes=(1, 2))
    energy = ndimage.uniform_filter1d((images**2).sum(axis=3), window, axis=1, mode="constant")
    energy = ndimage.uniform_filter1d(energy, window, axis=2, mode="constant") * window**2
    half = window // 2
    energy = energy[:, half : half + rows, half : half + columns]
    least = _FLAT**2 * channels * window**2
    best = np.zeros((len(templates), count))
    where = np.zeros((len(templates), count, 2), np.intp)
    for i, template in enumerate(templates):
        padded = np.zeros((height, width, channels), np.float32)
        padded[:window, :window] = template
        product = (spectrum * np.conj(np.fft.rfft2(padded, axes=(0, 1)))).sum(axis=3)
        found = np.fft.irfft2(product, s=(height, width), axes=(1, 2))[:, :rows, :columns]
        norm = np.sqrt(np.maximum(energy, least) * max(float((template**2).sum()), least))
        flat = (found / norm).reshape(count, -1)
        place = flat.argmax(axis=1)
        best[i] = flat[np.arange(count), place]
        where[i] = np.stack([place // columns, place % columns], axis=1)
    return best, where
