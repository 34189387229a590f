"""Does the audit tell the truth? Networks with planted shortcuts, networks without, and what the audit says of them.

    python benchmarks/shortcuts/suite.py                # all stages; each goes on where it stopped
    python benchmarks/shortcuts/suite.py paint          # the scenes, once: a few minutes
    python benchmarks/shortcuts/suite.py train          # 114 networks, and what each relies on: about a quarter hour
    python benchmarks/shortcuts/suite.py run            # compile them and run them: the evidence
    python benchmarks/shortcuts/suite.py audit          # audit the runs; --again after a change of the audit
    python benchmarks/shortcuts/suite.py real           # real pictures, fine-tuned networks; needs shared/data
    python benchmarks/shortcuts/suite.py report         # results/shortcuts.json

`--only KIND` takes the networks of one kind, `--tuning` those that thresholds may be chosen on. `--series 1` is of
networks with other seeds, of the untouched kinds: for figures of an audit that was changed after a look at the first.
benchmarks/README.md says what is planted, what truth is and how it is held against the audit.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks import harness
from benchmarks.shortcuts import audits, figures, plan, planting, pool, real, runs, training
from saccade import cache

STAGES = ("paint", "train", "run", "audit", "real", "report")
WORK = cache.folder() / "shortcuts"


def main(words: Sequence[str] | None = None) -> None:
    """Do one stage, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stage", nargs="?", choices=STAGES, help="by default all of them")
    parser.add_argument("--work", type=Path, default=WORK, help="folder for everything that is kept (1 GB)")
    parser.add_argument("--only", choices=planting.KINDS, help="networks of one kind, planted and clean")
    parser.add_argument("--tuning", action="store_true", help="networks that thresholds may be chosen on")
    parser.add_argument("--series", type=int, default=0, help="networks of other seeds; 0: the first ones")
    parser.add_argument("--again", action="store_true", help="audit also what was audited before")
    options = parser.parse_args(words)
    trained, decoys = (
        [n for n in which if options.only in (None, n.kind) and (n.tuning or not options.tuning)]
        for which in (plan.networks(options.series), plan.decoys(options.series))
    )
    stages = (options.stage,) if options.stage else STAGES
    work = options.work / f"series-{options.series}" if options.series else options.work
    if "paint" in stages:
        pool.paint_pool(options.work / "scenes", plan.SCENES)
    if {"train", "run", "audit"} & set(stages):
        scenes = pool.read_pool(options.work / "scenes", plan.SCENES)
        if "train" in stages:
            training.train_all(work, trained, scenes)
        if "run" in stages:
            runs.run_all(work, [*trained, *decoys], scenes)
        if "audit" in stages:
            audits.audit_all(work, [*trained, *decoys], scenes, options.again)
    if "real" in stages and not options.series:
        real.audit_all(work, options.again)
    if "report" in stages:
        report(work, trained, decoys, options.series)


def report(work: Path, networks: Sequence[plan.Network], decoys: Sequence[plan.Network], series: int = 0) -> None:
    """Write `results/shortcuts.json` (of a later series `shortcuts-1.json`) of the networks that were audited, and say
    what came of the bounds.
    """
    known = audits.read_audits(work)
    rows, deceiving = ([known[n.name] for n in which if n.name in known] for which in (networks, decoys))
    found = figures.summary(rows, deceiving)
    content = {
        "benchmark": "shortcuts",
        "command": "python benchmarks/shortcuts/suite.py" + (f" --series {series}" if series else ""),
        "versions": harness.versions("torch", "onnxruntime-gpu", "scikit-learn", "scipy", "numpy", "pillow"),
        "settings": {
            "networks": len(rows),
            "of": len(networks),
            "tuning kinds": sorted(plan.TUNING),
            "images for each audit": 2 * plan.PER_CLASS["audit"],
        },
        "figures": figures.bounds(found),
        "summary": found,
        "rows": [*rows, *deceiving],
        "real": real.summary(work),
    }
    path = harness.write(f"shortcuts-{series}" if series else "shortcuts", content)
    print("\n".join(f"  {claim}: {met}" for claim, met in content["figures"].items()))
    print(f"  {path}: {len(rows)} of {len(networks)} networks")


if __name__ == "__main__":
    main()
