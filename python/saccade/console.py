"""What the command line prints, and where."""

from __future__ import annotations

import sys
from typing import Any


def complain(message: str) -> None:
    """One line, whatever a file's name or a program's contract has in it."""
    line = "".join(c if c.isprintable() else " " for c in message)
    print(f"saccade: {line}".encode(errors="backslashreplace").decode(), file=sys.stderr)


def print_out(what: Any) -> None:
    """Print a table, or text as it stands; nothing is cut or wrapped where nobody looks at a terminal."""
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True, markup=False)
    if not console.is_terminal:
        console.width = 10_000
    console.print(what)


def status(text: str) -> Any:
    from rich.console import Console
    from rich.text import Text

    return Console(stderr=True).status(Text(text))
