"""The command `saccade bench`, and its table."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ..arguments import InputSize, Method, Weights, model_options
from ..engine.contract.errors import UsageError

if TYPE_CHECKING:
    from rich.table import Table


def bench(
    models: Annotated[
        list[str],
        typer.Argument(help="torchvision/NAME or timm/NAME, one or several.", metavar="MODEL...", show_default=False),
    ],
    method: Method = None,
    batch: Annotated[
        list[int] | None, typer.Option(min=1, max=1024, help="May be repeated.", show_default="1, 8")
    ] = None,
    runtime: Annotated[
        list[str] | None,
        typer.Option(
            help="onnxruntime, openvino, torchscript or aotinductor. May be repeated.", show_default="onnxruntime"
        ),
    ] = None,
    precision: Annotated[
        list[str] | None,
        typer.Option(help="float32, float16 or bfloat16. May be repeated.", show_default="float32"),
    ] = None,
    device: Annotated[Literal["cpu", "cuda"], typer.Option(help="Where everything runs.")] = "cpu",
    threads: Annotated[int, typer.Option(min=0, help="CPU threads of each; 0 for all cores.")] = 0,
    rounds: Annotated[int, typer.Option(min=3, max=1000, help="Turns of each contender.")] = 12,
    peers: Annotated[bool, typer.Option(help="Run grad-cam, captum and torchcam beside, where installed.")] = True,
    patience: Annotated[
        float, typer.Option(min=0, help="Seconds to wait for a quiet machine, for each combination.")
    ] = 60,
    weights: Weights = "random",
    input_size: InputSize = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="A JSON file for everything that was measured.")
    ] = None,
) -> None:
    """Measure what an explanation costs here, beside the same runtime's forward pass, eager PyTorch and other packages.

    Each contender is a process of its own; they take turns, and their answers are compared with float64 before anything
    is timed. Ratios are taken between turns beside each other, in rounds where the machine was quiet.
    """
    from rich.console import Console

    from ..engine.contract import replacing
    from .measure import Plan, measure
    from .measuring import WrongAnswerError, report

    known = ("float32", "float16", "bfloat16")
    if wrong := [p for p in precision or () if p not in known]:
        raise UsageError(f"bench: --precision {wrong[0]!r}: expected one of {', '.join(known)}")
    size = model_options(input_size, None, None, None, None, None, None).input_size
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
