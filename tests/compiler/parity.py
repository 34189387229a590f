"""Compiles a network for every runtime once, and measures how far its maps are from eager float64."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import networks
import numpy as np
import numpy.typing as npt
import pytest
import torch

from saccade.engine import execute, pipeline
from saccade.engine.compiler import Model, compiling, eager, load_model, wrap_module
from saccade.engine.compiler.models import load_state, read_state
from saccade.engine.compiler.network import Network
from saccade.engine.compiler.proof import Reference, error_to_maximum, float64, pictures, relative_l2
from saccade.engine.compiler.targets import Target, parse_target
from saccade.engine.compiler.trace import Request, Traced, normalise
from saccade.engine.contract import ModelOptions
from saccade.engine.contract.program_file import Format

METHODS = ("grad-cam", "saliency", "activations")
RUNTIMES: tuple[Format, ...] = ("onnx", "torchscript")
BATCHES = (1, 3, 8)
TIE = 0.2
"""The most by which one photo's map may be off, in relative L2, where a ReLU or a max pool is at a tie."""
Arrays = dict[str, npt.NDArray]

IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


@dataclass(frozen=True)
class Subject:
    """A network under test.

    Attributes:
        load: gives the model.
        photos: glob pattern below the shared data.
        trained: whether it needs the shared weights.
        linear: whether a pooled linear head is all that lies behind its default layer.
    """

    load: Callable[[], Model]
    photos: str = "photos/imagenet/*.[jJ]*"
    trained: bool = False
    linear: bool = False


def _library(name: str, linear: bool = False) -> Subject:
    return Subject(lambda: load_model(f"torchvision/{name}", "random"), linear=linear)


def _own(build: Callable[[], torch.nn.Module], size: tuple[int, int], photos: str, **options: Any) -> Subject:
    linear = options.pop("linear", False)

    def load() -> Model:
        module, name = build(), build.__name__
        load_state(module, read_state(str(networks.WEIGHTS / f"{name}.safetensors")), name)
        return wrap_module(module, name, ModelOptions(input_size=size, **options))

    return Subject(load, photos, trained=True, linear=linear)


SUBJECTS: dict[str, Subject] = {
    "alexnet": _library("alexnet"),
    "vgg16": _library("vgg16"),
    "resnet18": _library("resnet18", linear=True),
    "resnet50": _library("resnet50", linear=True),
    "mobilenet_v2": _library("mobilenet_v2", linear=True),
    "squeezenet1_0": Subject(
        lambda: load_model("torchvision/squeezenet1_0", str(networks.WEIGHTS / "squeezenet1_0.safetensors")),
        trained=True,
    ),
    "mobilenet_v3_small": Subject(
        lambda: load_model(
            "torchvision/mobilenet_v3_small",
            str(networks.WEIGHTS / "mobilenet_v3_small.safetensors"),
            ModelOptions(mean=(0.5,), std=(0.5,)),
        ),
        trained=True,
    ),
    "dronet_v2": _own(networks.dronet_v2, (200, 200), "driving/*.png"),
    "long_range_perception": _own(networks.long_range_perception, (64, 80), "photos/[ri]*/*.*[gG]"),
    "cifar10_resnet20": _own(networks.cifar10_resnet20, (32, 32), "cifar10/*/*", linear=True, **IMAGENET),
}


@dataclass
class Compiled:
    """A network, its graph, and a runner for each runtime; `network` is the one as folded."""

    model: Model
    network: Network
    target: Target
    requests: Sequence[Request]
    traced: Traced
    files: Mapping[Format, Path]
    runners: Mapping[str, execute.Runner]


def compile_everything(
    model: Model,
    folder: Path,
    layer: str | None = None,
    runtimes: Sequence[Format] = RUNTIMES,
    methods: Sequence[str] = METHODS,
    target: str = "class",
    proven: bool = True,
) -> Compiled:
    """Trace all methods into one graph, once, and make a file for every runtime of it; the proof takes minutes where a
    method runs a large network many times.
    """
    kept: list[tuple[Network, Traced]] = []

    def once(network: Network, *args: Any) -> Traced:
        if not kept:
            kept.append((network, trace(network, *args)))
        return kept[0][1]

    trace = compiling.trace
    files: dict[Format, Path] = {to: folder / f"program{compiling.SUFFIX[to]}" for to in runtimes}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiling, "trace", once)
        if not proven:
            patch.setattr(compiling, "prove", lambda *_: {})
        for to, path in files.items():
            pipeline.compile_program(model, methods, path, to, layer, target)
    goal = parse_target(target)
    requests = compiling.make_requests(model.network, methods, layer, goal)
    runners: dict[str, execute.Runner] = {to: execute.load(f, device="cpu") for to, f in files.items()}
    return Compiled(model, kept[0][0], goal, requests, kept[0][1], files, runners)


def photos(model: Model, pattern: str, count: int) -> npt.NDArray[np.uint8]:
    """Shared photos spread over their set, or drawn pictures where there are none; none of them was traced."""
    p = model.preprocessing
    paths = sorted(networks.SHARED.glob(pattern))
    if len(paths) < count:
        return pictures(p, ["textured"] * count, seed=99)
    chosen = [paths[i * len(paths) // count] for i in range(count)]
    return networks.read_photos(chosen, p.height, p.width, p.channels)


def eager_maps(
    compiled: Compiled,
    images: npt.NDArray,
    asked: Sequence[npt.NDArray],
    dtype: torch.dtype,
    network: Network | None = None,
    channels_last: bool = False,
) -> Arrays:
    """Hooks and autograd on the nn.Module itself, or on that of the network as folded; `channels_last` adds up in
    another order.
    """
    model, batch = compiled.model, max(BATCHES)
    reference = Reference(network or model.network, model.preprocessing, compiled.requests, compiled.target)
    module = reference.module.to(dtype)
    if channels_last:
        module = module.to(memory_format=torch.channels_last)
    parts: list[Arrays] = []
    for i in range(0, len(images), batch):
        x = normalise(torch.from_numpy(images[i : i + batch]), model.preprocessing, dtype)
        goal = reference.goal(*(a[i : i + batch] for a in asked))
        logits, found = eager.explain(module, x, goal, reference.asks())
        maps = {r.name: reference.shown(r, e) for r, e in zip(compiled.requests, found, strict=True)}
        parts.append({"logits": logits.detach().numpy(), **maps})
    return {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}


def program_maps(runner: execute.Runner, images: npt.NDArray, asked: Sequence[npt.NDArray]) -> Arrays:
    """The program's own, in batches of 1, 3 and 8 by turns."""
    parts, at, turn = [], 0, 0
    images = images.astype(runner.spec.pixels)
    while at < len(images):
        n = BATCHES[turn % len(BATCHES)]
        got = runner.run(images[at : at + n], *(a[at : at + n] for a in asked))
        parts.append({"logits": got.logits, **got.maps})
        at, turn = at + n, turn + 1
    return {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}


def graph_in_float64(traced: Traced, images: npt.NDArray, asked: Sequence[npt.NDArray]) -> Arrays:
    """The compiled graph in double precision, in torch."""
    pixels = torch.from_numpy(images if traced.pixels == torch.uint8 else images.astype(np.float64))
    with torch.no_grad():
        got = float64(traced)(pixels, *map(torch.from_numpy, asked))
    return {name: value.numpy() for name, value in zip(traced.outputs, got, strict=True)}


@dataclass
class Measured:
    """Errors against eager float64, for each map: every photo's own, and over all of them."""

    relative: dict[str, npt.NDArray[np.float64]]
    to_maximum: dict[str, npt.NDArray[np.float64]]

    def rms(self, name: str) -> float:
        return float(np.sqrt(np.mean(np.square(self.relative[name]))))

    def median(self, name: str) -> float:
        return float(np.median(self.relative[name]))

    def or_worse(self, other: Measured) -> Measured:
        """Each photo's larger error of the two."""
        pairs = ((self.relative, other.relative), (self.to_maximum, other.to_maximum))
        return Measured(*({name: np.maximum(a[name], b[name]) for name in a} for a, b in pairs))


def measured(got: Arrays, exact: Arrays) -> Measured:
    """Compare maps with the exact ones, photo by photo."""
    each = {
        name: np.array(
            [error_to_maximum(got[name][i : i + 1], exact[name][i : i + 1]) for i in range(len(exact[name]))]
        )
        for name in exact
    }
    return Measured({name: relative_l2(got[name], exact[name]) for name in exact}, each)


def rms_within_eager(program: Measured, plain: Measured, name: str) -> bool:
    """The bound of a map in float32 over many photos: 3 times eager's own RMS error, plus 1e-5.

    The worst photo of each 32 is left out on both sides, and held to what a ReLU at a tie may do. Which photos have
    one depends on the order of a sum, and so on the CPU: of 64, mobilenet_v3_small's saliency had a median of 7e-6 and
    one photo of 1e-2 on one machine, of 1e-1 on another, and that photo was the whole RMS.
    """

    def most(errors: npt.NDArray[np.float64]) -> float:
        kept = np.sort(errors)[: len(errors) - len(errors) // 32]
        return float(np.sqrt(np.mean(np.square(kept))))

    ours, theirs = program.relative[name], plain.relative[name]
    return most(ours) <= 3 * most(theirs) + 1e-5 and bool(ours.max() <= TIE)


def median_within_eager(program: Measured, plain: Measured, name: str) -> bool:
    """The same over few photos: their RMS is that of the one photo whose ReLU is at a tie, in eager or in the program,
    so the median is held to the bound, and each photo to what is no tie any more.
    """
    return program.median(name) <= 3 * plain.median(name) + 1e-5 and bool(program.relative[name].max() <= TIE)
