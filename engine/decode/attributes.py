"""Plain attributes of a photo: what a network may have learnt instead of the thing itself."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_LUMA = np.array((0.299, 0.587, 0.114), np.float32)  # ITU-R 601, as Pillow's mode L


def attributes(image: npt.NDArray[np.uint8]) -> dict[str, float]:
    """Measure one view of a photo; every value is finite for every input.

    Args:
        image: uint8 [H, W, C], C = 3 (RGB) or 1 (grey).

    Returns:
        brightness: mean luma, 0..1.
        contrast: standard deviation of luma, 0..0.5.
        saturation: mean of (max − min) / max over the channels, as in HSV, 0..1; 0 for grey.
        red, green, blue: the channels' means, 0..1; together the colour cast.
        sharpness: variance of luma's Laplacian (4 neighbours), from 0 for flat or blurred; 0 where the view is less
            than 3 pixels wide or high.
    """
    if image.shape[2] == 3:
        planes = np.ascontiguousarray(image.transpose(2, 0, 1))  # the rest then runs over contiguous memory
        high = np.maximum(np.maximum(planes[0], planes[1]), planes[2])
        low = np.minimum(np.minimum(planes[0], planes[1]), planes[2])
        saturation = (high - low).astype(np.float32)
        saturation /= np.maximum(high, np.uint8(1)).astype(np.float32)
        luma = np.zeros(image.shape[:2], np.float32)
        channels = []
        for plane, weight in zip(planes.astype(np.float32) / np.float32(255), _LUMA, strict=True):
            channels.append(float(plane.mean()))
            plane *= weight
            luma += plane
        red, green, blue = channels
    else:
        luma = image[:, :, 0].astype(np.float32) / np.float32(255)
        saturation = np.zeros(1, np.float32)
        red = green = blue = float(luma.mean())
    brightness = luma.mean()
    return {
        "brightness": float(brightness),
        "contrast": float(np.sqrt(np.square(luma - brightness).mean())),
        "saturation": float(saturation.mean()),
        "red": red,
        "green": green,
        "blue": blue,
        "sharpness": _sharpness(luma),
    }


def _sharpness(luma: npt.NDArray[np.float32]) -> float:
    if min(luma.shape) < 3:
        return 0.0
    inner = luma[1:-1] * np.float32(-4)
    inner += luma[:-2]
    inner += luma[2:]
    laplacian = inner[:, 1:-1]
    laplacian += luma[1:-1, :-2]
    laplacian += luma[1:-1, 2:]
    return float(np.square(laplacian - laplacian.mean()).mean())
