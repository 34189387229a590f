"""What the papers say of their own methods, as oracles that need no second implementation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from networks import seeded
from test_methods import SIZE, Classifier
from torch import Tensor

from saccade.engine import pipeline
from saccade.engine.compiler import Model, compiling, methods, wrap_module
from saccade.engine.compiler.methods import METHODS
from saccade.engine.compiler.proof import float64, pictures
from saccade.engine.compiler.targets import Target
from saccade.engine.compiler.trace import trace
from saccade.engine.contract import ModelOptions, UsageError

TARGET = np.array([0, 3, 4, 1])


@pytest.fixture(scope="module")
def model() -> Model:
    return wrap_module(seeded(Classifier), "net", ModelOptions(input_size=SIZE))


@pytest.fixture(scope="module")
def images(model: Model) -> np.ndarray:
    return pictures(model.preprocessing, ["textured", "textured", "letterboxed", "textured"], seed=21)


def maps(model: Model, images: np.ndarray, *names: str) -> dict[str, np.ndarray]:
    """Maps and logits by the graph in float64."""
    target = Target()
    traced = trace(
        model.network, model.preprocessing, compiling.make_requests(model.network, names, None, target), target
    )
    with torch.no_grad():
        found = float64(traced)(torch.from_numpy(images), torch.from_numpy(TARGET))
    return {name: value.numpy() for name, value in zip(traced.outputs, found, strict=True)}


def close(a: np.ndarray, b: np.ndarray, to: float = 1e-10) -> bool:
    return bool(np.abs(a - b).max() <= to * np.abs(b).max())


def test_the_comparison_sees_a_wrong_answer():
    right = np.arange(4.0)
    assert close(right, right)
    assert not close(right * (1 + 1e-9), right)
    assert not close(np.full(4, np.nan), right)


def test_smooth_grad_with_one_sample_and_no_noise_is_saliency(model, images, monkeypatch):
    noise = lambda shape: np.zeros((1, *shape), np.float32)  # noqa: E731
    monkeypatch.setattr(methods, "SMOOTH_SAMPLES", 1)
    monkeypatch.setattr(methods, "smooth_noise", noise)
    found = maps(model, images, "smooth-grad", "saliency")
    assert close(found["smooth_grad"], found["saliency"])


def test_smooth_grad_is_not_saliency(model, images):
    found = maps(model, images, "smooth-grad", "saliency")
    assert not close(found["smooth_grad"], found["saliency"], 0.01)


def test_integrated_gradients_sum_to_the_difference_of_the_scores(model, images):
    found = maps(model, images, "integrated-gradients")
    module, rows = model.network.module, np.arange(len(images))
    assert module is not None
    with torch.no_grad():
        baseline = module(torch.zeros(1, *model.network.input_shape)).numpy()[0]
    difference = found["logits"][rows, TARGET] - baseline[TARGET]
    total = found["integrated_gradients"].sum(axis=(1, 2))
    assert (np.abs(total - difference) <= 0.01 * np.abs(difference)).all()


def test_cam_rectified_is_grad_cam_up_to_the_number_of_places(model, images):
    found = maps(model, images, "cam", "grad-cam", "hires-cam")
    places = found["cam"].shape[1] * found["cam"].shape[2]
    assert close(np.maximum(found["cam"], 0), found["grad_cam"] * places)
    assert close(found["hires_cam"], found["grad_cam"])
    assert (found["cam"] < 0).any()


class FunctionalReLU(Classifier):
    """The same network whose last ReLU is no module, as DenseNet's."""

    def __init__(self) -> None:
        super().__init__()
        self.body = self.body[:-1]

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.pool(F.relu(self.body(self.stem(x)), inplace=True)).flatten(1))


def test_cam_of_a_relu_that_is_no_module_is_that_of_one_that_is(model, images, tmp_path):
    other = wrap_module(seeded(FunctionalReLU), "net", ModelOptions(input_size=SIZE))
    found, expected = maps(other, images, "cam"), maps(model, images, "cam")
    assert close(found["cam"], expected["cam"])
    spec = pipeline.compile_program(other, ["cam"], tmp_path / "net.ts", "torchscript")  # proven against eager
    assert spec.maps[0].layer == "body"


def test_ablation_cam_of_a_linear_head_is_grad_cam_weighted_by_activation(model, images):
    """Behind an average and a linear head, what goes without channel c is its weight times its mean."""
    found = maps(model, images, "ablation-cam", "activations", "cam")
    activation, logits = found["activations"], found["logits"]
    assert model.network.module is not None
    weights = model.network.module.get_submodule("head").weight.double().numpy()[TARGET]
    lost = weights * activation.mean(axis=(2, 3)) / logits[np.arange(4), TARGET][:, None]
    assert close(found["ablation_cam"], np.maximum(np.einsum("nc,nchw->nhw", lost, activation), 0))


def test_guided_grad_cam_is_the_product_of_its_two_parts(model, images):
    found = maps(model, images, "guided-grad-cam", "guided-backpropagation", "grad-cam")
    large = torch.nn.functional.interpolate(
        torch.from_numpy(found["grad_cam"])[:, None], found["guided_backpropagation"].shape[1:], mode="bilinear"
    )
    assert close(found["guided_grad_cam"], found["guided_backpropagation"] * large[:, 0].numpy())


def test_eigen_cam_is_the_first_principal_component(model, images):
    found = maps(model, images, "eigen-cam", "activations")
    for ours, activation in zip(found["eigen_cam"], found["activations"], strict=True):
        flat = activation.reshape(len(activation), -1).T
        left, length, _ = np.linalg.svd(flat - flat.mean(axis=0), full_matrices=False)
        exact = (left[:, 0] * length[0]).reshape(ours.shape)
        assert abs(np.corrcoef(ours.ravel(), exact.ravel())[0, 1]) >= 0.999
        assert np.corrcoef(ours.ravel(), activation.mean(axis=0).ravel())[0, 1] > 0


@pytest.mark.parametrize("name", METHODS)
def test_a_method_has_a_backward_pass_only_if_it_says_so(model, monkeypatch, name: str):
    def differentiate(*_: object) -> None:
        raise RuntimeError("a gradient was asked for")

    monkeypatch.setattr(torch.func, "grad", differentiate)
    target = Target()
    requests = compiling.make_requests(model.network, [name], None, target)
    if METHODS[name].backward:
        with pytest.raises(UsageError, match="a gradient was asked for"):
            trace(model.network, model.preprocessing, requests, target)
    else:
        trace(model.network, model.preprocessing, requests, target)
