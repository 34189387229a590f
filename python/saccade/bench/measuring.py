"""How times become figures: turns, quiet rounds, ratios within a round, and what answers are held against.

The machines are shared, so no single time means much. Contenders take turns, A B A B, each round in the opposite order
of the one before; a ratio is taken within each round, between turns that ran beside each other, and the median of those
ratios is what counts. Only quiet rounds decide: eager torch waits at barriers by spinning, so on a busy machine even
its CPU seconds grow. Measured on two cores, resnet18's forward pass: 0.55 s of CPU alone, about 1.1 s on a busy
machine, while ONNX Runtime without spinning took 0.36 s on both.
"""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

try:
    import psutil
except ImportError:  # a bare machine: what others take is then unknown
    psutil = None

QUIET = 0.1
"""Share of our cores that others may take during a turn for its round to count."""
SETTLE = 0.02
"""Seconds of rest between contenders: threads of the one before that still spin would take the next one's cores."""
PROBE = 0.25
"""Seconds over which the machine is looked at before a turn."""


class WrongAnswerError(Exception):
    """A contender's answer is wrong; nothing is timed then."""


# ---- time ---------------------------------------------------------------------------------------------------------


def busy_seconds() -> float:
    """Seconds of CPU that all processes of the machine took; NaN where nobody can say, and then no round is quiet."""
    if psutil is None:
        return float("nan")
    times = psutil.cpu_times()
    # `nice` is not part of `user`, and what the host took away (`steal`) was not ours either.
    return times.user + times.system + sum(getattr(times, kind, 0.0) for kind in ("nice", "irq", "softirq", "steal"))


def wait_for_quiet(patience: float) -> float:
    """Wait, at most so many seconds, until others hardly run; gives the seconds that this took."""
    start = time.perf_counter()
    while (waited := time.perf_counter() - start) < patience:
        busy = busy_seconds()
        time.sleep(PROBE)
        if not busy_seconds() - busy > QUIET * PROBE * cores_used():
            break
    return waited


def cores_used() -> int:
    """How many cores this process and its children may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def summary(values: Sequence[float] | npt.NDArray[np.floating]) -> dict[str, float]:
    """Median, quartiles and extremes."""
    low, q1, median, q3, high = np.quantile(np.asarray(values, np.float64), [0, 0.25, 0.5, 0.75, 1])
    return {k: short(v) for k, v in (("median", median), ("q1", q1), ("q3", q3), ("min", low), ("max", high))}


def short(value: float) -> float:
    """A figure as far as it tells something."""
    return float(f"{value:.5g}")


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
    return short(found)


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
        "scaled by ten times the tolerance too much": expected * (1 + 10 * tolerance),
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


def report(content: Mapping[str, Any]) -> str:
    """A result as JSON, with the date and the machine; lists of numbers stand on one line."""
    head = {"date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"), "machine": machine()}
    text = json.dumps({**head, **content}, indent=1, ensure_ascii=False)
    return re.sub(r"\[\s+([-+.,\de\s]+?)\s+\]", lambda found: f"[{' '.join(found[1].split())}]", text) + "\n"


# ---- where --------------------------------------------------------------------------------------------------------


def machine() -> dict[str, Any]:
    """The machine in words that say nothing of whose it is."""
    flags = set(_cpuinfo("flags").split())
    found = {
        "cpu": _cpuinfo("model name") or platform.processor(),
        "cores": os.cpu_count(),
        "cores_used": cores_used(),
        "vector": [f for f in ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "asimd") if f in flags],
        "system": f"{platform.system()} {platform.machine()}",
    }
    if psutil is not None:
        found["memory_gib"] = round(psutil.virtual_memory().total / 2**30, 1)
    if gpu := _gpu():
        found["gpu"] = gpu
    return found


def versions(*packages: str) -> dict[str, str]:
    """Python's version and those of the packages; `saccade` with its commit where it runs from a checkout."""
    found = {"python": platform.python_version(), "saccade": _commit()}
    for name in packages:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def shares(wall: float, cpu: float, busy: float) -> float:
    """The share that others took, of as many cores as we may use, while something ran.

    Args:
        wall: seconds that it ran.
        cpu: seconds of CPU that it took.
        busy: seconds of CPU that all processes took.
    """
    return float(np.maximum(busy - cpu, 0.0)) / (wall * cores_used())


def ratio(samples: Mapping[str, Mapping[str, Any]], above: str, below: str) -> dict[str, Any]:
    """`above` ÷ `below` within each round, over all rounds and over the quiet ones (None where those are under 3).

    Args:
        samples: name → `wall` and `others`, an entry for each round.
    """
    a, b = samples[above], samples[below]
    walls = np.divide(a["wall"], b["wall"])
    quiet = walls[np.maximum(a["others"], b["others"]) <= QUIET]
    return {
        "of": above,
        "to": below,
        "rounds": len(walls),
        "quiet_rounds": len(quiet),
        "wall": summary(walls),
        "quiet": summary(quiet) if len(quiet) >= 3 else None,
    }


def _gpu() -> str | None:
    try:
        asked = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
        said = subprocess.run(asked, capture_output=True, text=True, timeout=20).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
    return said.splitlines()[0] if said else None


def _cpuinfo(key: str) -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    return next((text.partition(":")[2].strip() for text in lines if text.partition(":")[0].strip() == key), "")


def _commit() -> str:
    root = Path(__file__).resolve().parents[3]

    def git(*arguments: str) -> str:
        try:
            return subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True).stdout.strip()
        except OSError:
            return ""

    try:
        version = metadata.version("saccade")
    except metadata.PackageNotFoundError:
        version = "unknown"
    if not (root / "csrc").is_dir():
        return version
    changed = " with changes" if git("status", "--porcelain", "--", "engine", "python", "csrc") else ""
    return (git("rev-parse", "--short", "HEAD") or version) + changed
