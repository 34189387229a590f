"""The command `saccade bench`, and its table."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from .. import arguments
from ..engine.contract.errors import UsageError
from ..help import Command, option

if TYPE_CHECKING:
    from rich.table import Table


@click.command(cls=Command)
@click.argument(
    "models", nargs=-1, required=True, metavar="MODEL...", help="torchvision/NAME or timm/NAME, one or several."
)
@arguments.method
@option("--batch", type=click.IntRange(1, 1024), multiple=True, show_default="1, 8", help="May be repeated.")
@option(
    "--runtime",
    multiple=True,
    show_default="onnxruntime",
    help="onnxruntime, openvino, torchscript or aotinductor. May be repeated.",
)
@option(
    "--precision",
    multiple=True,
    show_default="float32",
    help="float32, float16 or bfloat16. May be repeated.",
)
@option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", help="Where everything runs.")
@option("--threads", type=click.IntRange(min=0), default=0, help="CPU threads of each; 0 for all cores.")
@option("--rounds", type=click.IntRange(3, 1000), default=12, help="Turns of each contender.")
@option("--peers/--no-peers", default=True, help="Run grad-cam, captum and torchcam beside, where installed.")
@option(
    "--patience",
    type=click.FloatRange(min=0),
    default=60,
    help="Seconds to wait for a quiet machine, for each combination.",
)
@arguments.loaded("random")
@arguments.out("A JSON file for everything that was measured.", required=False)
def bench(
    models: Sequence[str],
    method: Sequence[str],
    batch: Sequence[int],
    runtime: Sequence[str],
    precision: Sequence[str],
    device: Literal["cpu", "cuda"],
    threads: int,
    rounds: int,
    peers: bool,
    patience: float,
    weights: str,
    input_size: str | None,
    out: Path | None,
) -> None:
    """Measure what an explanation costs here, beside the same runtime's forward pass, eager PyTorch and other packages.

    Each contender is a process of its own; they take turns, and their answers are compared with float64 before anything
    is timed. Ratios are taken between turns beside each other, in rounds where the machine was quiet.
    """
    import shlex

    from rich.console import Console

    from ..engine.contract import replacing
    from .measure import Plan, measure
    from .measuring import WrongAnswerError, report

    known = ("float32", "float16", "bfloat16")
    if wrong := [p for p in precision if p not in known]:
        raise UsageError(f"bench: --precision {wrong[0]!r}: expected one of {', '.join(known)}")
    size = arguments.model_options(input_size).input_size
    narrow: Any = precision or ["float32"]
    plan = Plan(
        models,
        method or ["grad-cam"],
        batch or [1, 8],
        runtime or ["onnxruntime"],
        narrow,
        weights,
        size,
        device,
        threads,
        rounds,
        peers,
        patience,
    )
    command = shlex.join(["saccade", *sys.argv[1:]])

    def keep(found: dict[str, Any]) -> None:
        if out is not None:
            with replacing(out) as temporary:
                temporary.write_text(report({**found, "command": command}), encoding="utf-8")

    keep({"groups": []})  # whether it can be written is better known now than in an hour
    talk, console = Console(stderr=True, highlight=False, markup=False), Console(highlight=False)
    try:
        found = measure(plan, lambda line: talk.print(line, soft_wrap=True), keep)
    except WrongAnswerError as error:
        raise UsageError(f"bench: {error}; choose other networks or weights") from None
    if not console.is_terminal:
        console.width = 160
    for group in found["groups"]:
        console.print(table(group))
        console.print("\n".join(lines(group)) + "\n", markup=False)


def table(group: dict[str, Any]) -> Table:
    """One combination's rows."""
    from rich.table import Table

    title = f"{group['model']}, {group['method']}, {group['precision']}, batch {group['batch']}"
    made = Table(title=title, box=None, title_justify="left", title_style="bold")
    for column in ("", "p50 ms", "p95 ms", "p99 ms", "images/s", "peak MiB"):
        made.add_column(column, justify="left" if not column else "right", no_wrap=True)
    for name, row in group["rows"].items():
        times = (f"{row[k]:.4g}" for k in ("p50_ms", "p95_ms", "p99_ms", "images_per_second"))
        made.add_row(name, *times, f"{row['peak_mib']:.0f}")
    return made


def lines(group: dict[str, Any]) -> list[str]:
    """Its ratios, and who is missing."""
    said = []
    for r in group["ratios"]:
        w = r["quiet"] or r["wall"]
        busy = "" if r["quiet"] else ", none of them quiet enough to count"
        said.append(
            f"{r['of']} ÷ {r['to']}: {w['median']:.3f} (quartiles {w['q1']:.3f} to {w['q3']:.3f}; "
            f"{r['rounds']} rounds, {r['quiet_rounds']} quiet{busy})"
        )
    return said + [f"not {name}: {reason}" for name, reason in group["refused"].items()]
