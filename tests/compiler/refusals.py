"""How a refusal is checked, and the trap that hostile files set."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from saccade.engine.contract import SaccadeError, UsageError


def refused(call: Callable[[], object], message: str, kind: type[SaccadeError] = UsageError) -> None:
    """The call ends in one line of that kind of error, and the line matches."""
    with pytest.raises(kind) as caught:
        call()
    text = str(caught.value)
    assert "\n" not in text
    assert "\x1b" not in text
    assert len(text) < 500
    assert re.search(message, text), text


class Touch:
    """Unpickled, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.path,)
