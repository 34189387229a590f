"""The command `saccade check`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from .. import arguments
from ..console import SOME_FAILED, print_out, status
from ..help import Command, option


@click.command(cls=Command)
@arguments.model
@arguments.photos
@arguments.out("A JSON file for all that was measured.")
@option("--limit", type=click.IntRange(1, 10_000), default=50, help="At most so many of the photos, spread evenly.")
@arguments.objects
@arguments.explained
@arguments.loaded("pretrained")
@arguments.preparation
@arguments.classes
def check(
    model: str,
    photos: Sequence[str],
    out: Path,
    limit: int,
    masks: str | None,
    boxes: Path | None,
    method: Sequence[str],
    layer: str | None,
    weights: str,
    **described: Any,
) -> None:
    """Ask whether explanations tell the truth of a network.

    Do a method's maps change when the network's layers are drawn anew, from the last one down? Does what they mark
    remove the predicted class when it is removed, and bring it back, faster than random parts or the picture's middle?
    With masks or boxes: do they point at the object? OUT gets all of it as JSON, with intervals over the photos.

    Exit code: 0 done, 1 nothing done, 2 wrong usage, 3 some photos could not be read.
    """
    import json

    from ..audit.objects import Objects
    from ..engine import decode
    from ..engine.compiler import load_model
    from ..engine.contract import replacing
    from .checking import check as examine
    from .telling import sentence, table

    options = arguments.model_options(**described)
    listed = decode.list_photos(photos)
    with status(f"loading {model}") as line:
        say = (lambda text: line.update(text)) if line is not None else (lambda _: None)
        objects = Objects.named(masks, boxes, (photo.name for photo in listed))
        found = examine(load_model(model, weights, options), method or ["grad-cam"], listed, layer, limit, objects, say)
    with replacing(out) as temporary:
        temporary.write_text(json.dumps(found.to_json(), indent=1, allow_nan=False) + "\n", encoding="utf-8")
    print_out(table(found))
    for each in found.methods:
        print_out(sentence(each, found))
    for note in found.notes:
        print_out(note)
    print_out(str(out))
    if found.failed:
        sys.exit(SOME_FAILED)
