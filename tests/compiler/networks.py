"""The networks of the shared weights that no library has, where the shared photos and weights lie, seeded weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import nn

from examples.robot import cifar10_resnet20, dronet_v2, long_range_perception

__all__ = [
    "PHOTOS",
    "SHARED",
    "WEIGHTS",
    "cifar10_resnet20",
    "dronet_v2",
    "long_range_perception",
    "read_photos",
    "seeded",
]

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"
WEIGHTS, PHOTOS = SHARED / "weights", SHARED / "photos"


def read_photos(paths: list[Path], height: int, width: int, channels: int) -> npt.NDArray[np.uint8]:
    """uint8 [N, H, W, C]: the largest centred piece of the wanted shape, scaled."""
    batch = []
    for path in paths:
        with Image.open(path) as photo:
            picture = photo.convert("L" if channels == 1 else "RGB")
        w = min(picture.width, picture.height * width // height)
        h = min(picture.height, picture.width * height // width)
        left, top = (picture.width - w) // 2, (picture.height - h) // 2
        picture = picture.resize((width, height), Image.Resampling.BILINEAR, box=(left, top, left + w, top + h))
        batch.append(np.asarray(picture).reshape(height, width, channels))
    return np.stack(batch)


def seeded(build: Callable[[], nn.Module]) -> nn.Module:
    """A module with weights that are the same every time, batch norm's statistics included."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        module = build()
        for layer in module.modules():
            if isinstance(layer, nn.BatchNorm2d) and layer.running_mean is not None and layer.running_var is not None:
                layer.running_mean.normal_(0, 0.2)
                layer.running_var.uniform_(0.5, 1.5)
                if layer.affine:
                    nn.init.uniform_(layer.weight, 0.5, 1.5)
                    nn.init.normal_(layer.bias, 0, 0.2)
    return module.eval()
