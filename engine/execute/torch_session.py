"""What programs of torch's own kinds, TorchScript modules and AOTInductor packages, run as."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
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
        self._precision = spec.precision
        self._expected = 1 + len(spec.maps) + bool(spec.features)

    def __call__(self, inputs: Mapping[str, npt.NDArray[Any]]) -> list[npt.NDArray[np.float32]]:
        outputs = self._run({name: torch.from_numpy(value).to(self._device) for name, value in inputs.items()})
        return [o.cpu().numpy() for o in outputs]

    def on_device(self, inputs: Mapping[str, Tensor], outputs: Mapping[str, Tensor]) -> None:
        for (name, place), value in zip(outputs.items(), self._run(inputs), strict=True):
            if value.shape != place.shape:
                raise SaccadeError(
                    f"run: {name} of {self._path} has shape {list(value.shape)}, its contract says "
                    f"{list(place.shape)}; compile it again"
                )
            place.copy_(value)

    def _run(self, inputs: Mapping[str, Tensor]) -> Sequence[Tensor]:
        with torch.inference_mode(), self._precisely():
            outputs = self._function(*inputs.values())
        if len(outputs) != self._expected:
            raise SaccadeError(
                f"run: {self._path} gives {len(outputs)} outputs, its contract names {self._expected}; compile it again"
            )
        return outputs

    @contextlib.contextmanager
    def _precisely(self) -> Iterator[None]:
        """A float32 program in float32: by itself cuDNN rounds what it multiplies to TF32's ten bits."""
        if self._device == "cpu" or self._precision != "float32":
            yield
            return
        before = torch.backends.cudnn.allow_tf32
        torch.backends.cudnn.allow_tf32 = False
        try:
            yield
        finally:
            torch.backends.cudnn.allow_tf32 = before
