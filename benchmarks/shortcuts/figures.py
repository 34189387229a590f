"""The suite's figures, of one row for each network: by kind, by strength, beside the baselines, against bounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .scores import Figure, auroc, figure, share, spearman, threshold

Row = Mapping[str, Any]

BOUNDS = {
    "AUROC, relies against clean": ("auroc", 0.95),
    "planted thing is the first suspect": ("planted_first", 0.90),
    "clean networks called shortcut": ("clean_flagged", 0.05),
    "rank correlation of flips and fall": ("spearman", 0.80),
}
"""What is asked for, on the kinds and the clean networks that no threshold was chosen on."""
FALSE_ALARMS = 0.05
BASELINES = {"spray": "clusters of the maps alone", "correlation": "attributes beside labels, no network"}


def summary(rows: Sequence[Row], decoys: Sequence[Row] = ()) -> dict[str, Any]:
    """All figures of one set of networks.

    Args:
        rows: as `audits.audit_all` writes them.
        decoys: those of clean networks before images in which what they disregard goes with the class.
    """
    tuning, untouched = ([r for r in rows if r["tuning"] is chosen] for chosen in (True, False))
    found: dict[str, Any] = {"counts": counts(rows)}
    for name, part in (("untouched", untouched), ("tuning", tuning)):
        found[name] = {**measured(part), "baselines": {b: separation(part, b).to_dict() for b in BASELINES}}
    kinds = sorted({r["kind"] for r in rows if r["planted"]})
    found["kinds"] = {kind: of_kind(rows, lambda r, kind=kind: r["kind"] == kind) for kind in kinds}
    strengths = sorted({r["strength"] for r in rows if r["planted"]})
    found["strengths"] = {str(s): of_kind(rows, lambda r, s=s: r["strength"] == s) for s in strengths}
    found["decoys"] = deceived(rows, decoys)
    found["threshold"] = chosen_threshold(tuning, untouched)
    found["failures"] = failures([*rows, *decoys])
    return found


def deceived(rows: Sequence[Row], decoys: Sequence[Row]) -> dict[str, Any]:
    """How often decoys are called a shortcut, and how they are told from networks that rely, beside the baselines."""
    told = [*_of(rows, "relies"), *_of(decoys, "clean")]
    return {
        "networks": len(decoys),
        "flagged": figure(share, [r["verdict"] == "shortcut" for r in _of(decoys, "clean")]).to_dict(),
        "auroc": separation(told, "score").to_dict(),
        "baselines": {b: separation(told, b).to_dict() for b in BASELINES},
    }


def counts(rows: Sequence[Row]) -> dict[str, int]:
    """Networks by what was planned and by what they are."""
    said = {
        "rely on what was planted": (True, "relies"),
        "rely on it somewhat (between)": (True, "between"),
        "do not, though it was planted": (True, "clean"),
        "clean ones": (False, "clean"),
        "clean by plan, but between": (False, "between"),
        "clean by plan, but rely on what varies": (False, "relies"),
    }
    return {what: sum((r["planted"], r["truth"]) == pair for r in rows) for what, pair in said.items()}


def measured(rows: Sequence[Row]) -> dict[str, Any]:
    """The four figures that there are bounds for, and how many that rely are called shortcut."""
    relies, clean = _of(rows, "relies"), _of(rows, "clean")
    found = {
        "auroc": separation(rows, "score"),
        "planted_first": figure(share, [r["first_is_planted"] for r in relies]),
        "clean_flagged": figure(share, [r["verdict"] == "shortcut" for r in clean]),
        "spearman": figure(spearman, [r["flips"] for r in rows], [r["fall"] for r in rows]),
        "relies_flagged": figure(share, [r["verdict"] == "shortcut" for r in relies]),
    }
    return {name: f.to_dict() for name, f in found.items()}


def separation(rows: Sequence[Row], column: str) -> Figure:
    """AUROC of a column at telling networks that rely from clean ones; those between are left out."""
    told = [r for r in rows if r["truth"] != "between"]
    return figure(auroc, [float(r[column]) for r in told], [r["truth"] == "relies" for r in told])


def of_kind(rows: Sequence[Row], belongs: Any) -> dict[str, Any]:
    """The figures of some planted networks; those that rely are held against all clean ones of the suite."""
    own = [r for r in rows if r["planted"] and belongs(r)]
    against = [r for r in rows if r["truth"] == "clean" and not (r["planted"] and belongs(r))]
    found = measured([*own, *against])
    fall = [r["fall"] for r in own]
    return {
        "tuning": sorted({r["tuning"] for r in own}),
        "networks": len(own),
        "relies": len(_of(own, "relies")),
        "between": len(_of(own, "between")),
        "fall": [round(float(v), 3) for v in np.quantile(fall, [0, 0.5, 1])],
        **{name: found[name] for name in ("auroc", "planted_first", "relies_flagged")},
        "baselines": {b: separation([*own, *against], b).to_dict() for b in BASELINES},
    }


def chosen_threshold(tuning: Sequence[Row], untouched: Sequence[Row]) -> dict[str, Any]:
    """A threshold on the score with at most 5 % false alarms on the tuning networks, and what it does on the others."""
    told = [r for r in tuning if r["truth"] != "between"]
    bar = threshold(np.array([float(r["score"]) for r in told]), _relies(told), FALSE_ALARMS)
    relies, clean = _of(untouched, "relies"), _of(untouched, "clean")
    return {
        "value": round(bar, 4) if np.isfinite(bar) else None,
        "found": figure(share, [r["score"] >= bar for r in relies]).to_dict(),
        "false_alarms": figure(share, [r["score"] >= bar for r in clean]).to_dict(),
    }


def failures(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Where the audit is wrong, one entry for each network and reason."""
    found = []
    for row in rows:
        if row["truth"] == "relies" and row["verdict"] != "shortcut":
            found.append(_failure(row, "relies on it, and is not called a shortcut"))
        if row["truth"] == "relies" and not row["first_is_planted"]:
            found.append(_failure(row, "the first suspect is something else"))
        if row["truth"] == "clean" and row["verdict"] == "shortcut":
            found.append(_failure(row, "is clean, and is called a shortcut"))
    return found


def _failure(row: Row, why: str) -> dict[str, Any]:
    return {"network": row["network"], "why": why, **{k: row[k] for k in ("fall", "verdict", "score", "first")}}


def bounds(found: Mapping[str, Any]) -> dict[str, str]:
    """What was asked for beside what was measured on the untouched networks: "met", "missed" or "undecided"."""
    said = {}
    for name, (key, bound) in BOUNDS.items():
        at_most = key == "clean_flagged"
        value = found["untouched"][key]["value"]
        claim = f"{name} {'≤' if at_most else '≥'} {bound}"
        if value is None:
            said[claim] = "undecided: no such network was audited"
        else:
            said[claim] = "met" if (value <= bound if at_most else value >= bound) else "missed"
    return said


def _of(rows: Sequence[Row], truth: str) -> list[Row]:
    return [r for r in rows if r["truth"] == truth]


def _relies(rows: Sequence[Row]) -> np.ndarray:
    return np.array([r["truth"] == "relies" for r in rows], np.bool_)
