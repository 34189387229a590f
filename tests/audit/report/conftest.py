"""Findings that are made up from a run's evidence, and the browser that opens their page."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from saccade.audit.evidence import Evidence
from saccade.audit.findings import ClassFindings, Example, Findings, Interval, Strategy, Suspect, Trial


def _examples(rows: list[int], name: str) -> tuple[Example, ...]:
    before, after = np.full((32, 32, 3), 250, np.uint8), np.full((32, 32, 3), 20, np.uint8)
    return tuple(Example(row, name, "another", 0.98, 0.03, before, after) for row in rows)


def _suspect(number: int, name: str, rows: list[int], shape: tuple[int, int]) -> Suspect:
    where = np.zeros(shape, np.float32)
    where[: shape[0] // 2] = 1
    flips, change = Interval(0.91, 0.86, 0.95, 80), Interval(-0.88, -0.9, -0.85, 80)
    nothing = Interval(0.03, 0.01, 0.05, 80)
    how = "the sky replaced by that of others"
    trial = Trial(how, "replace", flips, change, "as large, elsewhere", nothing, nothing, _examples(rows[:2], name))
    sentence = f"In 94 % of “{name}” images the evidence lies in the sky."
    more = {"verdict": "shortcut", "score": 0.9, "sentence": sentence, "rows": tuple(rows[:4])}
    why = "It is the same place in every image."
    return Suspect("place", f"the sky {number}", name, len(rows), 0.94, why, {"p": 1e-9}, where, (trial,), **more)


def _class(evidence: Evidence, index: int, rows: list[int]) -> ClassFindings:
    heat = np.random.default_rng(index).random(evidence.map_shape).astype(np.float32)
    typical, outliers, measures = tuple(rows[:24]), tuple(rows[-3:]), {"border_mass": 0.6}
    strategy = Strategy(1, len(rows), 1.0, 0.5, {"tank": 3}, heat, typical, outliers, measures, {"brightness": 1.2})
    wrong = (("another", 2, tuple(rows[:2])),)
    return ClassFindings(evidence.names[index], index, len(rows), 3, 0.5, None, 0, heat, (strategy,), wrong)


@pytest.fixture
def make_findings() -> Callable[..., Findings]:
    """`make_findings(evidence, suspects=0, notes=())`: a class for each that is predicted, suspects of the first."""

    def make(evidence: Evidence, suspects: int = 0, notes: tuple[str, ...] = ()) -> Findings:
        rows = {
            int(c): np.flatnonzero(evidence.predicted == c).tolist() for c in np.unique(evidence.predicted) if c >= 0
        }
        classes = tuple(_class(evidence, c, there) for c, there in rows.items())
        first = classes[0] if classes else None
        shape = evidence.map_shape
        found = tuple(_suspect(i, first.name, rows[first.index], shape) for i in range(suspects) if first)
        failed = int((~evidence.good).sum())
        about = ("runs/weather", "tests:network", "grad-cam", "layer4")
        return Findings(*about, len(evidence), failed, 0.5, found, classes, 312, 5120, notes, {"trials": 21.4})

    return make


@pytest.fixture
def open_page(browser: Any) -> Iterator[Callable[..., Any]]:
    """`open_page(path, width, …)`: the page, once its table is there; `problems` has what the console and it said."""
    contexts = []

    def open_it(
        path: Path, width: int = 1280, height: int = 900, problems: list[str] | None = None, **more: Any
    ) -> Any:
        context = browser.new_context(viewport={"width": width, "height": height}, **more)
        contexts.append(context)
        page = context.new_page()
        said = [] if problems is None else problems
        page.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: said.append(f"error: {error}"))
        page.on("dialog", lambda dialog: said.append(f"dialog: {dialog.message}"))
        page.on(
            "request", lambda request: said.append(request.url) if request.url[:5] not in ("file:", "data:") else None
        )
        page.goto(path.as_uri())
        page.wait_for_selector("table.images, #table [role=alert]")
        return page

    yield open_it
    for context in contexts:
        context.close()
