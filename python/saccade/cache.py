"""Programs that `saccade run MODEL` compiled, kept for the next time."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .engine.contract import ModelOptions, SaccadeError
from .engine.contract.program_file import Format, read_contract

if TYPE_CHECKING:
    from .engine.compiler import Model


def folder() -> Path:
    """`$SACCADE_CACHE`, else `saccade` in the user's own cache folder."""
    if given := os.environ.get("SACCADE_CACHE"):
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "saccade")


def compiled(
    model: str,
    weights: str,
    options: ModelOptions,
    methods: Sequence[str],
    to: Format,
    layer: str | None,
    target: str | None = None,
) -> tuple[Path, bool]:
    """The program for these words, compiled if it is not there yet; returns its path and whether it was there.

    A model of a library is known by its name and the libraries' versions, a file by its bytes. What a function of the
    user's returns, and what an `.onnx` has beside it, is known only by looking: it is built, and its graph and weights
    make the key.
    """
    from importlib.metadata import version

    from .engine import pipeline
    from .engine.compiler import SUFFIX, load_model

    found: Model | None = None
    if ":" in model or model.endswith(".onnx"):
        found = load_model(model, weights, options)
        identity = [found.network.weights_hash(), str(found.network.graph)]
    else:
        identity = [weights if weights in ("pretrained", "random") else _bytes(weights)]
        identity += [_bytes(model)] if Path(model).suffix in (".pt2", ".pt", ".pth", ".ts", ".torchscript") else []
    versions = {n: version(n) for n in ("saccade", "torch", "torchvision", "timm", "onnxscript")}
    words = [model, identity, dataclasses.asdict(options), list(methods), to, layer, target, versions]
    key = hashlib.sha256(json.dumps(words).encode()).hexdigest()[:32]
    path = folder() / "programs" / f"{key}{SUFFIX[to]}"
    if path.exists():
        try:
            read_contract(path)
            return path, True
        except SaccadeError:
            pass  # damaged: made again below
    pipeline.compile_program(found or load_model(model, weights, options), methods, path, to, layer, target)
    return path, False


def _bytes(file: str) -> str:
    try:
        with open(file, "rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError:
        return ""  # loading it will say what is wrong
