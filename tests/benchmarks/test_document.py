"""docs/benchmarks.md says what the files in benchmarks/results/ say."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def document(benchmark_module: Callable[[str], ModuleType]) -> ModuleType:
    pytest.importorskip("matplotlib")
    return benchmark_module("document")


def test_the_page_is_made_of_the_results(document: ModuleType):
    results = document.read_results()
    page = document.page(results)
    assert page == (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8"), "python benchmarks/document.py"
    for name, result in results.items():
        if document.largest(result):
            assert (ROOT / "docs" / "images" / f"{name}.svg").is_file(), "python benchmarks/document.py"


def test_another_result_makes_another_page(document: ModuleType):
    results = document.read_results()
    changed = copy.deepcopy(results)
    ratio = next(r for r in changed.values() if isinstance(r.get("ratios"), list))["ratios"][0]
    ratio["wall"]["median"] = 77.7
    ratio["quiet"] = None
    assert document.page(changed) != document.page(results)
    assert "77.7" in document.page(changed)


def test_a_bound_is_met_missed_or_undecided(document: ModuleType):
    def ratio(median: float, quiet: bool = True) -> dict[str, object]:
        numbers = dict.fromkeys(("median", "q1", "q3", "min", "max"), median)
        return {"of": "saccade x", "to": "forward x", "wall": numbers, "quiet": numbers if quiet else None}

    group = {"model": "torchvision/resnet18", "method": "grad-cam", "precision": "float32", "batch": 8}
    assert document.claim(group, ratio(1.02)) == ("≤ 1.03", "met")
    assert document.claim(group, ratio(1.04)) == ("≤ 1.03", "missed")
    assert document.claim(group, ratio(1.02, quiet=False)) == ("≤ 1.03", "undecided")
    assert document.claim({**group, "batch": 1}, ratio(1.02)) == ("", "")
    assert document.claim({**group, "precision": "float16"}, ratio(1.02)) == ("", "")
