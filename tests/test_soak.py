"""A minute of each soak (`make soak` runs them for real); and what a soak says when a promise is broken."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

pytest.importorskip("psutil")


@pytest.fixture
def soak(benchmark_module: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = benchmark_module("soak")
    monkeypatch.setattr(module.harness, "RESULTS", module.harness.RESULTS)  # put back when `--results` has changed it
    return module


@pytest.mark.parametrize("name", ["kills", "memory", "growth", "resume"])
def test_a_minute_of_it(soak: ModuleType, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]):
    code = soak.main([name, "--quick", "--results", str(tmp_path)])
    assert code == 0, capsys.readouterr().out
    found = json.loads((tmp_path / f"soak-{name}.json").read_text())
    assert found["promises"]
    assert all(found["promises"].values())


def test_a_broken_promise_is_said(soak: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def broken(folder: Path, options: argparse.Namespace) -> dict:
        return {"settings": {}, "figures": {"a": 1}, "promises": {"holds": True, "does not": False}}

    monkeypatch.setitem(soak.SOAKS, "kills", broken)
    assert soak.main(["kills", "--results", str(tmp_path)]) == 1
    assert json.loads((tmp_path / "soak-kills.json").read_text())["promises"]["does not"] is False
