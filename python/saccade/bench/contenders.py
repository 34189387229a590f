"""Who is timed: each builds itself from a task, in a process of its own, and takes uint8 pictures [N, H, W, C].

What torch's own contenders need to have normalised is so before the clock starts; a compiled program and the exported
forward pass do it themselves, inside the time that is measured. On a GPU everybody's input lies there already, and
everybody's answer stays there.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ..engine.compiler import Model
    from ..engine.compiler.eager import Ask
    from ..engine.contract.spec import Precision
    from ..engine.execute import Runner

F32 = npt.NDArray[np.float32]
U8 = npt.NDArray[np.uint8]

FORWARD_EAGER, HOOKS = "forward eager", "hooks eager"
PEERS: dict[str, tuple[str, tuple[str, ...]]] = {
    "grad-cam": ("pytorch_grad_cam", ("grad-cam", "grad-cam++", "hires-cam", "xgrad-cam", "layer-cam")),
    "captum": ("captum", ("grad-cam", "saliency", "input-x-gradient", "guided-backpropagation", "deconvnet")),
    "torchcam": ("torchcam", ("grad-cam", "grad-cam++", "xgrad-cam", "layer-cam")),
}
"""Package → its module, and the methods that it is timed with."""


@dataclass(frozen=True)
class Task:
    """What a worker is to be.

    Attributes:
        name: as the table calls it.
        kind: "program", "forward", or one of FORWARD_EAGER, HOOKS, PEERS.
        images: a `.npy` file, uint8 [M, batch, H, W, C]: batches that take turns as the input.
        device, threads: where it runs.
        path, runtime: of a file, where it is and what opens it.
        model, weights, size: of torch's own, what `load_model` takes.
        outputs: how many logits the network has.
        method: the explanation.
        precision: what OpenVINO computes a float32 file in, and what torch's own forward pass is cast to; other files
            are in their precision.
    """

    name: str
    kind: str
    images: str
    device: str
    threads: int
    path: str = ""
    runtime: str = ""
    model: str = ""
    weights: str = "random"
    size: tuple[int, int] | None = None
    outputs: int = 0
    method: str = ""
    precision: Precision = "float32"


@dataclass(frozen=True)
class Answer:
    """What a contender gives; None for what it does not. `scaled`: the map is from 0 to 1, at the size that it has
    ("once"), or before and after it was enlarged to the input's ("twice").
    """

    logits: F32 | None
    map: F32 | None
    scaled: Literal["no", "once", "twice"] = "no"


@dataclass(frozen=True)
class Contender:
    """`prepare` is not timed, `run` is, `read` turns what it gave into an answer."""

    prepare: Callable[[U8], Any]
    run: Callable[[Any], Any]
    read: Callable[[Any], Answer]


def build(task: Task) -> Contender:
    """The contender that a task describes.

    Raises:
        SaccadeError: it does not run here.
        ImportError: its package is not installed.
    """
    if task.kind == "program":
        from ..engine import execute

        narrow = task.precision if task.runtime == "openvino" else None
        runner = execute.load(task.path, task.device, task.runtime, task.threads, narrow, trust=True)
        if task.device == "cuda":
            return _on_gpu(runner)
        return Contender(lambda images: images, runner.run, lambda y: Answer(y.logits, next(iter(y.maps.values()))))
    if task.kind == "forward":
        return _forward(task)
    return _of_torch(task)


def _forward(task: Task) -> Contender:
    import importlib

    from ..engine.contract import Preprocessing, Spec
    from ..engine.execute import Runner

    height, width, channels = np.load(task.images, mmap_mode="r").shape[2:]
    spec = Spec(task.model, "", Preprocessing(height, width, channels), (), None, task.outputs)
    opening = importlib.import_module(f"saccade.engine.execute.{task.runtime}_session")
    narrow = (task.precision,) if task.runtime == "openvino" else ()
    session, _ = opening.open_session(Path(task.path), spec, task.device, task.threads, *narrow)

    if task.device == "cuda":
        return _on_gpu(Runner(spec, task.runtime, task.device, task.precision, session))

    def run(images: U8) -> F32:
        return session({"images": images, "target": np.full(len(images), -1)})[0]

    return Contender(lambda images: images, run, lambda y: Answer(y, None))


def _on_gpu(runner: Runner) -> Contender:
    from ..engine.execute.tensors import TensorMaps, TensorRunner

    def read(found: TensorMaps) -> Answer:
        return Answer(_array(found.logits), next(map(_array, found.maps.values()), None))

    return Contender(_upload, TensorRunner(runner).run, read)


def _upload(images: U8) -> Tensor:
    import torch

    return torch.from_numpy(images).cuda()


def _of_torch(task: Task) -> Contender:
    import torch

    from ..engine.compiler import load_model
    from ..engine.compiler.trace import normalise
    from ..engine.contract import ModelOptions

    torch.set_num_threads(task.threads)
    model = load_model(task.model, task.weights, ModelOptions(input_size=task.size))
    module, ask = module_and_ask(model, task.method)
    dtype = getattr(torch, task.precision)
    module = module.to(task.device, dtype)
    torch.backends.cudnn.allow_tf32 = False  # as the programs: float32 is float32

    def to_input(images: U8) -> Tensor:
        return normalise(torch.from_numpy(images), model.preprocessing, torch.float32).to(task.device, dtype)

    def forward(x: Tensor) -> Tensor:
        with torch.inference_mode():
            return module(x)

    if task.kind == FORWARD_EAGER:
        return Contender(to_input, forward, lambda y: Answer(_array(y), None))
    if task.kind == HOOKS:
        return _hooks(module, ask, to_input)
    # As anybody would have it: parameters that want gradients, as a module comes.
    own = copy.deepcopy(module).requires_grad_()
    target = own.get_submodule("" if ask.path == "input" else ask.path)
    return {"grad-cam": _grad_cam, "captum": _captum, "torchcam": _torchcam}[task.kind](
        task.method, own, target, to_input
    )


def _hooks(module: nn.Module, ask: Ask, to_input: Callable[[U8], Tensor]) -> Contender:
    """The pure PyTorch path: a hook, one forward, one backward down to the layer, no parameter's gradient."""
    import torch

    from ..engine.compiler.eager import explain

    def run(x: Tensor) -> Any:
        return explain(module, x, torch.full((len(x),), -1, device=x.device), [ask])

    return Contender(to_input, run, lambda y: Answer(_array(y[0]), _array(y[1][0].map)))


def _grad_cam(method: str, module: nn.Module, layer: nn.Module, to_input: Callable[[U8], Tensor]) -> Contender:
    import pytorch_grad_cam as package

    kind = {
        "grad-cam": package.GradCAM,
        "grad-cam++": package.GradCAMPlusPlus,
        "hires-cam": package.HiResCAM,
        "xgrad-cam": package.XGradCAM,
        "layer-cam": package.LayerCAM,
    }[method]
    cam = kind(model=module, target_layers=[layer])
    return Contender(
        to_input,
        lambda x: (cam(x, targets=None), cam.outputs),
        lambda y: Answer(_array(y[1]), y[0], "twice"),
    )


def _captum(method: str, module: nn.Module, layer: nn.Module, to_input: Callable[[U8], Tensor]) -> Contender:
    """It wants to be told the class, and asking the network costs a forward pass; so does any user's code."""
    import torch
    from captum import attr

    def run(x: Tensor) -> Any:
        with torch.inference_mode():
            logits = module(x)
        classes, x = logits.argmax(dim=1).clone(), x.clone().requires_grad_()
        if method == "grad-cam":
            found: Any = attr.LayerGradCam(module, layer).attribute(x, target=classes, relu_attributions=True)
            return logits, found.squeeze(1)
        kind = {
            "saliency": attr.Saliency,
            "input-x-gradient": attr.InputXGradient,
            "guided-backpropagation": attr.GuidedBackprop,
            "deconvnet": attr.Deconvolution,
        }[method](module)
        return logits, kind.attribute(x, target=classes)

    def read(y: Any) -> Answer:
        found = _array(y[1])
        return Answer(_array(y[0]), np.abs(found).max(axis=1) if found.ndim == 4 else found)

    return Contender(to_input, run, read)


def _torchcam(method: str, module: nn.Module, layer: nn.Module, to_input: Callable[[U8], Tensor]) -> Contender:
    from torchcam import methods as package

    kind = {
        "grad-cam": package.GradCAM,
        "grad-cam++": package.GradCAMpp,
        "xgrad-cam": package.XGradCAM,
        "layer-cam": package.LayerCAM,
    }[method]
    cam = kind(module, target_layer=layer)

    def run(x: Tensor) -> Any:
        logits = module(x)
        return logits, cam(logits.argmax(dim=1).tolist(), logits)[0]

    return Contender(to_input, run, lambda y: Answer(_array(y[0]), _array(y[1]), "once"))


def module_and_ask(model: Model, method: str) -> tuple[nn.Module, Ask]:
    """The nn.Module, and the explanation in eager PyTorch's words.

    Raises:
        UsageError: there is no module, or no layer that the method would choose.
    """
    from ..engine.compiler import METHODS
    from ..engine.compiler.eager import Ask
    from ..engine.contract import UsageError

    network = model.network
    layer = network.default_layer()
    if network.module is None:
        raise UsageError(f"bench: {network.name} is an exported graph; expected a MODEL that is an nn.Module")
    if METHODS[method].target_layer == "input":
        return network.module, Ask(method, "input")
    if layer is None:
        raise UsageError(f"bench: {network.name} has no layer that {method} would choose; use --method saliency")
    layout = network.layout(layer.node)
    grid = None if layout is None or layout.kind == "maps" else layout.shape[1:]
    return network.module, Ask(method, layer.module, layer.call, grid=grid)


def _array(values: Tensor) -> F32:
    return values.detach().float().cpu().numpy()
