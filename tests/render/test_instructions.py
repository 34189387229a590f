"""The row loops take as many instructions as they did: a loop that is no longer made vectors of is seen here."""

import copy
import json
from collections.abc import Callable
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def instructions(benchmark_module: Callable[[str], ModuleType]) -> ModuleType:
    return benchmark_module("instructions")


def test_the_counts_are_the_committed_ones(instructions: ModuleType):
    wanted = json.loads(instructions.COUNTS.read_text(encoding="utf-8"))
    try:
        found = instructions.measure()
    except instructions.CannotCountError as error:
        pytest.skip(str(error))
    if found["compiler"] != wanted["compiler"]:
        pytest.skip(f"the counts are of {wanted['compiler']}, this is {found['compiler']}")
    assert instructions.differences(found, wanted) == [], "if it is meant: python benchmarks/instructions.py --write"


def test_the_comparison_sees_a_slower_loop(instructions: ModuleType):
    wanted = json.loads(instructions.COUNTS.read_text(encoding="utf-8"))
    assert instructions.differences(wanted, wanted) == []
    slower = copy.deepcopy(wanted)
    slower["instructions"]["avx2"]["index"] = round(slower["instructions"]["avx2"]["index"] * 1.04)
    del slower["instructions"]["baseline"]["over"]
    assert len(instructions.differences(slower, wanted)) == 2
