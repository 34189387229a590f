"""What every benchmark in one process shares: interleaved timing, ratios pair by pair, results as JSON. What counts as
quiet, as a right answer and as the machine is `saccade bench`'s own (see `saccade/bench/measuring.py`).
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from saccade.bench import measuring
from saccade.bench.measuring import (
    SETTLE,
    WrongAnswerError,
    busy_seconds,
    cores_used,
    demand,
    difference,
    report,
    self_test,
    shares,
    short,
    summary,
    versions,
    wait_for_quiet,
)

__all__ = [
    "WrongAnswerError",
    "cores_used",
    "demand",
    "difference",
    "self_test",
    "summary",
    "versions",
]

ROOT = Path(__file__).resolve().parents[1]
RESULTS = Path(__file__).resolve().parent / "results"
DATA = ROOT.parent / "shared" / "data"
"""Photos and trained weights, no part of the project; a benchmark that needs them says so where they are absent."""


def onnxruntime_folder() -> Path:
    """Where the library is that Python runs."""
    import onnxruntime

    return Path(onnxruntime.__file__).parent / "capi"


def cmake_build(source: Path, folder: Path, *options: str, target: str = "all") -> None:
    """Configure and build a CMake project, optimised, with the tools of this environment; "install" installs it too."""
    environment = os.environ | {"PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])}
    configure = ["cmake", "-S", str(source), "-B", str(folder), "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release", *options]
    for command in (configure, ["cmake", "--build", str(folder), "--target", target]):
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)


# ---- time ---------------------------------------------------------------------------------------------------------


@dataclass
class Samples:
    """One contender's calls, one entry for each round.

    Attributes:
        wall: seconds by the clock.
        cpu: seconds of CPU, of this process and its finished children.
        others: the share of the machine that everyone else took meanwhile.
    """

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    others: list[float] = field(default_factory=list)


def interleave(
    contenders: Mapping[str, Callable[[int], object]], rounds: int, warmup: int = 2, patience: float = 0
) -> dict[str, Samples]:
    """Time contenders in turns.

    Args:
        contenders: name → function of the round's number, which picks the input.
        rounds: how many timed calls of each.
        warmup: how many calls of each before, not timed.
        patience: seconds to wait altogether, before calls, for a machine that is quiet.
    """
    names = list(contenders)
    samples = {name: Samples() for name in names}
    for i in range(-warmup, rounds):
        for name in names if i % 2 else reversed(names):
            patience -= wait_for_quiet(patience)
            time.sleep(SETTLE)
            busy, cpu, wall = busy_seconds(), cpu_seconds(), time.perf_counter()
            contenders[name](i + warmup)
            wall, cpu, busy = time.perf_counter() - wall, cpu_seconds() - cpu, busy_seconds() - busy
            if i >= 0:
                samples[name].wall.append(wall)
                samples[name].cpu.append(cpu)
                samples[name].others.append(shares(wall, cpu, busy))
    return samples


def cpu_seconds() -> float:
    """CPU seconds of this process, all its threads, and of its children that have ended."""
    used = (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
    return sum(u.ru_utime + u.ru_stime for u in used)


def ratio(samples: Mapping[str, Samples], above: str, below: str) -> dict[str, Any]:
    """`measuring.ratio`, and that of the CPU seconds."""
    found = measuring.ratio({name: vars(s) for name, s in samples.items()}, above, below)
    return {**found, "cpu": summary(np.divide(samples[above].cpu, samples[below].cpu))}


def verdict(found: Mapping[str, Any], holds: Callable[[float], bool]) -> str:
    """Whether a claim about a ratio's median holds: "met", "missed", or "undecided" where the machine was busy."""
    if found["quiet"] is None:
        return "undecided: fewer than 3 quiet rounds"
    return "met" if holds(found["quiet"]["median"]) else "missed"


# ---- where and when -----------------------------------------------------------------------------------------------


@contextmanager
def load_watched() -> Iterator[dict[str, Any]]:
    """Fills a dict with the machine's load while the block ran; `others` is the share of all cores that others took."""
    found: dict[str, Any] = {"load_average_before": [round(v, 2) for v in os.getloadavg()]}
    busy, own, start = busy_seconds(), cpu_seconds(), time.perf_counter()
    yield found
    seconds = time.perf_counter() - start
    others = (busy_seconds() - busy) - (cpu_seconds() - own)
    found["load_average_after"] = [round(v, 2) for v in os.getloadavg()]
    found["others"] = short(shares(seconds, 0.0, others))
    found["seconds"] = short(seconds)


def write(name: str, content: Mapping[str, Any]) -> Path:
    """Write `results/NAME.json`; gives its path."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(report(content), encoding="utf-8")
    return path


def publish(name: str, content: Mapping[str, Any]) -> None:
    """Write a result, and say its ratios and figures."""
    path = write(name, content)
    print("\n".join(f"  {line(r)}" for r in content["ratios"]))
    print("\n".join(f"  {claim}: {met}" for claim, met in content["figures"].items()))
    others = f"  (others took {content['load']['others']:.0%} of the machine)" if "load" in content else ""
    print(f"  {path.relative_to(ROOT)}{others}")


def rounded(samples: Mapping[str, Samples]) -> dict[str, dict[str, list[float]]]:
    """Raw samples for the JSON."""
    return {k: {what: [short(v) for v in values] for what, values in vars(s).items()} for k, s in samples.items()}


def line(found: Mapping[str, Any]) -> str:
    """One ratio as a line of text."""
    w, rounds = found["quiet"] or found["wall"], f"{found['rounds']} rounds, {found['quiet_rounds']} quiet"
    return f"{found['of']} ÷ {found['to']}: {w['median']:.3f} (quartiles {w['q1']:.3f} to {w['q3']:.3f}; {rounds})"
