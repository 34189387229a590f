"""Long-range perception: which way is free, seen by a wheeled robot's camera.

Nava et al., "Learning Long-Range Perception Using Self-Supervision From Short-Range Sensors and Odometry", IEEE RA-L
2019. A short-range sensor says later what stood where the camera looked before.
"""

from __future__ import annotations

from torch import Tensor, nn


class LongRangePerception(nn.Module):
    """RGB, float [N, 3, 64, 80] of any range, to [N, 325] in 0 to 1: an obstacle at 65 distances times 5 sensors.

    Each picture is normalised by its own mean and standard deviation in here, because MODEL's --mean and --std are the
    same for all.
    """

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


def long_range_perception() -> nn.Module:
    """The untrained network."""
    return LongRangePerception()
