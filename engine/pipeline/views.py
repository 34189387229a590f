"""A photo of the evidence, read again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from .. import decode
from ..contract import PhotoError, Preprocessing, SourceError

PLACE = ("path", "name", "label", "member", "member_offset", "member_length")
"""The evidence's columns that say where a photo is."""


def view_of(
    row: Mapping[str, Any], storage: decode.Storage, preprocessing: Preprocessing, mode: Literal["fast", "exact"]
) -> tuple[npt.NDArray[np.uint8], bool]:
    """What the network saw of a row's photo, uint8 [H, W, C], and whether it is still there.

    One that was moved or removed since the run is grey: its evidence is still worth a look.
    """
    p = preprocessing
    photo = decode.Photo(*(row.get(word) for word in PLACE))  # pyright: ignore[reportArgumentType]
    try:
        return storage.read(photo, lambda source: decode.read_view(source, p, mode, photo.place)[0]), True
    except (PhotoError, SourceError):
        return np.full((p.height, p.width, p.channels), 200, np.uint8), False


def read_views(
    photos: Sequence[decode.Photo], preprocessing: Preprocessing, mode: Literal["fast", "exact"]
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.intp]]:
    """Read many photos once more, as the network saw them.

    Args:
        photos: where they are; what they take together, a view each, is held.
        preprocessing, mode: as the run had them.

    Returns:
        images: uint8 [n, H, W, C] of those that are still there.
        places: int [n], which of `photos` these are, rising.

    Raises:
        SourceError: where the photos come from went away altogether.
    """
    p = preprocessing
    images = np.empty((len(photos), p.height, p.width, p.channels), np.uint8)
    places: list[int] = []
    with decode.Decoder(decode.batches_of(photos, 64), p, mode) as batches:
        for batch in batches:
            there = [record.index for record in batch.records if record.error is None]
            images[len(places) : len(places) + len(there)] = batch.images
            places += there
    return images[: len(places)], np.array(places, np.intp)
