"""Every method, for every kind of target, in every runtime: as exact as eager float32, and one with float64."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import parity
import pytest
import torch
from networks import seeded
from torch import Tensor, nn

from saccade.engine.compiler import METHODS, wrap_module
from saccade.engine.compiler.proof import error_to_maximum, examples, pictures
from saccade.engine.contract import ModelOptions

SIZE = (32, 40)


class Classifier(nn.Module):
    """Convolutions, batch norm, ReLU and ReLU6, a max pool, global average pooling and a linear head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU6(inplace=True), nn.MaxPool2d(2))
        self.body = nn.Sequential(
            nn.Conv2d(8, 12, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(12, 10, 3), nn.ReLU()
        )
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(10, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.pool(self.body(self.stem(x))).flatten(1))


class Segmentation(nn.Module):
    """Down, up, and a skip past both."""

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU())
        self.bottom = nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(6, 10, 3, padding=1), nn.ReLU())
        self.up = nn.ConvTranspose2d(10, 6, 2, stride=2)
        self.decoder = nn.Sequential(nn.Conv2d(12, 8, 3, padding=1), nn.ReLU())
        self.head = nn.Conv2d(8, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.encoder(x)
        return self.head(self.decoder(torch.cat([x, self.up(self.bottom(x))], dim=1)))


def one_class() -> nn.Module:
    return Segmentation(1)


CASES = {
    "class": (Classifier, "class", None),
    "top-3": (Classifier, "top-3", None),
    "outputs": (Classifier, "outputs", None),
    "unit": (Classifier, "unit:body.2", "stem"),
    "region": (Segmentation, "region", "bottom"),
    "region of one class": (one_class, "region", "decoder"),
}


def compile_case(name: str, folder: Path, runtimes: tuple = parity.RUNTIMES) -> parity.Compiled:
    build, target, layer = CASES[name]
    model = wrap_module(seeded(build), name, ModelOptions(input_size=SIZE))
    # CAM reads the weights of a linear head behind the layer, which regions and inner layers have not.
    maps = [m for m in METHODS if METHODS[m].kind != "ascent"]
    methods = [m for m in maps if m != "cam" or target in ("class", "outputs")]
    if target == "top-3":  # three times as large a graph: one of a kind will do
        methods = ["grad-cam", "saliency", "activations", "cam", "smooth-grad", "score-cam"]
    return parity.compile_everything(model, folder, layer, runtimes, methods, target)


@pytest.mark.parametrize("name", CASES)
def test_methods_are_as_exact_as_eager(name: str, tmp_path: Path):
    compiled = compile_case(name, tmp_path)
    network = compiled.model.network
    images = pictures(compiled.model.preprocessing, ["textured"] * 10 + ["flat", "letterboxed"], seed=5)
    asked = examples(network, compiled.target, len(images), seed=6)
    exact = parity.eager_maps(compiled, images, asked, torch.float64)
    assert len(exact) == 1 + len(compiled.requests)
    # A ReLU leaves a map's rounding where nearly all of it was negative: such maps have no maximum of their own.
    scales = {n: np.full(len(images), np.abs(v).max()) for n, v in exact.items()}
    got = parity.graph_in_float64(compiled.traced, images, asked)
    folded = parity.eager_maps(compiled, images, asked, torch.float64, compiled.network)
    for map_name, expected in folded.items():
        assert error_to_maximum(got[map_name], expected, scales[map_name]) <= 1e-9, map_name
    plain = parity.measured(parity.eager_maps(compiled, images, asked, torch.float32), exact)
    for runner in compiled.runners.values():
        found = parity.measured(parity.program_maps(runner, images, asked), exact)
        for map_name in exact:
            assert parity.median_within_eager(found, plain, map_name), (runner.runtime, map_name)
