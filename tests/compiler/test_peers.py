"""Our maps beside those of the packages captum, grad-cam and torchcam, where they have the method.

Differences that are theirs are named where they are compared: grad-cam scales every map to its own range, before and
after enlarging it; its Score-CAM enlarges masks with corners aligned; its Grad-CAM++ adds 1e-6 to a denominator of
squared gradients, so it is compared where those are large. torchcam's divides a copy and so leaves the
denominator out.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from networks import seeded
from torch import Tensor, nn

from saccade import program as facade
from saccade.engine.compiler import METHODS
from saccade.engine.compiler.proof import error_to_maximum, pictures
from saccade.engine.contract import Preprocessing

HEIGHT, WIDTH = 28, 42  # so that occlusion's cells are 2 x 3 pixels each
CLASSES = [3, 0, 4]


class Net(nn.Module):
    """What all the packages can take: ReLU as modules of their own, none in place, and a GAP + linear head."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 12, 3, padding=1), nn.BatchNorm2d(12), nn.ReLU()
        )
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(12, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.pool(self.body(x)).flatten(1))


@pytest.fixture(scope="module")
def module() -> nn.Module:
    return seeded(Net)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return pictures(Preprocessing(HEIGHT, WIDTH), ["textured", "letterboxed", "textured"], seed=7)


@pytest.fixture(scope="module")
def x(images: np.ndarray) -> Tensor:
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255


@pytest.fixture(scope="module")
def ours(module: nn.Module, images: np.ndarray) -> Any:
    program = facade.compile(
        module, *(m for m in METHODS if m != "ascent"), to="torchscript", input_size=(HEIGHT, WIDTH)
    )
    return program(images, CLASSES)


def agrees(a: np.ndarray, b: Any, to: float = 1e-4) -> None:
    """The maps agree, and the comparison sees a wrong answer: another picture's map."""
    b = b.detach().numpy() if isinstance(b, Tensor) else b
    assert error_to_maximum(a, b) <= to
    assert error_to_maximum(a[::-1], b) > 10 * to


def test_captum_saliency(module, x, ours):
    from captum.attr import Saliency

    agrees(ours.saliency, Saliency(module).attribute(x.clone().requires_grad_(), CLASSES_T).amax(dim=1))


CLASSES_T = torch.tensor(CLASSES)


@pytest.mark.filterwarnings("ignore:Setting backward hooks on ReLU")
def test_captum_guided_backpropagation_and_deconvnet(module, x, ours):
    from captum.attr import Deconvolution, GuidedBackprop

    for method, theirs in (("guided_backpropagation", GuidedBackprop), ("deconvnet", Deconvolution)):
        found = theirs(module).attribute(x.clone().requires_grad_(), CLASSES_T)
        agrees(ours[method], found.abs().amax(dim=1))


@pytest.mark.filterwarnings("ignore:Setting backward hooks on ReLU")
def test_captum_guided_grad_cam(module, x, ours):
    from captum.attr import GuidedGradCam

    found = GuidedGradCam(module, module.body).attribute(
        x.clone().requires_grad_(), CLASSES_T, interpolate_mode="bilinear"
    )
    agrees(ours.guided_grad_cam, found.abs().amax(dim=1))


def test_captum_input_x_gradient(module, x, ours):
    from captum.attr import InputXGradient

    agrees(ours.input_x_gradient, InputXGradient(module).attribute(x.clone().requires_grad_(), CLASSES_T).sum(dim=1))


def test_captum_integrated_gradients(module, x, ours):
    from captum.attr import IntegratedGradients

    agrees(ours.integrated_gradients, IntegratedGradients(module).attribute(x, target=CLASSES_T, n_steps=50).sum(dim=1))


def test_captum_grad_cam(module, x, ours):
    from captum.attr import LayerGradCam

    found = LayerGradCam(module, module.body).attribute(x.clone().requires_grad_(), CLASSES_T, relu_attributions=True)
    assert isinstance(found, Tensor)
    agrees(ours.grad_cam, found.squeeze(1))


def test_captum_occlusion(module, x, ours):
    from captum.attr import Occlusion

    found = Occlusion(module).attribute(x, (3, 4, 6), (3, 2, 3), target=CLASSES_T)[:, 0]
    agrees(ours.occlusion.repeat(2, axis=1).repeat(3, axis=2), found)


def grad_cam_package(name: str, module: nn.Module, x: Tensor) -> np.ndarray:
    """The package's map, 0 to 1 at the input's size."""
    import pytorch_grad_cam
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    body: Any = module.get_submodule("body")
    module.requires_grad_()
    try:
        with getattr(pytorch_grad_cam, name)(module, [body]) as cam:
            return cam(x.clone(), [ClassifierOutputTarget(c) for c in CLASSES])
    finally:
        module.requires_grad_(False)


def as_grad_cam_scales(maps: np.ndarray) -> np.ndarray:
    """Each to its own range, enlarged, and to its own range again."""
    large = torch.nn.functional.interpolate(torch.from_numpy(_scaled(maps))[:, None], (HEIGHT, WIDTH), mode="bilinear")
    return _scaled(large[:, 0].numpy())


def _scaled(maps: np.ndarray) -> np.ndarray:
    above = maps - maps.min(axis=(1, 2), keepdims=True)
    return above / (1e-7 + above.max(axis=(1, 2), keepdims=True))


@pytest.mark.parametrize(
    ("method", "name"),
    [
        ("grad_cam", "GradCAM"),
        ("hires_cam", "HiResCAM"),
        ("xgrad_cam", "XGradCAM"),
        ("layer_cam", "LayerCAM"),
        ("ablation_cam", "AblationCAM"),
    ],
)
def test_grad_cam_package(method: str, name: str, module, x, ours):
    theirs = grad_cam_package(name, module, x)
    mine = as_grad_cam_scales(ours[method])
    assert np.abs(mine - theirs).max() < 2e-3
    assert np.abs(mine[::-1] - theirs).max() > 0.05


def test_grad_cam_package_grad_cam_plus_plus(module, images, x):
    large = copy.deepcopy(module)
    large.fc.weight.data.mul_(1000)
    program = facade.compile(large, "grad-cam++", to="torchscript", input_size=(HEIGHT, WIDTH))
    mine = as_grad_cam_scales(program(images, CLASSES).grad_campp)
    theirs = grad_cam_package("GradCAMPlusPlus", large, x)
    assert np.abs(mine - theirs).max() < 2e-3
    assert np.abs(mine[::-1] - theirs).max() > 0.05


def test_grad_cam_package_score_cam(module, x, ours):
    theirs = grad_cam_package("ScoreCAM", module, x)
    mine = as_grad_cam_scales(ours.score_cam)
    assert all(correlation(a, b) > 0.99 for a, b in zip(mine, theirs, strict=True))


def test_grad_cam_package_eigen_cam_up_to_sign(module, x, ours):
    theirs = grad_cam_package("EigenCAM", module, x)
    for mine, b in zip(ours.eigen_cam, theirs, strict=True):
        either = [as_grad_cam_scales(np.maximum(sign * mine, 0)[None])[0] for sign in (1, -1)]
        assert max(correlation(a, b) for a in either) >= 0.999


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


@pytest.mark.parametrize(
    ("method", "name"),
    [
        ("cam", "CAM"),
        ("grad_cam", "GradCAM"),
        ("xgrad_cam", "XGradCAM"),
        ("layer_cam", "LayerCAM"),
    ],
)
def test_torchcam(method: str, name: str, module, x, ours):
    import torchcam.methods

    layer = {"fc_layer": "fc"} if name == "CAM" else {}
    make: Callable[..., Any] = getattr(torchcam.methods, name)
    with make(module, target_layer="body", **layer) as extractor:
        scores = module(x.clone().requires_grad_())
        theirs = extractor(CLASSES, scores, normalized=False)[0]
    agrees(ours[method], theirs)
