"""The C++ library with every backend, built once for all tests; lets them import the helpers beside them."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import backends
import building
import capi


@pytest.fixture(scope="session")
def library() -> building.Library:
    """The library and its backends, as `building.build` makes them."""
    return building.build()


@pytest.fixture(scope="session")
def c_library(library: building.Library) -> capi.Library:
    """The C API of what was built."""
    return capi.Library(library.path)


@pytest.fixture(scope="session")
def nm() -> str:
    """The program that lists a library's symbols."""
    return building.tool("nm")


@pytest.fixture
def silence(capfd: pytest.CaptureFixture[str]) -> Iterator[None]:
    """Nothing is written to a stream, neither by a backend nor by its runtime."""
    yield
    assert capfd.readouterr() == ("", "")


@pytest.fixture
def opened(library: building.Library) -> Iterator[Callable[..., backends.Model]]:
    """`opened(backend, program, inputs, outputs, …)`: a model that is closed at the end."""
    models: list[backends.Model] = []

    def make(
        backend: str, program: Path | None, inputs: list[str], outputs: list[str], **request: Any
    ) -> backends.Model:
        if backend == "onnxruntime":
            request.setdefault("library", os.fsencode(library.onnxruntime))
        models.append(backends.Model(library.backend(backend), program, inputs, outputs, **request))
        return models[-1]

    yield make
    for model in models:
        model.close()
