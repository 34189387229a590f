"""Which images the page shows with their pictures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, zip_longest

import numpy as np

from ..evidence import Evidence
from ..findings import ClassFindings, Findings, Suspect

_OF_SUSPECT = 24
"""So many images of a suspect: a card's examples and its strip of typical ones."""


def rows_wanted(findings: Findings, evidence: Evidence, limit: int = 1500, seed: int = 0) -> list[int]:
    """The rows whose pictures the page shows: read their views and hand them to `write`.

    Suspects come first (half of the limit at most), then each class's typical images, outliers and confusions by turns,
    so that a thousand classes all get some; a quarter of the limit is a sample of all images, for the table.

    Args:
        findings: what was found.
        evidence: the run's.
        limit: at most so many.
        seed: of the sample.

    Returns:
        Rows of the evidence without an error, ascending, each once.
    """
    chosen: set[int] = set()
    usable = np.flatnonzero(evidence.good)
    known = set(usable.tolist())

    def take(rows: Iterable[int], most: int) -> None:
        for row in rows:
            if len(chosen) >= most:
                return
            if row in known:
                chosen.add(int(row))

    suspects = [_rows_of(s) for s in findings.suspects if s.verdict != "clear"]
    tried = [_rows_of(s) for s in findings.suspects if s.verdict == "clear"]
    take(by_turns(suspects), limit // 2)
    take(chain(by_turns([_rows_of_class(c) for c in findings.classes]), by_turns(tried)), limit - limit // 4)
    take(np.random.default_rng(seed).permutation(usable).tolist(), limit)
    return sorted(chosen)


def by_turns(queues: Iterable[Iterable[int]]) -> Iterator[int]:
    """The first of each queue, then the second of each, …."""
    for turn in zip_longest(*queues):
        yield from (row for row in turn if row is not None)


def _rows_of(suspect: Suspect) -> Sequence[int]:
    examples = [example.row for trial in suspect.trials for example in trial.examples]
    return [*examples, *suspect.rows][:_OF_SUSPECT]


def _rows_of_class(found: ClassFindings) -> list[int]:
    typical = [s.typical for s in found.strategies]
    outliers = [s.outliers for s in found.strategies]
    confused = [rows for _, _, rows in found.confusions]
    return list(by_turns([by_turns(typical), by_turns(outliers), by_turns(confused)]))
