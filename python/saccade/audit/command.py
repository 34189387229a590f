"""The command `saccade audit`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Literal

import click

from .. import arguments
from ..console import FOUND, print_out, status
from ..help import Command, option

TRIAL = "The trials"


@click.command(cls=Command)
@click.argument("folder", type=Path, metavar="RUN", help="The folder of a run with a CAM.")
@option("--out", "-o", type=Path, show_default="RUN/audit", help="The folder for report.html and verdicts.json.")
@option(
    "--fail-on",
    type=click.Choice(["shortcut", "suspect"]),
    help="End with exit code 4 if there is a shortcut, or (suspect) anything that is not clear, or if nothing could be "
    "tried: for build pipelines.",
)
@arguments.objects
@option(
    "--program",
    type=Path,
    section=TRIAL,
    show_default="where it was when it ran",
    help="The run's program, if it has moved.",
)
@option(
    "--passes",
    type=click.IntRange(0),
    section=TRIAL,
    show_default="a sixth of the run's images, at least 2000",
    help="How many images may go through the network for trials, about. 0: none, no verdict is proven then.",
)
@option("--seed", type=click.IntRange(0), default=0, section=TRIAL, help="Of all that is drawn at random.")
@option("--trust", is_flag=True, section=TRIAL, help="Run a .pt2 program: it is native code.")
def audit(
    folder: Path,
    out: Path | None,
    fail_on: Literal["shortcut", "suspect"] | None,
    masks: str | None,
    boxes: Path | None,
    program: Path | None,
    passes: int | None,
    seed: int,
    trust: bool,
) -> None:
    """Ask a run whether the network uses something other than the thing itself.

    What goes with a class (a place in the picture, an attribute of the whole image, what lies outside of the object)
    is changed in images that go through the network once more. OUT gets report.html, which opens in a browser, and
    verdicts.json: shortcut (the network uses it, shown by changing it), suspect, or clear.

    Exit code: 0 done, 2 wrong usage, 4 what --fail-on asks for was found.
    """
    from . import audit as examine
    from .report.data import verdict_sentence

    out = out or folder / "audit"
    with status(f"auditing {folder}") as line:
        say = (lambda text: line.update(text)) if line is not None else (lambda _: None)
        found = examine(folder, program, out, masks=masks, boxes=boxes, passes=passes, seed=seed, trust=trust, say=say)
    print_out(verdict_sentence(found))
    for suspect in found.suspects:
        if suspect.verdict != "clear":
            print_out(f"  {suspect.verdict}: {suspect.sentence}")
    for note in found.notes:
        print_out(f"  {note}")
    print_out(f"  {out / 'report.html'}")
    # Who fails on a mere suspect wants to be shown that there is none.
    if fail_on and (found.verdict in ("shortcut", fail_on) or (fail_on == "suspect" and not found.tested)):
        sys.exit(FOUND)
