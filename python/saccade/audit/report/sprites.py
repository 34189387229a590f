"""Many small pictures in few large JPEGs: a file each, or a data URI each, would be slow to load."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from ...engine import render

Pixels = npt.NDArray[np.uint8]

_BLOCK = 16
"""A JPEG's blocks with halved colour: a cell of whole ones bleeds by no more than a pixel into its neighbours."""
_CELLS = 256
"""In one sheet, at most: of 112 pixels that is 1792², which a phone still decodes at once."""
_COLUMNS = 16
_QUALITY = 82


def cell_size(picture: Pixels, longer: int) -> tuple[int, int]:
    """Height and width of a cell for a picture: whole blocks, the longer side about `longer` or the picture's own."""
    height, width = picture.shape[:2]
    scale = min(1.0, longer / max(height, width)) / _BLOCK
    return max(1, round(height * scale)) * _BLOCK, max(1, round(width * scale)) * _BLOCK


def in_cell(picture: Pixels, size: tuple[int, int]) -> Pixels:
    """A picture, uint8 [H, W, 1 or 3], at a cell's size in colour: uint8 [height, width, 3]."""
    cell = picture if picture.shape[:2] == size else render.resize(picture, *size)
    return np.broadcast_to(cell, (*size, 3))


class Sprites:
    """Collects pictures of one size into sheets; each full sheet is encoded at once, so that few pixels are held.

    Args:
        longer: the longer side of a cell, in pixels; the first picture says how high and wide a cell is.
    """

    def __init__(self, longer: int) -> None:
        self.count = 0
        self.sheets: list[bytes] = []
        self._longer = longer
        self._size: tuple[int, int] | None = None
        self._open: list[Pixels] = []

    def add(self, picture: Pixels) -> int:
        """Take a picture, uint8 [H, W, 1 or 3]; its number."""
        self._size = self._size or cell_size(picture, self._longer)
        self._open.append(in_cell(picture, self._size).copy())  # whoever gave it may write the next into its place
        if len(self._open) == _CELLS:
            self._encode()
        self.count += 1
        return self.count - 1

    def finish(self) -> dict[str, Any]:
        """Where the cells are, for the page; nothing can be added after it."""
        if self._open:
            self._encode()
        height, width = self._size or (_BLOCK, _BLOCK)
        return {"height": height, "width": width, "columns": _COLUMNS, "each": _CELLS, "sheets": len(self.sheets)}

    def _encode(self) -> None:
        assert self._size is not None
        height, width = self._size
        rows = -(-len(self._open) // _COLUMNS)
        sheet = np.zeros((rows * height, min(len(self._open), _COLUMNS) * width, 3), np.uint8)
        for i, cell in enumerate(self._open):
            top, left = i // _COLUMNS * height, i % _COLUMNS * width
            sheet[top : top + height, left : left + width] = cell
        file = io.BytesIO()
        Image.fromarray(sheet).save(file, "JPEG", quality=_QUALITY, optimize=True)
        self.sheets.append(base64.b64encode(file.getvalue()))
        self._open.clear()


class Averages:
    """The mean picture of each of some classes, from those that pass: what all have in common stays sharp.

    Args:
        classes: which, by their index.
        longer: the longer side of a mean picture, in pixels.
    """

    def __init__(self, classes: list[int], longer: int) -> None:
        self._longer = longer
        self._sums: dict[int, npt.NDArray[np.float32] | None] = dict.fromkeys(classes)
        self._counts = dict.fromkeys(classes, 0)

    def add(self, index: int, picture: Pixels) -> None:
        """Count a picture, uint8 [H, W, C], of a class; of another class than those it is left out."""
        if index not in self._sums:
            return
        cell = in_cell(picture, cell_size(picture, self._longer)).astype(np.float32)
        before = self._sums[index]
        self._sums[index] = cell if before is None else before + cell
        self._counts[index] += 1

    def pictures(self, least: int) -> dict[int, tuple[Pixels, int]]:
        """Class → its mean picture and of how many; classes of fewer than `least` are left out."""
        return {
            index: ((total / self._counts[index] + 0.5).astype(np.uint8), self._counts[index])
            for index, total in self._sums.items()
            if total is not None and self._counts[index] >= least
        }
