"""What every benchmark shares: the machine in words, interleaved timing, ratios pair by pair, results as JSON.

The machines are shared, so no single time means much. Contenders therefore take turns, A B A B, each round in the
opposite order of the one before; a ratio is taken within each round, between calls that ran beside each other, and the
median of those ratios is what counts. Only quiet rounds count: eager torch waits at barriers by spinning, so on a busy
machine even its CPU seconds grow. Measured on two cores, resnet18's forward pass: 0.55 s of CPU alone, about 1.1 s
on a busy machine, while ONNX Runtime without spinning took 0.36 s on both.
"""

from __future__ import annotations

import json
import os
import platform
import re
import resource
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import psutil

ROOT = Path(__file__).resolve().parents[1]
RESULTS = Path(__file__).resolve().parent / "results"
DATA = ROOT.parent / "shared" / "data"
"""Photos and trained weights, no part of the project; a benchmark that needs them says so where they are absent."""

QUIET = 0.1
"""Share of the machine that others may take during a call for its round to count."""

PROBE = 0.25
"""Seconds over which the machine is looked at before a call."""

SETTLE = 0.02
"""Seconds of rest between contenders: threads of the one before that still spin would take the next one's cores."""


class WrongAnswerError(Exception):
    """A contender's answer is wrong; nothing is timed then."""


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
            patience -= _wait_for_quiet(patience)
            time.sleep(SETTLE)
            busy, cpu, wall = _busy(), cpu_seconds(), time.perf_counter()
            contenders[name](i + warmup)
            wall, cpu, busy = time.perf_counter() - wall, cpu_seconds() - cpu, _busy() - busy
            if i >= 0:
                samples[name].wall.append(wall)
                samples[name].cpu.append(cpu)
                samples[name].others.append(max(busy - cpu, 0.0) / (wall * (os.cpu_count() or 1)))
    return samples


def _wait_for_quiet(patience: float) -> float:
    """Wait, at most so many seconds, until others hardly run; gives the seconds that this took."""
    start = time.perf_counter()
    while (waited := time.perf_counter() - start) < patience:
        busy = _busy()
        time.sleep(PROBE)
        if _busy() - busy <= QUIET * PROBE * (os.cpu_count() or 1):
            break
    return waited


def cpu_seconds() -> float:
    """CPU seconds of this process, all its threads, and of its children that have ended."""
    used = (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
    return sum(u.ru_utime + u.ru_stime for u in used)


def ratio(samples: Mapping[str, Samples], above: str, below: str) -> dict[str, Any]:
    """`above` ÷ `below` within each round, over all rounds and over the quiet ones (None where those are under 3)."""
    a, b = samples[above], samples[below]
    walls = np.divide(a.wall, b.wall)
    quiet = walls[np.maximum(a.others, b.others) <= QUIET]
    found = {"of": above, "to": below, "rounds": len(walls), "quiet_rounds": len(quiet), "wall": summary(walls)}
    return {**found, "quiet": summary(quiet) if len(quiet) >= 3 else None, "cpu": summary(np.divide(a.cpu, b.cpu))}


def verdict(found: Mapping[str, Any], holds: Callable[[float], bool]) -> str:
    """Whether a claim about a ratio's median holds: "met", "missed", or "undecided" where the machine was busy."""
    if found["quiet"] is None:
        return "undecided: fewer than 3 quiet rounds"
    return "met" if holds(found["quiet"]["median"]) else "missed"


def cores_used() -> int:
    """How many cores this process and its children may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def summary(values: Sequence[float] | npt.NDArray[np.floating]) -> dict[str, float]:
    """Median, quartiles and extremes."""
    low, q1, median, q3, high = np.quantile(np.asarray(values, np.float64), [0, 0.25, 0.5, 0.75, 1])
    return {k: _short(v) for k, v in (("median", median), ("q1", q1), ("q3", q3), ("min", low), ("max", high))}


# ---- agreement ----------------------------------------------------------------------------------------------------


def difference(got: npt.NDArray, expected: npt.NDArray) -> float:
    """The largest difference over a batch, each image's relative to its own largest expected value; inf for NaN."""
    if got.shape != expected.shape:
        return float("inf")
    a, b = (np.asarray(v, np.float64).reshape(len(v), -1) for v in (got, expected))
    apart, scale = np.abs(a - b).max(axis=1), np.abs(b).max(axis=1)
    return float(np.max(apart / np.maximum(scale, 1e-30))) if np.isfinite(a).all() else float("inf")


def demand(name: str, got: npt.NDArray, expected: npt.NDArray, tolerance: float) -> float:
    """The difference, which must be within `tolerance`.

    Raises:
        WrongAnswerError: it is not, or the expected map is blank, which anything could agree with.
    """
    if not np.abs(expected).reshape(len(expected), -1).max(axis=1).all():
        raise WrongAnswerError(f"{name}: the expected answer is blank; choose another input")
    found = difference(got, expected)
    if not found <= tolerance:
        raise WrongAnswerError(
            f"{name}: differs from the reference by {found:.1e} of its maximum; allowed {tolerance:.0e}"
        )
    return _short(found)


def self_test(expected: npt.NDArray, tolerance: float) -> list[str]:
    """Feed the comparison answers that are wrong by little; every one must be refused.

    Args:
        expected: a right answer, [N, …].

    Returns:
        What was tried and refused.

    Raises:
        WrongAnswerError: a wrong answer passed, or the right one did not.
    """
    scale = float(np.abs(expected[-1]).max())
    one_place = expected.astype(np.float64)
    one_place[-1].flat[0] += 2 * tolerance * scale
    wrong = {
        "one place off by twice the tolerance": one_place,
        "scaled by 1 % too much": expected * 1.01,
        "a NaN": np.where(np.arange(expected.size).reshape(expected.shape) == 0, np.nan, expected),
        "a map fewer": expected[1:],
        "blank": np.zeros_like(expected),
    }
    if len(expected) > 1:
        wrong["the pictures in the opposite order"] = expected[::-1]
    demand("self-test: the right answer", expected, expected, tolerance)
    for name, answer in wrong.items():
        try:
            demand(name, answer, expected, tolerance)
        except WrongAnswerError:
            continue
        raise WrongAnswerError(f"self-test: a wrong answer passed: {name}")
    return list(wrong)


# ---- where and when -----------------------------------------------------------------------------------------------


def machine() -> dict[str, Any]:
    """The machine in words that say nothing of whose it is."""
    flags = set(_cpuinfo("flags").split())
    return {
        "cpu": _cpuinfo("model name") or platform.processor(),
        "cores": os.cpu_count(),
        "cores_used": cores_used(),
        "vector": [f for f in ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "asimd") if f in flags],
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
    }


def versions(*packages: str) -> dict[str, str]:
    """Python's version and those of the packages; `saccade` with its commit."""
    found = {"python": platform.python_version(), "saccade": _commit()}
    for name in packages:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


@contextmanager
def load_watched() -> Iterator[dict[str, Any]]:
    """Fills a dict with the machine's load while the block ran; `others` is the share of all cores that others took."""
    found: dict[str, Any] = {"load_average_before": [round(v, 2) for v in os.getloadavg()]}
    busy, own, start = _busy(), cpu_seconds(), time.perf_counter()
    yield found
    seconds = time.perf_counter() - start
    others = (_busy() - busy) - (cpu_seconds() - own)
    found["load_average_after"] = [round(v, 2) for v in os.getloadavg()]
    found["others"] = _short(max(others, 0.0) / (seconds * (os.cpu_count() or 1)))
    found["seconds"] = _short(seconds)


def write(name: str, content: Mapping[str, Any]) -> Path:
    """Write `results/NAME.json`; gives its path."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    head = {"date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"), "machine": machine()}
    text = json.dumps({**head, **content}, indent=1, ensure_ascii=False)
    one_line = re.sub(r"\[\s+([-+.,\de\s]+?)\s+\]", lambda found: f"[{' '.join(found[1].split())}]", text)
    path.write_text(one_line + "\n", encoding="utf-8")
    return path


def rounded(samples: Mapping[str, Samples]) -> dict[str, dict[str, list[float]]]:
    """Raw samples for the JSON."""
    return {k: {what: [_short(v) for v in values] for what, values in vars(s).items()} for k, s in samples.items()}


def line(found: Mapping[str, Any]) -> str:
    """One ratio as a line of text."""
    w, rounds = found["quiet"] or found["wall"], f"{found['rounds']} rounds, {found['quiet_rounds']} quiet"
    return f"{found['of']} ÷ {found['to']}: {w['median']:.3f} (quartiles {w['q1']:.3f} to {w['q3']:.3f}; {rounds})"


def _busy() -> float:
    times = psutil.cpu_times()
    # `nice` is not part of `user`, and what the host took away (`steal`) was not ours either.
    return times.user + times.system + sum(getattr(times, kind, 0.0) for kind in ("nice", "irq", "softirq", "steal"))


def _cpuinfo(key: str) -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    return next((text.partition(":")[2].strip() for text in lines if text.partition(":")[0].strip() == key), "")


def _commit() -> str:
    def git(*arguments: str) -> str:
        return subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True).stdout.strip()

    changed = " with changes" if git("status", "--porcelain", "--", "engine", "python", "csrc") else ""
    return (git("rev-parse", "--short", "HEAD") or metadata.version("saccade")) + changed


def _short(value: float) -> float:
    return float(f"{value:.5g}")
