"""Fuzz the readers of program files with libFuzzer, under AddressSanitizer and UBSan: `make fuzz`, `make soak`.

    python tests/fuzz/run.py --seconds 60                                     # half of it for each target
    python tests/fuzz/run.py --seconds 1800 --results benchmarks/results      # and writes soak-fuzz.json
    python tests/fuzz/run.py --seconds 600 --merge                            # and keeps what reaches more in corpus/

It needs clang, which brings libFuzzer. What is found lies in build/fuzz, and the next run goes on from there. Ends with
exit code 1 where an input crashes, hangs, leaks or takes memory out of proportion; the input then lies there too.
"""

from __future__ import annotations

import argparse
import importlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
BUILD = ROOT / "build" / "fuzz"
TARGETS = ("contract", "json")
LONGEST = 16384  # bytes of an input: ten times a tiny program
LIMITS = {"timeout": 10, "rss_limit_mb": 2048, "malloc_limit_mb": 4}
"""Seconds for one input; memory of the process, most of it AddressSanitizer's own; memory that is asked for at once, of
which no input of this length may take more than a small multiple of itself."""
MERGED = 48 * 1024  # bytes that --merge keeps of each target


def main(words: Sequence[str] | None = None) -> int:
    """Build the targets and run them one after the other; the exit code says whether every input was stood."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=60, help="for all targets together (60)")
    parser.add_argument("--results", type=Path, help="write soak-fuzz.json into this folder")
    parser.add_argument("--merge", action="store_true", help="keep in corpus/ what reaches more than it did")
    options = parser.parse_args(words)
    if not (compiler := os.environ.get("CLANGXX") or shutil.which("clang++")):
        print(
            "fuzz: no clang++ on this machine; expected clang with libFuzzer (apt-get install clang)", file=sys.stderr
        )
        return 1
    build(compiler)
    found = {name: fuzz(name, max(1, options.seconds // len(TARGETS))) for name in TARGETS}
    for name, run in found.items():
        print(f"{name}: {', '.join(f'{k} {v}' for k, v in run.items())}")
    if options.merge:
        for name in TARGETS:
            merge(name)
    if options.results:
        print(write(options, compiler, found))
    return 0 if all(run["exit code"] == 0 for run in found.values()) else 1


def build(compiler: str) -> None:
    """Compile the targets into build/fuzz."""
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    switches = {"FUZZ": "ON", "PYTHON": "OFF", "LIBRARY": "OFF", "TESTS": "OFF", "CUDA": "OFF"}
    words = [
        "cmake",
        "-S",
        str(ROOT),
        "-B",
        str(BUILD),
        f"-DCMAKE_CXX_COMPILER={compiler}",
        "-DCMAKE_BUILD_TYPE=Release",
    ]
    words += [f"-DSACCADE_{name}={value}" for name, value in switches.items()]
    targets = [f"saccade_fuzz_{name}" for name in TARGETS]
    for command in (words, ["cmake", "--build", str(BUILD), "--target", *targets]):
        subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)


def libfuzzer(name: str, *words: str) -> list[str]:
    """The command that runs a target."""
    program = BUILD / "tests" / "fuzz" / f"saccade_fuzz_{name}"
    return [str(program), f"-max_len={LONGEST}", *(f"-{k}={v}" for k, v in LIMITS.items()), *words]


def fuzz(name: str, seconds: int) -> dict[str, Any]:
    """Run a target for a time, from its corpus and what earlier runs found; what it did, in numbers."""
    own = BUILD / "found" / name
    own.mkdir(parents=True, exist_ok=True)
    words = [f"-dict={HERE / f'{name}.dict'}", f"-max_total_time={seconds}", "-print_final_stats=1"]
    words += [f"-artifact_prefix={BUILD}{os.sep}{name}-", str(own), str(HERE / "corpus" / name)]
    log, begin = BUILD / f"{name}.log", time.perf_counter()
    with open(log, "w") as file:
        code = subprocess.run(libfuzzer(name, *words), stdout=file, stderr=subprocess.STDOUT).returncode
    text = log.read_text(errors="replace")
    if code:
        print(f"{name}: ended with exit code {code}, see {log}\n" + "\n".join(text.splitlines()[-30:]), file=sys.stderr)

    def last(pattern: str) -> int:
        return int([0, *re.findall(pattern, text)][-1])

    return {
        "executions": last(r"stat::number_of_executed_units: (\d+)"),
        "seconds": round(time.perf_counter() - begin, 1),
        "edges reached": last(r"cov: (\d+)"),
        "edges": last(r"\((\d+) inline 8-bit counters\)"),
        "features": last(r"ft: (\d+)"),
        "inputs kept": last(r"corp: (\d+)"),
        "peak MB": last(r"stat::peak_rss_mb:\s+(\d+)"),
        "crashes": int(code != 0),
        "exit code": code,
    }


def merge(name: str) -> None:
    """Make the corpus the seeds and the smallest set that reaches what all found inputs reach, the small ones first."""
    corpus, own, merged = HERE / "corpus" / name, BUILD / "found" / name, BUILD / "merged" / name
    shutil.rmtree(merged, ignore_errors=True)
    merged.mkdir(parents=True)
    for seed in corpus.glob("seed_*"):
        shutil.copy(seed, merged)
    subprocess.run(
        libfuzzer(name, "-merge=1", str(merged), str(corpus), str(own)), check=True, stderr=subprocess.DEVNULL
    )
    for path in corpus.iterdir():
        path.unlink()
    room = MERGED
    for path in sorted(merged.iterdir(), key=lambda p: (not p.name.startswith("seed_"), p.stat().st_size, p.name)):
        if (room := room - path.stat().st_size) < 0:
            break
        shutil.copy(path, corpus)


def write(options: argparse.Namespace, compiler: str, found: dict[str, dict[str, Any]]) -> Path:
    """The result beside those of benchmarks/soak.py, in their form."""
    sys.path.append(str(ROOT / "benchmarks"))
    harness: Any = importlib.import_module("harness")
    harness.RESULTS = options.results
    version = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=True).stdout.splitlines()[0]
    content = {
        "benchmark": "soak",
        "settings": {"minutes": round(options.seconds / 60, 1), "sanitizers": "address and undefined"},
        "figures": {f"{name}: {what}": value for name, run in found.items() for what, value in run.items()},
        "promises": {
            f"{name}: no crash, no hang, no leak, memory in proportion": run["exit code"] == 0
            for name, run in found.items()
        },
        "versions": {"clang": version},
    }
    return harness.write("soak-fuzz", content)


if __name__ == "__main__":
    sys.exit(main())
