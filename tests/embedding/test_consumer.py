"""Programs built from the installed tree, in C++ by find_package and in C by pkg-config, find what Python finds."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from building import Library, tool
from capi import ROOT

from saccade.engine import execute
from saccade.engine.decode.framing import frame, view_of
from saccade.engine.render import colormap, native

SOURCE = ROOT / "tests/embedding/consumer"


def command(*words: object, **environment: str) -> str:
    done = subprocess.run([str(w) for w in words], capture_output=True, text=True, env=os.environ | environment)
    assert done.returncode == 0, f"{' '.join(map(str, words))}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def prefix(library: Library, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An installed tree, moved after it was installed."""
    folder = tmp_path_factory.mktemp("installed")
    command(tool("cmake"), "--install", library.folder, "--prefix", folder / "before")
    return (folder / "before").rename(folder / "after")


def in_cpp(prefix: Path, folder: Path) -> Path:
    """Built with AddressSanitizer and UBSan."""
    given = {"CMAKE_PREFIX_PATH": prefix, "CMAKE_MAKE_PROGRAM": tool("ninja"), "SANITIZE": "address,undefined"}
    words = [f"-D{name}={value}" for name, value in given.items()]
    command(tool("cmake"), "-S", SOURCE, "-B", folder, "-G", "Ninja", *words)
    command(tool("cmake"), "--build", folder, "--target", "in_cpp")
    return folder / "in_cpp"


def in_c(prefix: Path, folder: Path) -> Path:
    libraries = next(prefix.glob("lib*/pkgconfig")).parent
    flags = command(tool("pkg-config"), "--cflags", "--libs", "saccade", PKG_CONFIG_PATH=str(libraries / "pkgconfig"))
    made = folder / "in_c"
    strict = ("-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror")
    command(tool("cc"), *strict, SOURCE / "consumer.c", *flags.split(), f"-Wl,-rpath,{libraries}", "-o", made)
    return made


def reference(program: Path, pixels: np.ndarray, prepared: np.ndarray) -> dict[str, Any]:
    """What a consumer writes, by the Python package."""
    runner = execute.load(program, "cpu", "onnxruntime")
    spec, maps = runner.spec, runner.run(prepared[None])
    values = maps.maps[spec.maps[0].name]
    height, width = pixels.shape[:2]
    view = view_of((width, height), frame((width, height), spec.preprocessing), spec.preprocessing)
    picture = np.zeros_like(pixels)
    limits = native.value_ranges(values[:, None], zero=True)[0]
    native.overlay(picture, values, limits, pixels[None], (height, width), [(0, 0)], colormap("viridis"), boxes=[view])
    total = 0
    for byte in picture.tobytes():
        total = (total * 31 + byte) % 1000000007
    assert maps.score is not None
    confidence = spec.confidence(maps.logits)
    assert confidence is not None
    return {
        "logits": maps.logits[0].tolist(),
        "map": values.ravel().tolist(),
        "prediction": int(spec.predicted(maps.logits)[0]),
        "confidence": float(confidence[0]),
        "score": float(maps.score[0]),
        "picture": total,
    }


def fits(said: dict[str, Any], wanted: dict[str, Any]) -> bool:
    return {name: said[name] for name in wanted} == {n: pytest.approx(v, rel=1e-6, abs=1e-9) for n, v in wanted.items()}


@pytest.mark.parametrize("build", [in_cpp, in_c])
def test_a_program_of_the_installed_tree_finds_what_python_finds(
    library: Library, prefix: Path, program: Path, tmp_path: Path, build: Any
):
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)  # of the network's size
    (tmp_path / "frame.raw").write_bytes(pixels.tobytes())
    made = build(prefix, tmp_path)
    words = (program, "onnxruntime", "", library.onnxruntime, tmp_path / "frame.raw", 32, 32)
    # What a runtime keeps until the process ends is not this library's leak.
    said = json.loads(command(made, *words, ASAN_OPTIONS="detect_leaks=0"))
    wanted = reference(program, pixels, pixels)
    assert fits(said, wanted)
    assert said["runtime"].startswith("ONNX Runtime ")
    assert 0 < said["area"] < 1
    assert said["box"][0] < said["box"][2]
    assert not fits(said, reference(program, pixels, pixels[::-1])), "the comparison finds another picture"
    broken = subprocess.run([made, "/nowhere", *map(str, words[1:])], capture_output=True, text=True)
    assert (broken.returncode, broken.stdout) == (1, "")
    assert broken.stderr == "load: cannot open program /nowhere: No such file or directory\n"


def test_the_installed_tree_is_whole(prefix: Path, library: Library):
    folder = next(prefix.glob("lib*"))
    assert {p.name for p in (prefix / "include/saccade").iterdir()} == {
        p.name for p in (ROOT / "csrc/include/saccade").iterdir()
    }
    backends = {f"libsaccade_{name}.so" for name in library.backends}
    assert {p.name for p in (folder / "saccade").iterdir()} == backends
    needed = command(tool("readelf"), "-d", folder / "libsaccade.so")
    libraries = {line.split("[")[1].rstrip("]") for line in needed.splitlines() if "(NEEDED)" in line}
    assert libraries <= {"libstdc++.so.6", "libm.so.6", "libgcc_s.so.1", "libc.so.6", "ld-linux-x86-64.so.2"}
