"""The findings as the page's script reads them: plain lists and numbers, rounded; pictures by their number."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ..findings import ClassFindings, Example, Findings, Interval, Strategy, Suspect, Trial, Verdict
from ..verdicts import rounded
from .sprites import Sprites
from .told import told

_EXAMPLES = {"shortcut": 4, "suspect": 4, "clear": 2}
"""So many of a trial's examples are shown, by its suspect's verdict."""
_ALL_EXAMPLES = 300
"""Two pictures each: about 5 MB."""
_ORDER: tuple[Verdict, ...] = ("shortcut", "suspect", "clear")


def verdict_sentence(findings: Findings) -> str:
    """The audit's answer in one plain sentence."""
    if findings.images == findings.failed:
        return "There was nothing to audit: none of the images could be explained."
    by = {v: [s for s in findings.suspects if s.verdict == v] for v in _ORDER}
    if shortcuts := by["shortcut"]:
        if len(shortcuts) == 1:
            return f"The network takes a shortcut for “{shortcuts[0].class_name}”: {shortcuts[0].name}."
        return f"The network takes {len(shortcuts)} shortcuts: {_listed(shortcuts)}."
    if suspects := by["suspect"]:
        many = "one thing is" if len(suspects) == 1 else f"{len(suspects)} things are"
        return f"No shortcut was shown, but {many} suspicious: {_listed(suspects)}."
    if clear := by["clear"]:
        many, them = ("one thing was", "it") if len(clear) == 1 else (f"{len(clear)} things were", "them")
        return f"No shortcut was found: {many} tried, and the network hardly depends on {them}."
    return "No shortcut was found, but nothing could be tried: nothing stood out, or there were too few images."


def _listed(suspects: list[Suspect], most: int = 3) -> str:
    words = [f"{s.name} for “{s.class_name}”" for s in suspects[:most]]
    if len(suspects) > most:
        words.append(f"{len(suspects) - most} more")
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 2 else words)


def class_verdicts(findings: Findings) -> dict[int, str]:
    """Class index → the worst verdict on it; classes without a suspect are left out."""
    worst: dict[str, Verdict] = {}
    for suspect in findings.suspects:
        before = worst.get(suspect.class_name, "clear")
        worst[suspect.class_name] = _ORDER[min(_ORDER.index(before), _ORDER.index(suspect.verdict))]
    return {c.index: worst[c.name] for c in findings.classes if c.name in worst}


def page_data(findings: Findings, examples: Sprites) -> dict[str, Any]:
    """The findings for the page's script.

    Args:
        findings: what was found.
        examples: takes the examples' pictures.

    Returns:
        What JSON can hold; a number that is unknown is None.
    """
    verdicts = class_verdicts(findings)
    return {
        "verdict": findings.verdict,
        "run": findings.run,
        "model": findings.model,
        "method": findings.method,
        "layer": findings.layer,
        "images": findings.images,
        "failed": findings.failed,
        "accuracy": rounded(findings.accuracy),
        "tried": findings.tried,
        "passes": findings.passes,
        "notes": list(findings.notes),
        "seconds": {part: rounded(value) for part, value in findings.seconds.items()},
        "suspects": [_suspect(s, examples) for s in findings.suspects],
        "classes": [_class(c, verdicts.get(c.index)) for c in findings.classes],
    }


def _suspect(suspect: Suspect, examples: Sprites) -> dict[str, Any]:
    return {
        "kind": suspect.kind,
        "name": suspect.name,
        "class": suspect.class_name,
        "images": suspect.images,
        "share": rounded(suspect.share),
        "why": suspect.why,
        "measures": _measures(suspect.measures),
        "where": _region(suspect.where),
        "trials": [_trial(t, _EXAMPLES[suspect.verdict], examples) for t in suspect.trials],
        "verdict": suspect.verdict,
        "sentence": suspect.sentence or suspect.why,
        "rows": [int(row) for row in suspect.rows],
    }


def _trial(trial: Trial, most: int, examples: Sprites) -> dict[str, Any]:
    return {
        "how": trial.how,
        "flips": _interval(trial.flips),
        "change": _interval(trial.change),
        "control": trial.control,
        "control_flips": _interval(trial.control_flips),
        "control_change": _interval(trial.control_change),
        "examples": [_example(e, examples) for e in trial.examples[:most] if examples.count < 2 * _ALL_EXAMPLES],
    }


def _example(example: Example, examples: Sprites) -> dict[str, Any]:
    return {
        "row": int(example.row),
        "before": example.before,
        "after": example.after,
        "sure_before": rounded(example.sure_before),
        "sure_after": rounded(example.sure_after),
        "cell_before": examples.add(example.picture_before),
        "cell_after": examples.add(example.picture_after),
    }


def _interval(interval: Interval) -> list[float | None]:
    return [*(rounded(v) for v in (interval.value, interval.low, interval.high)), interval.images]


def _class(found: ClassFindings, verdict: str | None) -> dict[str, Any]:
    return {
        "name": found.name,
        "index": found.index,
        "verdict": verdict,
        "images": found.images,
        "labelled": found.labelled,
        "recall": rounded(found.recall),
        "precision": rounded(found.precision),
        "blank": found.blank,
        "map": heat(found.mean_map),
        "strategies": [_strategy(s) for s in found.strategies],
        "confusions": [[label, count, [int(r) for r in rows]] for label, count, rows in found.confusions],
    }


def _strategy(strategy: Strategy) -> dict[str, Any]:
    return {
        "number": strategy.number,
        "images": strategy.images,
        "share": rounded(strategy.share),
        "purity": rounded(strategy.purity),
        "labels": [[label, count] for label, count in strategy.labels.items()],
        "map": heat(strategy.mean_map),
        "typical": [int(row) for row in strategy.typical],
        "outliers": [int(row) for row in strategy.outliers],
        "measures": _measures(strategy.measures),
        "differs": [[told(name).title, rounded(d), told(name).tip] for name, d in strategy.differs.items()],
    }


def _measures(measures: Mapping[str, float]) -> list[list[Any]]:
    """Name, value, how it is written, and what it means."""
    known = ((told(name), value) for name, value in measures.items())
    return [[t.title, rounded(value), t.format, t.tip] for t, value in known]


def heat(values: npt.NDArray[Any]) -> dict[str, Any]:
    """A map as bytes between 0 and its maximum, in base64; None for bytes where there is no evidence."""
    positive = np.maximum(np.nan_to_num(np.asarray(values, np.float64)), 0)
    top = positive.max(initial=0.0)
    height, width = positive.shape
    data = np.rint(positive / top * 255).astype(np.uint8).tobytes() if top > 0 else None
    return {"height": height, "width": width, "bytes": data and base64.b64encode(data).decode()}


def _region(where: npt.NDArray[Any] | None) -> dict[str, Any] | None:
    """Which cells of the map's grid belong to a region, row by row: those of at least half of its greatest weight."""
    if where is None or not np.nanmax(where, initial=0) > 0:
        return None
    inside = where >= np.nanmax(where) / 2
    height, width = inside.shape
    return {"height": height, "width": width, "cells": "".join("01"[cell] for cell in inside.ravel().astype(int))}
