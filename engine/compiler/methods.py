"""The methods: each a short function, in ordinary PyTorch, of the network cut at a layer.

A method gets a `Cut` and returns one map for each image. `trace.py` compiles it; it needs no registration but its line
in METHODS. A method that runs the network many times does so in `fold`, which compiles into one loop of the program.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from ..contract import UsageError
from ..contract.spec import MapKind
from .adjoints import Rule, resize_bilinear
from .loops import fold

SMOOTH_SAMPLES, SMOOTH_SIGMA = 16, 0.15
"""SmoothGrad: noisy copies, and the noise's standard deviation as a share of the input's own range (section 3 of the
paper finds 0.1 to 0.2 best)."""
INTEGRATION_STEPS = 50
"""Points of the Gauss-Legendre rule that integrated gradients are computed with, as captum's default."""
SCORE_FLAT = 1e-5
"""A channel whose values differ by less, relative to the largest, is flat to Score-CAM: its pattern is rounding."""
EIGEN_STEPS = 64
"""Power iterations of EigenCAM."""
WINDOWS = 7
"""Occlusion: a covered window is two cells wide and high of a grid with twice as many cells on a side."""


class Cut(Protocol):
    """A network cut in two at a layer.

    Attributes:
        activation: the layer's output as maps, float [N, C, h, w]; tokens are folded back to their grid.
        size: (h, w).
        input: the same network cut at its normalised input, [N, C, H, W].
    """

    activation: Tensor
    size: tuple[int, int]

    @property
    def input(self) -> Cut: ...

    def score(self, activation: Tensor) -> Tensor:
        """What is explained, one number for each image [N], with `activation` in place of the layer's own output."""
        ...

    def gradient(self, activation: Tensor | None = None, rule: Rule = "plain") -> Tensor:
        """∂score/∂activation, [N, C, h, w], where the layer gives `activation` (by default its own output)."""
        ...

    def pooled(self) -> Tensor:
        """What a pooled linear head averages, [N, C, h, w]: the activation, behind a ReLU that is no module."""
        ...

    def head_weights(self) -> Tensor:
        """∂score/∂(the channel means of `pooled`), read off the linear head's weights: [N, C]."""
        ...


# ---- gradients at the input ---------------------------------------------------------------------------------------


def saliency(cut: Cut) -> Tensor:
    """Saliency: the largest absolute gradient over the channels of the normalised input.

    Simonyan et al., "Deep Inside Convolutional Networks", ICLR workshop 2014, section 3.1. Returns float [N, H, W] ≥ 0.
    """
    return cut.gradient().abs().amax(dim=1)


def guided_backpropagation(cut: Cut) -> Tensor:
    """Guided backpropagation: saliency whose backward pass lets through, at every ReLU, only what is positive there
    and going back.

    Springenberg et al., "Striving for Simplicity", ICLR workshop 2015, section 3.4. Returns float [N, H, W] ≥ 0.
    """
    return cut.gradient(rule="guided").abs().amax(dim=1)


def deconvnet(cut: Cut) -> Tensor:
    """Deconvnet: saliency whose ReLUs rectify what comes back, whatever they did forward.

    Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", ECCV 2014, section 2.1; max pools go back
    by their switches. Returns float [N, H, W] ≥ 0.
    """
    return cut.gradient(rule="deconvnet").abs().amax(dim=1)


def input_x_gradient(cut: Cut) -> Tensor:
    """Input × gradient, summed over the channels of the normalised input.

    Shrikumar et al., "Not Just a Black Box", 2016, section 2.1. Returns float [N, H, W], signed.
    """
    return (cut.activation * cut.gradient()).sum(dim=1)


def smooth_grad(cut: Cut) -> Tensor:
    """SmoothGrad: the mean gradient over noisy copies of the input, then as saliency.

    Smilkov et al., "SmoothGrad: removing noise by adding noise", 2017, equation in section 2. The noise is the same in
    every run: it is seeded and lies in the program. Returns float [N, H, W] ≥ 0.
    """
    x = cut.activation
    spread = SMOOTH_SIGMA * (x.amax(dim=(1, 2, 3), keepdim=True) - x.amin(dim=(1, 2, 3), keepdim=True))
    noise = torch.from_numpy(smooth_noise((x.shape[1], *cut.size))).to(x.dtype)
    total = fold(lambda total, drawn: total + cut.gradient(x + spread * drawn), torch.zeros_like(x), noise)
    return (total / SMOOTH_SAMPLES).abs().amax(dim=1)


def smooth_noise(shape: tuple[int, ...]) -> np.ndarray:
    """SmoothGrad's noise, float32 [SMOOTH_SAMPLES, *shape], standard normal, always the same."""
    return np.random.default_rng(0).standard_normal((SMOOTH_SAMPLES, *shape), np.float32)


def integrated_gradients(cut: Cut) -> Tensor:
    """Integrated gradients along the straight line from a picture of the mean colour, summed over the channels.

    Sundararajan et al., "Axiomatic Attribution for Deep Networks", ICML 2017, equation 1; the baseline is zero in the
    normalised input, as captum's default. Sums to the difference of the two scores. Returns float [N, H, W], signed.
    """
    x = cut.activation
    places, weights = np.polynomial.legendre.leggauss(INTEGRATION_STEPS)
    rule = torch.from_numpy(np.stack([(places + 1) / 2, weights / 2], axis=1)).to(x.dtype)
    total = fold(lambda total, step: total + step[1] * cut.gradient(step[0] * x), torch.zeros_like(x), rule)
    return (x * total).sum(dim=1)


def ascent(cut: Cut) -> Tensor:
    """The step of deep dream and of activation maximisation: the score's gradient in the pixels themselves.

    Mordvintsev et al., "Inceptionism", 2015; Erhan et al., "Visualizing Higher-Layer Features of a Deep Network", 2009.
    Here of the normalised input; `trace` takes it back to float32 pixels 0..255. Returns float [N, H, W, C], signed.
    """
    return cut.gradient().permute(0, 2, 3, 1)


# ---- class activation maps ----------------------------------------------------------------------------------------


def cam(cut: Cut) -> Tensor:
    """CAM: the pooled layer's activations weighted by the linear head's weights.

    Zhou et al., "Learning Deep Features for Discriminative Localization", CVPR 2016, equation 2. Needs no backward
    pass. Returns float [N, h, w], signed, at the layer's size.
    """
    return _weighted(cut.head_weights(), cut.pooled())


def grad_cam(cut: Cut) -> Tensor:
    """Grad-CAM: ReLU of the activations weighted by their channel's mean gradient.

    Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization", ICCV 2017,
    equations 1 and 2. Returns float [N, h, w] ≥ 0, at the layer's size.
    """
    return torch.relu(_weighted(cut.gradient().mean(dim=(2, 3)), cut.activation))


def grad_cam_plus_plus(cut: Cut) -> Tensor:
    """Grad-CAM++: the positive gradients weighted by how much their place matters to their channel.

    Chattopadhay et al., "Grad-CAM++", WACV 2018, equations 5, 10 and 19, the score taken as the exponential of ours
    (its factor, one number for each image, is left out). Returns float [N, h, w] ≥ 0.
    """
    gradient = cut.gradient()
    square, cube = gradient * gradient, gradient * gradient * gradient
    total = cut.activation.sum(dim=(2, 3), keepdim=True)
    bottom = 2 * square + total * cube
    some = bottom != 0
    alpha = torch.where(some, square / torch.where(some, bottom, torch.ones_like(bottom)), torch.zeros_like(bottom))
    return torch.relu(_weighted((alpha * torch.relu(gradient)).sum(dim=(2, 3)), cut.activation))


def hires_cam(cut: Cut) -> Tensor:
    """HiResCAM: ReLU of gradient times activation, place by place, summed over the channels.

    Draelos and Carin, "Use HiResCAM instead of Grad-CAM for faithful explanations", 2020, equation 5. Returns float
    [N, h, w] ≥ 0.
    """
    return torch.relu((cut.gradient() * cut.activation).sum(dim=1))


def xgrad_cam(cut: Cut) -> Tensor:
    """XGrad-CAM: the channel's gradients averaged with its activations as weights.

    Fu et al., "Axiom-based Grad-CAM", BMVC 2020, equation 7. Returns float [N, h, w] ≥ 0.
    """
    total = cut.activation.sum(dim=(2, 3))
    some = total != 0
    weighted = (cut.gradient() * cut.activation).sum(dim=(2, 3))
    weights = torch.where(some, weighted / torch.where(some, total, torch.ones_like(total)), torch.zeros_like(total))
    return torch.relu(_weighted(weights, cut.activation))


def layer_cam(cut: Cut) -> Tensor:
    """LayerCAM: activations weighted, place by place, by their positive gradients.

    Jiang et al., "LayerCAM", IEEE TIP 2021, equations 6 to 8. Returns float [N, h, w] ≥ 0.
    """
    return torch.relu((torch.relu(cut.gradient()) * cut.activation).sum(dim=1))


def guided_grad_cam(cut: Cut) -> Tensor:
    """Guided Grad-CAM: guided backpropagation times Grad-CAM, scaled up bilinearly.

    Selvaraju et al., 2017, section 3.2 (with the guided rule, as the paper says). Returns float [N, H, W] ≥ 0, the
    largest over the channels.
    """
    large = resize_bilinear(grad_cam(cut).unsqueeze(1), cut.input.size)
    return (cut.input.gradient(rule="guided") * large).abs().amax(dim=1)


def eigen_cam(cut: Cut) -> Tensor:
    """EigenCAM: the activations projected on their first principal component over the places; no target, no gradient.

    Muhammad and Yeasin, "Eigen-CAM", IJCNN 2020, equation 4, channels centred as in the package grad-cam. The component
    is found by a fixed number of power iterations, and its sign is the one that agrees with the channels' mean.
    Returns float [N, h, w], signed.
    """
    flat = cut.activation.flatten(2)  # [N, C, h·w]
    flat = flat - flat.mean(dim=2, keepdim=True)
    mean = flat.mean(dim=1, keepdim=True)  # [N, 1, h·w]

    def step(place: Tensor, _: Tensor) -> Tensor:
        place = torch.bmm(torch.bmm(place, flat.transpose(1, 2)), flat)
        return place / torch.clamp(place.abs().amax(dim=2, keepdim=True), min=1e-30)

    place = fold(step, mean + _tilt(mean), torch.zeros(EIGEN_STEPS, 1))
    projected = torch.bmm(place, flat.transpose(1, 2))  # the component, up to its length: [N, 1, C]
    length = torch.clamp(projected.square().sum(dim=2, keepdim=True).sqrt(), min=1e-30)
    projected = torch.bmm(projected / length, flat)
    sign = torch.where((projected * mean).sum(dim=2, keepdim=True) < 0, -1.0, 1.0).to(flat.dtype)
    return (sign * projected).reshape(-1, *cut.size)


def _tilt(start: Tensor) -> Tensor:
    """A little of a fixed direction: a start that is orthogonal to the component would never find it."""
    wave = torch.cos(torch.arange(start.shape[2], dtype=torch.float64) * 1.7).to(start.dtype)
    return 1e-3 * start.abs().amax(dim=2, keepdim=True) * wave


def score_cam(cut: Cut) -> Tensor:
    """Score-CAM: each channel weighs as much as the score of the picture seen through it; no gradient.

    Wang et al., "Score-CAM", CVPR workshops 2020, algorithm 1; the softmax over the channels makes the baseline's score
    cancel. One pass through the network for each channel. Returns float [N, h, w] ≥ 0.
    """
    x, activation = cut.input.activation, cut.activation
    channels = activation.shape[1]

    def step(scores: Tensor, channel: Tensor) -> Tensor:
        mask = resize_bilinear(activation.index_select(1, channel), cut.input.size)
        low, high = mask.amin(dim=(2, 3), keepdim=True), mask.amax(dim=(2, 3), keepdim=True)
        width = high - low
        some = width > SCORE_FLAT * torch.maximum(high.abs(), low.abs())
        mask = torch.where(some, (mask - low) / torch.where(some, width, torch.ones_like(width)), 0 * mask)
        return scores + cut.input.score(x * mask).unsqueeze(1) * (torch.arange(channels) == channel)

    scores = fold(step, torch.zeros_like(activation[:, :, 0, 0]), torch.arange(channels).unsqueeze(1))
    return torch.relu(_weighted(torch.softmax(scores, dim=1), activation))


def ablation_cam(cut: Cut) -> Tensor:
    """Ablation-CAM: each channel weighs as much as the share of the score that is lost without it; no gradient.

    Desai and Ramaswamy, "Ablation-CAM", WACV 2020, equation 4. One pass through the rest of the network for each
    channel. Returns float [N, h, w] ≥ 0.
    """
    activation = cut.activation
    channels = activation.shape[1]
    whole = cut.score(activation)
    some = whole != 0
    divisor = torch.where(some, whole, torch.ones_like(whole))

    def step(lost: Tensor, channel: Tensor) -> Tensor:
        one = torch.arange(channels) == channel
        kept = torch.where(one.reshape(1, -1, 1, 1), torch.zeros_like(activation), activation)
        return lost + ((whole - cut.score(kept)) / divisor).unsqueeze(1) * one

    lost = fold(step, torch.zeros_like(activation[:, :, 0, 0]), torch.arange(channels).unsqueeze(1))
    return torch.relu(_weighted(lost, activation))


# ---- occlusion and feature maps -----------------------------------------------------------------------------------


def occlusion(cut: Cut) -> Tensor:
    """Occlusion: how much the score falls while a window of the picture is covered by the mean colour.

    Zeiler and Fergus, ECCV 2014, section 4.2. Windows overlap by half; a cell's value is the mean over the windows that
    cover it. Returns float [N, 2·WINDOWS, 2·WINDOWS] (or fewer on smaller pictures), signed.
    """
    x = cut.activation
    whole = cut.score(x)
    cells = [min(2 * WINDOWS, side) for side in cut.size]
    grid = [torch.from_numpy(np.arange(side) * n // side) for side, n in zip(cut.size, cells, strict=True)]
    corners = torch.from_numpy(np.stack(np.meshgrid(*(np.arange(max(n - 1, 1)) for n in cells), indexing="ij"), 2))

    def covered(cell: Tensor, corner: Tensor) -> Tensor:
        return (cell >= corner) & (cell <= corner + 1)

    def step(total: Tensor, corner: Tensor) -> Tensor:
        window = covered(grid[0], corner[0]).unsqueeze(1) & covered(grid[1], corner[1]).unsqueeze(0)
        lost = whole - cut.score(torch.where(window, torch.zeros_like(x), x))
        own = [covered(torch.arange(n), corner[i]) for i, n in enumerate(cells)]
        return total + lost.reshape(-1, 1, 1) * (own[0].unsqueeze(1) & own[1].unsqueeze(0))

    start = whole.reshape(-1, 1, 1) * torch.zeros(cells, dtype=x.dtype)
    total = fold(step, start, corners.reshape(-1, 2))
    counts = [np.minimum(2, np.minimum(np.arange(n) + 1, n - np.arange(n))) if n > 1 else np.ones(1) for n in cells]
    return total / torch.from_numpy(np.outer(*counts)).to(x.dtype)


def activations(cut: Cut) -> Tensor:
    """Feature maps: the layer's output as it is, float [N, C, h, w]."""
    return cut.activation


def pooled_features(activation: Tensor, cam: Tensor) -> Tensor:
    """What was looked at: the activations averaged over the places of a CAM, with the CAM as weights.

    Args:
        activation: float [N, C, h, w].
        cam: float [N, h, w] ≥ 0.

    Returns:
        float [N, C]; zero where the CAM is blank.
    """
    total = cam.sum(dim=(1, 2)).unsqueeze(1)
    weighted = torch.bmm(activation.flatten(2), cam.flatten(1).unsqueeze(2)).squeeze(2)
    return torch.where(total > 0, weighted / torch.where(total > 0, total, 1.0), 0 * weighted)


def _weighted(weights: Tensor, activation: Tensor) -> Tensor:
    """Σ over the channels of weights [N, C] times activation [N, C, h, w]."""
    # As a product of matrices it keeps no activation-sized product: half the time in ONNX Runtime.
    return torch.bmm(weights.unsqueeze(1), activation.flatten(2)).reshape(-1, *activation.shape[2:])


# ---- the table ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Method:
    """A line of the registry.

    Attributes:
        function: see the module's docstring.
        kind: what comes out (see `contract.MapSpec`).
        target_layer: "input"; "features" for the default layer that `Network.default_layer` finds; "pooled" for the
            layer in front of global average pooling and a linear head.
        backward: whether its graph holds a backward pass, so that the score must have a gradient at the layer.
        asks: whether the map depends on a target at all.
        rule: the backward rule of ReLUs that it needs some of, or None.
        about: one line for a list.
    """

    function: Callable[[Cut], Tensor]
    kind: MapKind
    target_layer: Literal["input", "features", "pooled"]
    about: str
    backward: bool = True
    asks: bool = True
    rule: Rule | None = None


METHODS: dict[str, Method] = {
    "grad-cam": Method(grad_cam, "cam", "features", "which regions speak for the class"),
    "saliency": Method(saliency, "gradient", "input", "which pixels change the score"),
    "activations": Method(activations, "activations", "features", "what a layer gives", backward=False, asks=False),
    "guided-backpropagation": Method(
        guided_backpropagation, "gradient", "input", "saliency through positive paths alone", rule="guided"
    ),
    "deconvnet": Method(deconvnet, "gradient", "input", "saliency with rectified gradients", rule="deconvnet"),
    "input-x-gradient": Method(input_x_gradient, "signed", "input", "each pixel's first-order share of the score"),
    "smooth-grad": Method(smooth_grad, "gradient", "input", "saliency averaged over noisy copies"),
    "integrated-gradients": Method(
        integrated_gradients, "signed", "input", "each pixel's share of the score over a picture of the mean colour"
    ),
    "cam": Method(cam, "signed", "pooled", "the linear head's weights, place by place", backward=False),
    "guided-grad-cam": Method(
        guided_grad_cam, "gradient", "features", "guided backpropagation where Grad-CAM looks", rule="guided"
    ),
    "grad-cam++": Method(grad_cam_plus_plus, "cam", "features", "Grad-CAM for several objects of one class"),
    "hires-cam": Method(hires_cam, "cam", "features", "gradient times activation, place by place"),
    "xgrad-cam": Method(xgrad_cam, "cam", "features", "Grad-CAM with weights from an axiom"),
    "layer-cam": Method(layer_cam, "cam", "features", "positive gradient times activation, for early layers too"),
    "eigen-cam": Method(
        eigen_cam, "signed", "features", "a layer's first principal component", backward=False, asks=False
    ),
    "score-cam": Method(score_cam, "cam", "features", "channels weighted by a forward pass each", backward=False),
    "ablation-cam": Method(ablation_cam, "cam", "features", "channels weighted by what goes without", backward=False),
    "ascent": Method(ascent, "ascent", "input", "the step of deep dream: a gradient in float pixels (saccade dream)"),
    "occlusion": Method(occlusion, "signed", "input", "the score lost while a window is covered", backward=False),
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
