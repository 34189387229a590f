"""Where the object is: masks or boxes that somebody drew, seen through the network's view, and the evidence in them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from ..engine.contract import SaccadeError, UsageError
from ..engine.decode.opening import on_one_line, opened
from .boxes import boxes_of, read_boxes

if TYPE_CHECKING:
    from .evidence import Evidence

Floats = npt.NDArray[np.float32]
Rectangle = tuple[float, float, float, float]

_BAND = 2**22
"""Pixels of a mask that are summed at a time: as float64 they take eight times the mask's memory."""

_TOUCHED = 1e-6
"""A cell of which less is object has none: what is left of a border that lies on a cell's, after rounding."""


class _Cover(NamedTuple):
    """What of a photo is object, on a grid of rectangles: bool [r, c], their borders [r + 1] and [c + 1] in pixels."""

    covered: npt.NDArray[np.bool_]
    rows: npt.NDArray[np.float64]
    columns: npt.NDArray[np.float64]


@dataclass(frozen=True)
class Objects:
    """Masks or boxes of a run's photos. It may be asked by several threads at once.

    Attributes:
        source: the folder or the file that they are from.
    """

    source: str
    _find: Callable[[str, tuple[int, int]], _Cover | None] = field(repr=False)

    @classmethod
    def from_masks(cls, folder: str | os.PathLike[str], suffix: str = ".png") -> Objects:
        """Masks in files: of the photo `a/b.jpg` the one in FOLDER/a/b.png, or what else follows its name.

        Whatever is not black is object. A mask has the size of the upright photo and is not turned itself.

        Args:
            folder: where the masks are, in the same sub-folders as the photos.
            suffix: what stands in place of the photo's ending, `_mask.png` for instance.

        Raises:
            UsageError: it is no folder, or holds no file with this ending.
        """
        root = Path(folder)
        if not root.is_dir():
            raise UsageError(f"audit: {on_one_line(folder)} is no folder of masks; name one with a mask for each photo")
        if not any(name.endswith(suffix) for _, _, names in os.walk(root) for name in names):
            raise UsageError(
                f"audit: {on_one_line(folder)} has no file that ends in {suffix!r}; name the masks' ending"
            )
        return cls(str(folder), lambda name, size: _read_mask(root, name, suffix, size))

    @classmethod
    def named(
        cls, masks: str | os.PathLike[str] | None, boxes: str | os.PathLike[str] | None, names: Iterable[str]
    ) -> Objects | None:
        """What a person's --masks or --boxes name; None without either.

        Args:
            masks: a folder of masks, or FOLDER/*_mask.png, what a photo's own ending is replaced by.
            boxes, names: as `from_boxes` takes them.

        Raises:
            UsageError: both were given, or see `from_masks` and `from_boxes`.
        """
        if masks is not None and boxes is not None:
            raise UsageError("--masks and --boxes are both given; give one of them")
        if masks is not None:
            folder, pattern = os.path.split(os.fspath(masks))
            return cls.from_masks(folder, pattern[1:]) if pattern.startswith("*") else cls.from_masks(masks)
        return None if boxes is None else cls.from_boxes(boxes, names)

    @classmethod
    def from_boxes(cls, file: str | os.PathLike[str], names: Iterable[str]) -> Objects:
        """Boxes in a CSV or a COCO file, see `read_boxes`.

        Args:
            file: FILE.csv or FILE.json.
            names: the names of all photos of the run, as the evidence has them.

        Raises:
            UsageError: see `read_boxes`.
        """
        return cls._of(str(file), read_boxes(file, names))

    @classmethod
    def from_evidence(cls, evidence: Evidence) -> Objects | None:
        """Boxes in the manifest's columns box_left, box_top, box_right and box_bottom; None without them.

        Raises:
            UsageError: the columns hold no numbers, or a row of them is no box.
        """
        boxes = boxes_of(evidence)
        return None if boxes is None else cls._of(str(evidence.folder), boxes)

    @classmethod
    def _of(cls, source: str, boxes: dict[str, npt.NDArray[np.float64]]) -> Objects:
        def find(name: str, size: tuple[int, int]) -> _Cover | None:
            return _cover_of(boxes[name], size, f"{name!r} in {on_one_line(source)}") if name in boxes else None

        return cls(source, find)

    def mask(self, name: str, view: Rectangle, size: tuple[int, int], shape: tuple[int, int]) -> Floats | None:
        """How much of each cell of a map is object.

        Args:
            name: the photo's, as the evidence has it.
            view: (left, top, right, bottom) of what the network saw, in pixels of the upright photo (`view_left`, …);
                what of it exceeds the photo is no object.
            size: (width, height) of the upright photo.
            shape: rows and columns of the map, or of the view's pixels.

        Returns:
            float32 [h, w] in 0..1, exact shares of the cells' area; None for a photo without a mask or a box.

        Raises:
            UsageError: a mask is not of the photo's size, or a box lies outside of it.
            SaccadeError: a mask cannot be read, or the view is no rectangle.
        """
        left, top, right, bottom = view
        if not (np.isfinite(view).all() and left < right and top < bottom):
            raise SaccadeError(f"audit: the evidence gives no rectangle as the view of {name!r}; run it again")
        cover = self._find(name, size)
        if cover is None:
            return None
        down, rows = _overlaps(cover.rows, top, bottom, shape[0])
        across, columns = _overlaps(cover.columns, left, right, shape[1])
        covered = cover.covered[rows, columns]
        shares = np.zeros(shape)
        step = max(1, _BAND // max(1, covered.shape[1]))
        for first in range(0, len(covered), step):
            part = slice(first, first + step)
            shares += down[:, part] @ covered[part].astype(np.float64) @ across.T
        return np.clip(shares, 0, 1).astype(np.float32)


def evidence_inside(maps: Floats, masks: Floats) -> Floats:
    """Share of each map's evidence, its positive part, that lies in the object.

    A cell that is object in part counts with that part. A network that looks anywhere has the object's `area`.

    Args:
        maps: float32 [N, h, w], raw.
        masks: float32 [N, h, w] in 0..1, of `Objects.mask`; NaN where there is none.

    Returns:
        float32 [N] in 0..1; NaN where there is no answer: a blank map, no mask, or no object in view.

    Raises:
        ValueError: the shapes differ.
    """
    _check(maps, masks)
    evidence = np.maximum(maps, 0).astype(np.float64)
    top = evidence.max(axis=(1, 2), initial=0)
    # Divided by their maximum, neither a vanishing nor a huge map under- or overflows.
    evidence /= np.where(top > 0, top, np.nan)[:, None, None]
    inside = (evidence * masks).sum(axis=(1, 2)) / evidence.sum(axis=(1, 2))
    return np.where(_seen(masks), inside, np.nan).astype(np.float32)


def pointing(maps: Floats, masks: Floats) -> Floats:
    """The pointing game: whether the map's maximum lies in the object (Zhang et al., Top-down neural attention by
    excitation backprop, 2016).

    A hit is a maximum in a cell that the object touches, which allows for an error of a cell: half a cell's diagonal
    from its centre, 23 of 224 pixels for a map of 7×7, 6 for one of 28×28 (the paper allows for 15, at full size).

    Args:
        maps: float32 [N, h, w], raw.
        masks: as `evidence_inside` takes them.

    Returns:
        float32 [N], 1 for a hit and 0 for a miss; of a map with several maxima the share of them that hit. NaN where
        there is no answer: a blank map, no mask, or no object in view.

    Raises:
        ValueError: the shapes differ.
    """
    _check(maps, masks)
    top = maps.max(axis=(1, 2), keepdims=True, initial=0)
    highest = (maps == top) & (top > 0)
    hits = (highest & (masks > _TOUCHED)).sum(axis=(1, 2))
    count = highest.sum(axis=(1, 2))
    answered = _seen(masks) & (count > 0)
    return np.where(answered, hits / np.maximum(count, 1), np.nan).astype(np.float32)


def area(masks: Floats) -> Floats:
    """Share of the view that is object: float32 [N, h, w] → float32 [N]; NaN where there is no mask."""
    return masks.mean(axis=(1, 2), dtype=np.float64).astype(np.float32)


def _seen(masks: Floats) -> npt.NDArray[np.bool_]:
    """Of which photos some object is in view: [N]."""
    return np.any(masks > _TOUCHED, axis=(1, 2))


def _check(maps: Floats, masks: Floats) -> None:
    if maps.shape != masks.shape or maps.ndim != 3:
        raise ValueError(f"maps are {list(maps.shape)}, masks {list(masks.shape)}; expected [N, h, w] of both")


def _overlaps(
    borders: npt.NDArray[np.float64], begin: float, end: float, cells: int
) -> tuple[npt.NDArray[np.float64], slice]:
    """How much of each of `cells` from `begin` to `end` lies in each interval between `borders`.

    Returns:
        [cells, n], shares of a cell, of the intervals that reach into the view; and which these are.
    """
    first = max(0, int(np.searchsorted(borders, begin, "right")) - 1)
    last = max(first, min(len(borders) - 1, int(np.searchsorted(borders, end, "left"))))
    own = begin + (end - begin) * np.arange(cells + 1) / cells
    low, high = borders[first:last], borders[first + 1 : last + 1]
    overlap = np.minimum(own[1:, None], high) - np.maximum(own[:-1, None], low)
    return np.maximum(overlap, 0) * (cells / (end - begin)), slice(first, last)


def _cover_of(boxes: npt.NDArray[np.float64], size: tuple[int, int], which: str) -> _Cover:
    """The union of boxes [n, 4] within the photo; each stretch between two of their borders is a row or a column."""
    width, height = size
    for left, top, right, bottom in boxes:
        if right <= 0 or bottom <= 0 or left >= width or top >= height:
            raise UsageError(
                f"audit: the box ({left:g}, {top:g}, {right:g}, {bottom:g}) of {which} lies outside of the photo of "
                f"{width}×{height}; give left, top, right and bottom in pixels of the upright photo"
            )
    inside = np.clip(boxes, 0, [width, height, width, height])
    columns, rows = np.unique(inside[:, [0, 2]]), np.unique(inside[:, [1, 3]])
    covered = np.zeros((len(rows) - 1, len(columns) - 1), bool)
    places = np.stack([np.searchsorted(line, inside[:, i]) for i, line in enumerate((columns, rows, columns, rows))])
    for left, top, right, bottom in places.T:
        covered[top:bottom, left:right] = True
    return _Cover(covered, rows, columns)


def _read_mask(folder: Path, name: str, suffix: str, size: tuple[int, int]) -> _Cover | None:
    if any(part in ("", ".", "..") for part in name.split("/")):  # evidence may be somebody else's: never out of here
        return None
    path = os.path.splitext(folder / name)[0] + suffix
    if not os.path.lexists(path):
        return None
    covered = None
    with opened(path) as photo:
        kind, found = photo.format, photo.size
        if kind != "JPEG" and found == size:  # as the header says: nothing else is decoded
            covered = _not_black(photo)
            found = covered.shape[1], covered.shape[0]  # a TIFF is turned while it is decoded
    shown = on_one_line(path)
    if kind == "JPEG":
        raise UsageError(f"audit: the mask {shown} is a JPEG, whose black is not quite black; save masks as PNG")
    if covered is None or found != size:
        raise UsageError(
            f"audit: the mask {shown} has {found[0]}×{found[1]} pixels, its photo {size[0]}×{size[1]}; expected a mask "
            "of the upright photo's size"
        )
    return _Cover(covered, np.arange(size[1] + 1.0), np.arange(size[0] + 1.0))


def _not_black(photo: Image.Image) -> npt.NDArray[np.bool_]:
    """Which pixels have any colour, of a palette's by what it shows: [H, W]. Transparency says nothing."""
    values = np.asarray(photo.convert("RGB") if photo.mode in ("P", "PA") else photo)
    colours = values.reshape(*values.shape[:2], -1)
    if photo.mode in ("LA", "RGBA", "La", "RGBa"):
        colours = colours[..., :-1]
    return np.any(colours != 0, axis=2)
