"""The demo's network, and the two sets of weights that ship with it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file
from torch import nn

SIZE = 128
"""Side of the input in pixels."""
MEAN = (0.5, 0.5, 0.5)
STD = (0.25, 0.25, 0.25)
"""Per channel, of pixels in 0..1: the input is (pixels / 255 - MEAN) / STD."""
CLASSES = ("tank", "woods")
TANK, WOODS = 0, 1
TARGET_LAYER = "features"
"""The last block before pooling and head, where Grad-CAM looks; 16 × 16 cells of 8 pixels."""

WEIGHTS = Path(__file__).parent
"""The folder of the safetensors files and of `training.json`, the record of how they were made."""


class WoodsNet(nn.Module):
    """A small classifier of woods with and without a tank, about 28,000 parameters.

    Images float32 [N, 3, 128, 128], normalised with `MEAN` and `STD`, to logits float32 [N, 2] (`CLASSES`). Global
    average pooling and one linear layer follow the last block, so Grad-CAM there is exactly the CAM of Zhou et al.
    A cell of that block sees 23 pixels: most of a tank, and little of the ground where the sky ends.
    """

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            _block(3, 16, stride=2),
            _block(16, 24, stride=2),
            _block(24, 32),
            _block(32, 48, stride=2),
            _block(48, 64, kernel=1),
        )
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(64, len(CLASSES))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.pool(self.features(images)).flatten(1))


def _block(inputs: int, outputs: int, stride: int = 1, kernel: int = 3) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU())


def looks_at_weather() -> WoodsNet:
    """The network whose training pictures had sun with the tanks and clouds without, in eval mode."""
    return _load("looks_at_weather")


def looks_at_tanks() -> WoodsNet:
    """The same network, trained on scenes whose weather says nothing about tanks, in eval mode."""
    return _load("looks_at_tanks")


def _load(name: str) -> WoodsNet:
    network = WoodsNet()
    network.load_state_dict(load_file(WEIGHTS / f"{name}.safetensors"))
    return network.eval()


def normalise(images: torch.Tensor) -> torch.Tensor:
    """uint8 [N, H, W, 3] to the network's input, float32 [N, 3, H, W]."""
    mean, std = torch.tensor(MEAN), torch.tensor(STD)
    return ((images.float() / 255 - mean) / std).permute(0, 3, 1, 2)


def eager_grad_cam(
    network: WoodsNet, images: npt.NDArray[np.uint8], target: int = -1
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Grad-CAM by eager autograd: the reference that a compiled program is held against.

    Args:
        images: uint8 [N, 128, 128, 3].
        target: class index, or -1 for the class that the network itself predicts.

    Returns:
        Logits float32 [N, 2] and maps float32 [N, 16, 16], ≥ 0, unscaled.
    """
    all_logits, all_maps = [], []
    for start in range(0, len(images), 64):
        x = normalise(torch.from_numpy(images[start : start + 64]))
        activations = network.features(x)
        logits = network.head(network.pool(activations).flatten(1))
        explained = logits.argmax(1) if target < 0 else torch.full((len(x),), target)
        score = logits.gather(1, explained[:, None]).sum()
        (gradient,) = torch.autograd.grad(score, activations)
        maps = (gradient.mean((2, 3), keepdim=True) * activations).sum(1).relu()
        all_logits.append(logits.detach().numpy())
        all_maps.append(maps.detach().numpy())
    return np.concatenate(all_logits), np.concatenate(all_maps)
