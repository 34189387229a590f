"""A compact U-Net: Ronneberger et al., "U-Net: Convolutional Networks for Biomedical Image Segmentation", MICCAI 2015.

It differs from figure 1 of the paper in its width (12 channels at the first level, not 64), in its padding, so that the
output is as large as the input, and in batch norm, which needs no care for the initial weights.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Block(nn.Sequential):
    """Two 3x3 convolutions, each with batch norm and ReLU; height and width stay."""

    def __init__(self, inputs: int, outputs: int) -> None:
        layers: list[nn.Module] = []
        for channels in (inputs, outputs):
            layers += [
                nn.Conv2d(channels, outputs, 3, padding=1, bias=False),
                nn.BatchNorm2d(outputs),
                nn.ReLU(inplace=True),
            ]
        super().__init__(*layers)


class Up(nn.Module):
    """Doubles height and width, halves the channels, and joins what the way down had seen at that size."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.enlarge = nn.ConvTranspose2d(channels, channels // 2, 2, stride=2)
        self.block = Block(channels, channels // 2)

    def forward(self, x: Tensor, seen: Tensor) -> Tensor:
        return self.block(torch.cat([seen, self.enlarge(x)], dim=1))


class UNet(nn.Module):
    """Float [N, channels, H, W] to logits [N, classes, H, W]; H and W are multiples of 2^depth.

    Args:
        channels: 1 for grey, 3 for RGB.
        classes: a map of logits each; one class alone is there where its logit is positive.
        width: channels at the first level; each level further down has twice as many.
        depth: how many times the picture is halved.
    """

    def __init__(self, channels: int = 1, classes: int = 1, width: int = 12, depth: int = 4) -> None:
        super().__init__()
        widths = [width << level for level in range(depth + 1)]
        self.down = nn.ModuleList(map(Block, [channels, *widths], widths[:-1]))
        self.bottleneck = Block(widths[-2], widths[-1])
        self.up = nn.ModuleList(map(Up, widths[:0:-1]))
        self.pool = nn.MaxPool2d(2)
        self.head = nn.Conv2d(width, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        passed: list[Tensor] = []
        for block in self.down:
            passed.append(block(x))
            x = self.pool(passed[-1])
        x = self.bottleneck(x)
        for up in self.up:
            x = up(x, passed.pop())
        return self.head(x)


def unet() -> nn.Module:
    """The network that `train.py` trains: a grey slice to the logits of "tumour", 1.1 million parameters."""
    return UNet()
