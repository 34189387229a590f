"""The methods: each a short function, in ordinary PyTorch, of an activation and the tail of the network behind it.

A method gets

    activation  the target layer's output, float [N, C, h, w] (for `saliency` the normalised input),
    tail        the function from that activation to the logits [N, K],
    score       the function from logits [N, K] to one score for each image [N], before softmax,

and returns its map. `trace.py` compiles it; it needs no registration but its line in METHODS.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ..contract import UsageError
from ..contract.types import MapKind

Tail = Callable[[Tensor], Tensor]
Score = Callable[[Tensor], Tensor]


def grad_cam(activation: Tensor, tail: Tail, score: Score) -> Tensor:
    """Grad-CAM: ReLU of the activations weighted by their channel's mean gradient.

    Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization", ICCV 2017,
    equations 1 and 2. Returns float [N, h, w] ≥ 0, at the layer's size.
    """
    gradient = _gradient(activation, tail, score)
    weights = gradient.mean(dim=(2, 3), keepdim=True)
    return torch.relu((weights * activation).sum(dim=1))


def saliency(activation: Tensor, tail: Tail, score: Score) -> Tensor:
    """Saliency: the largest absolute gradient over the channels of the normalised input.

    Simonyan et al., "Deep Inside Convolutional Networks", ICLR workshop 2014, section 3.1. Returns float [N, H, W] ≥ 0.
    """
    return _gradient(activation, tail, score).abs().amax(dim=1)


def activations(activation: Tensor, tail: Tail, score: Score) -> Tensor:
    """Feature maps: the layer's output as it is, float [N, C, h, w]."""
    return activation


def pooled_features(activation: Tensor, cam: Tensor) -> Tensor:
    """What was looked at: the activations averaged over the places of a CAM, with the CAM as weights.

    Args:
        activation: float [N, C, h, w].
        cam: float [N, h, w] ≥ 0.

    Returns:
        float [N, C]; zero where the CAM is blank.
    """
    total = cam.sum(dim=(1, 2)).unsqueeze(1)
    weighted = (activation * cam.unsqueeze(1)).sum(dim=(2, 3))
    return torch.where(total > 0, weighted / torch.where(total > 0, total, torch.ones_like(total)), 0 * weighted)


def _gradient(activation: Tensor, tail: Tail, score: Score) -> Tensor:
    """∂score/∂activation, [N, C, h, w]; the images of a batch do not see each other, so their sum separates."""
    return torch.func.grad(lambda a: score(tail(a)).sum())(activation)


@dataclass(frozen=True)
class Method:
    """A line of the registry.

    Attributes:
        function: see the module's docstring.
        kind: what comes out (see `contract.MapSpec`).
        target_layer: "input", or "features" for the default layer that `Network.default_layer` finds.
        needs_gradient: whether the logits must depend on the layer.
    """

    function: Callable[[Tensor, Tail, Score], Tensor]
    kind: MapKind
    target_layer: Literal["input", "features"]
    needs_gradient: bool


METHODS: dict[str, Method] = {
    "grad-cam": Method(grad_cam, "cam", "features", True),
    "saliency": Method(saliency, "gradient", "input", True),
    "activations": Method(activations, "activations", "features", False),
}


def method(name: str) -> Method:
    """The method of that name (`grad_cam` is read as `grad-cam`).

    Raises:
        UsageError: there is none.
    """
    found = METHODS.get(name.replace("_", "-"))
    if found is None:
        raise UsageError(f"compile: method {name!r} is not known; expected one of {', '.join(METHODS)}")
    return found
