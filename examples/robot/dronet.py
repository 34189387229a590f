"""PULP-DroNet v2: how a palm-sized drone steers, and whether it is about to hit something.

Niculescu et al., "Improving Autonomous Nano-drones Performance via Automated End-to-End Optimization and Deployment of
DNNs", IEEE JETCAS 2021; the idea is that of Loquercio et al., "DroNet: Learning to Fly by Driving", IEEE RA-L 2018.
"""

from __future__ import annotations

from torch import Tensor, nn


class Block(nn.Module):
    """Two 3x3 convolutions, the first with stride 2, beside a strided 1x1 bypass."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.bypass = nn.Conv2d(inputs, outputs, 1, stride=2, bias=False)
        self.bn_bypass = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU6(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        return y + self.relu(self.bn_bypass(self.bypass(x)))


class Dronet(nn.Module):
    """Grey frames, float [N, 1, 200, 200] in 0 to 1, to [N, 2]: steering, and the logit of a collision."""

    def __init__(self) -> None:
        super().__init__()
        self.first_conv = nn.Conv2d(1, 32, 5, stride=2, padding=2, bias=False)
        self.bn1 = nn.BatchNorm2d(32)
        self.relu = nn.ReLU6(inplace=True)
        self.pool = nn.MaxPool2d(2)
        self.block1 = Block(32, 32)
        self.block2 = Block(32, 64)
        self.block3 = Block(64, 128)
        self.fc = nn.Linear(6272, 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.relu(self.bn1(self.first_conv(x))))
        return self.fc(self.block3(self.block2(self.block1(x))).flatten(1))


def dronet_v2() -> nn.Module:
    """The untrained network."""
    return Dronet()
