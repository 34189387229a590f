"""The audit of a run: strategies, suspects, trials, verdicts."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..engine import execute, sinks
from ..engine.contract import UsageError
from ..engine.contract.program_file import read_contract
from . import associations, columns, report, strategies
from . import evidence as stored
from .bench import Bench, Clock
from .evidence import Evidence
from .findings import Findings, Suspect
from .notes import notes
from .objects import Objects
from .verdicts import write_verdicts

Say = Callable[[str], None]


def audit(
    run: str | os.PathLike[str],
    program: str | os.PathLike[str] | None = None,
    out: str | os.PathLike[str] | None = None,
    masks: str | os.PathLike[str] | None = None,
    boxes: str | os.PathLike[str] | None = None,
    passes: int | None = None,
    seed: int = 0,
    trust: bool = False,
    say: Say = lambda _: None,
) -> Findings:
    """Ask a run what the network uses beside the thing itself, and try it.

    Args:
        run: the folder of a run of a classifier, with a CAM.
        program: its program, by default where it was when it ran.
        out: a folder for `report.html` and `verdicts.json`; by default nothing is written.
        masks, boxes: where the objects are, see `Objects.named`; without either, the manifest's columns
            box_left, box_top, box_right and box_bottom, where it has them.
        passes: at most about so many images go through the network for trials; by default a sixth of the run's, and at
            least 2,000.
        seed: of every draw: the same run, seed and machine give the same findings.
        trust: load a `.pt2` program, which is native code.
        say: told what is being done.

    Raises:
        UsageError: the folder is no run of a classifier with maps, or its program is not there or is another one, or
            masks or boxes do not fit.
        SaccadeError: the evidence is damaged, or `out` cannot be written.
    """
    clock = Clock()
    say("reading the evidence")
    with clock.of("evidence"):
        evidence = stored.read(run)
    info = sinks.read_run(run)
    names = (name for chunk in evidence.name.chunks for name in chunk.to_pylist())
    objects = Objects.named(masks, boxes, names) or Objects.from_evidence(evidence)
    runner = _open(evidence, info, program, trust)
    say("looking for strategies")
    with clock.of("strategies"):
        found = strategies.find(evidence, seed)
    with clock.of("associations"):
        associated = associations.find(evidence, seed)
    limit = max(2000, len(evidence) // 6) if passes is None else passes
    options = info.get("options")
    options = options if isinstance(options, dict) else {}
    mode = "exact" if options.get("decode") == "exact" else "fast"
    size = options.get("batch_size")
    size = size if type(size) is int and size > 0 else 1
    bench = Bench(evidence, runner, mode, size, objects, limit, seed, clock, say)
    bench.check_objects()
    tried = bench.suspects(found.classes)
    spec, layer = evidence.spec, next(m for m in evidence.spec.maps if m.name == evidence.map_name)
    labelled = evidence.good & (evidence.labelled >= 0) & (evidence.predicted >= 0)
    findings = Findings(
        str(run),
        spec.model,
        layer.method,
        layer.layer,
        len(evidence),
        int((~evidence.good).sum()),
        float((evidence.predicted == evidence.labelled)[labelled].mean()) if labelled.any() else None,
        tuple(_ordered([*tried, *columns.column_suspects(associated)])),
        bench.with_objects(found),
        associated.tried,
        bench.network.passes,
        tuple(notes(evidence, info, found.classes, bench)),
        clock.seconds,
    )
    if out is not None:
        say("drawing the page")
        with clock.of("page"):
            rows = report.rows_wanted(findings, evidence, seed=seed)
            report.write(Path(out) / "report.html", findings, evidence, bench.views(rows), found.assignment)
        write_verdicts(Path(out) / "verdicts.json", findings, evidence)
    return findings


def _open(
    evidence: Evidence, info: Mapping[str, Any], program: str | os.PathLike[str] | None, trust: bool
) -> execute.Runner:
    place = program or info.get("program")
    if not isinstance(place, str | os.PathLike) or not place or not Path(place).is_file():
        raise UsageError(f"audit: the run's program {place or ''} is not there; name it with --program")
    contract = read_contract(place)
    spec = contract[1]
    if spec.hash != evidence.spec.hash:
        raise UsageError(
            f"audit: {place} ({spec.model}) is not the program of the run ({evidence.spec.model}); name that one with "
            "--program"
        )
    # On the run's own device where there is one.
    device = "cpu" if info.get("device") == "cpu" else "auto"
    runtime, precision = info.get("runtime", "auto"), info.get("precision")
    return execute.load(place, device, runtime, precision=precision, trust=trust, contract=contract)


def _ordered(found: Sequence[Suspect]) -> list[Suspect]:
    """Shortcuts first; of one verdict by the score, and what explains with less before what explains with more.

    One number, the sharpness of the whole image, goes before the place where it shows most and before the spectrum, if
    it does half as much as they.
    """
    rank = {"shortcut": 0, "suspect": 1, "clear": 2}

    def weight(s: Suspect) -> float:
        return s.score if s.kind == "attribute" and s.name != "texture" else s.score / 2

    return sorted(found, key=lambda s: (rank[s.verdict], -weight(s)))
