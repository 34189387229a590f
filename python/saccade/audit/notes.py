"""What limits an audit, in sentences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .bench import LEAST, Bench
from .evidence import Evidence
from .findings import ClassFindings


def notes(e: Evidence, info: Mapping[str, Any], classes: Sequence[ClassFindings], bench: Bench) -> Iterator[str]:
    """One sentence for each thing that keeps the audit from saying more; `info` is the run's run.json."""
    if info.get("status") != "finished":
        yield f"The run is not finished: {len(e):,} images are there so far."
    if not e.good.any():
        yield "No image could be read and explained: there is nothing to audit."
        return
    if not (e.labelled >= 0).any():
        given = e.label.null_count < len(e.label)
        why = "The labels name none of the network's classes" if given else "There are no labels"
        yield f"{why}, so right and wrong predictions are not told apart."
    if len(classes) == 1:
        yield f"All images are predicted as “{classes[0].name}”: nothing can be swapped with images of another class."
    elif small := [c.name for c in classes if c.images < LEAST]:
        yield f"{_some(small)}: fewer than {LEAST} images, too few for trials."
    if blank := int(e.blank.sum()):
        share = blank / int(e.good.sum())
        yield f"{blank:,} maps ({share:.0%}) are blank: there is no positive evidence for the class in them."
    if bench.untried:
        yield f"{_some(bench.untried)}: not tried, for want of passes (--passes)."
    if bench.few:
        yield f"{_some(bench.few)}: of too few images the photos are still there, or still predicted so."
    if bench.left:
        yield f"{bench.left} things with little to speak for them were not tried, for want of passes (--passes)."
    if bench.gone:
        yield f"{len(bench.gone)} of the run's photos are not there any more and were left out."
    if not e.has_features:
        yield "The program gives no features: strategies are told apart by where the network looks alone."


def _some(names: Sequence[str], most: int = 5) -> str:
    shown = ", ".join(f"“{n}”" for n in names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more classes"
