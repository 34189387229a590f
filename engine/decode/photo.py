"""One photo as the network sees it, or upright at its full size.

Colours are converted as torchvision's image loader does it, `convert("RGB")`: transparency is dropped, not blended
onto a background, because that is what the network gets where it is deployed. Greys of 16 bits or more are the one
exception: there `convert` clips everything above 255 to white, so they are scaled by their range.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from ..contract import Fact, Preprocessing
from .facts import file_facts
from .framing import Framing, frame, view_of
from .opening import Readable, opened

Mode = Literal["fast", "exact"]
Pixels = npt.NDArray[np.uint8]


class View(NamedTuple):
    """A photo as a network sees it.

    Attributes:
        image: uint8 [H, W, C], RGB or grey; zeros where the crop exceeds the photo.
        size: (width, height) of the upright photo.
        rectangle: (left, top, right, bottom) of what the crop shows, in pixels of the upright photo.
        facts: what the file says of itself, see `file_facts`.
    """

    image: Pixels
    size: tuple[int, int]
    rectangle: tuple[float, float, float, float]
    facts: dict[str, Fact]


DRAFT_MARGIN = 1.5
"""How much larger than needed a JPEG is decoded before it is resampled to size, at least.

Against the exact way at 256/224 on photos of 1 to 12 megapixels: at 1.0 up to 1.6 grey levels mean and 26 maximal
difference, at 1.5 up to 0.44 and 7, at 2.0 up to 0.19 and 3; 10, 10 and 14 ms for 1600×1598, 21 ms in full."""

_EXACT_PIXELS = 2**24
"""A photo scaled to more pixels than this is cut before it is scaled even in the exact mode: 30000×1 with a shorter
side of 256 would become 2 gigapixels."""

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


def read_upright(source: Readable, name: str | None = None) -> Pixels:
    """Read a photo at its own size, turned as its EXIF orientation says.

    Args:
        source: its path, or the file's bytes (see `Storage`).
        name: what errors call it, by default the path.

    Returns:
        uint8 [H, W, 3], RGB.

    Raises:
        PhotoError: it cannot be read.
    """
    with opened(source, name) as photo:
        photo.load()
        return np.array(_turned(_converted(photo, "RGB"), _orientation(photo)))


def read_view(source: Readable, preprocessing: Preprocessing, mode: Mode = "fast", name: str | None = None) -> View:
    """Read a photo as the network's input.

    Args:
        source: its path, or the file's bytes (see `Storage`).
        preprocessing: how it is scaled and cropped; mean and std are the program's business.
        mode: "exact" gives the bytes of torchvision's Resize and CenterCrop on the upright PIL image; "fast" decodes
            JPEGs at a reduced scale and resamples only what the crop shows (see `DRAFT_MARGIN`).
        name: what errors call it, by default the path.

    Raises:
        PhotoError: it cannot be read.
    """
    colour = "L" if preprocessing.channels == 1 else "RGB"
    with opened(source, name) as photo:
        drafted = None
        if mode == "fast" and isinstance(photo, JpegImageFile):
            drafted = _draft(photo, preprocessing, colour)
        facts = file_facts(photo) if photo.format == "TIFF" else None
        photo.load()
        facts = facts or file_facts(photo)
        orientation = _orientation(photo)
        upright = _turned(_converted(photo, colour), orientation)
        size, box = drafted or (upright.size, (0.0, 0.0, float(upright.width), float(upright.height)))
        framing = frame(size, preprocessing)
        crop = (preprocessing.width, preprocessing.height)
        resample = _FILTERS[preprocessing.interpolation]
        if mode == "exact" and framing.width * framing.height <= _EXACT_PIXELS:
            image = _scale_and_crop(upright, framing, crop, resample)
        else:
            image = _crop_and_scale(upright, box, framing, crop, resample)
        pixels = np.asarray(image).reshape(preprocessing.height, preprocessing.width, preprocessing.channels)
        return View(pixels, size, view_of(size, framing, preprocessing), facts)


def _draft(
    photo: JpegImageFile, preprocessing: Preprocessing, colour: str
) -> tuple[tuple[int, int], tuple[float, float, float, float]]:
    """Ask libjpeg for a smaller picture; return the upright size in full, and the photo's place in the smaller one.

    libjpeg rounds a reduced size up, so the photo ends within the last column and row; turned upright, they may be
    the first ones.
    """
    orientation = _orientation(photo)
    sideways = orientation >= 5
    size = (photo.height, photo.width) if sideways else photo.size
    framing = frame(size, preprocessing)
    across, down = int(framing.width * DRAFT_MARGIN), int(framing.height * DRAFT_MARGIN)
    drafted = photo.draft(colour, (down, across) if sideways else (across, down))
    _, _, width, height = drafted[1] if drafted else (0, 0, *photo.size)
    x_slack, y_slack = photo.width - width, photo.height - height
    left = {2: x_slack, 3: x_slack, 6: y_slack, 7: y_slack}.get(orientation, 0.0)
    top = {3: y_slack, 4: y_slack, 7: x_slack, 8: x_slack}.get(orientation, 0.0)
    if sideways:
        width, height = height, width
    return size, (left, top, left + width, top + height)


def _scale_and_crop(
    upright: Image.Image, framing: Framing, crop: tuple[int, int], resample: Image.Resampling
) -> Image.Image:
    scaled = upright
    if scaled.size != (framing.width, framing.height):
        scaled = scaled.resize((framing.width, framing.height), resample)
    # Pillow's crop gives zeros outside of the picture, as torchvision's padding does.
    return scaled.crop((framing.left, framing.top, framing.left + crop[0], framing.top + crop[1]))


def _crop_and_scale(
    upright: Image.Image,
    box: tuple[float, float, float, float],
    framing: Framing,
    crop: tuple[int, int],
    resample: Image.Resampling,
) -> Image.Image:
    """Resample only what the crop shows; `box` is the photo's place in `upright`."""
    left, right = max(framing.left, 0), min(framing.left + crop[0], framing.width)
    top, bottom = max(framing.top, 0), min(framing.top + crop[1], framing.height)
    x_scale, y_scale = (box[2] - box[0]) / framing.width, (box[3] - box[1]) / framing.height
    part = (
        box[0] + left * x_scale,
        box[1] + top * y_scale,
        min(box[0] + right * x_scale, upright.width),
        min(box[1] + bottom * y_scale, upright.height),
    )
    image = upright.resize((right - left, bottom - top), resample, box=part)
    if image.size == crop:
        return image
    padded = Image.new(upright.mode, crop)
    padded.paste(image, (left - framing.left, top - framing.top))
    return padded


def _orientation(photo: Image.Image) -> int:
    """EXIF orientation 1 to 8; 1 where there is none or the EXIF data is garbage (Pillow raises many types for it).

    Pillow turns TIFFs upright itself when it loads them and drops the tag, so ask after loading.
    """
    try:
        value = photo.getexif().get(0x0112, 1)
    except Exception:
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _turned(image: Image.Image, orientation: int) -> Image.Image:
    return image.transpose(_TURNS[orientation]) if orientation in _TURNS else image


def _converted(photo: Image.Image, colour: str) -> Image.Image:
    if photo.mode == colour:
        return photo
    if photo.mode in ("I", "F") or photo.mode.startswith("I;16"):
        photo = Image.fromarray(_grey(np.asarray(photo)))
    # The conversion drops transparency with a warning where a palette has it; without the entry it does so in silence.
    photo.info.pop("transparency", None)
    return photo.convert(colour)


def _grey(values: npt.NDArray[np.generic]) -> Pixels:
    """Greys of 16 or 32 bits or float [H, W] to uint8, by the range of what they can be.

    That is 0..65535, and 0..1 for float; values outside of it are scaled by the picture's own range.
    """
    if values.dtype.itemsize == 2:
        return (values.astype(np.uint32) // 257).astype(np.uint8)
    numbers = np.where(np.isfinite(values), values, 0).astype(np.float64)
    low, high = 0.0, 1.0 if values.dtype.kind == "f" else 65535.0
    if numbers.min() < low or numbers.max() > high:
        low, high = numbers.min(), numbers.max()
    return np.rint((numbers - low) * (255 / max(high - low, 1e-300))).astype(np.uint8)
