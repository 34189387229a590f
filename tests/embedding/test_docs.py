"""docs/embedding.md does what it says: its files are written and its commands run, in order, in a copy."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from capi import ROOT

PAGE = ROOT / "docs/embedding.md"
BLOCK = re.compile(r"(?:`([\w/.-]+)`:\n\n)?^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def steps(page: str) -> list[tuple[str | None, str]]:
    """(file, its text) for each file that the page shows, (None, commands) for each block of commands, in order."""
    found: list[tuple[str | None, str]] = []
    for name, language, text in BLOCK.findall(page):
        assert (language == "sh") != bool(name), f"a block of {language} without a file, or commands with one: {text}"
        found.append((name or None, text))
    return found


def test_steps_are_found_in_order():
    page = "Do:\n\n```sh\na\n```\n\nWrite `x/y.cpp`:\n\n```cpp\nint b;\n```\n"
    assert steps(page) == [(None, "a\n"), ("x/y.cpp", "int b;\n")]
    with pytest.raises(AssertionError, match="without a file"):
        steps("```cpp\nint b;\n```\n")
    assert len(steps(PAGE.read_text(encoding="utf-8"))) == 6


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """What a clone has: the files that git knows, or would if they were added."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        source, target = ROOT / name, tmp_path / "saccade" / name
        if source.is_symlink() or source.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target, follow_symlinks=False)
    return tmp_path / "saccade"


def offline(environment: dict[str, str]) -> dict[str, str]:
    """An environment in which pip finds what it would fetch: this one's packages are there, and the build's tools."""
    here = str(Path(sys.executable).parent)
    return environment | {
        "PATH": os.pathsep.join([here, environment["PATH"]]),
        "PYTHONPATH": sysconfig.get_paths()["purelib"],
        "PIP_NO_INDEX": "1",
        "PIP_NO_BUILD_ISOLATION": "0",  # pip's spelling of yes
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "TORCH_HOME": "/nowhere",
    }


@pytest.mark.skipif(not (shutil.which("c++") and shutil.which("pkg-config")), reason="needs c++ and pkg-config")
def test_every_command_of_the_page_runs(clone: Path):
    script = "set -eu\n"
    for name, text in steps(PAGE.read_text(encoding="utf-8")):
        script += f"cat > {name} <<'END OF FILE'\n{text}END OF FILE\n" if name else text
    environment = offline({k: v for k, v in os.environ.items() if not k.startswith(("SACCADE_", "PYTEST_"))})
    done = subprocess.run(["sh", "-c", script], cwd=clone, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    said = re.findall(r"^ONNX Runtime \S+: class \d+ \([\d.e-]+\), region [-\d.e+, to]+$", done.stdout, re.MULTILINE)
    assert len(said) == 2, done.stdout[-3000:]
    assert said[0] == said[1]
    assert (clone / "overlay.ppm").stat().st_size == len("P6 640 480 255\n") + 640 * 480 * 3
