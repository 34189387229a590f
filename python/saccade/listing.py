"""What the command line prints: tables, the proof, the progress of a run."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress
from rich.table import Table
from rich.text import Text

from .engine.contract import SaccadeError, Spec, UsageError

if TYPE_CHECKING:
    from .doctor import Finding
    from .engine.compiler import Network
    from .engine.compiler.methods import Method
    from .engine.pipeline import RunResult

_RUN_FILES = ("sheet.jpg", "evidence", "overlays", "run.json")  # the last one says that the others are a run's


def layer_table(network: Network) -> Group:
    """Every module call in the order of execution, with its output's shape."""
    default = network.default_layer()
    title = f"{network.name}: input {_shape(network.input_shape)}"
    if default:
        title += f"\n{default.name} is where grad-cam looks by default"
    table = Table(box=None)
    for name in ("#", "layer", "type", "output [N, …]"):
        table.add_column(name, justify="right" if name == "#" else "left", no_wrap=True)
    for i, layer in enumerate(network.layers, 1):
        mark = Text(" ←", "green") if default and layer.name == default.name else Text()
        name = Text(layer.name, "" if layer.leaf else "bold")
        table.add_row(str(i), name, Text(layer.type), Text(_shape(layer.shape)) + mark)
    return Group(Text(title), table)


def method_table(methods: Mapping[str, Method]) -> Table:
    """Every method, what it shows and at which layer."""
    where = {"input": "the input", "features": "a layer", "pooled": "the pooled layer"}
    table = Table(box=None)
    for name in ("method", "at", "what it shows"):
        table.add_column(name, no_wrap=name != "what it shows")
    for name, method in methods.items():
        table.add_row(Text(name, "bold"), where[method.target_layer], method.about)
    return table


def proof_lines(spec: Spec, out: Path) -> str:
    """What was written and what its proof measured."""
    lines = [f"{out}  ({out.stat().st_size / 1e6:.1f} MB)"]
    for m in spec.maps:
        exact = spec.proof["mathematics_float64"][m.name]
        file = spec.proof["file"][m.name]
        lines.append(
            f"  {m.name} [N, {_shape(m.shape)}]: {m.method} at {m.layer}; differs from autograd by {exact:.0e} in "
            f"float64, as a file in {spec.precision} by {file['max']:.0e} of the maximum"
        )
    counts = spec.proof["convolutions"]
    lines.append(f"  convolutions: {counts['network']} in the network, {counts['program']} in the program")
    if spec.precision != "float32":
        cost = spec.proof["agreement"]
        ranks = ", ".join(f"{name} {value:.4f}" for name, value in cost["rank_correlation"].items())
        lines.append(
            f"  {spec.precision}: {cost['changed']:.1%} of {cost['images']} predictions change; rank correlation of "
            f"the maps {ranks}"
        )
    return "\n".join(lines)


def findings_table(findings: Sequence[Finding]) -> Table:
    """The doctor's report."""
    table = Table(box=None, show_header=False)
    for finding in findings:
        sign = Text("✓", "green") if finding.good else Text("✗", "red")
        advice = "" if finding.good or not finding.advice else f"\n→ {finding.advice}"
        table.add_row(sign, Text(finding.name), Text(finding.details + advice))
    return table


class Progress:
    """The bar of a run, with its rate, the time left and the failures; silent where stderr is no terminal.

    Call it with (photos done, photos failed).
    """

    def __init__(self, total: int) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._bar = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            _Rate(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[failed]}"),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task("photos", total=total, failed="")

    def __enter__(self) -> Progress:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def __call__(self, done: int, failed: int) -> None:
        self._bar.update(self._task, completed=done, failed=f"[red]{failed} failed[/red]" if failed else "")

    def finish(self, result: RunResult, out: Path) -> None:
        """Say what was done and which files to open."""
        rate = result.photos / result.seconds if result.seconds else 0.0
        failed = f", {result.failed} failed (their rows say why)" if result.failed else ""
        lines = [f"{result.photos:,} photos in {result.seconds:.1f} s ({rate:.1f} per second){failed}"]
        lines += [f"  {result.sheet}"] if result.sheet else []
        lines.append(f"  {out / 'evidence'}")
        print("\n".join(lines))


class Steps:
    """The bar of a dream; call it with (steps done, all steps)."""

    def __init__(self) -> None:
        console = Console(stderr=True, highlight=False)
        columns = (TextColumn("steps"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._bar = RichProgress(*columns, console=console, disable=not console.is_terminal)
        self._task = self._bar.add_task("steps", total=None)

    def __enter__(self) -> Steps:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def __call__(self, done: int, steps: int) -> None:
        self._bar.update(self._task, completed=done, total=steps)


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.1f}/s" if task.speed else "")


def make_room(out: Path, overwrite: bool) -> None:
    """See that OUT holds no run: with `overwrite` the run's own files are removed, and nothing else.

    Raises:
        UsageError: OUT is a file; there is a run, and it was not said to replace it; or there are files in the way
            that are no run's.
        SaccadeError: it cannot be emptied.
    """
    if out.exists() and not out.is_dir():
        raise UsageError(f"run: {out} is a file; expected a folder for the results")
    there = [out / name for name in _RUN_FILES if os.path.lexists(out / name)]
    if there and not (out / "run.json").is_file():
        raise UsageError(f"run: {out} holds {there[0].name!r}, which is no run's; choose another folder")
    if there and not overwrite:
        raise UsageError(f"run: {out} holds a run already; choose another folder, or --overwrite")
    for path in there:
        try:
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        except OSError as error:
            raise SaccadeError(f"run: cannot remove {path}: {error.strerror}; choose another folder") from None


def _shape(shape: Sequence[int]) -> str:
    return "×".join("?" if s < 0 else str(s) for s in shape)
