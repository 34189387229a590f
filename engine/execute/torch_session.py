"""What programs of torch's own kinds, TorchScript modules and AOTInductor packages, run as."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..contract import SaccadeError, Spec


class TorchSession:
    """See `session.DeviceSession`.

    Args:
        function: the program, from tensors to a tuple of them, all on `device`.
        path, spec: of its file, for messages.
    """

    def __init__(self, function: Callable[..., Sequence[Tensor]], path: Path, spec: Spec, device: str) -> None:
        self._function, self._path, self._device = function, path, device
        self._expected = 1 + len(spec.maps) + bool(spec.features)

    def __call__(self, inputs: Mapping[str, npt.NDArray[Any]]) -> list[npt.NDArray[np.float32]]:
        outputs = self._run({name: torch.from_numpy(value).to(self._device) for name, value in inputs.items()})
        return [o.cpu().numpy() for o in outputs]

    def on_device(self, inputs: Mapping[str, Tensor], outputs: Mapping[str, Tensor]) -> None:
        for place, value in zip(outputs.values(), self._run(inputs), strict=True):
            place.copy_(value)

    def _run(self, inputs: Mapping[str, Tensor]) -> Sequence[Tensor]:
        with torch.inference_mode():
            outputs = self._function(*inputs.values())
        if len(outputs) != self._expected:
            raise SaccadeError(
                f"run: {self._path} gives {len(outputs)} outputs, its contract names {self._expected}; compile it again"
            )
        return outputs
