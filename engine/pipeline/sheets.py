"""Contact sheets from a run's evidence, without running the network again."""

from __future__ import annotations

import json
import os
from typing import Any, Literal

import numpy as np

from .. import decode, render, sinks
from ..contract import SaccadeError, Spec, UsageError, read_spec
from ..render import Caption, Gallery, Look
from .views import PLACE, view_of

SHEET_LIMIT = 48
"""Photos on the sheet that a run makes by itself."""


def sheet(
    folder: str | os.PathLike[str],
    out: str | os.PathLike[str],
    where: str | None = None,
    order_by: str | None = None,
    limit: int = SHEET_LIMIT,
    look: Look | None = None,
    title: str | None = None,
    subtitle: str | None = None,
) -> int:
    """Draw a contact sheet from a run's evidence, without running the network again.

    Args:
        folder: the run's folder.
        out: the picture to write, .jpg or .png.
        where, order_by: SQL expressions over the evidence's columns.
        limit: at most so many photos.
        title, subtitle: by default the model's name, and what was asked for.

    Returns:
        How many photos are on it.

    Raises:
        UsageError: no run, a wrong expression, or no photo that matches.
    """
    info = sinks.read_run(folder)
    spec = read_spec(json.dumps(info.get("contract")))
    look = look or Look()
    check_look(spec, look)
    # Photos that could not be read go last and are dropped: no bracket around `where` that it could close.
    last = "error IS NOT NULL"
    table = sinks.read_evidence(folder, where, f"{last}, {order_by}" if order_by else last, limit)
    if missing := [w for w in (*PLACE, "prediction", "confidence", "error") if w not in table.schema.names]:
        raise SaccadeError(f"sheet: the evidence in {folder} has no column {missing[0]}; run it again")
    table = table.filter(table["error"].is_null())
    if table.num_rows == 0:
        raise UsageError(f"sheet: no photo of {folder} matches {where or 'anything'}; loosen --where")
    gallery = Gallery(spec, look, range(table.num_rows))
    options = info.get("options")
    _add_evidence(gallery, table, "exact" if isinstance(options, dict) and options.get("decode") == "exact" else "fast")
    asked = [f"{word} {said}" for word, said in (("where", where), ("ordered by", order_by)) if said]
    subtitle = subtitle or f"{table.num_rows} photos {', '.join(asked)}".strip()
    sinks.write_picture(out, gallery.draw(title or title_of(spec), subtitle))
    return table.num_rows


def _add_evidence(gallery: Gallery, table: Any, mode: Literal["fast", "exact"]) -> None:
    spec, p = gallery.spec, gallery.spec.preprocessing
    captions, images = [], []
    words = [*PLACE, "prediction", "confidence", "outputs"]
    storage = decode.Storage(patience=0)
    for i, row in enumerate(table.select([w for w in words if w in table.schema.names]).to_pylist()):
        image, there = view_of(row, storage, p, mode)
        row["name"] += "" if there else " (the photo is gone)"
        images.append(image)
        outputs = row.get("outputs")
        said = row["prediction"] if outputs is None else spec.answers(np.array([outputs], np.float32))[0]
        said = ("nothing" if spec.output_size else "") if said is None else said
        captions.append(Caption(i, row["name"], row["label"], said, row["confidence"], comparable(spec, said)))
    storage.close()
    kept = {m.name: sinks.restore_map(table, m.name) for m in spec.maps if m.name in table.schema.names}
    gallery.add(captions, np.stack(images), kept)


def check_look(spec: Spec, look: Look) -> None:
    render.colormap(look.colormap)
    uncalibrated = [m.name for m in spec.maps if m.kind != "activations" and m.name not in (spec.calibration or {})]
    if look.scale == "calibrated" and uncalibrated:
        raise UsageError(
            f"run: --scale calibrated: the program carries no range for {uncalibrated[0]}; compile it with "
            "--calibrate PHOTOS, or use --scale image"
        )


def comparable(spec: Spec, answer: str) -> str | None:
    """A network's answer where it is one a label can be held against: a class, no region and no number."""
    return None if spec.output_size or spec.target == "outputs" else answer


def title_of(spec: Spec) -> str:
    return f"{spec.model}: where it looks"
