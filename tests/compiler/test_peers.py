"""Grad-CAM beside the packages grad-cam and captum, at the same layer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from saccade import program as facade
from saccade.engine.compiler import load_model
from saccade.engine.compiler.proof import error_to_maximum, normalise, pictures

CLASSES = [3, 7]


@pytest.fixture(scope="module")
def found():
    model = load_model("torchvision/squeezenet1_1", "random")
    compiled = facade.compile("torchvision/squeezenet1_1", "grad-cam", weights="random", to="torchscript")
    images = pictures(model.preprocessing, ["textured", "letterboxed"], seed=7)
    x = normalise(torch.from_numpy(images), model.preprocessing, torch.float32)
    module = model.network.module
    assert module is not None
    return module, x, compiled(images, CLASSES).grad_cam


def test_captum_gives_the_same_map(found):
    from captum.attr import LayerGradCam

    module, x, ours = found
    theirs = LayerGradCam(module, module.features[12]).attribute(
        x.requires_grad_(), torch.tensor(CLASSES), relu_attributions=True
    )
    assert isinstance(theirs, torch.Tensor)
    theirs = theirs.detach().numpy()[:, 0]
    assert error_to_maximum(ours, theirs) < 1e-4
    assert error_to_maximum(ours[::-1], theirs) > 0.01


def test_grad_cam_gives_the_same_map_scaled_to_its_range(found):
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    module, x, ours = found
    for parameter in module.parameters():
        parameter.requires_grad_()
    try:
        with GradCAM(module, [module.features[12]]) as cam:
            targets: Any = [ClassifierOutputTarget(c) for c in CLASSES]
            theirs = cam(x.detach(), targets)
    finally:
        module.requires_grad_(False)
    # The package scales each map to its own range, enlarges it to the input's size, and scales it again.
    large = torch.nn.functional.interpolate(torch.from_numpy(_scaled(ours))[:, None], theirs.shape[1:], mode="bilinear")
    large = _scaled(large[:, 0].numpy())
    assert np.abs(large - theirs).max() < 1e-3
    assert np.abs(large[::-1] - theirs).max() > 0.05


def _scaled(maps: np.ndarray) -> np.ndarray:
    above = maps - maps.min(axis=(1, 2), keepdims=True)
    return above / (1e-7 + above.max(axis=(1, 2), keepdims=True))
