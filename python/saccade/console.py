"""What the command line prints, where, and with which exit code it ends."""

from __future__ import annotations

import contextlib
import sys
from typing import Any

NOTHING_DONE, USAGE, SOME_FAILED, FOUND, STOPPED = 1, 2, 3, 4, 130


def complain(message: str) -> None:
    """One line, whatever a file's name or a program's contract has in it."""
    line = "".join(c if c.isprintable() else " " for c in message)
    print(f"saccade: {line}".encode(errors="backslashreplace").decode(), file=sys.stderr)


def print_out(what: Any) -> None:
    """Print text as it stands, or a table; nothing is cut or wrapped where nobody looks at a terminal."""
    if isinstance(what, str):  # without rich, for which a run would wait
        print(what, flush=True)
        return
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True, markup=False)
    if not console.is_terminal:
        console.width = 10_000
    console.print(what)


def status(text: str) -> Any:
    """A line on the terminal while something takes its time; nothing where nobody looks."""
    if not sys.stderr.isatty():
        return contextlib.nullcontext()
    from rich.console import Console
    from rich.text import Text

    return Console(stderr=True).status(Text(text))
