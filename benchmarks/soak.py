"""Long runs that are killed, starved and repeated: what `saccade run` promises a night's work.

    python benchmarks/soak.py kills      # SIGKILL at 50 seeded random moments over 5,000 photos; a full disk
    python benchmarks/soak.py memory     # 200,000 photos beside 2,000: memory, files, threads
    python benchmarks/soak.py growth     # 50,000 photos in each runtime: does memory grow?
    python benchmarks/soak.py resume     # a million rows, 99 % of them done: how long until work starts

Each writes `results/soak-NAME.json` and ends with exit code 1 where a promise does not hold. `make soak` runs all of
them, about half an hour on two cores; the tests run each for seconds, with smaller numbers.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import harness
import psutil

from saccade.demo.network import CLASSES, MEAN, STD
from saccade.demo.scenes import write_set
from saccade.engine import pipeline, sinks
from saccade.engine.compiler import load_model
from saccade.engine.contract import ModelOptions
from saccade.engine.contract.program_file import Format

SIDE = 32
RUNTIMES = {"onnxruntime": "onnx", "openvino": "onnx", "torchscript": "ts", "aotinductor": "pt2"}
FORMATS: dict[str, Format] = {"onnx": "onnx", "ts": "torchscript", "pt2": "aotinductor"}


def main(words: Sequence[str] | None = None) -> int:
    """Run what is named; the exit code says whether all promises held."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("soaks", nargs="+", choices=list(SOAKS))
    parser.add_argument("--quick", action="store_true", help="about a minute of each")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--results", type=Path, help="another folder for the results")
    options = parser.parse_args(words)
    if options.results:
        harness.RESULTS = options.results
    held = True
    for name in options.soaks:
        with tempfile.TemporaryDirectory(prefix="saccade-soak-") as folder:
            found = SOAKS[name](Path(folder), options)
        broken = [promise for promise, holds in found["promises"].items() if not holds]
        held &= not broken
        found |= {"benchmark": "soak", "versions": harness.versions("onnxruntime-gpu", "pyarrow", "pillow")}
        print(f"{name}: {'; '.join(f'{k}: {v}' for k, v in found['figures'].items())}")
        for promise, holds in found["promises"].items():
            print(f"  {'held  ' if holds else 'BROKEN'} {promise}")
        print(f"  {harness.write(f'soak-{name}', found)}")
    return 0 if held else 1


# ---- what is run ---------------------------------------------------------------------------------------------------


def program(folder: Path, kind: str = "onnx") -> Path:
    """The demo's network for 32×32 pixels: so small that everything around it is what is tested."""
    path = folder / f"small.{kind}"
    if not path.exists():
        options = ModelOptions(input_size=(SIDE, SIDE), mean=MEAN, std=STD, classes=CLASSES)
        model = load_model("saccade.demo.network:looks_at_tanks", options=options)
        pipeline.compile_program(model, ["grad-cam"], path, FORMATS[kind])
    return path


def manifest(folder: Path, count: int) -> Path:
    """A manifest of `count` photos: 40 small ones, again and again under other names; each 997th is broken."""
    scenes = folder / "scenes"
    if not scenes.exists():
        write_set(scenes, [(seed, seed % 2 == 0, "sun") for seed in range(40)], 64)
        (scenes / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    files = sorted(str(p.relative_to(folder)) for p in scenes.rglob("*/*.png"))
    path = folder / f"manifest-{count}.csv"
    with open(path, "w", encoding="utf-8") as file:
        file.write("path,label,number\n")
        for i in range(count):
            file.write(f"{'scenes/broken.png' if i % 997 == 500 else files[i % len(files)]},{CLASSES[i % 2]},{i}\n")
    return path


def command(folder: Path, photos: Path, out: Path, *more: str, kind: str = "onnx") -> list[str]:
    """`saccade run`, as a person would type it."""
    words = [program(folder, kind), photos, "-o", out, "--batch-size", "64", "--progress", "quiet", *more]
    return [sys.executable, "-c", "from saccade.cli import main; main()", "run", *map(str, words)]


def evidence(out: Path) -> dict[str, bytes]:
    """The evidence's files, byte for byte, whatever they are called."""
    return {path.name: path.read_bytes() for path in (out / "evidence").iterdir()}


SOME_FAILED = 3


def finish(words: list[str]) -> None:
    """Run a command to its end; the broken photos give exit code 3."""
    code = subprocess.run(words, check=False).returncode
    if code != SOME_FAILED:
        raise SystemExit(f"soak: {' '.join(words)} ended with exit code {code}")


# ---- kills ---------------------------------------------------------------------------------------------------------


def kills(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Kill the run, or one of its workers, at random moments until it has been killed often enough."""
    count, times, chance = 600 if options.quick else 5000, 3 if options.quick else 50, random.Random(options.seed)
    photos, out = manifest(folder, count), folder / "killed"
    program(folder)
    start = time.monotonic()
    finish(command(folder, photos, folder / "whole", "--workers", "2"))
    whole = time.monotonic() - start
    words = command(folder, photos, out, "--workers", "2")
    moments, codes, runs, started = [], [], [], 0
    expected, kept_whole, survived = evidence(folder / "whole"), True, True
    while len(moments) < times:
        started += 1
        with subprocess.Popen(words, start_new_session=True, stderr=subprocess.DEVNULL) as process:
            moment, killed = chance.uniform(0, whole / 3), ""  # several kills to a run
            victim = chance.choice(("run", "run", "worker"))
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(moment)
            if process.poll() is None:
                killed = kill(process.pid, victim)
                moments.append({"seconds": round(moment, 3), "victim": killed})
                process.wait()
        codes.append(process.returncode)
        survived &= process.returncode == (-signal.SIGKILL if killed == "run" else SOME_FAILED)
        if (out / "evidence").is_dir():  # whatever happened, what has its name is whole
            there = {k: v for k, v in evidence(out).items() if k.startswith("shard-")}
            kept_whole &= all(expected[name] == data for name, data in there.items())
        if process.returncode == SOME_FAILED:  # finished: the next kills are for a new run
            runs.append(evidence(out) == expected)
            shutil.rmtree(out)
    finish(words)
    runs.append(evidence(out) == expected)
    rows = sinks.read_evidence(out, columns=["name"])["name"].to_pylist()
    return {
        "settings": {"photos": count, "kills": times, "seed": options.seed, "workers": 2},
        "figures": {
            "seconds undisturbed": round(whole, 2),
            "starts": started,
            "kills": len(moments),
            "finished runs": len(runs),
            "exit codes": {str(code): codes.count(code) for code in sorted(set(codes))},
        },
        "promises": {
            "each photo is in the evidence exactly once": len(rows) == len(set(rows)) == count,
            "the evidence is byte for byte that of an undisturbed run": all(runs),
            "at every moment what is there is whole": kept_whole,
            "a run outlives its worker": survived,
            **full_disk(folder, photos, expected),
        },
        "samples": moments,
    }


def kill(pid: int, victim: str) -> str:
    """SIGKILL, for the command or for one of its workers, if it has some; which it was."""
    process = psutil.Process(pid)
    workers = process.children()
    chosen = workers[0] if victim == "worker" and workers else process
    with contextlib.suppress(psutil.NoSuchProcess):
        chosen.kill()
    return "run" if chosen is process else "worker"


def full_disk(folder: Path, photos: Path, expected: Mapping[str, bytes]) -> dict[str, bool]:
    """A disk of a third of what is needed, which then grows. Needs the right to mount; without it nothing is said."""
    disk, words = folder / "disk", None
    disk.mkdir()
    size = sum(map(len, expected.values())) // 3 + 400_000
    mounted = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mounted, capture_output=True, check=False).returncode:
        return {}
    try:
        words = command(folder, photos, disk / "out", "--workers", "2")
        full = subprocess.run(words, capture_output=True, text=True, check=False)
        there = evidence(disk / "out")
        subprocess.run(["mount", "-o", f"remount,size={10 * size + 50_000_000}", str(disk)], check=True)
        finish(words)
        return {
            "a full disk is one line and exit code 1": full.returncode == 1 and full.stderr.count("\n") == 1,
            "what fits is whole": bool(there) and all(expected[name] == data for name, data in there.items()),
            "with more room the run goes on to the same bytes": evidence(disk / "out") == expected,
        }
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=False)


# ---- memory --------------------------------------------------------------------------------------------------------


def memory(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """A long run beside a short one."""
    short, count = (2000, 8000) if options.quick else (2000, 200_000)
    few, many = watched(folder, short), watched(folder, count)
    ratio = many["peak_mb"] / few["peak_mb"]
    return {
        "settings": {"photos": [short, count]},
        "figures": {
            "peak memory": f"{ratio:.3f} × ({many['peak_mb']:.0f} MB against {few['peak_mb']:.0f} MB)",
            "photos per second": many["photos_per_second"],
            "files": [few["files"], many["files"]],
            "threads": [few["threads"], many["threads"]],
        },
        "promises": {
            f"peak memory within 1.2 × of a run of {short:,}": ratio <= 1.2,
            "no more open files": many["files"] <= few["files"] + 2,
            # jemalloc, which Arrow uses, starts up to a thread for each core in each process, now and then.
            "no more threads": many["threads"] <= few["threads"] + 2 * (os.cpu_count() or 1),
        },
        "samples": {"few": few, "many": many},
    }


def growth(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Each runtime over many photos: the last quarter's memory beside the second's."""
    count, bound = (3000, 1.1) if options.quick else (50_000, 1.03)
    found = {}
    for runtime, kind in RUNTIMES.items():
        if options.quick and runtime == "aotinductor":  # takes a minute to compile
            continue
        found[runtime] = watched(folder, count, "--trust", "--runtime", runtime, kind=kind)
    figures, promises = {}, {}
    for runtime, one in found.items():
        # By the photos that are done and not by time, of which starting takes some.
        second, last = ([mb for done, mb in one["trail"] if a <= done < b] for a, b in ((0.25, 0.5), (0.75, 1.0)))
        grown = statistics.median(last) / statistics.median(second)
        figures[runtime] = f"{grown:.3f} × ({one['photos_per_second']} photos per second)"
        promises[f"{runtime}: memory does not grow (by {bound - 1:.0%})"] = grown <= bound
    return {"settings": {"photos": count}, "figures": figures, "promises": promises, "samples": found}


def watched(folder: Path, count: int, *more: str, kind: str = "onnx") -> dict[str, Any]:
    """A run in a worker process, watched from outside four times a second: the memory that both processes share with
    nobody (what they share with others depends on who else is running), open files and threads.
    """
    out = folder / f"out-{count}-{'-'.join(more) or kind}"
    words = command(folder, manifest(folder, count), out, "--workers", "1", *more, kind=kind)
    trail: list[tuple[float, float]] = []
    files, threads, start = 0, 0, time.monotonic()
    shards = -(-count // pipeline.options.shard_size(count, None))
    with subprocess.Popen(words) as process:
        root = psutil.Process(process.pid)
        while process.poll() is None:
            with contextlib.suppress(psutil.Error):
                family = [root, *root.children(recursive=True)]
                done = len(sinks.finished_shards(out)) / shards
                trail.append((round(done, 3), round(sum(p.memory_full_info().uss for p in family) / 2**20, 1)))
                files = max(files, sum(p.num_fds() for p in family))
                threads = max(threads, sum(p.num_threads() for p in family))
            time.sleep(0.25)
    seconds = time.monotonic() - start
    if process.returncode != SOME_FAILED and count >= 997:
        raise SystemExit(f"soak: the run ended with exit code {process.returncode}")
    rows = sum(sinks.count_rows(out, shard)[0] for shard in sinks.finished_shards(out))
    if rows != count:
        raise SystemExit(f"soak: {rows} rows for {count} photos")
    return {
        "peak_mb": max(mb for _, mb in trail),
        "files": files,
        "threads": threads,
        "photos_per_second": round(count / seconds),
        "trail": trail if len(trail) < 400 else trail[:: len(trail) // 200],
    }


# ---- resume --------------------------------------------------------------------------------------------------------


def resume(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """A million rows of which 99 % are done: from the command to its first new shard, beside a run of one shard."""
    count, size = 50_000 if options.quick else 1_000_000, 1000
    photos, out = manifest(folder, count), folder / "million"
    words = command(folder, photos, out, "--workers", "0", "--shard-size", str(size))
    first = listed(words, out)
    shards = count // size
    real = next((out / "evidence").glob("shard-*.parquet")).read_bytes()
    for shard in range(shards - max(5, shards // 100)):  # evidence of other photos, which nobody looks at here
        path = out / "evidence" / f"shard-{shard:05d}.parquet"
        if not path.exists():
            path.write_bytes(real)
            sinks.append_shard(out, {"shard": shard, "photos": size, "failed": 0})
    resumed = min(to_next_shard(words, out) for _ in range(3))
    small = command(folder, manifest(folder, size), folder / "bare", "--workers", "0", "--shard-size", str(size))
    bare = min(to_next_shard([*small, "--restart"], folder / "bare") for _ in range(3))
    return {
        "settings": {"photos": count, "shard_size": size},
        "figures": {
            "seconds to list and begin": round(first, 2),
            "seconds to resume, to the first shard written": round(resumed, 2),
            "seconds of a run of one shard, to the same": round(bare, 2),
        },
        "promises": {"work starts within 1 s of a bare start": resumed - bare <= 1.0},
    }


def listed(words: list[str], out: Path) -> float:
    """Seconds from the command until it has begun; it is killed at its first shard."""
    start = time.monotonic()
    with subprocess.Popen(words) as process:
        while not (out / "run.json").exists():
            time.sleep(0.01)
        seconds = time.monotonic() - start
        until(lambda: bool(sinks.finished_shards(out)), process)
        process.kill()
    return seconds


def to_next_shard(words: list[str], out: Path) -> float:
    """Seconds from the command until a shard more is there; then it is killed."""
    there = set() if "--restart" in words else sinks.finished_shards(out)
    if "--restart" in words and out.exists():
        shutil.rmtree(out)
    start = time.monotonic()
    with subprocess.Popen(words) as process:
        until(lambda: bool(sinks.finished_shards(out) - there), process)
        seconds = time.monotonic() - start
        process.send_signal(signal.SIGKILL)
    return seconds


def until(condition: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    """Wait for what a process is to do."""
    while not condition():
        if process.poll() is not None and not condition():
            raise SystemExit(f"soak: the run ended with exit code {process.returncode}, too early")
        time.sleep(0.005)


SOAKS: dict[str, Callable[[Path, argparse.Namespace], dict[str, Any]]] = {
    "kills": kills,
    "memory": memory,
    "growth": growth,
    "resume": resume,
}

if __name__ == "__main__":
    sys.exit(main())
