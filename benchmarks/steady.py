"""The inspection line of examples/inspect at a fixed rate for ten minutes: late frames, and whether its memory grows.

    python benchmarks/steady.py                              # 10 frames per second, 600 seconds
    python benchmarks/steady.py --seconds 20 --results /tmp  # a quick look

It builds the library and the example with CMake, draws frames of 1280×960, and inspects them with squeezenet1_0 in ONNX
Runtime within a budget of the time between two frames. Writes `results/soak-steady.json`; ends with exit code 1 where a
promise does not hold. Where others used the machine, a late frame is counted but breaks no promise.
"""

from __future__ import annotations

import argparse
import csv
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import harness
import numpy as np
from PIL import Image

from saccade.demo.scenes import paint
from saccade.engine import pipeline
from saccade.engine.compiler import load_model

SIZE = (1280, 960)
FRAMES = 24
GROWTH = 1.03
LOADED = 0.10
"""Others' share of the machine above which a late frame says nothing of the line."""


def main(words: Sequence[str] | None = None) -> int:
    """Measure; the exit code says whether all promises held."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=10.0, help="frames per second")
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--build", type=Path, default=harness.ROOT / "build" / "steady", help="where it is built")
    parser.add_argument("--results", type=Path, help="another folder for the results")
    options = parser.parse_args(words)
    if options.results:
        harness.RESULTS = options.results
    inspect = build(options.build)
    with tempfile.TemporaryDirectory(prefix="saccade-steady-") as name:
        folder = Path(name)
        frames(folder / "frames")
        program = folder / "program.onnx"
        pipeline.compile_program(load_model("torchvision/squeezenet1_0", "random"), ["grad-cam"], program)
        budget = 1000 / options.rate
        command = [inspect, program, folder / "frames", "--out", folder / "out", "--rate", options.rate, "--seconds"]
        command += [options.seconds, "--budget-ms", budget, "--library", harness.onnxruntime_folder()]
        command += ["--backends", options.build / "installed" / "lib" / "saccade"]
        done = subprocess.run([str(word) for word in command], stderr=subprocess.PIPE, text=True)
        if done.returncode not in (0, 1, 3):
            raise SystemExit(done.stderr)
        with open(folder / "out" / "verdicts.csv", newline="", encoding="utf-8") as table:
            rows = list(csv.DictReader(table))
    found = summary(done.stderr, rows, options.rate, options.seconds)
    print(done.stderr, end="")
    for promise, holds in found["promises"].items():
        print(f"  {'held  ' if holds else 'BROKEN'} {promise}")
    print(f"  {harness.write('soak-steady', found)}")
    return 0 if all(found["promises"].values()) else 1


def build(folder: Path) -> Path:
    """The example, built against the installed library as a user's program would be."""
    library, prefix, example = (folder / part for part in ("library", "installed", "example"))
    options = ("-DSACCADE_PYTHON=OFF", "-DSACCADE_CUDA=OFF", "-DSACCADE_BACKENDS=onnxruntime")
    place = (f"-DCMAKE_INSTALL_PREFIX={prefix}", "-DCMAKE_INSTALL_LIBDIR=lib")
    harness.cmake_build(harness.ROOT, library, *options, *place, target="install")
    harness.cmake_build(harness.ROOT / "examples" / "inspect", example, f"-DCMAKE_PREFIX_PATH={prefix}")
    return example / "saccade-inspect"


def frames(folder: Path) -> None:
    """Drawn frames as a camera gives them: PPM, larger than the network's input."""
    folder.mkdir()
    for seed in range(FRAMES):
        scene = paint(seed, seed % 2 == 0, "sun", 320)
        Image.fromarray(scene.image).resize(SIZE).save(folder / f"{seed:03d}.ppm")


def summary(said: str, rows: Sequence[dict[str, str]], rate: float, seconds: float) -> dict[str, Any]:
    """The result, from what the line said at its end and its table."""
    times = np.array([float(row["milliseconds"]) for row in rows if row["verdict"] != "bad"])
    late = sum(row["verdict"] == "late" for row in rows)
    memory = re.search(r"memory: ([\d.]+) MB after \d+ frames, ([\d.]+) MB at the end", said)
    others = re.search(r"others took (\d+) %", said)
    assert memory, said
    assert others, said
    before, after = map(float, memory.groups())
    share = int(others[1]) / 100
    expected = rate * seconds
    return {
        "benchmark": "soak",
        "versions": harness.versions("onnxruntime-gpu", "numpy"),
        "settings": {"frames per second": rate, "seconds": seconds, "frame": f"{SIZE[0]}×{SIZE[1]}"},
        "figures": {
            "frames": len(rows),
            "late": late,
            "p50, p99, slowest (ms)": ", ".join(f"{v:.1f}" for v in (*np.percentile(times, [50, 99]), times.max())),
            "memory after 100 frames, at the end (MB)": f"{before}, {after}",
            "others' share of the machine": f"{share:.0%}",
        },
        "promises": {
            "every frame has a verdict": len(rows) >= expected - 1 and all(row["verdict"] != "bad" for row in rows),
            f"memory does not grow (by {GROWTH - 1:.0%})": after <= before * GROWTH,
            f"no late frame, unless others took more than {LOADED:.0%}": late == 0 or share > LOADED,
        },
        "samples": {"milliseconds": [round(float(v), 2) for v in np.percentile(times, range(0, 101, 5))]},
    }


if __name__ == "__main__":
    sys.exit(main())
