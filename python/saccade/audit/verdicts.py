"""`verdicts.json`: what was found, for programs; docs/audit.md describes its keys."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..engine.contract import replacing
from .evidence import Evidence
from .findings import ClassFindings, Findings, Interval, Strategy, Suspect, Trial

SCHEMA = 1


def write_verdicts(path: str | os.PathLike[str], findings: Findings, evidence: Evidence) -> None:
    """Write the verdicts, whole or not at all.

    Raises:
        SaccadeError: it cannot be written.
    """
    text = json.dumps(to_json(findings, evidence), indent=1, ensure_ascii=False, allow_nan=False)
    with replacing(path) as place:
        place.write_text(text + "\n", encoding="utf-8", errors="backslashreplace")


def to_json(findings: Findings, evidence: Evidence) -> dict[str, Any]:
    """Findings as JSON has them: rows of the evidence by their photos' names, NaN as null, no pictures."""
    names = _Names(evidence)
    return {
        "schema": SCHEMA,
        "verdict": findings.verdict,
        "run": findings.run,
        "model": findings.model,
        "method": findings.method,
        "layer": findings.layer,
        "images": findings.images,
        "failed": findings.failed,
        "accuracy": rounded(findings.accuracy),
        "suspects": [_suspect(s, names) for s in findings.suspects],
        "classes": [_class(c, names) for c in findings.classes],
        "tested": findings.tested,
        "tried": findings.tried,
        "passes": findings.passes,
        "notes": list(findings.notes),
        "seconds": dict(findings.seconds),
    }


class _Names:
    def __init__(self, evidence: Evidence) -> None:
        self._names = evidence.name

    def __call__(self, rows: Sequence[int]) -> list[str]:
        return [self._names[int(row)].as_py() for row in rows]


def _suspect(s: Suspect, names: _Names) -> dict[str, Any]:
    return {
        "verdict": s.verdict,
        "kind": s.kind,
        "name": s.name,
        "class": s.class_name,
        "score": rounded(s.score),
        "sentence": s.sentence,
        "why": s.why,
        "images": s.images,
        "share": rounded(s.share),
        "measures": _numbers(s.measures),
        "where": None if s.where is None else np.round(s.where, 3).tolist(),
        "trials": [_trial(t, names) for t in s.trials],
        "examples": names(s.rows),
    }


def _trial(t: Trial, names: _Names) -> dict[str, Any]:
    return {
        "kind": t.kind,
        "how": t.how,
        "flips": _interval(t.flips),
        "change": _interval(t.change),
        "control": t.control,
        "control_flips": _interval(t.control_flips),
        "control_change": _interval(t.control_change),
        "examples": [
            {
                "name": names([e.row])[0],
                "before": e.before,
                "after": e.after,
                "probability_before": rounded(e.sure_before),
                "probability_after": rounded(e.sure_after),
            }
            for e in t.examples
        ],
    }


def _class(c: ClassFindings, names: _Names) -> dict[str, Any]:
    return {
        "name": c.name,
        "index": c.index,
        "images": c.images,
        "labelled": c.labelled,
        "recall": rounded(c.recall),
        "precision": rounded(c.precision),
        "blank": c.blank,
        "strategies": [_strategy(s, names) for s in c.strategies],
        "confusions": [{"label": label, "images": n, "examples": names(rows)} for label, n, rows in c.confusions],
    }


def _strategy(s: Strategy, names: _Names) -> dict[str, Any]:
    return {
        "number": s.number,
        "images": s.images,
        "share": rounded(s.share),
        "purity": rounded(s.purity),
        "labels": dict(s.labels),
        "typical": names(s.typical),
        "outliers": names(s.outliers),
        "measures": _numbers(s.measures),
        "differs": _numbers(s.differs),
    }


def _interval(i: Interval) -> dict[str, Any]:
    return {"value": rounded(i.value), "low": rounded(i.low), "high": rounded(i.high), "images": i.images}


def _numbers(values: Mapping[str, float]) -> dict[str, float | None]:
    return {name: rounded(value) for name, value in values.items()}


def rounded(value: float | None) -> float | None:
    """Four significant digits, all that a sample of images can say; None for what is no number, which JSON cannot."""
    return None if value is None or not math.isfinite(value) else float(f"{value:.4g}")
