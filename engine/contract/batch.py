"""What flows between rooms: photos as `Batch` of `Record`s, and the `Maps` that a program gives for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

ATTRIBUTES = (
    *("brightness", "contrast", "saturation", "red", "green", "blue", "sharpness", "noise"),
    *("border_red", "border_green", "border_blue", "border_contrast"),
)
"""The plain attributes of the network's view of a photo: the keys of `Record.attributes`, evidence columns alike."""

Fact = str | int | float | None

FACTS: Mapping[str, Literal["string", "int32", "float"]] = MappingProxyType(
    {
        "format": "string",
        "jpeg_quality": "int32",
        "exif_make": "string",
        "exif_model": "string",
        "exif_software": "string",
        "exif_orientation": "int32",
        "exif_exposure": "float",
        "exif_iso": "int32",
        "exif_focal_length": "float",
        "exif_hour": "int32",
    }
)
"""What a photo's file says of itself: the keys of `Record.facts` and their Arrow types, evidence columns alike."""


@dataclass
class Record:
    """One photo of a run, as far as decoding knows it.

    Attributes:
        index: its place in the manifest, from 0.
        path: where it was read from.
        name: its path relative to the folder that was given; where results for it go.
        label: from the labels file, the manifest or the sub-folder, or None.
        member, offset, length: where it is in the file at `path`, if that holds many (see `decode.Photo`), or None.
        further: the manifest's further columns, by name.
        size: (width, height) of the upright photo in pixels; None when it could not be read.
        view: (left, top, right, bottom), the rectangle of the upright photo, in its pixels, that the network's input
            shows: the map's corner (0, 0) lies on (left, top), its far corner on (right, bottom).
        attributes: plain attributes of the network's view of the photo (brightness, contrast, …).
        facts: what its file says of itself (format, JPEG quality, EXIF), by the names of `FACTS`.
        error: one line, or None.
        seconds: how long reading it took.
    """

    index: int
    path: str
    name: str
    label: str | None = None
    member: str | None = None
    offset: int | None = None
    length: int | None = None
    further: Mapping[str, Any] = field(default_factory=dict)
    size: tuple[int, int] | None = None
    view: tuple[float, float, float, float] | None = None
    attributes: dict[str, float] = field(default_factory=dict)
    facts: dict[str, Fact] = field(default_factory=dict)
    error: str | None = None
    seconds: float = field(default=0.0, compare=False)


@dataclass
class Batch:
    """Consecutive photos of the manifest.

    Attributes:
        records: one per photo, in the manifest's order, those with an error included.
        images: uint8 [N, H, W, C], one for each record without an error, in the same order.
    """

    records: list[Record]
    images: npt.NDArray[np.uint8]

    @property
    def good(self) -> list[Record]:
        """The records that have an image, in the order of `images`."""
        return [r for r in self.records if r.error is None]


@dataclass
class Maps:
    """What a program gives for N images.

    Attributes:
        logits: float32 [N, K], as the model gives them.
        target: what was explained: the classes int64 [N] (or [N, k]), found where -1 was asked; of outputs their
            weights float32 [N, K]; of a unit int64 [N, 3].
        maps: name → float32 [N, …], raw and unscaled (see `MapSpec.kind`).
        features: float32 [N, C] or None (see `Spec.features`).
        score: float32 [N] (or [N, k]): the logit of the class, the sum of the class's logits over the region, or the
            weighted outputs; None of a unit, which is no output of the program.
    """

    logits: npt.NDArray[np.float32]
    target: npt.NDArray[Any]
    maps: dict[str, npt.NDArray[np.float32]]
    features: npt.NDArray[np.float32] | None = None
    score: npt.NDArray[np.float32] | None = None
