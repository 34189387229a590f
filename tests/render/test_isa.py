"""The CPU paths: the one that is forced is the one that runs, and every one gives the reference's pictures.

The path is chosen once in a process, so each has a process of its own.
"""

import os
import subprocess
import sys

import pytest

PATHS = ("baseline", "avx2", "avx512")

CHECK = """
import sys
import numpy as np
from saccade import _native
from saccade.engine import render
from saccade.engine.render import reference

if len(sys.argv) > 1:
    assert _native.isa() == sys.argv[1], _native.isa()
rng = np.random.default_rng(5)
for width in (1, 5, 16, 31, 57, 130):
    maps = rng.standard_normal((6, 9, width)).astype(np.float32)
    maps[0, 0, 0], maps[1, 2, -1], maps[2, 3, 0] = np.nan, np.inf, -np.inf
    ranges = render.value_ranges(maps[:, None])[:, 0]
    assert (ranges == reference.value_ranges(maps[:, None])[:, 0]).all()
    for size in ((9, width), (30, 3 * width + 1), (4, 11)):
        for sampling in ("bilinear", "nearest"):
            got = render.index_maps(maps, ranges, size, sampling)
            assert (got == reference.index_maps(maps, ranges, size, sampling)).all(), (width, size, sampling)
        photos = rng.integers(0, 256, (6, *size, 3), dtype=np.uint8)
        colours = render.colormap("turbo")
        for opacity in (0, 50, 128, 256):
            got, wanted = np.zeros((2, 6 * size[0], size[1], 3), np.uint8)
            places = np.array([(0, i * size[0]) for i in range(6)])
            render.overlay(got, maps, ranges, photos, size, places, colours, opacity)
            reference.overlay(wanted, maps, ranges, photos, size, places, colours, opacity)
            assert (got == wanted).all(), (width, size, opacity)
        for name in ("gray", "jet"):
            colours = render.colormap(name)
            got = render.tile(maps, None, size, 4, 2, (1, 2, 3), colours)
            assert (got == reference.tile(maps, ranges, size, 4, 2, (1, 2, 3), colours)).all(), (width, size, name)
    photo = rng.integers(0, 256, (40, width + 9, 4), dtype=np.uint8)
    for channels in (1, 3, 4):
        got = render.resize(photo[..., :channels], 17, 23, "bicubic")
        assert (got == reference.resize(photo[..., :channels], 17, 23, "bicubic")).all(), (width, channels)
print(_native.isa())
"""


def run(isa: str | None, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = {k: v for k, v in os.environ.items() if k != "SACCADE_ISA"} | ({} if isa is None else {"SACCADE_ISA": isa})
    return subprocess.run([sys.executable, "-c", CHECK, *arguments], env=env, capture_output=True, text=True)


@pytest.mark.parametrize("isa", PATHS)
def test_the_forced_path_runs_and_is_the_references(isa: str):
    done = run(isa, isa)
    if f"has no {isa}" in done.stderr:
        pytest.skip(done.stderr.splitlines()[-1])
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == isa


def test_without_a_word_it_is_the_best_that_there_is():
    free = run(None)
    assert free.returncode == 0, free.stderr
    runs = [isa for isa in PATHS if run(isa, isa).returncode == 0]
    assert free.stdout.strip() == runs[-1]
    assert run("", runs[-1]).returncode == 0


def test_the_check_sees_another_path():
    assert "AssertionError: baseline" in run("baseline", "another").stderr


def test_an_unknown_path_is_one_line_that_helps():
    error = run("sse9").stderr.strip().splitlines()[-1]
    assert "UsageError: render: SACCADE_ISA='sse9' is not a path; unset it or choose one of baseline" in error
