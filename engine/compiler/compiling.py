"""From a model to a proven program file."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import platform
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from ..contract import Maps, Spec, UsageError
from ..contract.program_file import Format, append_contract
from .emit import emit
from .methods import method
from .models import Model
from .network import INPUT
from .proof import prove
from .trace import Request, trace

SUFFIX: dict[Format, str] = {"onnx": ".onnx", "torchscript": ".ts"}
"""The kind of a program file → its name's ending."""

RunFile = Callable[[np.ndarray, np.ndarray], Maps]


def write_program(
    model: Model,
    methods: Sequence[str],
    path: Path,
    open_file: Callable[[Path], RunFile],
    to: Format = "onnx",
    layer: str | None = None,
    calibrate: Callable[[Path], Mapping[str, tuple[float, float]]] | None = None,
) -> Spec:
    """Compile explanations of a model into one program file, and prove it.

    Args:
        model: the network, its preprocessing and classes.
        methods: one or more names of `methods.METHODS`; they share one forward pass.
        path: where the proven file goes; the caller makes it final (`contract.replacing`).
        open_file: opens a file in its own runtime, for the proof; gives a function of (images, target).
        to: "onnx" or "torchscript".
        layer: the target layer of the methods that have one; None for the default.
        calibrate: gives fixed ranges for the maps, for the contract, by running the file over photos.

    Returns:
        The contract that the file carries.

    Raises:
        UsageError: a method, layer or runtime that does not exist or does not fit.
        SaccadeError: the proof failed; there is no file.
    """
    if to not in SUFFIX:
        raise UsageError(f"compile: --to {to!r}: expected one of {', '.join(SUFFIX)}")
    requests = _requests(model, methods, layer)
    network, preprocessing = model.network, model.preprocessing
    traced = trace(network, preprocessing, requests)
    spec = Spec(
        model=network.name,
        weights_hash=network.weights_hash(),
        preprocessing=preprocessing,
        maps=traced.maps,
        features=traced.features,
        num_outputs=network.num_outputs,
        softmax=network.gives_logits,
        classes=model.classes,
        versions=_versions(to),
    )
    with tempfile.TemporaryDirectory(prefix="saccade-") as folder:
        body, candidate = Path(folder, f"body{SUFFIX[to]}"), Path(folder, f"candidate{SUFFIX[to]}")
        emit(traced, to, body)
        shutil.copyfile(body, candidate)
        append_contract(candidate, to, spec)
        proof = prove(network, traced, preprocessing, requests, open_file(candidate))
        calibration = calibrate(candidate) if calibrate else None
        spec = append_contract(body, to, dataclasses.replace(spec, proof=proof, calibration=calibration))
        shutil.copyfile(body, path)
    return spec


def _requests(model: Model, methods: Sequence[str], layer: str | None) -> list[Request]:
    if not methods:
        raise UsageError("compile: expected at least one method (--method grad-cam)")
    requests = []
    for name in dict.fromkeys(m.replace("_", "-") for m in methods):
        chosen = method(name)
        if chosen.target_layer == "input":
            target = INPUT
        elif layer is not None:
            target = layer
        else:
            default = model.network.default_layer()
            if default is None:
                raise UsageError(
                    f"compile: {model.network.name} has no layer that {name} would choose by itself; "
                    "give one with --layer (see: saccade layers MODEL)"
                )
            target = default.name
        requests.append(Request(name.replace("-", "_"), name, chosen, target, model.network.layer(target)))
    if layer is not None and all(r.layer == INPUT for r in requests):
        raise UsageError(f"compile: {methods[0]} explains the input and takes no --layer; leave it out")
    return requests


def _versions(to: Format) -> dict[str, str]:
    names = ["saccade", "torch", *(["onnx", "onnxscript"] if to == "onnx" else [])]
    found = {"python": platform.python_version()}
    for name in names:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = torch.__version__ if name == "torch" else "unknown"
    return found
