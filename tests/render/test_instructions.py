"""The row loops take as many instructions as they did: a loop that is no longer made vectors of is seen here."""

import copy
import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def instructions() -> ModuleType:
    path = Path(__file__).resolve().parents[2] / "benchmarks" / "instructions.py"
    spec = importlib.util.spec_from_file_location("instructions", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["instructions"] = module
    spec.loader.exec_module(module)
    return module


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
    del slower["instructions"]["baseline"]["blend"]
    assert len(instructions.differences(slower, wanted)) == 2
