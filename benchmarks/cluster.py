"""Actors of Ray beside processes of this machine: what a cluster costs where the work itself is next to nothing.

    python benchmarks/cluster.py

The network is so small that what is measured is what is around it. Each run is timed between its first and its last
tenth, while all workers are at work: starting them is a matter of seconds, whatever the number of photos. Both write
the same bytes, which is looked at first. What the whole runs took is given beside it.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import logging
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import harness
import psutil
import soak

from saccade.bench.measuring import busy_seconds, cores_used, shares
from saccade.engine import decode, execute, pipeline

BOUND = 1.1
BATCH = 64
SHARD = 256
"""What a run over a quarter of a million photos has by itself; who has a cluster has more. Actors cost by the shard."""
LOCAL, RAY = "local workers", "Ray actors"
FIRST, LAST = 0.1, 0.9


def main() -> None:
    """Measure; writes `results/cluster.json`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--patience", type=float, default=60, help="seconds to wait for a quiet machine")
    options = parser.parse_args()
    try:
        import ray
    except ImportError:
        sys.exit("benchmarks/cluster.py needs Ray; pip install 'saccade[ray]'")
    cores = int(cores_used())
    with tempfile.TemporaryDirectory(prefix="saccade-benchmark-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        program = soak.program(folder)
        photos = decode.list_photos([str(soak.manifest(folder, options.photos))])
        os.environ.setdefault("RAY_worker_niceness", "0")  # else actors give way to whatever runs beside them: 15
        ray.init(num_cpus=cores, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
        stack.callback(ray.shutdown)
        local = pipeline.RunOptions(batch_size=BATCH, shard_size=SHARD, workers=cores, threads=cores, sheet_limit=0)
        contenders = {
            LOCAL: Contender(program, photos, folder / "local", local),
            RAY: Contender(program, photos, folder / "ray", dataclasses.replace(local, engine="ray", threads=1)),
        }
        for contender in contenders.values():
            contender(-1)
        found = [soak.evidence(folder / what / "-1") for what in ("local", "ray")]
        if found[0] != found[1]:
            raise harness.WrongAnswerError("cluster: the actors wrote other bytes than the local workers")
        with harness.load_watched() as load:
            whole = harness.interleave(contenders, options.rounds, warmup=0, patience=options.patience)
    samples = {name: contender.samples(options.rounds) for name, contender in contenders.items()}
    ratios = [harness.ratio(samples, RAY, LOCAL)]
    claim = f"actors of Ray ÷ local workers, seconds for a photo while all are at work ≤ {BOUND}"
    rates = {name: summarised([1 / seconds for seconds in s.wall]) for name, s in samples.items()}
    harness.publish(
        "cluster",
        {
            "benchmark": "cluster",
            "versions": harness.versions("ray", "onnxruntime-gpu", "pyarrow", "pillow", "numpy"),
            "settings": {
                "network": "the demo's, 32×32",
                "photos": options.photos,
                "batch": BATCH,
                "shard_size": SHARD,
                "workers": cores,
            },
            "load": load,
            "figures": {claim: harness.verdict(ratios[0], lambda median: median <= BOUND)},
            "ratios": ratios,
            "photos_per_second": rates,
            "whole_runs": {name: [round(v, 3) for v in s.wall] for name, s in whole.items()},
            "samples": harness.rounded(samples),
        },
    )
    print(f"  photos per second: {json.dumps(rates, ensure_ascii=False)}")


class Contender:
    """A run that is timed while all its workers are at work: seconds for a photo, by clock and by CPU."""

    def __init__(self, program: Path, photos: Sequence[decode.Photo], out: Path, options: pipeline.RunOptions) -> None:
        self._runner, self._photos, self._out, self._options = execute.load(program, "cpu"), photos, out, options
        self._found: list[tuple[float, float, float]] = []

    def __call__(self, number: int) -> None:
        """Run; the number is the folder's name."""
        marks: list[Mark] = []

        def look(standing: pipeline.Standing) -> None:
            if standing.done >= (FIRST, LAST, 2)[len(marks)] * standing.listed:
                marks.append(Mark(standing.done))

        pipeline.run(self._runner, self._photos, self._out / str(number), self._options, look)
        first, last = marks
        photos, wall, cpu = last.done - first.done, last.clock - first.clock, last.cpu - first.cpu
        self._found.append((wall / photos, cpu / photos, shares(wall, cpu, last.busy - first.busy)))

    def samples(self, rounds: int) -> harness.Samples:
        """What was found in the last so many calls."""
        wall, cpu, others = zip(*self._found[-rounds:], strict=True)
        return harness.Samples(list(wall), list(cpu), list(others))


class Mark:
    """A moment of a run: photos that are done, the clock, and CPU seconds of this family and of all."""

    def __init__(self, done: int) -> None:
        self.done, self.clock, self.busy = done, time.perf_counter(), busy_seconds()
        self.cpu = 0.0
        for process in (own := psutil.Process(), *own.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                times = process.cpu_times()
                self.cpu += times.user + times.system


def summarised(values: list[float]) -> dict[str, Any]:
    """Quartiles, rounded."""
    return {what: round(value) for what, value in harness.summary(values).items()}


if __name__ == "__main__":
    main()
