"""What every benchmark shares: the machine in words, interleaved timing, ratios pair by pair, results as JSON.

The machines are shared, so no single time means much. Contenders therefore take turns, A B A B, each round in the
opposite order of the one before; a ratio is taken within each round, between calls that ran beside each other, and the
median of those ratios is what counts. CPU seconds are kept beside wall seconds: waiting for a core that another
process has does not enter them.
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

SETTLE = 0.02
"""Seconds of rest between contenders: threads of the one before that still spin would take the next one's cores."""


class WrongAnswerError(Exception):
    """A contender's answer is wrong; nothing is timed then."""


# ---- time ---------------------------------------------------------------------------------------------------------


@dataclass
class Samples:
    """Seconds of one contender, one entry for each round: by the clock, and of CPU (own and finished children's)."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)


def interleave(contenders: Mapping[str, Callable[[int], object]], rounds: int, warmup: int = 2) -> dict[str, Samples]:
    """Time contenders in turns.

    Args:
        contenders: name → function of the round's number, which picks the input.
        rounds: how many timed calls of each.
        warmup: how many calls of each before, not timed.
    """
    names = list(contenders)
    samples = {name: Samples() for name in names}
    for i in range(-warmup, rounds):
        for name in names if i % 2 else reversed(names):
            time.sleep(SETTLE)
            cpu, wall = cpu_seconds(), time.perf_counter()
            contenders[name](i + warmup)
            wall, cpu = time.perf_counter() - wall, cpu_seconds() - cpu
            if i >= 0:
                samples[name].wall.append(wall)
                samples[name].cpu.append(cpu)
    return samples


def cpu_seconds() -> float:
    """CPU seconds of this process, all its threads, and of its children that have ended."""
    used = (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
    return sum(u.ru_utime + u.ru_stime for u in used)


def ratio(samples: Mapping[str, Samples], above: str, below: str) -> dict[str, Any]:
    """`above` ÷ `below` within each round: median and quartiles, by the clock and by CPU seconds."""
    a, b = samples[above], samples[below]
    wall = summary(np.divide(a.wall, b.wall))
    return {"of": above, "to": below, "rounds": len(a.wall), "wall": wall, "cpu": summary(np.divide(a.cpu, b.cpu))}


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
    """Raw samples for the JSON, in seconds."""
    return {k: {"wall": [_short(v) for v in s.wall], "cpu": [_short(v) for v in s.cpu]} for k, s in samples.items()}


def line(found: Mapping[str, Any]) -> str:
    """One ratio as a line of text."""
    w, c = found["wall"], found["cpu"]
    return (
        f"{found['of']} ÷ {found['to']}: {w['median']:.3f} (quartiles {w['q1']:.3f} to {w['q3']:.3f}, "
        f"{found['rounds']} rounds; by CPU seconds {c['median']:.3f})"
    )


def _busy() -> float:
    times = psutil.cpu_times()
    return times.user + times.system + getattr(times, "nice", 0.0)


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
