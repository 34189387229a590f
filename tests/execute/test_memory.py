"""2,000 images through each runtime: memory stays where it was after the first 200."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

MEASURE = """
import json, sys
import numpy as np
import psutil
from saccade.engine import execute

runner, leak = execute.load(sys.argv[1], device="cpu"), int(sys.argv[2])
process, kept, levels = psutil.Process(), [], []
random = np.random.default_rng(0)
for i in range(250):
    maps = runner.run(random.integers(0, 256, (8, 32, 32, 3), dtype=np.uint8))
    kept.append(np.ones(leak, np.uint8))
    if i >= 25:
        levels.append(process.memory_info().rss)
print(json.dumps(levels))
"""

ALLOWED = 3 * 2**20
"""Bytes that the median of the last 200 images may lie above that of images 200 to 400."""


def _growth(program: Path, leak: int) -> float:
    command = [sys.executable, "-c", MEASURE, str(program), str(leak)]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300).stdout
    levels = json.loads(said)
    return sorted(levels[-25:])[12] - sorted(levels[:25])[12]


@pytest.mark.parametrize("kind", ["onnx", "torchscript"])
def test_memory_is_flat_after_the_first_200_images(compiled: dict[str, Path], kind: str):
    assert _growth(compiled[kind], 0) <= ALLOWED


def test_a_planted_leak_of_a_map_per_batch_is_found(compiled: dict[str, Path]):
    assert _growth(compiled["onnx"], 8 * 32 * 32 * 4) > ALLOWED
