"""Changes of images: a region replaced, or an attribute of the whole image set to another image's value.

All take and give uint8 [N, H, W, C], C = 3 (RGB) or 1 (grey), as a network saw them, and change nothing else: what is
equal already stays as it is, but for rounding.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

from ..engine import decode

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

LUMA = np.array([0.299, 0.587, 0.114], np.float32)
"""Luma's weights of red, green and blue (ITU-R BT.601), as JPEG and Pillow have them."""

_MOST_GAIN = 8.0  # of contrast, saturation and a band of frequencies: beyond it, noise is what is amplified
_BANDS = 24  # rings of spatial frequency in which sharpness is matched


# ---- regions -------------------------------------------------------------------------------------------------------


def feathered(where: Floats, height: int, width: int) -> Floats:
    """A region on a map's grid, float [h, w] in 0..1, as the pixels' weights: float32 [height, width].

    Its edge is softened over a fortieth of the picture, so that no new edge is what the network sees.
    """
    rows = np.arange(height) * where.shape[0] // height
    columns = np.arange(width) * where.shape[1] // width
    hard = np.clip(where, 0, 1).astype(np.float32)[rows][:, columns]
    return ndimage.gaussian_filter(hard, min(height, width) / 80, mode="nearest").astype(np.float32)


def mixed(images: Pixels, others: Pixels, weights: Floats) -> Pixels:
    """`others` where `weights` (float [H, W] or [N, H, W], 0..1) are 1, `images` where they are 0."""
    part = np.broadcast_to(weights, images.shape[:3])[..., None]
    return np.rint(images + (others.astype(np.float32) - images) * part).astype(np.uint8)


def blurred(images: Pixels) -> Pixels:
    """Each image blurred until no detail is left: a Gaussian of a sixteenth of its shorter side."""
    sigma = min(images.shape[1:3]) / 16
    return np.rint(ndimage.gaussian_filter(images.astype(np.float32), (0, sigma, sigma, 0), mode="nearest")).astype(
        np.uint8
    )


def inpainted(images: Pixels, weights: Floats) -> Pixels:
    """The region filled from its surroundings: smooth, what is nearest counts most, as the pull-push of Gortler et al.
    (The lumigraph, 1996).

    Args:
        images: uint8 [N, H, W, C].
        weights: float [H, W] or [N, H, W], 1 within the region.

    Returns:
        uint8 [N, H, W, C]; a region that is the whole image becomes its mean colour.
    """
    there = np.broadcast_to(1 - weights, images.shape[:3]).astype(np.float32)[..., None]
    known = there > 0.99  # the softened edge is no surroundings
    filled = _pulled(images.astype(np.float32) * known, known.astype(np.float32))
    mean = images.mean(axis=(1, 2), keepdims=True)
    return mixed(images, np.rint(np.where(np.isfinite(filled), filled, mean)).astype(np.uint8), np.asarray(weights))


def _pulled(values: Floats, weights: Floats) -> Floats:
    """Averages of what is known, taken from the finest grid that knows anything: [N, H, W, C]."""
    with np.errstate(invalid="ignore", divide="ignore"):
        own = values / weights
    count, height, width, _ = values.shape
    if height <= 1 and width <= 1:
        return own
    rows, columns = -(-height // 2), -(-width // 2)

    def halved(array: Floats) -> Floats:
        padded = np.pad(array, ((0, 0), (0, 2 * rows - height), (0, 2 * columns - width), (0, 0)))
        return padded.reshape(count, rows, 2, columns, 2, -1).sum(axis=(2, 4))

    coarse = _pulled(halved(values), halved(weights))
    # Bilinear between the coarse cells' centres, or the fill would show its blocks.
    y = np.clip((np.arange(height) + 0.5) / 2 - 0.5, 0, rows - 1)
    x = np.clip((np.arange(width) + 0.5) / 2 - 0.5, 0, columns - 1)
    top, left = y.astype(np.intp), x.astype(np.intp)
    down, across = (y - top)[:, None, None], (x - left)[:, None]
    below, right = np.minimum(top + 1, rows - 1), np.minimum(left + 1, columns - 1)
    upper = coarse[:, top][:, :, left] * (1 - across) + coarse[:, top][:, :, right] * across
    lower = coarse[:, below][:, :, left] * (1 - across) + coarse[:, below][:, :, right] * across
    smooth = (upper * (1 - down) + lower * down).astype(np.float32)
    return np.where(weights > 0, own, smooth)


# ---- attributes of the whole image ---------------------------------------------------------------------------------


def shift_brightness(images: Pixels, donors: Pixels) -> Pixels:
    """Mean luma becomes that of the donor: an offset, the same for all channels."""
    wanted = _luma(donors).mean(axis=(1, 2))
    by = np.zeros(len(images), np.float32)
    changed = images
    for _ in range(4):  # clipping takes a part of the offset away: it is added again
        by += wanted - _luma(changed).mean(axis=(1, 2))
        changed = _bytes(images + by[:, None, None, None])
    return changed


def shift_contrast(images: Pixels, donors: Pixels) -> Pixels:
    """Luma's standard deviation becomes the donor's: all channels are stretched about the mean luma."""
    own, other = _luma(images), _luma(donors)
    gain = _gain(other.std(axis=(1, 2)), own.std(axis=(1, 2)))
    middle = own.mean(axis=(1, 2))[:, None, None, None]
    return _bytes((images - middle) * gain[:, None, None, None] + middle)


def shift_saturation(images: Pixels, donors: Pixels) -> Pixels:
    """Saturation becomes the donor's: the channels' distance from luma is stretched. A grey image stays grey."""
    if images.shape[3] == 1:
        return images
    grey = _luma(images)[..., None]
    gain = _gain(_saturation(donors), _saturation(images))
    return _bytes(grey + (images - grey) * gain[:, None, None, None])


def shift_colour_cast(images: Pixels, donors: Pixels) -> Pixels:
    """The channels' means, relative to the mean luma, become the donor's; brightness stays."""
    if images.shape[3] == 1:
        return images
    means = images.mean(axis=(1, 2), dtype=np.float32)
    wanted = donors.mean(axis=(1, 2), dtype=np.float32)
    offset = (wanted - (wanted @ LUMA)[:, None]) - (means - (means @ LUMA)[:, None])
    return _bytes(images + offset[:, None, None])


def shift_noise(images: Pixels, donors: Pixels, seed: int = 0) -> Pixels:
    """The noise's standard deviation becomes the donor's: noise is added, or fine detail smoothed away."""
    own, other = _noise(images), _noise(donors)
    rng = np.random.default_rng(seed)
    changed = images.astype(np.float32)
    each = 1.0 if images.shape[3] == 1 else float(1 / np.linalg.norm(LUMA))  # a channel's, for luma's to be one
    for i, (now, wanted) in enumerate(zip(own, other, strict=True)):
        if wanted > now:
            changed[i] += rng.normal(0, each * np.sqrt(wanted**2 - now**2), changed[i].shape).astype(np.float32)
        elif now > 0:
            smooth = ndimage.gaussian_filter(changed[i], (1, 1, 0), mode="nearest")
            changed[i] = smooth + (changed[i] - smooth) * (wanted / now)
    return _bytes(changed)


def shift_sharpness(images: Pixels, donors: Pixels) -> Pixels:
    """The amplitude of each ring of spatial frequencies becomes the donor's, phases stay: blur, resampling and focus.

    The lowest frequencies, which are the picture's layout and brightness, are left alone; so is contrast, which is
    another attribute: amplitudes are relative to those of the lower half of the rings.
    """
    ring = _rings(*images.shape[1:3])
    own, other = _profile(images, ring), _profile(donors, ring)
    gain = _gain(
        other / other[:, 1 : _BANDS // 4].sum(axis=1)[:, None], own / own[:, 1 : _BANDS // 4].sum(axis=1)[:, None]
    )
    gain[:, : _BANDS // 8] = 1
    return _filtered(images, gain[:, ring])


def shift_texture(images: Pixels, own: Floats, other: Floats) -> Pixels:
    """What `own` images have in common in their amplitude spectrum becomes what `other` images have; phases stay.

    A pattern that repeats (a woven or dotted background, the grid of JPEG's blocks, a moiré) is a few strong
    amplitudes, wherever it lies; an object's amplitudes differ from image to image.

    Args:
        images: uint8 [N, H, W, C].
        own, other: from `mean_amplitudes`, of the images' class and of the other.
    """
    gain = _gain(other, own)
    gain[..., :2, :2] = gain[..., -1:, :2] = 1  # layout and brightness
    return _filtered(images, np.broadcast_to(gain, (len(images), *gain.shape)))


def mean_amplitudes(images: Pixels) -> Floats:
    """The mean amplitude of luma at each spatial frequency, smoothed a little: float32 [H, W // 2 + 1]."""
    total = np.zeros((images.shape[1], images.shape[2] // 2 + 1))
    for i in range(0, len(images), 64):
        total += np.abs(np.fft.rfft2(_windowed(_luma(images[i : i + 64])), axes=(1, 2))).sum(axis=0)
    return ndimage.uniform_filter(total / max(len(images), 1), 3, mode="wrap").astype(np.float32)


def compressed(images: Pixels, qualities: npt.NDArray[Any]) -> Pixels:
    """Each image through JPEG at its quality 1..100; NaN leaves it as it is."""
    changed = images.copy()
    for i, quality in enumerate(qualities):
        if np.isfinite(quality):
            file = io.BytesIO()
            picture = Image.fromarray(images[i] if images.shape[3] == 3 else images[i, :, :, 0])
            picture.save(file, "JPEG", quality=int(np.clip(round(float(quality)), 1, 100)))
            changed[i] = np.asarray(Image.open(file)).reshape(images.shape[1:])
    return changed


SHIFTS: Mapping[str, Callable[[Pixels, Pixels], Pixels]] = {
    "brightness": shift_brightness,
    "contrast": shift_contrast,
    "colour cast": shift_colour_cast,
    "saturation": shift_saturation,
    "sharpness": shift_sharpness,
    "noise": shift_noise,
}
"""Attribute → the change that sets it to a donor's value."""


def measured(images: Pixels) -> dict[str, Floats]:
    """The evidence's own attributes of images in memory: name → float32 [N]."""
    found = [decode.attributes(image) for image in images]
    return {name: np.array([f[name] for f in found], np.float32) for name in (found[0] if found else {})}


# ---- parts ---------------------------------------------------------------------------------------------------------


def _luma(images: npt.NDArray[Any]) -> Floats:
    return images[..., 0].astype(np.float32) if images.shape[3] == 1 else images.astype(np.float32) @ LUMA


def _bytes(values: npt.NDArray[Any]) -> Pixels:
    return np.rint(np.clip(values, 0, 255)).astype(np.uint8)


def _gain(wanted: npt.NDArray[Any], now: npt.NDArray[Any]) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = np.where(now > 1e-3, wanted / now, 1)
    return np.clip(ratio, 1 / _MOST_GAIN, _MOST_GAIN).astype(np.float32)


def _saturation(images: Pixels) -> Floats:
    high = images.max(axis=3).astype(np.float32)
    return ((high - images.min(axis=3)) / np.maximum(high, 1)).mean(axis=(1, 2))


def _noise(images: Pixels) -> Floats:
    """Immerkær, Fast noise variance estimation (1996): in grey levels, [N]."""
    kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
    found = np.abs(ndimage.convolve(_luma(images), kernel[None], mode="nearest"))
    return np.sqrt(np.pi / 2) / 6 * found[:, 1:-1, 1:-1].mean(axis=(1, 2))


def _rings(height: int, width: int) -> npt.NDArray[np.intp]:
    """The ring of each frequency of `rfft2`, 0 (constant) to `_BANDS` − 1 (finest): [height, width // 2 + 1]."""
    y, x = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None]
    return np.minimum(np.hypot(y, x) / 0.5 * _BANDS, _BANDS - 1).astype(np.intp)


def _profile(images: Pixels, ring: npt.NDArray[np.intp]) -> npt.NDArray[np.float64]:
    """The mean amplitude of each ring: [N, _BANDS]."""
    amplitudes = np.abs(np.fft.rfft2(_windowed(_luma(images)), axes=(1, 2))).reshape(len(images), -1)
    which = np.zeros((ring.size, _BANDS))
    which[np.arange(ring.size), ring.ravel()] = 1
    return amplitudes @ (which / np.maximum(which.sum(axis=0), 1)) + 1e-6


def _windowed(luma: Floats) -> Floats:
    """Faded out towards the edges: the jump from one edge to the other is no detail of the picture."""
    centred = luma - luma.mean(axis=(1, 2), keepdims=True)
    rows, columns = np.hanning(luma.shape[1] + 2)[1:-1], np.hanning(luma.shape[2] + 2)[1:-1]
    return centred * (rows[:, None] * columns).astype(np.float32)


def _filtered(images: Pixels, gain: Floats) -> Pixels:
    """Each image's frequencies times its gains, [N, H, W // 2 + 1]. Mirrored at the edges, it has no jump there."""
    height, width = images.shape[1:3]
    pad = (min(height, width) // 8,) * 2
    changed = np.empty_like(images)
    for i, image in enumerate(images):
        large = np.pad(image.astype(np.float32), (pad, pad, (0, 0)), mode="reflect")
        grid = large.shape[:2]
        # The gain is smooth enough to be read off at the padded picture's frequencies.
        y = np.abs(np.fft.fftfreq(grid[0])) * height
        x = np.fft.rfftfreq(grid[1]) * width
        rows = np.rint(np.where(np.fft.fftfreq(grid[0]) < 0, height - y, y)).astype(np.intp) % height
        columns = np.minimum(np.rint(x).astype(np.intp), width // 2)
        spectrum = np.fft.rfft2(large, axes=(0, 1)) * gain[i][rows][:, columns][..., None]
        back = np.fft.irfft2(spectrum, s=grid, axes=(0, 1))
        changed[i] = _bytes(back[pad[0] : pad[0] + height, pad[0] : pad[0] + width])
    return changed
