"""Whether what an audit names is what was planted. Fixed before any audit of this suite was looked at, but for the rule
for patterns, which came with that kind of suspect.

- Something with a place of its own (the sky of the weather, the tag's corner, the frame, the ground of the texture):
  a suspect of a place, if at least half of its region is planted, or its region holds most of what is planted and
  little else (Youden's J, the share of the planted place inside minus the share of the rest inside, of at least 0.5).
- Something of the whole image: a suspect of an attribute with one of the names in `ATTRIBUTES`. The weather and the
  texture may be called either way.
- Something that is a thing (a watermark or a second object somewhere, a tag; a part of what has a place): a suspect of
  a pattern, if in at least half of the examples what was taken away lies on the shortcut, by the rule for places.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from saccade.audit.findings import Suspect

from .planting import Kind, Picture

Floats = npt.NDArray[np.float32]

ATTRIBUTES: Mapping[Kind, frozenset[str]] = {
    "weather": frozenset(("brightness", "contrast", "saturation", "colour cast")),
    "background texture": frozenset(("texture", "sharpness")),
    "blur": frozenset(("sharpness", "noise")),
    "jpeg quality": frozenset(("JPEG quality", "sharpness", "noise")),
    "colour cast": frozenset(("colour cast",)),
}
SOMEWHERE: frozenset[Kind] = frozenset(("watermark", "second object"))
WHOLE: frozenset[Kind] = frozenset(("blur", "jpeg quality", "colour cast"))

_COVERED = 0.25
"""Share of a cell, mean over the images that have the shortcut, from which the cell counts as planted."""
_MOST = 0.5


def matches(suspect: Suspect, kind: Kind, pictures: list[Picture]) -> bool:
    """Whether a suspect is the planted shortcut.

    Args:
        suspect: what the audit names.
        kind: what was planted.
        pictures: the audit's images, in the order of the evidence.
    """
    if suspect.kind == "attribute":
        return suspect.name in ATTRIBUTES.get(kind, ())
    if kind in WHOLE:
        return False
    if suspect.kind == "pattern":
        return taken_away(suspect, pictures)
    if suspect.kind == "place" and suspect.where is not None and kind not in SOMEWHERE:
        return same_place(suspect.where, planted_place(pictures, suspect.where.shape))
    return False


def planted_place(pictures: list[Picture], shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    """The cells bool [h, w] in which the shortcut is, of the images that have it."""
    where = np.mean([p.where for p in pictures if p.where.any()] or [np.zeros_like(pictures[0].where)], axis=0)
    rows, columns = (np.arange(n + 1) for n in shape)
    height, width = where.shape
    cells = np.empty(shape)
    for i in rows[:-1]:
        for j in columns[:-1]:
            part = where[
                i * height // shape[0] : -(-(i + 1) * height // shape[0]),
                j * width // shape[1] : -(-(j + 1) * width // shape[1]),
            ]
            cells[i, j] = part.mean()
    return cells >= _COVERED


def same_place(where: Floats, planted: npt.NDArray[np.bool_]) -> bool:
    """Whether a region [h, w] in 0..1 is a planted place, as said above."""
    if not planted.any() or not where.sum() > 0:
        return False
    inside = float(where[planted].sum())
    elsewhere = float(where[~planted].mean()) if not planted.all() else 0.0
    return inside / float(where.sum()) >= _MOST or inside / int(planted.sum()) - elsewhere >= _MOST


def taken_away(suspect: Suspect, pictures: list[Picture]) -> bool:
    """Whether what was taken away from images, as the examples show it, is the shortcut."""
    hits = []
    for example in (e for trial in suspect.trials if trial.kind == "replace" for e in trial.examples):
        changed = (example.picture_before != example.picture_after).any(axis=-1)
        if changed.any():
            hits.append(same_place(changed.astype(np.float32), pictures[example.row].where))
    return bool(hits) and float(np.mean(hits)) >= _MOST
