"""Builds the C++ library with every backend for the tests that run it, once, into build/embedding."""

from __future__ import annotations

import fcntl
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "embedding"
OPTIONAL = ("openvino", "torch")
"""Backends that need a package to be built against."""


class Library(NamedTuple):
    """What was built.

    Attributes:
        folder: the build tree, which has libsaccade.so and the backends.
        backends: the names of those that were built.
        onnxruntime: the folder of ONNX Runtime's own library, the one that Python runs.
    """

    folder: Path
    backends: tuple[str, ...]
    onnxruntime: Path

    @property
    def path(self) -> Path:
        """libsaccade.so."""
        return self.folder / "libsaccade.so"

    def backend(self, name: str) -> Path:
        """libsaccade_NAME.so; skips the test where it could not be built."""
        if name not in self.backends:
            pytest.skip(f"needs the package {name}")
        return self.folder / f"libsaccade_{name}.so"


def tool(name: str) -> str:
    """A program of this environment, or of the system; skips the test where there is none."""
    found = shutil.which(name, path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))
    if not found:
        pytest.skip(f"needs {name}")
    return found


def package_folder(name: str) -> Path | None:
    spec = importlib.util.find_spec(name)
    return Path(spec.submodule_search_locations[0]) if spec and spec.submodule_search_locations else None


def build() -> Library:
    """Build libsaccade and its backends, optimised, where something changed since; one process at a time."""
    if sys.platform == "win32":
        pytest.skip("backends are loaded as POSIX does")
    if not any(shutil.which(name) for name in ("c++", "g++", "clang++", os.environ.get("CXX") or "c++")):
        pytest.skip("needs a C++ compiler")
    cmake, ninja, onnxruntime = tool("cmake"), tool("ninja"), package_folder("onnxruntime")
    assert onnxruntime is not None
    backends = ("onnxruntime", *(name for name in OPTIONAL if package_folder(name)))
    configure = [
        *(cmake, "-S", str(ROOT), "-B", str(BUILD), "-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={ninja}"),
        *("-DCMAKE_BUILD_TYPE=Release", "-DSACCADE_PYTHON=OFF", "-DSACCADE_CUDA=OFF", "-DSACCADE_TESTS=OFF"),
        *(f"-DSACCADE_BACKENDS={';'.join(backends)}", f"-DPython_EXECUTABLE={sys.executable}"),
    ]
    BUILD.parent.mkdir(exist_ok=True)
    with open(f"{BUILD}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for command in (configure, [cmake, "--build", str(BUILD)]):
            done = subprocess.run(command, capture_output=True, text=True)
            assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-4000:]}{done.stderr[-4000:]}"
    return Library(BUILD, backends, onnxruntime / "capi")
