"""Where the network's input lies in a photo: torchvision's integer conventions for scaling and cropping."""

from __future__ import annotations

from typing import NamedTuple

from ..contract import Preprocessing


class Framing(NamedTuple):
    """The scaled photo and the crop that is cut out of it.

    Attributes:
        width, height: the size of the whole photo after scaling, in pixels.
        left, top: where the crop begins in the scaled photo; negative where the crop is larger and zeros pad it.
    """

    width: int
    height: int
    left: int
    top: int


def frame(size: tuple[int, int], preprocessing: Preprocessing) -> Framing:
    """Frame an upright photo of `size` (width, height).

    As torchvision: the longer side becomes int(shorter · long / short); the crop begins at the rounded half of what is
    left over (round half to even), and padding gives its odd pixel to the right and the bottom.
    """
    p = preprocessing
    if p.resize == "stretch":
        return Framing(p.width, p.height, 0, 0)
    shorter = p.shorter or min(p.height, p.width)
    width, height = size
    if width <= height:
        width, height = shorter, int(shorter * height / width)
    else:
        width, height = int(shorter * width / height), shorter
    return Framing(width, height, _offset(width, p.width), _offset(height, p.height))


def view_of(size: tuple[int, int], framing: Framing, preprocessing: Preprocessing) -> tuple[float, float, float, float]:
    """(left, top, right, bottom): the rectangle of the upright photo, in its pixels, that the crop shows.

    It exceeds the photo where the crop is padded.
    """
    x_scale, y_scale = size[0] / framing.width, size[1] / framing.height
    return (
        framing.left * x_scale,
        framing.top * y_scale,
        (framing.left + preprocessing.width) * x_scale,
        (framing.top + preprocessing.height) * y_scale,
    )


def _offset(scaled: int, crop: int) -> int:
    return -((crop - scaled) // 2) if crop > scaled else round((scaled - crop) / 2)
