"""The networks of the shared weights that no library has, and where the shared photos and weights lie."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"
WEIGHTS, PHOTOS = SHARED / "weights", SHARED / "photos"


class DronetBlock(nn.Module):
    """Two convolutions beside a strided 1x1 bypass."""

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
    """Steering and collision of a drone from a grey 200x200 frame (PULP-DroNet v2)."""

    def __init__(self) -> None:
        super().__init__()
        self.first_conv = nn.Conv2d(1, 32, 5, stride=2, padding=2, bias=False)
        self.bn1 = nn.BatchNorm2d(32)
        self.relu = nn.ReLU6(inplace=True)
        self.pool = nn.MaxPool2d(2)
        self.block1 = DronetBlock(32, 32)
        self.block2 = DronetBlock(32, 64)
        self.block3 = DronetBlock(64, 128)
        self.fc = nn.Linear(6272, 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.relu(self.bn1(self.first_conv(x))))
        return self.fc(self.block3(self.block2(self.block1(x))).flatten(1))


class LongRangePerception(nn.Module):
    """65 distances times 5 sensors from 64x80 RGB; each picture is normalised by its own mean and std."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs in ((3, 10), (10, 10), (10, 8)):
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
        self.encoder = nn.Sequential(*layers)
        self.decoder = nn.Sequential(nn.Flatten(), nn.Linear(640, 256), nn.ReLU(), nn.Linear(256, 325), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        centred = x - _mean(x)
        return self.decoder(self.encoder(centred / _mean(centred.square()).sqrt().clamp(min=1e-3)))


def _mean(x: Tensor) -> Tensor:
    """Axis by axis: ONNX Runtime adds all 15,360 numbers of a picture up in one float32, and is 4e-6 off."""
    return x.mean(3, keepdim=True).mean(2, keepdim=True).mean(1, keepdim=True)


class CifarBlock(nn.Module):
    """A basic block whose shortcut has no weights: subsampling and zero channels."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.stride, self.extra = outputs // inputs, (outputs - inputs) // 2
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=self.stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.extra:
            x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.extra, self.extra))
        return F.relu(y + x)


class CifarResNet20(nn.Module):
    """The CIFAR ResNet of He et al., 2016, section 4.2."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = nn.Sequential(*(CifarBlock(16, 16) for _ in range(3)))
        self.layer2 = nn.Sequential(CifarBlock(16, 32), *(CifarBlock(32, 32) for _ in range(2)))
        self.layer3 = nn.Sequential(CifarBlock(32, 64), *(CifarBlock(64, 64) for _ in range(2)))
        self.linear = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer3(self.layer2(self.layer1(F.relu(self.bn1(self.conv1(x))))))
        return self.linear(F.adaptive_avg_pool2d(x, 1).flatten(1))


def dronet_v2() -> nn.Module:
    return Dronet()


def long_range_perception() -> nn.Module:
    return LongRangePerception()


def cifar10_resnet20() -> nn.Module:
    return CifarResNet20()


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
