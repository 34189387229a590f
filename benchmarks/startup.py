"""How long one waits for the first picture: `saccade run` on one photo, beside a script that imports what it needs.

    python benchmarks/startup.py squeezenet1_0

The bare script imports onnxruntime, pyarrow and Pillow, opens the session and ends: less cannot be waited for. Both are
processes of their own, timed from start to end.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import harness
import numpy as np
from PIL import Image

from saccade.engine import pipeline
from saccade.engine.compiler import load_model

BOUND = 1.5
BARE = """
import onnxruntime, pyarrow, pyarrow.parquet, PIL.Image, sys
options = onnxruntime.SessionOptions()
options.log_severity_level = 3
onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
"""
OURS, SCRIPT, HELP, PYTHON = "saccade run, one photo", "bare script", "saccade --help", "python -c pass"


def main() -> None:
    """Measure; writes `results/startup-NETWORK.json`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", nargs="?", default="squeezenet1_0", help="a name in torchvision")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--patience", type=float, default=60, help="seconds to wait for a quiet machine")
    options = parser.parse_args()
    command = str(Path(sys.executable).with_name("saccade"))
    with tempfile.TemporaryDirectory(prefix="saccade-benchmark-") as folder:
        program, photo = Path(folder, "program.onnx"), Path(folder, "photo.jpg")
        model = load_model(f"torchvision/{options.network}", "random")
        pipeline.compile_program(model, ["grad-cam"], program)
        random = np.random.default_rng(1).integers(0, 256, (480, 640, 3), dtype=np.uint8)
        Image.fromarray(random).save(photo)
        commands = {
            OURS: [command, "run", str(program), str(photo), "-o", str(Path(folder, "out")), "--restart"],
            SCRIPT: [sys.executable, "-c", BARE, str(program)],
            HELP: [command, "--help"],
            PYTHON: [sys.executable, "-c", "pass"],
        }
        # What is installed has its bytecode, and so has this after the first call, whatever the shell says of that.
        env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        calls = {
            name: lambda i, words=words: subprocess.run(words, check=True, stdout=subprocess.DEVNULL, env=env)
            for name, words in commands.items()
        }
        with harness.load_watched() as load:
            samples = harness.interleave(calls, options.rounds, patience=options.patience)
    ratios = [harness.ratio(samples, OURS, SCRIPT), harness.ratio(samples, HELP, PYTHON)]
    claim = f"{options.network}: first picture ÷ importing and opening the session ≤ {BOUND}"
    figures = {claim: harness.verdict(ratios[0], lambda median: median <= BOUND)}
    harness.publish(
        f"startup-{options.network}",
        {
            "benchmark": "startup",
            "versions": harness.versions("onnxruntime-gpu", "pyarrow", "pillow", "click"),
            "settings": {"network": options.network, "weights": "random, seed 0"},
            "load": load,
            "figures": figures,
            "ratios": ratios,
            "samples": harness.rounded(samples),
        },
    )


if __name__ == "__main__":
    main()
