"""How many instructions the row loops of csrc/cpu/rows.cpp take, counted by valgrind: the same on a busy machine.

    python benchmarks/instructions.py            # count, and compare with what is committed
    python benchmarks/instructions.py --write    # after a change that is meant: commit the new counts

A compiler of another version makes other code, so counts are compared with those of the same compiler only.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
COUNTS = ROOT / "benchmarks" / "results" / "instructions.json"
BUILD = ROOT / "build" / "count"
PATHS = ("baseline", "avx2")
TOLERANCE = 0.03


class CannotCountError(Exception):
    """What is missing, in one line."""


def build() -> Path:
    """Build the program whose functions are counted, optimised as in a release."""
    for tool in ("cmake", "valgrind", "callgrind_annotate"):
        if shutil.which(tool) is None:
            raise CannotCountError(f"counting instructions needs {tool}")
    options = ["-DCMAKE_BUILD_TYPE=Release", "-DSACCADE_PYTHON=OFF", "-DSACCADE_CUDA=OFF", "-DSACCADE_TESTS=ON"]
    _run("cmake", "-S", str(ROOT), "-B", str(BUILD), *options)
    if "saccade_count" not in _run("cmake", "--build", str(BUILD), "--target", "help"):
        raise CannotCountError("this machine's build has no AVX2 path to count")
    _run("cmake", "--build", str(BUILD), "--target", "saccade_count", "--parallel", "2")
    return BUILD / "tests" / "cpp" / "saccade_count"


def count(program: Path, path: str) -> dict[str, int]:
    """Instructions of each loop of one path, for a row of 1000."""
    with tempfile.TemporaryDirectory() as folder:
        record = Path(folder, "record")
        said = _run("valgrind", "-q", "--tool=callgrind", f"--callgrind-out-file={record}", str(program), path)
        if not said.startswith(path):
            raise CannotCountError(f"asked for {path}, but {said.split()[0]} ran")
        table = _run("callgrind_annotate", "--inclusive=yes", "--threshold=100", str(record))
    found = re.findall(r"^\s*([\d,]+) .*?:count_(\w+)", table, re.MULTILINE)
    return {name: int(number.replace(",", "")) for number, name in sorted(found, key=lambda pair: pair[1])}


def compiler() -> str:
    """The compiler's name and version, as CMake found it."""
    (path,) = BUILD.glob("CMakeFiles/*/CMakeCXXCompiler.cmake")
    text = path.read_text(encoding="utf-8")
    words = [re.search(rf'set\(CMAKE_CXX_COMPILER_{what} "([^"]*)"\)', text) for what in ("ID", "VERSION")]
    return " ".join(word[1] for word in words if word)


def measure() -> dict[str, Any]:
    """The counts of all paths, with the compiler."""
    program = build()
    return {"compiler": compiler(), "row": 1000, "instructions": {path: count(program, path) for path in PATHS}}


def differences(found: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    """One line for each loop whose count is off by more than the tolerance, or that is in one of the two only."""
    lines = []
    for path in PATHS:
        a, b = found["instructions"][path], wanted["instructions"][path]
        for name in sorted(a.keys() | b.keys()):
            if name not in a or name not in b:
                lines.append(f"{path} {name}: counted here {a.get(name)}, committed {b.get(name)}")
            elif abs(a[name] - b[name]) > TOLERANCE * b[name]:
                lines.append(
                    f"{path} {name}: {a[name]} instructions, committed {b[name]} ({a[name] / b[name] - 1:+.1%})"
                )
    return lines


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise CannotCountError(f"{command[0]} failed: {(done.stderr or done.stdout).strip().splitlines()[-1]}")
    return done.stdout


def main() -> int:
    """Count, then write or compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="make these the committed counts")
    options = parser.parse_args()
    found = measure()
    if options.write:
        COUNTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    for path, counts in found["instructions"].items():
        print("\n".join(f"{path:9} {name:15} {number / 1000:7.2f} per pixel" for name, number in counts.items()))
    wanted = json.loads(COUNTS.read_text(encoding="utf-8"))
    if wanted["compiler"] != found["compiler"]:
        print(f"not compared: counted with {found['compiler']}, committed with {wanted['compiler']}")
        return 0
    off = differences(found, wanted)
    print("\n".join(off) or "as committed")
    return 1 if off else 0


if __name__ == "__main__":
    sys.exit(main())
