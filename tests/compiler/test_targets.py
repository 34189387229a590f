"""What is explained: what fits a network, what does not, and that each kind explains what it says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from networks import seeded
from refusals import refused
from test_methods import SIZE, Classifier, Segmentation
from torch import Tensor, nn

import saccade
from saccade.engine import pipeline
from saccade.engine.compiler import wrap_module
from saccade.engine.compiler.targets import parse_target
from saccade.engine.contract import ModelOptions
from saccade.engine.decode import Photo


class Wrapped(nn.Module):
    """A segmentation as torchvision's give it: a dict with `out`."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = Segmentation()

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"out": self.inner(x), "aux": x}


class NoRelu(nn.Module):
    """SiLU alone, and a head of two linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 6, 3), nn.SiLU())
        self.head = nn.Sequential(nn.Linear(6, 6), nn.SiLU(), nn.Linear(6, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x).mean((2, 3)))


def compile_it(module: nn.Module, *methods: str, **options: Any) -> saccade.Program:
    return saccade.compile(module, *methods, to="torchscript", input_size=SIZE, **options)


@pytest.mark.parametrize("text", ["classes", "top-", "top-0", "top-21", "top-5x", "unit", "unit:", "TOP-5", ""])
def test_words_that_are_no_target(text: str):
    refused(lambda: parse_target(text), "compile: target")


@pytest.mark.parametrize(
    ("module", "methods", "options", "message"),
    [
        (Classifier, ["grad-cam"], {"target": "region"}, r"net\w* gives logits \[N, K\]; expected a segmentation's"),
        (Segmentation, ["grad-cam"], {"target": "class"}, "is a segmentation, .* compile it with --target region"),
        (Segmentation, ["grad-cam"], {"target": "outputs"}, "compile it with --target region"),
        (Classifier, ["grad-cam"], {"target": "top-6"}, "has 5 outputs"),
        (Classifier, ["grad-cam"], {"target": "unit:bodi"}, "layer 'bodi' is not in .* it has .*body"),
        (Classifier, ["grad-cam"], {"target": "unit:stem", "layer": "body"}, "layer 'stem' of .* does not depend on"),
        (Classifier, ["cam"], {"target": "unit:body"}, "cam reads the weights of classes or outputs"),
        (Classifier, ["cam"], {"layer": "stem"}, "cam explains the layer that is pooled, 'body', not 'stem'"),
        (NoRelu, ["cam"], {}, "cam needs a head of global average pooling .* use grad-cam"),
        (NoRelu, ["guided-backpropagation"], {}, "changes how ReLUs go back, and NoRelu has none"),
        (NoRelu, ["grad-cam", "ascent"], {}, "ascent takes float32 pixels and makes a program of its own"),
        (NoRelu, ["saliency"], {"layer": "body"}, "saliency explains the input and takes no --layer"),
    ],
)
def test_what_does_not_fit(module: Any, methods: list[str], options: dict[str, Any], message: str):
    message = message.replace(r"net\w*", module.__name__)
    refused(lambda: compile_it(seeded(module), *methods, **options), message)


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(2).integers(0, 256, (3, *SIZE, 3)).astype(np.uint8)


def test_top_k_explains_the_k_likeliest_as_if_asked_for_each(images: np.ndarray):
    module = seeded(Classifier)
    top = compile_it(module, "grad-cam", "saliency", target="top-3")(images)
    one = compile_it(module, "grad-cam", "saliency")
    order = np.argsort(-top.logits, axis=1)[:, :3]
    assert (top.target == order).all()
    for rank in range(3):
        asked = one(images, order[:, rank])
        end = "" if rank == 0 else f"_{rank + 1}"
        assert np.allclose(top[f"grad_cam{end}"], asked.grad_cam, atol=1e-6)
        assert np.allclose(top[f"saliency{end}"], asked.saliency, atol=1e-6)
        assert top.score is not None
        assert asked.score is not None
        assert np.allclose(top.score[:, rank], asked.score)


def test_a_segmentation_in_a_dict_is_explained_within_a_region(images: np.ndarray, tmp_path: Path):
    program = compile_it(seeded(Wrapped), "saliency", target="region")
    assert program.spec.output_size == SIZE
    region = np.zeros(SIZE, np.uint8)
    region[4:8, 4:8] = 1
    found = program(images, 1, region)
    near = found.saliency[:, :16, :16].sum(axis=(1, 2))
    assert (near > 0.99 * found.saliency.sum(axis=(1, 2))).all(), "what lies far from the region has no part in it"
    assert found.score is not None
    assert np.allclose(found.score, found.logits[:, 1, 4:8, 4:8].sum(axis=(1, 2)), rtol=1e-5)
    free = program(images)
    areas = (free.logits.argmax(axis=1)[:, None] == np.arange(3)[:, None, None]).sum(axis=(2, 3))
    assert (free.target == areas.argmax(axis=1)).all()


def test_a_unit_sees_its_own_part_of_the_picture(images: np.ndarray):
    program = compile_it(seeded(Classifier), "saliency", target="unit:stem")
    found = program(images, (2, 0, 0))
    seen = np.argwhere(found.saliency.max(axis=0) > 0)
    assert seen.max() <= 6, "unit (0, 0) of the stem reads the corner alone"
    channel = program(images, 2).saliency
    assert (channel[:, 16:] > 0).any()


def test_outputs_add_up(images: np.ndarray):
    program = compile_it(seeded(Classifier), "input-x-gradient", target="outputs", classes=("a", "b", "c", "d", "e"))
    both = program(images, [2.0, 0, -1, 0, 0]).input_x_gradient
    one, other = program(images, "a").input_x_gradient, program(images, "c").input_x_gradient
    assert np.allclose(both, 2 * one - other, atol=1e-6)
    assert program(images).prediction[0].startswith("a ")
    assert program.spec.softmax is False


def test_filters_are_the_true_weights():
    module = seeded(Classifier)
    weights = saccade.filters(module, "stem.0", input_size=SIZE)
    assert (weights == module.get_submodule("stem.0").weight.detach().numpy()).all()  # pyright: ignore[reportCallIssue, reportAttributeAccessIssue]
    refused(lambda: saccade.filters(module, "stem.1", input_size=SIZE), "is no convolution; there are stem.0, body.0")


def test_a_head_that_pools_to_more_than_one_place_is_none_for_cam():
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 3))
    refused(lambda: compile_it(seeded(lambda: module), "cam"), "cam needs a head of global average pooling")


@pytest.mark.parametrize(("method", "target"), [("grad-cam", "unit:body"), ("ascent", "class")])
def test_what_has_no_maps_over_photos_is_not_calibrated(method: str, target: str, tmp_path: Path):
    model = wrap_module(seeded(Classifier), "net", ModelOptions(input_size=SIZE))
    photos = [Photo("a.jpg", "a.jpg", None)]
    refused(
        lambda: pipeline.compile_program(model, [method], tmp_path / "net.ts", "torchscript", None, target, photos),
        "--calibrate needs maps of a class, region or outputs",
    )
