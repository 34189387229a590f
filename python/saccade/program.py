"""Programs in Python: compile, load, call, look."""

from __future__ import annotations

import io
import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from .engine import execute, render
from .engine.contract import Maps, ModelOptions, Spec, UsageError, replacing

if TYPE_CHECKING:
    from torch import Tensor, nn

    from .engine.compiler import Layer, Model
    from .engine.contract.spec import Precision
    from .engine.execute.tensors import TensorMaps, TensorRunner

F32 = npt.NDArray[np.float32]
U8 = npt.NDArray[np.uint8]


class Program:
    """A compiled explanation, loaded and ready.

    Attributes:
        spec: its contract: model, layer, preprocessing, classes, proof.
        runtime, device: what it runs on.
    """

    def __init__(self, runner: execute.Runner, path: Path, folder: tempfile.TemporaryDirectory | None = None) -> None:
        self.spec: Spec = runner.spec
        self.runtime = runner.runtime
        self.device = runner.device
        self.runner = runner
        self._tensors: TensorRunner | None = None
        self._path = path
        self._folder = folder  # of a program that was not saved yet; it goes when the program does

    def __call__(self, images: Any, target: Any = None, region: Any = None) -> Explanation:
        """Explain a batch.

        Args:
            images: uint8 [N, H, W, C] or [H, W, C], a NumPy array or a CPU tensor, of the contract's size: as a
                decoder gives them, not scaled and not normalised.
            target: what to explain, for all images or one for each; None for the program's own choice. Of classes a
                name or an index, -1 for the predicted one (k of them of a top-k program); of a regression an output's
                name or index, or K weights; of an inner layer a channel, or (channel, row, column).
            region: of a segmentation: bool or uint8 [H, W] or [N, H, W], where the class is explained; None for the
                network's own region.

        Raises:
            UsageError: another dtype or shape, or a class that the network does not have.
        """
        try:
            array = np.asarray(images)
        except (TypeError, ValueError, RuntimeError) as error:  # a tensor on a GPU, rows of different lengths
            raise UsageError(f"run: the images cannot be read as an array ({' '.join(str(error).split())})") from None
        array = array[None] if array.ndim == 3 else array
        goal = self.spec.read_target(target) if isinstance(target, str) else target
        return Explanation(self.spec, array, self.runner.run(array, goal, region))

    def tensors(self, images: Tensor, target: Any = None, region: Any = None) -> TensorMaps:
        """The same for torch's tensors, in and out on the program's device: nothing goes through the computer's memory.

        Args:
            images: uint8 [N, H, W, C], contiguous, on `device`.
            target, region: as above.

        Returns:
            `logits`, `maps` by name and `features`, raw tensors (see `saccade.engine.execute.tensors`).

        Raises:
            UsageError: OpenVINO, which takes none; another dtype, shape or device.
        """
        from .engine.execute.tensors import TensorRunner

        if self._tensors is None:
            self._tensors = TensorRunner(self.runner)
        goal = self.spec.read_target(target) if isinstance(target, str) else target
        return self._tensors.run(images, goal, region)

    def view(self, *photos: str | os.PathLike[str]) -> U8:
        """Read photos as the network sees them: uint8 [N, H, W, C], resized and cropped as the contract says.

        Raises:
            PhotoError: one of them cannot be read.
            UsageError: none was named.
        """
        from .engine import decode

        if not photos:
            raise UsageError("view: expected at least one photo's path")
        return np.stack([decode.read_view(str(p), self.spec.preprocessing, "exact")[0] for p in photos])

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the program file, whole or not at all.

        Raises:
            SaccadeError: it cannot be written.
        """
        with replacing(path) as temporary:
            shutil.copyfile(self._path, temporary)

    def __repr__(self) -> str:
        p = self.spec.preprocessing
        maps = ", ".join(f"{m.method} at {m.layer}" for m in self.spec.maps)
        return f"<saccade.Program {self.spec.model}: {maps}; {p.width}x{p.height}; {self.runtime} on {self.device}>"


class Explanation:
    """What a program found in N images. In a notebook it shows itself as a contact sheet.

    Attributes:
        images: uint8 [N, H, W, C], what the network saw.
        logits: float32 [N, K].
        target, score: what was explained, and its score; see `saccade.engine.contract.Maps`.
        features: float32 [N, C] or None, the layer's features where the CAM looks.
        grad_cam, saliency, …: each map by its name, float32 [N, …], raw; also by `explanation["grad_cam"]`.
    """

    def __init__(self, spec: Spec, images: U8, maps: Maps) -> None:
        self.spec = spec
        self.images = images
        self.logits: F32 = maps.logits
        self.target = maps.target
        self.score = maps.score
        self.features = maps.features
        self._maps = maps.maps

    def __getitem__(self, name: str) -> F32:
        return self._maps[name]

    def __getattr__(self, name: str) -> F32:
        maps = self.__dict__.get("_maps", {})
        if name in maps:
            return maps[name]
        raise AttributeError(f"this explanation has no {name!r}; it has {', '.join(maps)}")

    def __len__(self) -> int:
        return len(self.images)

    @property
    def prediction(self) -> list[str]:
        """What the network says of each image: the name of the predicted class, or a regression's outputs."""
        return self.spec.answers(self.logits)

    @property
    def confidence(self) -> F32 | None:
        """The softmax of the predicted class, float32 [N]; None where the network's outputs are no logits."""
        return self.spec.confidence(self.logits)

    def overlay(self, name: str | None = None, colormap: str = "viridis", opacity: float = 0.55) -> U8:
        """A CAM or gradient map over each image, uint8 [N, H, W, 3]; by default the first one.

        Raises:
            UsageError: there is no such map, or it is not drawn over images.
        """
        drawable = [
            m for m in self.spec.maps if m.kind not in ("activations", "ascent") and name in (None, m.name, m.method)
        ]
        if not drawable:
            raise UsageError(
                f"overlay: expected a CAM or gradient map, got {name!r}; there are {', '.join(self._maps)}"
            )
        m = drawable[0]
        return render.overlay_pictures(self._maps[m.name], self.images, kind=m.kind, colours=colormap, opacity=opacity)

    def sheet(self, colormap: str = "viridis", limit: int = 24) -> U8:
        """A contact sheet of the first `limit` images, uint8 [H, W, 3]."""
        shown = min(limit, len(self))
        gallery = render.Gallery(self.spec, render.Look(colormap), range(shown))
        sure = self.confidence
        captions = [
            render.Caption(i, f"image {i}", None, name, None if sure is None else float(sure[i]), None)
            for i, name in enumerate(self.prediction[:shown])
        ]
        gallery.add(captions, self.images[:shown], {name: values[:shown] for name, values in self._maps.items()})
        some = "" if shown == len(self) else f", the first {shown} of {len(self)}"
        return gallery.draw(self.spec.model, f"{', '.join(m.method for m in self.spec.maps)}{some}")

    def _repr_png_(self) -> bytes | None:
        if self.spec.pixels != "uint8":  # an ascent's gradients are no maps over a photo
            return None
        from PIL import Image

        data = io.BytesIO()
        Image.fromarray(self.sheet()).save(data, "PNG")
        return data.getvalue()


def load(
    path: str | os.PathLike[str],
    device: str = "auto",
    runtime: str = "auto",
    threads: int | None = None,
    precision: Precision | None = None,
    trust: bool = False,
) -> Program:
    """Load a program file; see `saccade.engine.execute.load` for the arguments and errors."""
    return Program(execute.load(path, device, runtime, threads, precision, trust), Path(path))


def compile(
    model: nn.Module | str,
    *methods: str,
    layer: str | None = None,
    target: str | None = None,
    to: Literal["onnx", "torchscript", "aotinductor"] = "onnx",
    weights: str = "pretrained",
    device: str = "auto",
    precision: Precision = "float32",
    force: bool = False,
    **options: Any,
) -> Program:
    """Compile explanations of a model into a program; hooks and backward pass become ordinary operators.

    Args:
        model: an nn.Module (put into eval mode), or what the command line takes: `torchvision/NAME`, `timm/NAME`,
            `package.module:function`, or a file: `.onnx`, a TorchScript `.pt` or an exported `.pt2`.
        methods: "grad-cam", "saliency", "activations", or another of `saccade methods`; by default "grad-cam". They
            share one forward pass.
        layer: the target layer, as `saccade.layers` names it; None for the last feature block.
        target: what is explained: "class" (which one is an input), "top-5" (the five most probable at once, one map
            each), "region" of a segmentation, "outputs" of a regression, or "unit:LAYER", a channel of that layer;
            None for "region" where the logits are [N, K, h, w], else "class".
        to: "onnx", "torchscript" or "aotinductor" (native code for this kind of machine, and for `device`).
        weights: of a named model: "pretrained", "random" or a state dict's file.
        device: where the program shall run.
        precision: "float32", "float16" or "bfloat16", what convolutions and matrix products work in.
        force: keep a program in half precision even if it differs more than `Agreement` allows.
        options: input_size (an int or (height, width); needed for an nn.Module), mean, std, resize, shorter,
            interpolation, classes; see `saccade.engine.contract.ModelOptions`.

    Raises:
        UsageError: a model, layer, method or option that does not exist or does not fit.
        SaccadeError: the proof failed.
    """
    from .engine import pipeline
    from .engine.compiler import SUFFIX

    if to not in SUFFIX:
        raise UsageError(f"compile: to={to!r}: expected one of {', '.join(SUFFIX)}")
    found = _model(model, weights, options)
    folder = tempfile.TemporaryDirectory(prefix="saccade-")
    path = Path(folder.name, f"program{SUFFIX[to]}")
    aim = "cuda" if to != "torchscript" and device == "cuda" else "cpu"
    pipeline.compile_program(found, methods or ("grad-cam",), path, to, layer, target, None, precision, aim, force)
    return Program(execute.load(path, device, trust=True), path, folder)


def layers(model: nn.Module | str, weights: str = "random", **options: Any) -> list[Layer]:
    """A model's layers in the order in which data runs through them; a module called twice is there twice.

    Args:
        model, weights, options: as `compile` takes them.
    """
    return _model(model, weights, options).network.layers


def filters(model: nn.Module | str, layer: str, weights: str = "pretrained", **options: Any) -> F32:
    """A convolution's true filters, float32 [O, I, kh, kw]; `saccade.engine.render.filter_mosaic` draws them.

    Args:
        model, weights, options: as `compile` takes them.
        layer: as `saccade.layers` names it.

    Raises:
        UsageError: the layer is no convolution.
    """
    return _model(model, weights, options).network.filters(layer).float().numpy()


def dream(program: Program, picture: U8, target: Any = None, **how: Any) -> U8:
    """Change a picture so that the target's score grows: deep dream, or activation maximisation from noise.

    Args:
        program: compiled with the method "ascent".
        picture: uint8 [H, W, C], of any size from the program's own up.
        target: as `Program.__call__` takes it.
        how: steps, step_size, octaves, octave_scale, jitter, seed; see `saccade.engine.ascent.Ascent`.

    Returns:
        uint8 [H, W, C].
    """
    from .engine.ascent import Ascent, ascend

    if unknown := [k for k in how if k not in Ascent.__dataclass_fields__]:
        raise UsageError(
            f"dream: there is no option {unknown[0]!r}; there are {', '.join(Ascent.__dataclass_fields__)}"
        )
    goal = program.spec.read_target(target) if isinstance(target, str) else target
    return ascend(program.runner, picture, goal, Ascent(**how))


def _model(model: nn.Module | str, weights: str, options: dict[str, Any]) -> Model:
    from torch import nn

    from .engine.compiler import load_model, wrap_module

    if isinstance(model, str):
        return load_model(model, weights, _options(options))
    if not isinstance(model, nn.Module):
        raise UsageError(f"compile: expected an nn.Module or a model's name, got {type(model).__name__}")
    return wrap_module(model, type(model).__name__, _options(options))


def _options(given: dict[str, Any]) -> ModelOptions:
    known = ModelOptions.__dataclass_fields__
    if unknown := [k for k in given if k not in known]:
        raise UsageError(f"compile: there is no option {unknown[0]!r}; there are {', '.join(known)}")
    given = dict(given)
    if (size := given.get("input_size")) is not None:
        given["input_size"] = tuple(size) if isinstance(size, Iterable) else (size, size)
    for name in ("mean", "std"):  # one number for all channels, or an array of them
        if (values := given.get(name)) is not None:
            given[name] = tuple(np.atleast_1d(values).tolist())
    return ModelOptions(**given)
