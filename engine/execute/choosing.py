"""Which runtime is the fastest for a program on this machine: measured on a few images, kept for the next time."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..contract import Maps, SaccadeError, agree, replacing
from ..contract.program_file import Contract, Format
from .runner import RUNTIMES, Runner, load

SAME_RANKS = 0.99
"""Smallest rank correlation of the maps of two runtimes in the same precision, the median over images."""
_ROUNDS = 5
_LIMIT = 20.0
"""Seconds after which no further round is begun."""


@dataclass(frozen=True)
class Choice:
    """The fastest runtime, and how that was found.

    Attributes:
        runtime: its name.
        seconds: runtime → seconds for one image, the median over the rounds.
        refused: runtime → why it is out of the question: it does not run the program, or gives other answers.
    """

    runtime: str
    seconds: Mapping[str, float]
    refused: Mapping[str, str]

    def describe(self) -> str:
        """One line for people."""
        times = ", ".join(f"{name} {1000 * s:.1f} ms" for name, s in sorted(self.seconds.items(), key=lambda i: i[1]))
        out = "".join(f"; not {name}: {why}" for name, why in self.refused.items())
        return f"{self.runtime} (for one image {times}{out})"


def candidates(kind: Format) -> list[str]:
    """The runtimes for that kind of file that are installed here, the one that it was proven in first."""
    return [name for name in RUNTIMES[kind] if importlib.util.find_spec(name) or len(RUNTIMES[kind]) == 1]


def remembered(folder: Path, contract: Contract, batch: int) -> Choice | None:
    """What `fastest` found before for the same program and batch size, on such a CPU, with what is installed."""
    try:
        table = json.loads(_place(folder, contract, batch).read_text(encoding="utf-8"))
        choice = Choice(str(table["runtime"]), dict(table["seconds"]), dict(table["refused"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return choice if choice.runtime in candidates(contract[0]) else None


def fastest(
    path: Path,
    contract: Contract,
    images: npt.NDArray[np.uint8],
    batch: int,
    folder: Path | None,
    target: Any = None,
) -> Choice:
    """Run each runtime on the same images in turns, on the CPU, and choose the fastest of those that agree.

    Agreement is judged against the runtime that the file was proven in (`contract.Agreement`).

    Args:
        path, contract: a program, and what `read_contract` found in it.
        images: uint8 [M, H, W, C]; the more, the surer the agreement, as far as time allows.
        batch: how many go at a time.
        folder: where to keep the choice; None for nowhere.
        target: what is explained, for all images.

    Raises:
        SaccadeError: the runtime that the file was proven in fails.
    """
    kind, spec = contract
    names = candidates(kind)
    batches = [images[i : i + batch] for i in range(0, len(images), batch)]
    runners: dict[str, Runner] = {}
    expected: list[Maps] = []
    refused: dict[str, str] = {}
    for name in names:
        try:
            runner = load(path, "cpu", name, contract=contract)
            start = time.perf_counter()
            answers = [runner.run(batches[0], target)]  # warms up, too
            if not expected:  # a loop over channels may take minutes for a single batch
                affordable = 1 + int(_LIMIT / 4 / (time.perf_counter() - start))
                batches = batches[:affordable]
            answers += [runner.run(each, target) for each in batches[1:]]
            if expected:
                found = agree(answers, expected, classes=spec.target != "outputs")
                found.check(f"load: runtime {name!r}", f"use --runtime {names[0]}", ranks=SAME_RANKS)
        except SaccadeError as error:
            if not expected:
                raise
            refused[name] = str(error)
            continue
        runners[name], expected = runner, expected or answers
    seconds: dict[str, list[float]] = {name: [] for name in runners}
    begun = time.perf_counter()
    for _ in range(_ROUNDS):
        for name, runner in runners.items():
            start = time.perf_counter()
            runner.run(batches[0], target)
            seconds[name].append((time.perf_counter() - start) / len(batches[0]))
        if time.perf_counter() - begun > _LIMIT:
            break
    medians = {name: statistics.median(found) for name, found in seconds.items()}
    choice = Choice(min(medians, key=medians.__getitem__), medians, refused)
    if folder is not None:
        with replacing(_place(folder, contract, batch)) as temporary:
            temporary.write_text(json.dumps(vars(choice)), encoding="utf-8")
    return choice


def versions(runtime: str) -> dict[str, str]:
    """Module → version, of what runs a program in that runtime, where it is loaded."""
    name = _module(runtime)
    # Not by importlib.metadata, which takes as long to import as a tenth of all that a run does before its first photo.
    return {name: str(sys.modules[name].__version__)} if name in sys.modules else {}


def _place(folder: Path, contract: Contract, batch: int) -> Path:
    kind, spec = contract
    words: list[Any] = [spec.hash, batch, _cpu(), os.cpu_count(), *map(_installed, candidates(kind))]
    return folder / f"{hashlib.sha256(json.dumps(words).encode()).hexdigest()[:32]}.json"


def _installed(runtime: str) -> list[Any]:
    """Where a runtime is and since when: another one after an update."""
    found = importlib.util.find_spec(_module(runtime))
    return [found.origin, os.stat(found.origin).st_mtime_ns] if found and found.origin else [runtime]


def _module(runtime: str) -> str:
    return "torch" if runtime in ("torchscript", "aotinductor") else runtime


def _cpu() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(line.partition(":")[2].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
