"""A run's evidence for other people's tools: FiftyOne's dataset folders, ViRelAy's projects."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any, Literal, get_args

from ... import sinks
from ...contract import UsageError, read_spec
from .rows import Export, new_folder

ExportFormat = Literal["fiftyone", "virelay"]


def export(
    folder: str | os.PathLike[str],
    out: str | os.PathLike[str],
    to: ExportFormat,
    where: str | None = None,
    order_by: str | None = None,
    limit: int | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> int:
    """Write a run's evidence in another tool's format, without running the network again; see docs/exports.md.

    Memory is bounded by a few hundred photos, save for some numbers of each: where its row is and, for ViRelAy, its
    place in the embeddings.

    Args:
        folder: the run's folder.
        out: a new folder; it gets its name when it is whole.
        to: "fiftyone" or "virelay".
        where, order_by, limit: SQL expressions over the evidence's columns, as `sheet` takes them.
        on_progress: called with (photos done, photos in all).

    Returns:
        How many photos are in it.

    Raises:
        UsageError: no run, a wrong expression, no photo that matches, or `out` is there already.
        SaccadeError: something could not be written, or a package is missing.
    """
    if to not in get_args(ExportFormat):
        raise UsageError(f"export: --to {to}: expected {' or '.join(get_args(ExportFormat))}")
    if os.path.lexists(out):
        raise UsageError(f"export: {out} is there already; name a new folder, or remove it")
    info = sinks.read_run(folder)
    spec = read_spec(json.dumps(info.get("contract")))
    if to == "fiftyone":
        from .fiftyone import write
    else:
        from .virelay import check, write

        check(spec)
        # No bracket around `where` that it could close: the rows that are errors go last, and are cut off there.
        order_by = f"error IS NOT NULL, {order_by}" if order_by else "error IS NOT NULL"
    rows = sinks.iterate_evidence(folder, where, order_by, limit)
    with new_folder(out) as temporary:
        return write(Export(spec, _decode_mode(info), rows, where, on_progress), temporary)


def _decode_mode(info: dict[str, Any]) -> Literal["fast", "exact"]:
    options = info.get("options")
    return "exact" if isinstance(options, dict) and options.get("decode") == "exact" else "fast"


__all__ = ["ExportFormat", "export"]
