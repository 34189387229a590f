"""The commands that ask a run: `status`, `query`, `sheet`, `export`."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from . import arguments
from .console import print_out, status
from .help import Command, option, together

if TYPE_CHECKING:
    from .engine.pipeline.exports import ExportFormat
    from .engine.render import ColormapName
    from .engine.render.gallery import Scale

_RUN = click.argument("folder", type=Path, metavar="RUN", help="The folder of a run.")


def _chosen(limit: int | None) -> Callable[[Any], Any]:
    """Which photos, in which order, and how many of them."""
    most = {"show_default": "all"} if limit is None else {"default": limit}
    return together(
        option(
            "--where", show_default="all", help="Which photos, in SQL: \"prediction = 'cat' and border_mass > 0.5\""
        ),
        option("--order-by", show_default="as they were run", help='In which order, in SQL: "confidence desc"'),
        option("--limit", type=click.IntRange(1, limit and 2000), help="At most so many photos.", **most),
    )


@click.command("status", cls=Command)
@_RUN
@option("--follow", is_flag=True, help="Say it again every two seconds until the run ends.")
@option("--json", "as_json", is_flag=True, help="For a program: one line of JSON.")
def status_(folder: Path, follow: bool, as_json: bool) -> None:
    """Say how far a run is, while it is at work or later, from this terminal or another.

    Exit code: 0 it runs or is finished, 1 it was interrupted, killed or failed: repeat its command to go on.
    """
    from .engine.pipeline import read_status
    from .progress import numbers, status_lines

    while True:
        found = read_status(folder)
        if as_json:
            more = {"seconds": found.seconds, "aside": found.aside, "where": found.where, "starts": found.starts}
            print_out(
                json.dumps({"status": found.state, **numbers(found.standing), "stages": more.pop("seconds"), **more})
            )
        else:
            print_out(status_lines(found))
        if not follow or found.state != "running":
            break
        time.sleep(2)
    if found.state not in ("running", "finished"):
        sys.exit(1)


@click.command(cls=Command)
@_RUN
@click.argument("question", metavar="SQL", help="One SELECT over the table evidence.")
@option(
    "--format",
    "form",
    type=click.Choice(["table", "csv", "json"]),
    default="table",
    help="A table for people, CSV, or a line of JSON for each row.",
)
def query(folder: Path, question: str, form: Literal["table", "csv", "json"]) -> None:
    r"""Ask a run's evidence in SQL (DuckDB's); docs/evidence.md has the columns.

    \b
    saccade query OUT "SELECT label, prediction, count(*) AS photos, avg(border_mass) AS border
                       FROM evidence GROUP BY ALL ORDER BY photos DESC"
    """
    from .engine import sinks
    from .listing import rows_table

    answer = sinks.query_evidence(folder, question)
    if form == "table":
        print_out(rows_table(answer.schema.names, (row for batch in answer for row in batch.to_pylist())))
    elif form == "json":
        for batch in answer:
            for row in batch.to_pylist():
                print(_json(row))
    else:
        import csv

        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(answer.schema.names)
        for batch in answer:
            for row in batch.to_pylist():
                writer.writerow([_json(v) if isinstance(v, list | dict) else v for v in row.values()])


def _json(value: Any) -> str:
    """A line of JSON, which knows no NaN and no infinity."""

    def plain(value: Any) -> Any:
        if isinstance(value, float):
            return value if math.isfinite(value) else None
        if isinstance(value, list):
            return [plain(v) for v in value]
        return {k: plain(v) for k, v in value.items()} if isinstance(value, dict) else value

    return json.dumps(plain(value), default=str, ensure_ascii=False, allow_nan=False)


@click.command(cls=Command)
@_RUN
@arguments.out("The picture to write (.jpg, .png).", required=False, show_default="RUN/sheet.jpg")
@_chosen(48)
@arguments.look
def sheet(
    folder: Path,
    out: Path | None,
    where: str | None,
    order_by: str | None,
    limit: int,
    colormap: ColormapName,
    scale: Scale,
) -> None:
    """Make a contact sheet from a finished run, filtered and sorted, without running the network again."""
    from .engine import pipeline

    target = out or folder / "sheet.jpg"
    count = pipeline.sheet(folder, target, where, order_by, limit, pipeline.Look(colormap, scale))
    print_out(f"{target}  ({count} photos)")


@click.command(cls=Command)
@_RUN
@option("--to", type=click.Choice(["fiftyone", "virelay"]), required=True, help="For which tool: docs/exports.md.")
@arguments.out("The new folder to write.")
@_chosen(None)
def export(
    folder: Path, to: ExportFormat, out: Path, where: str | None, order_by: str | None, limit: int | None
) -> None:
    """Write a run's evidence for FiftyOne or ViRelAy."""
    from .engine.pipeline import exports

    with status(f"writing {out}"):
        count = exports.export(folder, out, to, where, order_by, limit)
    print_out(f"{out}  ({count} photos)")
