"""The ways to Grad-CAM that are compared, and plain forward passes; each takes uint8 pictures [N, H, W, 3].

What torch's own contenders need to have normalised is normalised before the clock starts; the compiled program and
the exported forward do it themselves, inside the time that is measured.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
import torch
from captum.attr import LayerGradCam
from pytorch_grad_cam import GradCAM
from torch import Tensor, nn

from saccade.engine import execute, pipeline
from saccade.engine.compiler import Layer, Model
from saccade.engine.compiler.eager import Ask, explain
from saccade.engine.compiler.trace import normalise

F32 = npt.NDArray[np.float32]
U8 = npt.NDArray[np.uint8]

PROGRAM, FORWARD, EAGER = "saccade onnxruntime", "forward onnxruntime", "forward eager"
GRAD_CAM = "grad-cam"


@dataclass(frozen=True)
class Answer:
    """What a contender gives; None for what it does not. `scaled`: the map is min-max scaled, at the input's size."""

    logits: F32 | None
    map: F32 | None
    scaled: bool = False


@dataclass(frozen=True)
class Contender:
    """`prepare` is not timed, `run` is, `read` turns what it gave into an answer."""

    prepare: Callable[[U8], Any]
    run: Callable[[Any], Any]
    read: Callable[[Any], Answer]


def contenders(model: Model, folder: Path, threads: int) -> dict[str, Contender]:
    """All of them by name, for one network; program files go into `folder`."""
    torch.set_num_threads(threads)
    module, layer = _module_and_layer(model)

    def to_input(images: U8) -> Tensor:
        return normalise(torch.from_numpy(images), model.preprocessing, torch.float32)

    def eager_forward(x: Tensor) -> Tensor:
        with torch.inference_mode():
            return module(x)

    def eager_hooks(x: Tensor) -> tuple[Tensor, Tensor]:
        """One forward with a hook, one backward down to the layer, no parameter's gradient."""
        kept: list[Tensor] = []
        hook = module.get_submodule(layer.module).register_forward_hook(
            lambda _module, _args, output: kept.append(output.requires_grad_()) or output.clone()
        )
        try:
            logits = module(x)
        finally:
            hook.remove()
        activation = kept[layer.call - 1]
        (gradient,) = torch.autograd.grad(logits.amax(dim=1).sum(), activation)
        weights = gradient.mean(dim=(2, 3), keepdim=True)
        return logits.detach(), (weights * activation.detach()).sum(dim=1).relu()

    # Copies, as anybody would have them: parameters that want gradients, and nobody else's hooks.
    package = copy.deepcopy(module).requires_grad_()
    cam = GradCAM(model=package, target_layers=[package.get_submodule(layer.module)])
    other = copy.deepcopy(module).requires_grad_()
    captum = LayerGradCam(other, other.get_submodule(layer.module))

    def run_captum(x: Tensor) -> tuple[Tensor, Tensor]:
        # It wants to be told the class, and asking the network costs a forward pass; so does any user's code.
        with torch.inference_mode():
            logits = other(x)
        found = captum.attribute(x.clone(), target=logits.argmax(dim=1), relu_attributions=True)
        assert isinstance(found, Tensor)
        return logits, found

    def run_captum_told(asked: tuple[Tensor, Tensor]) -> Any:
        return captum.attribute(asked[0], target=asked[1], relu_attributions=True)

    return {
        PROGRAM: _program(model, folder / "program.onnx", threads),
        FORWARD: _forward(model, folder / "forward.onnx", threads),
        EAGER: Contender(to_input, eager_forward, lambda y: Answer(y.numpy(), None)),
        "hooks eager": Contender(to_input, eager_hooks, lambda y: Answer(y[0].numpy(), y[1].numpy())),
        GRAD_CAM: Contender(
            to_input,
            lambda x: (cam(x, targets=None), cam.outputs),
            lambda y: Answer(y[1].detach().numpy(), y[0], scaled=True),
        ),
        "captum, class asked": Contender(
            to_input, run_captum, lambda y: Answer(y[0].numpy(), y[1].detach().squeeze(1).numpy())
        ),
        "captum, class given": Contender(
            lambda images: (to_input(images), eager_forward(to_input(images)).argmax(dim=1)),
            run_captum_told,
            lambda y: Answer(None, y.detach().squeeze(1).numpy()),
        ),
        "saccade torchscript": _program(model, folder / "program.ts", threads),
    }


def reference(model: Model, images: U8) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """(logits, Grad-CAM) in float64, with hooks and autograd."""
    module, layer = _module_and_layer(model)
    x = normalise(torch.from_numpy(images), model.preprocessing, torch.float64)
    module = copy.deepcopy(module).double()
    logits, found = explain(module, x, torch.full((len(x),), -1), [Ask("grad-cam", layer.module, layer.call)])
    return logits.detach().numpy(), found[0].map.numpy()


def session(path: Path, threads: int) -> ort.InferenceSession:
    """ONNX Runtime with the options of `engine/execute/onnxruntime_session.py`, for a file that is no program."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _program(model: Model, path: Path, threads: int) -> Contender:
    pipeline.compile_program(model, ["grad-cam"], path, "onnx" if path.suffix == ".onnx" else "torchscript")
    runner = execute.load(path, device="cpu", threads=threads)
    return Contender(lambda images: images, runner.run, lambda y: Answer(y.logits, y.maps["grad_cam"]))


def _forward(model: Model, path: Path, threads: int) -> Contender:
    """The network alone, by the exporter and with the preprocessing that the program has."""

    class Forward(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = _module_and_layer(model)[0]

        def forward(self, images: Tensor) -> Tensor:
            return self.network(normalise(images, model.preprocessing, torch.float32))

    p = model.preprocessing
    example = torch.zeros(4, p.height, p.width, p.channels, dtype=torch.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Forward().eval(),
            (example,),
            str(path),
            dynamo=True,
            input_names=["images"],
            output_names=["logits"],
            dynamic_shapes={"images": {0: torch.export.Dim("N", min=1)}},
            external_data=False,
            verbose=False,
        )
    opened = session(path, threads)
    return Contender(
        lambda images: images, lambda images: opened.run(["logits"], {"images": images})[0], lambda y: Answer(y, None)
    )


def _module_and_layer(model: Model) -> tuple[nn.Module, Layer]:
    module, layer = model.network.module, model.network.default_layer()
    assert module is not None
    assert layer is not None
    return module, layer
