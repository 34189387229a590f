"""Small networks, each with one thing that compilers get wrong, by name in CASES."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class Case:
    """A network to compile.

    Attributes:
        build: makes the module, before seeding.
        layer: the target layer of Grad-CAM and activations; None for the default.
        size: (height, width) of the input.
        channels: of the input, 1 or 3.
        softmax: what the contract has to say.
    """

    build: Callable[[], nn.Module]
    layer: str | None = None
    size: tuple[int, int] = (20, 24)
    channels: int = 3
    softmax: bool = True


class Head(nn.Module):
    """Body, global average, linear: the usual end."""

    def __init__(self, *body: nn.Module, width: int = 8, outputs: int = 5) -> None:
        super().__init__()
        self.body = nn.Sequential(*body)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.pool(self.body(x)).flatten(1))


class Steps(nn.Module):
    """A convolution, a step under test, a second convolution, and a head that weights places differently."""

    def __init__(self, step: nn.Module, inputs: int = 3, width: int = 8, outputs: int = 5) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, 8, 3, padding=1)
        self.step = step
        self.second = nn.Conv2d(width, 6, 3, padding=1)
        self.fc = nn.LazyLinear(outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = self.second(self.step(self.first(x)))
        return self.fc(torch.tanh(x).flatten(1))


class InPlace(nn.Module):
    """The hooked layer's output is overwritten by the ReLU behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.last = nn.Conv2d(8, 5, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.relu(self.conv(x))).mean(dim=(2, 3))


class AddInPlace(nn.Module):
    """A residual sum written into the branch that was hooked."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.branch = nn.Conv2d(8, 8, 3, padding=1)
        self.last = nn.Conv2d(8, 5, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        y = self.branch(x)
        y += x
        return self.last(F.relu_(y)).mean(dim=(2, 3))


class Twice(nn.Module):
    """One ReLU module used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Conv2d(3, 8, 3, padding=1)
        self.two = nn.Conv2d(8, 8, 3, stride=2)
        self.relu = nn.ReLU()
        self.fc = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.two(self.relu(self.one(x))))
        return self.fc(F.adaptive_avg_pool2d(x, 1).flatten(1))


class Residual(nn.Module):
    """Two sums, one of them around the target layer."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Conv2d(3, 8, 3, padding=1)
        self.two = nn.Conv2d(8, 8, 3, padding=1)
        self.three = nn.Conv2d(8, 8, 3, padding=1)
        self.fc = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.one(x))
        x = F.relu(x + self.two(x))
        x = x + self.three(x)
        return self.fc(F.silu(x).mean(dim=(2, 3)))


class Squeeze(nn.Module):
    """Squeeze-and-excitation as mobilenet_v3 has it."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.up = nn.Conv2d(8, 4, 1), nn.Conv2d(4, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        scale = F.adaptive_avg_pool2d(x, 1)
        return x * F.hardsigmoid(self.up(F.relu(self.down(scale))))


class ChannelsLastNorm(nn.Module):
    """Layer norm over the channels of each place, as convnext has it."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(8)
        self.linear = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(F.gelu(self.norm(x.permute(0, 2, 3, 1)))).permute(0, 3, 1, 2)


class Dense(nn.Module):
    """Densenet's concatenations."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Conv2d(8, 4, 3, padding=1)
        self.two = nn.Conv2d(12, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.cat([x, F.relu(self.one(x))], dim=1)
        return torch.cat([x, F.relu(self.two(x))], dim=1)


class Function(nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def conv(*args: int, **more: int) -> nn.Module:
    return nn.Conv2d(*args, **more)  # pyright: ignore[reportArgumentType]


OPERATORS: dict[str, Case] = {
    "in-place ReLU behind the layer": Case(InPlace, "conv"),
    "in-place sum into the layer": Case(AddInPlace, "branch"),
    "a module used twice, first call": Case(Twice, "relu"),
    "a module used twice, second call": Case(Twice, "relu@2"),
    "residual sums": Case(Residual, "two"),
    "a convolution that is the logits": Case(
        lambda: nn.Sequential(conv(3, 5, 3), nn.AvgPool2d(18, 22), nn.Flatten()), "0"
    ),
    "ReLU6": Case(lambda: Steps(nn.ReLU6(inplace=True)), "first"),
    "functional relu": Case(lambda: Steps(Function(F.relu)), "first"),
    "leaky ReLU": Case(lambda: Steps(nn.LeakyReLU(0.1)), "first"),
    "PReLU": Case(lambda: Steps(nn.PReLU(8)), "first"),
    "ELU": Case(lambda: Steps(nn.ELU()), "first"),
    "softplus": Case(lambda: Steps(nn.Softplus()), "first"),
    "mish": Case(lambda: Steps(nn.Mish()), "first"),
    "SiLU": Case(lambda: Steps(nn.SiLU(inplace=True)), "first"),
    "GELU": Case(lambda: Steps(nn.GELU()), "first"),
    "GELU by tanh": Case(lambda: Steps(nn.GELU("tanh")), "first"),
    "hardswish": Case(lambda: Steps(nn.Hardswish()), "first"),
    "hardsigmoid": Case(lambda: Steps(nn.Hardsigmoid()), "first"),
    "batch norm": Case(lambda: Steps(nn.BatchNorm2d(8)), "first"),
    "batch norm without affine": Case(lambda: Steps(nn.BatchNorm2d(8, affine=False)), "first"),
    "group norm": Case(lambda: Steps(nn.GroupNorm(4, 8)), "first"),
    "instance norm": Case(lambda: Steps(nn.InstanceNorm2d(8, affine=True)), "step"),
    "layer norm, channels last": Case(lambda: Steps(ChannelsLastNorm()), "first"),
    "local response norm": Case(lambda: Steps(nn.LocalResponseNorm(3)), "first"),
    "squeeze and excitation": Case(lambda: Steps(Squeeze()), "first"),
    "concatenation": Case(lambda: Steps(Dense(), width=16), "first"),
    "chunks": Case(lambda: Steps(Function(lambda x: torch.cat(x.chunk(2, 1)[::-1], 1))), "first"),
    "channel shuffle": Case(lambda: Steps(nn.ChannelShuffle(2)), "first"),
    "pixel shuffle": Case(lambda: Steps(nn.PixelShuffle(2), width=2), "first"),
    "bilinear upsampling": Case(lambda: Steps(nn.Upsample(scale_factor=2, mode="bilinear")), "first"),
    "nearest upsampling": Case(lambda: Steps(nn.Upsample(scale_factor=2)), "first"),
    "flip and roll": Case(lambda: Steps(Function(lambda x: x.flip(3).roll(2, 2))), "first"),
    "dropout in eval mode": Case(lambda: Steps(nn.Dropout2d(0.5)), "first"),
    "attention over places": Case(
        lambda: Steps(Function(lambda x: x * torch.softmax(x.flatten(2), dim=2).reshape(x.shape))), "first"
    ),
}

SHAPES: dict[str, Case] = {
    "dilated": Case(lambda: Steps(conv(8, 8, 3, dilation=2, padding=2)), "first"),
    "grouped": Case(lambda: Steps(conv(8, 12, 3, groups=4), width=12), "first"),
    "depthwise": Case(lambda: Steps(conv(8, 8, 5, groups=8, padding=2)), "first"),
    "depthwise with a multiplier, strided": Case(lambda: Steps(conv(8, 16, 3, groups=8, stride=2), width=16), "first"),
    "strided, a margin unread": Case(lambda: Steps(conv(8, 8, 3, stride=3)), "first"),
    "strided 1x1": Case(lambda: Steps(conv(8, 8, 1, stride=2)), "first"),
    "strides that differ": Case(lambda: Steps(nn.Conv2d(8, 8, (3, 5), stride=(1, 2), padding=(0, 3))), "first"),
    "a strided stem": Case(lambda: Head(conv(3, 8, 7, stride=2, padding=3), nn.ReLU(), conv(8, 8, 3, stride=2))),
    "a stem of wide steps, a margin unread": Case(lambda: Head(conv(3, 8, 5, stride=4, padding=2), nn.ReLU())),
    "a stem of patches": Case(lambda: Head(conv(3, 8, 4, stride=4), nn.ReLU(), conv(8, 8, 3, padding=1))),
    "a stem whose strides differ": Case(lambda: Head(nn.Conv2d(3, 8, 3, stride=(1, 2)), nn.ReLU())),
    "padding same": Case(lambda: Steps(nn.Conv2d(8, 8, (4, 3), padding="same")), "first"),
    "padding beyond the kernel's reach": Case(lambda: Steps(conv(8, 8, 3, padding=4)), "first"),
    "transposed": Case(
        lambda: Steps(nn.ConvTranspose2d(8, 8, 3, stride=2, padding=1, output_padding=1, groups=2)), "first"
    ),
    "circular padding": Case(lambda: Steps(nn.Conv2d(8, 8, 3, padding=1, padding_mode="circular")), "first"),
    "reflection padding": Case(lambda: Steps(nn.Conv2d(8, 8, 3, padding=1, padding_mode="reflect")), "first"),
    "overlapping max pool": Case(lambda: Steps(nn.MaxPool2d(3, 2, padding=1)), "first"),
    "max pool in ceil mode": Case(lambda: Steps(nn.MaxPool2d(3, 2, ceil_mode=True)), "first", (21, 24)),
    "dilated max pool": Case(lambda: Steps(nn.MaxPool2d(2, 1, dilation=2)), "first"),
    "average pool": Case(lambda: Steps(nn.AvgPool2d(2)), "first"),
    "average pool in ceil mode": Case(lambda: Steps(nn.AvgPool2d(3, 2, ceil_mode=True, padding=1)), "first", (21, 24)),
    "average pool without counting padding": Case(
        lambda: Steps(nn.AvgPool2d(3, 2, padding=1, count_include_pad=False)), "first"
    ),
    "average pool in ceil mode without counting padding": Case(
        lambda: Steps(nn.AvgPool2d(3, 2, padding=1, ceil_mode=True, count_include_pad=False)), "first", (21, 22)
    ),
    "average pool with a divisor": Case(lambda: Steps(nn.AvgPool2d((3, 2), (2, 2), divisor_override=4)), "first"),
    "adaptive average pool that divides": Case(lambda: Steps(nn.AdaptiveAvgPool2d((5, 6))), "first"),
    "adaptive average pool that does not divide": Case(lambda: Steps(nn.AdaptiveAvgPool2d((7, 7))), "first"),
    "adaptive average pool that enlarges": Case(lambda: Steps(nn.AdaptiveAvgPool2d((27, 7))), "first"),
    "adaptive max pool": Case(lambda: Steps(nn.AdaptiveMaxPool2d((5, 6))), "first"),
    "global max pool": Case(lambda: Head(conv(3, 8, 3), Function(lambda x: x.amax((2, 3), keepdim=True))), "body.0"),
    "sigmoid at the end": Case(lambda: nn.Sequential(Head(conv(3, 8, 3)), nn.Sigmoid()), "0.body", softmax=False),
    "softmax at the end": Case(lambda: nn.Sequential(Head(conv(3, 8, 3)), nn.Softmax(1)), "0.body", softmax=False),
    "one output": Case(lambda: Head(conv(3, 8, 3), nn.SiLU(), outputs=1), "body.0", softmax=False),
    "grey": Case(lambda: Steps(nn.ReLU(), inputs=1), "first", channels=1),
    "tall input": Case(lambda: Head(conv(3, 8, 3), nn.SiLU(), conv(8, 8, 3)), None, (37, 16)),
    "float64 weights": Case(lambda: Steps(nn.ReLU()).double(), "first"),
    "no bias anywhere": Case(lambda: Steps(nn.Conv2d(8, 8, 3, bias=False)), "first"),
}

CASES = {**OPERATORS, **SHAPES}
"""What is tested → a network that has it."""
