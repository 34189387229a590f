"""The robots' networks: their shapes, that the shared weights fit them, and that they do with these what they did."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from examples.robot import cifar10_resnet20, dronet_v2, long_range_perception
from saccade.engine.compiler import load_model
from saccade.engine.contract import ModelOptions

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"
NETWORKS: list[tuple[Callable[[], nn.Module], tuple[int, int, int], int]] = [
    (dronet_v2, (1, 200, 200), 2),
    (long_range_perception, (3, 64, 80), 325),
    (cifar10_resnet20, (3, 32, 32), 10),
]
names = pytest.mark.parametrize(("build", "shape", "outputs"), NETWORKS, ids=lambda v: getattr(v, "__name__", ""))


@names
def test_shapes(build: Callable[[], nn.Module], shape: tuple[int, int, int], outputs: int):
    with torch.no_grad():
        got = build().eval()(torch.rand(2, *shape))
    assert got.shape == (2, outputs)
    assert bool(got.isfinite().all())


@pytest.mark.data
@names
def test_shared_weights_fit(build: Callable[[], nn.Module], shape: tuple[int, int, int], outputs: int):
    """As the command line reads them; load_state is strict but for batch norm's counters."""
    weights = SHARED / "weights" / f"{build.__name__}.safetensors"
    if not weights.is_file():
        pytest.skip("needs the shared weights (../shared/data)")
    model = load_model(f"examples.robot:{build.__name__}", str(weights), ModelOptions(input_size=shape[1:]))
    assert model.network.input_shape == shape
    assert model.network.num_outputs == outputs


@pytest.mark.data
def test_dronet_sees_collisions():
    """Right in 86 % of the frames, with the weights' own measurement; above 0.8 here."""
    labels, weights = SHARED / "driving" / "labels.csv", SHARED / "weights" / "dronet_v2.safetensors"
    if not labels.is_file() or not weights.is_file():
        pytest.skip("needs the shared frames and weights (../shared/data)")
    with labels.open(newline="") as lines:
        truth = {row["path"]: row["collision"] == "1" for row in csv.DictReader(lines) if row["collision"]}
    assert len(truth) > 200
    frames = []
    for name in truth:
        with Image.open(labels.parent / name) as frame:
            frames.append(np.array(frame.convert("L")))
    module = load_model("examples.robot:dronet_v2", str(weights), ModelOptions(input_size=(200, 200))).network.module
    assert module is not None
    with torch.no_grad():
        logits = torch.cat([module(part.unsqueeze(1) / 255) for part in torch.from_numpy(np.stack(frames)).split(32)])
    right = (logits[:, 1] > 0) == torch.tensor(list(truth.values()))
    assert float(right.float().mean()) > 0.8
