"""What the C++ library adds to one call of ONNX Runtime at batch 1, how large it is and how soon it has a first result.

    python benchmarks/embedding.py

`benchmarks/cpp/overhead.cpp` runs a program bare through ONNX Runtime's C API and through Saccade: through its backend
alone, through the C API with a batch that is ready, with a frame, and with a frame and a deadline. All are in one
process, with the same library, options and picture, and take turns call by call; their answers are compared first. A
small network, whose call is little more than overhead, shows microseconds; squeezenet1_0 shows what they are of.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import harness
import numpy as np

import saccade
from saccade.bench import measuring
from saccade.engine.contract import Spec
from saccade.engine.contract.program_file import read_contract

BUILD = harness.ROOT / "build" / "embedding-benchmark"
OVERHEAD = BUILD / "benchmarks" / "cpp" / "saccade_overhead"
CONTENDERS = (
    "ONNX Runtime's own call",
    "a second session of it",
    "backend alone",
    "saccade_session_run_batch",
    "saccade_session_run",
    "saccade_session_run, deadline",
)
"""In the order in which `saccade_overhead` says their times."""
BARE, CONTROL = CONTENDERS[:2]
SHARE, MICROSECONDS = 1.02, 50.0
"""The budget of a call over the bare one: one of the two."""


def programs(folder: Path) -> Iterator[tuple[str, Path]]:
    """The networks' names and their Grad-CAM programs."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    small = nn.Sequential(
        *(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10)),
    )
    named: tuple[tuple[str, nn.Module | str, dict[str, Any]], ...] = (
        ("two convolutions, 32×32", small, {"input_size": 32}),
        ("squeezenet1_0, 224×224", "torchvision/squeezenet1_0", {"weights": "random"}),
    )
    for name, model, options in named:
        path = folder / f"{len(list(folder.iterdir()))}.onnx"
        saccade.compile(model, "grad-cam", resize="stretch", **options).save(path)  # a frame of that size is the input
        yield name, path


def words(what: str, program: Path, threads: int) -> list[str]:
    return [str(OVERHEAD), what, str(program), str(harness.onnxruntime_folder()), str(threads)]


@contextmanager
def timing(program: Path, threads: int) -> Iterator[subprocess.Popen[str]]:
    """The program that times, after its answers agreed."""
    process = subprocess.Popen(
        words("time", program, threads), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        if process.stdout.readline() != "ready\n":
            raise harness.WrongAnswerError(f"{OVERHEAD.name} ended with {process.wait()}; it says why above")
        yield process
    finally:
        process.stdin.close()
        process.wait(timeout=60)


def time_calls(program: Path, threads: int, rounds: int, patience: float) -> dict[str, harness.Samples]:
    """Medians of turns of about half a second, in which the contenders take turns call by call."""
    samples = {name: harness.Samples() for name in CONTENDERS}
    with timing(program, threads) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def measure(calls: int) -> list[float]:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(f"{calls}\n")
            return [1e-6 * float(word) for word in process.stdout.readline().split()]

        calls = max(10, round(0.5 / sum(measure(10))))
        own = measuring.psutil.Process(process.pid) if measuring.psutil else None
        for _ in range(rounds):
            patience -= measuring.wait_for_quiet(patience)
            used = sum(own.cpu_times()[:2]) if own else float("nan")
            busy, wall = measuring.busy_seconds(), measuring.time.perf_counter()
            found = measure(calls)
            wall, busy = measuring.time.perf_counter() - wall, measuring.busy_seconds() - busy
            used = sum(own.cpu_times()[:2]) - used if own else float("nan")
            for name, seconds in zip(CONTENDERS, found, strict=True):
                samples[name].wall.append(seconds)
                samples[name].others.append(measuring.shares(wall, used, busy))
    return samples


def more(samples: dict[str, harness.Samples], name: str) -> dict[str, Any]:
    """Microseconds over the bare call, within each round."""
    extra = 1e6 * (np.array(samples[name].wall) - np.array(samples[BARE].wall))
    quiet = extra[np.array(samples[name].others) <= measuring.QUIET]
    return {"all": harness.summary(extra), "quiet": harness.summary(quiet) if len(quiet) >= 3 else None}


def judge(ratio: dict[str, Any], extra: dict[str, Any]) -> str:
    """Whether a contender keeps one of the two budgets."""
    if ratio["quiet"] is None or extra["quiet"] is None:
        return "undecided: fewer than 3 quiet rounds"
    kept = ratio["quiet"]["median"] <= SHARE or extra["quiet"]["median"] <= MICROSECONDS
    return "met" if kept else "missed"


def shapes(spec: Spec) -> list[str]:
    """The program's input and outputs as `saccade_overhead bare` takes them."""
    p = spec.preprocessing
    found = {"logits": (spec.num_outputs,), **{m.name: m.shape for m in spec.maps}}
    found |= {"features": (spec.features,)} if spec.features else {}
    return [
        "x".join(map(str, (p.height, p.width, p.channels))),
        *(f"{name}={'x'.join(map(str, (1, *shape)))}" for name, shape in found.items()),
    ]


def time_starts(program: Path, threads: int, rounds: int, patience: float) -> dict[str, harness.Samples]:
    """Processes from their start to their end: one opens the program and runs it once."""
    commands = {
        "start, saccade": words("start", program, threads),
        "start, ONNX Runtime alone": [*words("bare", program, threads), *shapes(read_contract(program)[1])],
    }
    calls = {name: lambda i, command=command: subprocess.run(command, check=True) for name, command in commands.items()}
    return harness.interleave(calls, rounds, patience=patience)


def stripped_sizes() -> dict[str, int]:
    """Bytes of the libraries without their debugging symbols."""
    with tempfile.TemporaryDirectory() as folder:
        found = {}
        for path in sorted(BUILD.glob("libsaccade*.so")):
            small = Path(folder, path.name)
            shutil.copy(path, small)
            subprocess.run(["strip", str(small)], check=True)
            found[path.name] = small.stat().st_size
    return found


def main() -> None:
    """Measure; writes `results/embedding.json`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--threads", type=int, default=1, help="of ONNX Runtime")
    parser.add_argument("--patience", type=float, default=120, help="seconds to wait for a quiet machine")
    options = parser.parse_args()
    switches = ("-DSACCADE_PYTHON=OFF", "-DSACCADE_CUDA=OFF", "-DSACCADE_BENCHMARKS=ON")
    harness.cmake_build(harness.ROOT, BUILD, *switches)
    os.environ["SACCADE_BACKENDS"] = str(BUILD)
    figures, ratios, overhead, samples = {}, [], {}, {}
    with tempfile.TemporaryDirectory(prefix="saccade-benchmark-") as folder, harness.load_watched() as load:
        for network, program in programs(Path(folder)):
            found = time_calls(program, options.threads, options.rounds, options.patience)
            samples |= {f"{network}: {name}": vars(s) for name, s in found.items()}
            overhead[network] = {"microseconds of the bare call": 1e6 * float(np.median(found[BARE].wall))}
            for name in CONTENDERS[1:]:
                ratio = measuring.ratio({k: vars(s) for k, s in found.items()}, name, BARE)
                ratios.append({**ratio, "of": f"{network}: {name}"})
                extra = more(found, name)
                overhead[network][f"{name}: microseconds more"] = extra
                if name == CONTROL:  # no claim: what two sessions differ by
                    continue
                claim = f"{network}: {name} ≤ {SHARE:.2f} of the bare call, or {MICROSECONDS:.0f} µs more"
                figures[claim] = judge(ratio, extra)
            starts = time_starts(program, options.threads, options.rounds, options.patience)
            samples |= {f"{network}: {name}": vars(s) for name, s in starts.items()}
            ratio = harness.ratio(starts, *starts)
            ratios.append({**ratio, "of": f"{network}: {ratio['of']}"})
            overhead[network]["start, milliseconds"] = {k: 1e3 * float(np.median(s.wall)) for k, s in starts.items()}
    harness.publish(
        "embedding",
        {
            "benchmark": "embedding",
            "versions": harness.versions("onnxruntime-gpu", "torch", "numpy"),
            "settings": {"threads": options.threads, "batch": 1, "method": "grad-cam"},
            "load": load,
            "figures": figures,
            "ratios": ratios,
            "overhead": overhead,
            "stripped_bytes": stripped_sizes(),
            "samples": {
                name: {what: [harness.short(v) for v in values] for what, values in one.items() if values}
                for name, one in samples.items()
            },
        },
    )


if __name__ == "__main__":
    main()
