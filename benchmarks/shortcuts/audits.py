"""Audit every network's run, and hold what it says against the truth."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from saccade.audit import Findings, Suspect, audit
from saccade.engine import sinks
from saccade.engine.contract import ATTRIBUTES

from . import baselines, matching, runs, training
from .plan import Network
from .planting import Kind, Picture
from .pool import Pool

SCORED = ("place", "attribute", "outside", "pattern")
"""Kinds of suspects whose score counts: those that are tried. A column of the manifest cannot be."""


def audit_all(work: Path, networks: list[Network], pool: Pool, again: bool = False) -> None:
    """Audit the runs that were not audited yet, a line of `audits.jsonl` for each; `again`: also those that were.

    What a decoy's truth says of its kind was measured on the network that it is.
    """
    truth, known = training.read_truth(work), read_audits(work)
    for i, network in enumerate(networks, 1):
        if (network.name in known and not again) or not (work / "runs" / network.name).exists():
            continue
        measured = truth[network.trained]
        row = {**about(network), **asdict(measured), "truth": measured.truth}
        row |= audited(work / "runs" / network.name, network, pool)
        with (work / "audits.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        planted = f", planted thing first: {row['first_is_planted']}" if network.planted else ""
        said = f"{row['verdict']} {row['score']:.2f} ({row['first'] or 'nothing'})"
        print(f"{i} of {len(networks)}  {network.name} {row['truth']}: {said}{planted}", flush=True)


def read_audits(work: Path) -> dict[str, dict[str, Any]]:
    """The last audit of each network, by its name."""
    path = work / "audits.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return {row["network"]: row for row in map(json.loads, lines)}


def about(network: Network) -> dict[str, Any]:
    """What a network is, for its row."""
    return {
        "network": network.name,
        "kind": network.kind,
        "strength": network.strength,
        "seed": network.seed,
        "planted": network.planted,
        "tuning": network.tuning,
        "classes": list(network.task.classes),
    }


def audited(run: Path, network: Network, pool: Pool) -> dict[str, Any]:
    """Audit one run; the audit gets the run's folder and nothing else."""
    start = time.process_time()
    findings = audit(run)
    seconds = time.process_time() - start
    names = ["prediction_index", *ATTRIBUTES, "grad_cam", "grad_cam_scale"]
    table = sinks.read_evidence(run, columns=names)
    maps = sinks.restore_map(table, "grad_cam")
    pictures, labels = runs.pictures(network, pool)
    attributes = {name: table[name].to_numpy().astype(np.float32) for name in ATTRIBUTES}
    correlated, attribute = baselines.correlation(attributes, labels)
    return {
        **compared(findings, network.kind if network.planted else None, pictures),
        "spray": baselines.spray(maps, table["prediction_index"].to_numpy().astype(np.int64)),
        "correlation": correlated,
        "correlated": attribute,
        "audit_seconds": round(seconds, 2),
    }


def compared(findings: Findings, planted: Kind | None, pictures: list[Picture]) -> dict[str, Any]:
    """What the audit says, and whether it is so.

    Args:
        planted: what was planted, if anything.
        pictures: the audit's images, in the order of the evidence.
    """
    scored = [s for s in findings.suspects if s.kind in SCORED]
    first = scored[0] if scored else None
    right = [planted is not None and matching.matches(s, planted, pictures) for s in scored]
    return {
        "verdict": findings.verdict,
        "score": max((s.score for s in scored), default=0.0),
        "flips": flip_rate(first),
        "first": first and f"{first.kind}: {first.name}",
        "first_is_planted": right[0] if right else False,
        "rank_of_planted": right.index(True) + 1 if True in right else None,
        "suspects": [[s.kind, s.name, s.class_name, s.verdict, round(s.score, 3)] for s in findings.suspects[:8]],
        "passes": findings.passes,
    }


def flip_rate(suspect: Suspect | None) -> float:
    """Share of predictions that a suspect's first trials flipped, mean of both directions; 0 without a suspect."""
    if suspect is None:
        return 0.0
    outward = [t.flips.value for t in suspect.trials if t.kind in ("replace", "shift")][:1]
    inward = [t.flips.value for t in suspect.trials if t.kind in ("transplant", "shift-in")][:1]
    return float(np.mean([*outward, *inward])) if outward or inward else 0.0
