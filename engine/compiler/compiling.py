"""From a model to a proven program file."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import platform
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import get_args

import torch

from ..contract import Maps, Spec, UsageError
from ..contract.program_file import Format, append_contract
from ..contract.spec import Precision
from .artefact import RunArtefact, prove_artefact
from .emit import emit
from .folding import fold_batch_norm
from .methods import Method, method
from .models import Model
from .network import INPUT, Network, short_name
from .precision import DTYPES, lower
from .proof import Lowering, prove
from .targets import Target, parse_target
from .trace import Request, trace

SUFFIX: dict[Format, str] = {"onnx": ".onnx", "torchscript": ".ts", "aotinductor": ".pt2"}
"""The kind of a program file → its name's ending."""

RunFile = Callable[..., Maps]


def write_program(
    model: Model,
    methods: Sequence[str],
    path: Path,
    open_file: Callable[[Path], RunFile],
    to: Format = "onnx",
    layer: str | None = None,
    target: str | None = None,
    calibrate: Callable[[Path], Mapping[str, tuple[float, float]]] | None = None,
    lowering: Lowering | None = None,
    device: str = "cpu",
    open_artefact: Callable[[Path, frozenset[str]], RunArtefact] | None = None,
) -> Spec:
    """Compile explanations of a model into one program file, and prove it.

    Args:
        model: the network, its preprocessing and classes.
        methods: one or more names of `methods.METHODS`; they share one forward pass.
        path: where the proven file goes; the caller makes it final (`contract.replacing`).
        open_file: opens a file in its own runtime, for the proof; gives a function of the program's inputs.
        to: "onnx", "torchscript" or "aotinductor".
        layer: the target layer of the methods that have one; None for the default.
        target: what is explained: "class", "top-5", "region", "outputs" or "unit:LAYER" (see targets.py); None for a
            class, or the region of a segmentation.
        calibrate: gives fixed ranges for the maps, for the contract, by running the file over photos.
        lowering: half precision; None for float32.
        device: "cpu" or "cuda", what an AOTInductor program is compiled for and an ONNX program is fastest on; all but
            AOTInductor's run on both.
        open_artefact: opens the file that the network was read from in its own runtime, for the proof, if it
            has no other operators than these.

    Returns:
        The contract that the file carries.

    Raises:
        UsageError: a method, layer or runtime that does not exist or does not fit.
        SaccadeError: the proof failed, or half precision costs too much; there is no file.
    """
    if to not in SUFFIX:
        raise UsageError(f"compile: --to {to!r}: expected one of {', '.join(SUFFIX)}")
    if lowering is not None and lowering.precision not in DTYPES:
        known = ", ".join(get_args(Precision))
        raise UsageError(f"compile: precision {lowering.precision!r}: expected one of {known}")
    if lowering is not None and to == "onnx" and lowering.precision == "bfloat16":
        raise UsageError(
            "compile: ONNX Runtime has no bfloat16 convolutions; use --precision float16, --to torchscript, or compile "
            "in float32 and run with --runtime openvino --precision bfloat16"
        )
    goal = parse_target(target or ("class" if model.network.output_size is None else "region"))
    if calibrate is not None and (goal.kind == "unit" or "ascent" in methods):
        raise UsageError("compile: --calibrate needs maps of a class, region or outputs; units and ascents have none")
    _check_target(model.network, goal)
    requests = make_requests(model.network, methods, layer, goal)
    artefact = None
    if model.network.artefact is not None:
        assert open_artefact is not None, "no proof without the artefact's own runtime"
        run_artefact = open_artefact(model.network.artefact.path, model.network.artefact.operators)
        artefact = prove_artefact(model.network, model.preprocessing, run_artefact)
    explained = [model.network.layer(goal.layer)] if goal.layer else []
    network, folding = fold_batch_norm(model.network, model.preprocessing, {r.node for r in requests}.union(explained))
    requests, preprocessing = make_requests(network, methods, layer, goal), model.preprocessing
    traced = trace(network, preprocessing, requests, goal)
    spec = Spec(
        model=network.name,
        weights_hash=model.network.weights_hash(),
        preprocessing=preprocessing,
        maps=traced.maps,
        features=traced.features,
        pixels="uint8" if traced.pixels == torch.uint8 else "float32",
        precision=lowering.precision if lowering else "float32",
        num_outputs=network.num_outputs,
        output_size=network.output_size,
        target=goal.kind,
        target_count=goal.count,
        target_layer=goal.layer,
        target_shape=network.unit_shape(network.layer(goal.layer)) if goal.layer else None,
        softmax=network.gives_logits and goal.kind != "outputs",
        classes=model.classes,
        versions=_versions(to),
    )
    with tempfile.TemporaryDirectory(prefix="saccade-") as folder:
        body, candidate = Path(folder, f"body{SUFFIX[to]}"), Path(folder, f"candidate{SUFFIX[to]}")
        emit(lower(traced, lowering.precision) if lowering else traced, to, body, device)
        shutil.copyfile(body, candidate)
        append_contract(candidate, to, spec)
        proof = prove(network, traced, preprocessing, requests, goal, open_file(candidate), lowering)
        if folding is not None:
            proof["folding"] = folding
        if artefact is not None:
            proof["artefact"] = artefact
        calibration = calibrate(candidate) if calibrate else None
        spec = append_contract(body, to, dataclasses.replace(spec, proof=proof, calibration=calibration))
        shutil.copyfile(body, path)
    return spec


def write_forward(model: Model, path: Path, to: Format, precision: Precision = "float32", device: str = "cpu") -> None:
    """The network alone as a file of the same kind, folded, normalised and narrowed as an explanation's is: what the
    price of an explanation is measured against. It has a program's inputs, gives the logits, and carries no contract.
    """
    network, _ = fold_batch_norm(model.network, model.preprocessing, set())
    traced = trace(network, model.preprocessing, [], Target())
    emit(traced if precision == "float32" else lower(traced, precision), to, path, device)


def _check_target(network: Network, target: Target) -> None:
    name = network.name
    if target.kind == "region" and network.output_size is None:
        raise UsageError(f"compile: target region: {name} gives logits [N, K]; expected a segmentation's [N, K, h, w]")
    if target.kind in ("class", "outputs") and network.output_size is not None:
        raise UsageError(
            f"compile: {name} is a segmentation, its logits are [N, K, h, w]; compile it with --target region"
        )
    if target.count > network.num_outputs:
        raise UsageError(f"compile: target top-{target.count}: {name} has {network.num_outputs} outputs")
    if target.layer is not None:
        shape = network.unit_shape(network.layer(target.layer))
        if len(shape) not in (1, 3):
            raise UsageError(
                f"compile: target unit: layer {target.layer!r} of {name} gives {['N', *shape]}; expected maps "
                "[N, C, h, w] or units [N, C]"
            )


def make_requests(
    network: Network, methods: Sequence[str], layer: str | None, target: Target | None = None
) -> list[Request]:
    """The explanations that these words ask for.

    Raises:
        UsageError: a method or layer that does not exist or does not fit.
    """
    if not methods:
        raise UsageError("compile: expected at least one method (--method grad-cam)")
    requests = []
    for name in dict.fromkeys(m.replace("_", "-") for m in methods):
        chosen = method(name)
        at = _target_layer(network, name, chosen, layer)
        node = network.layer(at)
        layout = network.layout(node)
        if layout is None:
            shape = [s if isinstance(s, int) else str(s) for s in node.meta["val"].shape[1:]]
            raise UsageError(
                f"compile: {name} needs a layer that gives maps [N, C, h, w]; {at!r} of {network.name} gives "
                f"{['N', *shape]}; choose another (see: saccade layers MODEL)"
            )
        output = name.replace("-", "_").replace("+", "p")
        ranks = target.count if target and chosen.asks else 1
        requests += [
            Request(output if rank == 1 else f"{output}_{rank}", name, chosen, at, node, layout, rank)
            for rank in range(1, ranks + 1)
        ]
    if any(r.method.kind == "ascent" for r in requests) and len(requests) > 1:
        raise UsageError("compile: ascent takes float32 pixels and makes a program of its own, for one class at a time")
    if layer is not None and all(r.method.target_layer == "input" for r in requests):
        raise UsageError(f"compile: {methods[0]} explains the input and takes no --layer; leave it out")
    return requests


def _target_layer(network: Network, name: str, chosen: Method, layer: str | None) -> str:
    if chosen.target_layer == "input":
        return INPUT
    if chosen.target_layer == "pooled":
        head = network.pooled_head()
        pooled = [each.name for each in network.layers if head and each.node is head[0]]
        if head and not pooled and short_name(head[0].target) == "relu":  # a function of DenseNet's, not a module
            pooled = [each.name for each in network.layers if each.node is head[0].args[0]]
        if not pooled:
            raise UsageError(
                f"compile: {name} needs a head of global average pooling of a module's output and one linear layer; "
                f"{network.name} has another; use grad-cam"
            )
        if layer is not None and layer not in pooled:
            raise UsageError(f"compile: {name} explains the layer that is pooled, {pooled[-1]!r}, not {layer!r}")
        return pooled[-1]
    if layer is not None:
        return layer
    default = network.default_layer()
    if default is None:
        raise UsageError(
            f"compile: {network.name} has no layer that {name} would choose by itself; "
            "give one with --layer (see: saccade layers MODEL)"
        )
    return default.name


def _versions(to: Format) -> dict[str, str]:
    names = ["saccade", "torch", *(["onnx", "onnxscript"] if to == "onnx" else [])]
    found = {"python": platform.python_version()}
    for name in names:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = torch.__version__ if name == "torch" else "unknown"
    return found
