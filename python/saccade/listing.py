"""What the command line prints: tables, a proof, a bar.

rich is imported by what draws with it alone: a run's first picture would wait 60 ms for it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from .engine.contract import Spec

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

    from .doctor import Finding
    from .engine.compiler import Network
    from .engine.compiler.methods import Method


def layer_table(network: Network) -> Group:
    """Every module call in the order of execution, with its output's shape."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

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
    from rich.table import Table
    from rich.text import Text

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
    if artefact := spec.proof.get("artefact"):
        lines.append(
            f"  logits: differ from those of the file that was given by {artefact['logits']:.0e} of the largest"
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
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False)
    for finding in findings:
        sign = Text("✓", "green") if finding.good else Text("✗", "red")
        advice = "" if finding.good or not finding.advice else f"\n→ {finding.advice}"
        table.add_row(sign, Text(finding.name), Text(finding.details + advice))
    return table


class Steps:
    """The bar of a dream, with its rate and the time left; call it with (steps done, all steps).

    Nothing where stderr is no terminal; rich is imported with the first report that leaves something to do.
    """

    def __init__(self) -> None:
        self._drawn: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._drawn is not None:
            self._drawn.stop()

    def __call__(self, done: int, steps: int) -> None:
        if self._drawn is None:
            if done >= steps or not sys.stderr.isatty():
                return
            self._drawn = _draw_bar()
            self._task = self._drawn.add_task("steps", total=steps)
            self._drawn.start()
        self._drawn.update(self._task, completed=done, total=steps)


def _draw_bar() -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Any) -> Text:
            return Text(f"{task.speed:.1f}/s" if task.speed else "")

    return RichProgress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        Rate(),
        TimeRemainingColumn(),
        console=Console(stderr=True, highlight=False),
    )


def rows_table(names: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> Table:
    """The answer to a question: numbers to the right, shares with three places, lists by their length."""
    from rich.table import Table
    from rich.text import Text

    found = list(rows)
    table = Table(box=None, pad_edge=False)
    for name in names:
        numeric = all(isinstance(row[name], int | float | None) for row in found)
        table.add_column(Text(name), justify="right" if numeric else "left")
    for row in found:
        table.add_row(*(Text(_cell(row[name])) for name in names))
    return table


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return f"[{len(value)} values]"
    return "" if value is None else f"{value:,}" if isinstance(value, int) and abs(value) > 9999 else str(value)


def _shape(shape: Sequence[int]) -> str:
    return "×".join("?" if s < 0 else str(s) for s in shape)
