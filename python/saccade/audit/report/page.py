"""The page itself: `report.html`, which carries its style, its script and its data."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import os
import string
from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ...engine import render
from ...engine.contract import replacing
from ..evidence import Evidence
from ..findings import Findings
from .data import class_verdicts, page_data, verdict_sentence
from .sprites import Averages, Sprites, cell_size, in_cell
from .table import CELLS, FINE_CELLS, Block, map_bytes, table_data, table_rows

_SCRIPTS = ("base.js", "store.js", "pictures.js", "viewer.js", "suspects.js", "classes.js", "table.js", "page.js")
_THUMBNAIL = 112  # pixels, the longer side
_EXAMPLE = 192
_AVERAGED = 100  # classes, the most frequent ones
_AVERAGE_OF = 5  # images at least: the mean of fewer looks like a double exposure
_KICKER = {"shortcut": "Shortcut", "suspect": "Suspicious", "clear": "Clear"}


def write(
    path: str | os.PathLike[str],
    findings: Findings,
    evidence: Evidence,
    views: Iterable[tuple[int, npt.NDArray[np.uint8]]],
    strategies: npt.NDArray[np.int16] | None = None,
) -> None:
    """Write the page, whole or not at all.

    Args:
        path: the file, `report.html`.
        findings: what was found.
        evidence: the run's; its scalar columns and maps are read, no features.
        views: (row, what the network saw, uint8 [H, W, C]) of the rows that `rows_wanted` names, in any order; one that
            is missing is shown by its map alone.
        strategies: int16 [N], the number of each row's strategy among its class's, -1 without one; by default the table
            has no such column.

    Raises:
        SaccadeError: the evidence is damaged, or the file cannot be written.
    """
    thumbnails, examples = Sprites(_THUMBNAIL), Sprites(_EXAMPLE)
    data = page_data(findings, examples)
    pictured, averages, averaged = _take_pictures(views, findings, evidence, thumbnails)
    rows = table_rows(evidence, pictured)
    maps, fine, table = Block(), Block(), Block()
    data |= {
        "colours": base64.b64encode(render.colormap("viridis").tobytes()).decode(),
        "opacity": render.Look().opacity,
        "view": [evidence.spec.preprocessing.height, evidence.spec.preprocessing.width],
        "maps": _add_maps(evidence, rows, CELLS, maps),
        # Of the images with a picture alone: 1,500 of them are 1 MB, 100,000 would be 78.
        "fine": _add_maps(evidence, pictured, FINE_CELLS, fine) if max(evidence.map_shape) > CELLS else None,
        "pictured": pictured.tolist(),
        "thumbnails": thumbnails.finish(),
        "averages": averages.finish() | {"of": averaged},
        "examples": examples.finish(),
        "table": table_data(evidence, rows, strategies, class_verdicts(findings), table),
    }
    blocks = {"maps": maps.encoded(), "fine": fine.encoded(), "table-data": table.encoded()}
    for name, sprites in (("thumbnails", thumbnails), ("averages", averages), ("examples", examples)):
        blocks |= {f"{name}-{i}": sheet for i, sheet in enumerate(sprites.sheets)}
    _write_page(path, findings, data, blocks)


def _take_pictures(
    views: Iterable[tuple[int, npt.NDArray[np.uint8]]], findings: Findings, evidence: Evidence, thumbnails: Sprites
) -> tuple[npt.NDArray[np.int64], Sprites, dict[int, list[int]]]:
    """The pictures as they come: the row of each cell; the classes' mean pictures, the cell and the count of each."""
    mean = Averages([c.index for c in findings.classes[:_AVERAGED]], _THUMBNAIL)
    cells: dict[int, int] = {}
    for row, view in views:
        if row not in cells:
            small = in_cell(view, cell_size(view, _THUMBNAIL))
            cells[row] = thumbnails.add(small)
            mean.add(int(evidence.predicted[row]), small)
    averages = Sprites(_THUMBNAIL)
    averaged = {index: [averages.add(picture), of] for index, (picture, of) in mean.pictures(_AVERAGE_OF).items()}
    return np.array(list(cells), np.int64), averages, averaged


def _add_maps(evidence: Evidence, rows: npt.NDArray[np.int64], cells: int, block: Block) -> tuple[int, int]:
    """The maps of some rows, in their order, into a block; the rows and columns of each."""
    order = np.argsort(rows)
    made, shape = map_bytes(evidence, rows[order], cells)
    placed = np.empty_like(made)
    placed[order] = made
    block.add(placed.tobytes())
    return shape


def _write_page(
    path: str | os.PathLike[str], findings: Findings, data: dict[str, Any], blocks: dict[str, bytes]
) -> None:
    style = _resource("report.css")
    script = '(() => {\n"use strict";\n' + "\n".join(map(_resource, _SCRIPTS)) + "})();\n"
    before, after = _resource("page.html").split("$blocks")
    sentence = verdict_sentence(findings)
    head = string.Template(before).substitute(
        style=style,
        style_hash=_hash(style),
        script=script,
        script_hash=_hash(script),
        title=html.escape(f"{_KICKER[findings.verdict]}: audit of {Path(findings.run).name or findings.run}"),
        verdict=findings.verdict,
        kicker=_KICKER[findings.verdict],
        sentence=html.escape(sentence),
        findings=_in_script(data),
    )
    with replacing(path) as temporary, open(temporary, "wb") as file:
        file.write(head.encode("utf-8", "replace"))
        for name, block in blocks.items():
            file.write(b'<script type="text/plain" id="%s">%s</script>\n' % (name.encode(), block))
        file.write(after.encode())


def _resource(name: str) -> str:
    return resources.files(__name__.rpartition(".")[0]).joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """As a Content-Security-Policy names a script: nothing but this very text runs in the page."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _in_script(data: dict[str, Any]) -> str:
    """JSON that cannot end the script element that it stands in, whatever a file or a class is called."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
