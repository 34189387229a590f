"""Boxes around objects as people keep them: a CSV file, COCO's JSON, or columns of the manifest.

A box is (left, top, right, bottom) in pixels of the upright photo, whose first pixel lies between 0 and 1.
"""

from __future__ import annotations

import csv
import json
import math
import os
import posixpath
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ..engine.contract import UsageError
from ..engine.decode.opening import on_one_line, reason_of
from ..engine.decode.tables import bounded

if TYPE_CHECKING:
    from .evidence import Evidence

COLUMNS = ("box_left", "box_top", "box_right", "box_bottom")

MAX_JSON = 2**29
"""Bytes of a COCO file, at most: it is read whole. COCO's own of 118,000 photos has 0.45 GB, most of it outlines."""

MAX_BOXES = 1000
"""Boxes of one photo, at most; COCO has up to 93."""

_FARTHEST = 1e9
_LONGEST = 4096

Boxes = dict[str, npt.NDArray[np.float64]]
"""Photo's name → [n, 4]."""


def read_boxes(file: str | os.PathLike[str], names: Iterable[str]) -> Boxes:
    """Read the boxes of a run's photos from a file.

    A photo is found by its name, by a path that ends in it, or by its bare name where no other photo has that.

    Args:
        file: FILE.csv with the columns `path` (or `name`), `box_left`, `box_top`, `box_right` and `box_bottom`, a row
            for each box; or FILE.json in COCO's format: `images` with `id` and `file_name`, `annotations` with
            `image_id` and `bbox` (left, top, width, height).
        names: the names of all photos of the run.

    Returns:
        The boxes of the photos that have some.

    Raises:
        UsageError: it cannot be read, is too large or no such file, a box is none, or it names no photo of the run.
    """
    found = _Found(os.fspath(file), names)
    try:
        if found.file.lower().endswith(".json"):
            _read_coco(found)
        elif found.file.lower().endswith(".csv"):
            _read_csv(found)
        else:
            raise UsageError(f"audit: {found.shown} is no file of boxes; name a .csv or a .json in COCO's format")
    except OSError as error:
        raise UsageError(f"audit: cannot read the boxes of {found.shown}: {reason_of(error)}; check its path") from None
    except csv.Error as error:
        raise UsageError(f"audit: {found.shown} is not a CSV file in UTF-8 ({error}); save it as one") from None
    except (ValueError, RecursionError) as error:  # of JSON, and of what is no UTF-8
        kind = "JSON" if found.file.lower().endswith(".json") else "CSV"
        raise UsageError(
            f"audit: {found.shown} is not a {kind} file in UTF-8 ({reason_of(error)}); save it as one"
        ) from None
    return found.boxes()


def boxes_of(evidence: Evidence) -> Boxes | None:
    """The boxes in the manifest's columns `COLUMNS`, one for each photo at most; None where it has no such columns.

    Raises:
        UsageError: the columns hold no numbers, or a row of them is no box.
    """
    if not all(name in evidence.further for name in COLUMNS):
        return None
    columns = []
    for name in COLUMNS:
        column = evidence.further[name]
        if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
            raise UsageError(f"audit: the column {name} holds no numbers; expected pixels of the upright photo")
        columns.append(column.to_numpy().astype(np.float64))
    values = np.stack(columns, axis=1)  # NaN where there is none
    given = np.flatnonzero(~np.isnan(values).all(axis=1))
    boxes: Boxes = {}
    for row, name in zip(given, evidence.name.take(pa.array(given)).to_pylist(), strict=True):
        boxes[name] = np.array([_box(values[row].tolist(), f"{name!r} in {on_one_line(evidence.folder)}")])
    return boxes


class _Found:
    """Boxes as they are found, of the run's photos alone: a file may be of many more."""

    def __init__(self, file: str, names: Iterable[str]) -> None:
        self.file, self.shown = file, on_one_line(file)
        self._names = dict.fromkeys(names)
        bare = Counter(posixpath.basename(name) for name in self._names)
        self._bare = {posixpath.basename(name): name for name in self._names if bare[posixpath.basename(name)] == 1}
        self._paths: dict[str, str] = {}
        self._boxes: dict[str, list[tuple[float, ...]]] = {}
        self._example = "nothing"

    def add(self, path: str, values: list[Any], where: str) -> None:
        """Keep a box, if it is of one of the photos."""
        box = _box(values, f"{self.shown} {where}")
        name = self._name_of(path)
        if name is None:
            self._example = on_one_line(path)[:100]
            return
        if self._paths.setdefault(name, path) != path:
            raise UsageError(
                f"audit: {self.shown} has boxes for {path!r} and for {self._paths[name]!r}, which may both be "
                f"{name!r}; write the names that the evidence has"
            )
        kept = self._boxes.setdefault(name, [])
        if len(kept) == MAX_BOXES:
            raise UsageError(f"audit: {self.shown} has over {MAX_BOXES:,} boxes for {name!r}; keep the objects' own")
        kept.append(box)

    def boxes(self) -> Boxes:
        if not self._boxes:
            like = next(iter(self._names), "nothing")
            raise UsageError(
                f"audit: {self.shown} has no box for any photo of the run (it names {self._example!r}, they are like "
                f"{like!r}); write the names that the evidence has"
            )
        return {name: np.array(kept) for name, kept in self._boxes.items()}

    def _name_of(self, path: str) -> str | None:
        if len(path) > _LONGEST:
            return None
        rest = posixpath.normpath(path)
        while rest not in self._names:
            _, slash, rest = rest.partition("/")
            if not slash:
                return self._bare.get(posixpath.basename(path))
        return rest


def _box(values: list[Any], where: str) -> tuple[float, ...]:
    """Four numbers, the first two not beyond the last two."""
    try:
        left, top, right, bottom = box = tuple(float(value) for value in values)
    except (TypeError, ValueError, OverflowError):
        left, top, right, bottom = box = (math.nan,) * 4
    if not (all(abs(number) <= _FARTHEST for number in box) and left <= right and top <= bottom):
        said = ", ".join(str(value)[:20] for value in values)
        raise UsageError(
            f"audit: {where} is no box ({on_one_line(said)}); expected left ≤ right and top ≤ bottom, in pixels"
        )
    return box


def _read_csv(found: _Found) -> None:
    with open(found.file, newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(bounded(file))
        columns = reader.fieldnames or []
        key = next((name for name in ("path", "name") if name in columns), None)
        if key is None or not set(COLUMNS) <= set(columns):
            raise UsageError(
                f"audit: {found.shown} has the columns {on_one_line(', '.join(columns))[:200] or '(none)'}; expected "
                f"path or name, and {', '.join(COLUMNS)}, in its first line"
            )
        for row in reader:
            found.add(row[key] or "", [row[name] for name in COLUMNS], f"line {reader.line_num}")


def _read_coco(found: _Found) -> None:
    with open(found.file, "rb") as file:
        content = file.read(MAX_JSON + 1)
    if len(content) > MAX_JSON:
        raise UsageError(f"audit: {found.shown} has over {MAX_JSON:,} bytes; leave out what is no box, or split it")
    whole = json.loads(content, object_hook=_without_outline)
    images, annotations = (whole.get(key) if isinstance(whole, dict) else None for key in ("images", "annotations"))
    if not isinstance(images, list) or not isinstance(annotations, list):
        raise UsageError(f"audit: {found.shown} is not in COCO's format; expected the lists images and annotations")
    paths: dict[int | str, str] = {}
    for number, image in enumerate(images):
        key, path = (image.get(name) if isinstance(image, dict) else None for name in ("id", "file_name"))
        if not isinstance(key, (int, str)) or not isinstance(path, str):
            raise UsageError(f"audit: {found.shown} images[{number}] has no id and file_name; write both")
        paths[key] = path
    for number, annotation in enumerate(annotations):
        key, box = (annotation.get(name) if isinstance(annotation, dict) else None for name in ("image_id", "bbox"))
        where = f"annotations[{number}]"
        if not isinstance(key, (int, str)) or key not in paths:
            raise UsageError(f"audit: {found.shown} {where} names no image; write the image_id of one of its images")
        found.add(paths[key], _of_coco(box), where)


def _without_outline(entry: dict[str, Any]) -> dict[str, Any]:
    """Nine tenths of COCO's files are outlines; they are let go of as soon as they are parsed."""
    entry.pop("segmentation", None)
    return entry


def _of_coco(box: Any) -> list[Any]:
    """(left, top, width, height) to (left, top, right, bottom); what is no box stays as it is, to be refused."""
    if not isinstance(box, list) or len(box) != 4 or not all(type(number) in (int, float) for number in box):
        return [box]
    left, top, width, height = box
    return [left, top, left + width, top + height]
