"""Programs for torch's tensors: in and out where they lie, with no copy through the computer's memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..contract import SaccadeError, Spec, UsageError
from .asking import program_inputs
from .runner import Runner
from .session import DeviceSession


@dataclass(frozen=True)
class TensorMaps:
    """What a program gives for N images, on its device: see `contract.Maps`."""

    logits: Tensor
    maps: dict[str, Tensor]
    features: Tensor | None


class TensorRunner:
    """Runs a loaded program on tensors of its device.

    What is asked for is kept on the device for the next batch of the same size, so that a steady stream of batches
    copies nothing at all.

    Args:
        runner: a program in ONNX Runtime, TorchScript or AOTInductor.

    Raises:
        UsageError: the runtime takes no tensors.
    """

    def __init__(self, runner: Runner) -> None:
        session = runner.session
        if not isinstance(session, DeviceSession):
            raise UsageError(f"run: {runner.runtime} takes no tensors; use --runtime onnxruntime, or give arrays")
        self.spec: Spec = runner.spec
        self.device = runner.device
        self._session = session
        self._asked: dict[Any, dict[str, Tensor]] = {}

    def run(self, images: Tensor, target: Any = None, region: Any = None) -> TensorMaps:
        """Explain a batch.

        Args:
            images: uint8 [N, H, W, C] of the contract's size, contiguous, on the program's device (float32 for an
                ascent).
            target, region: as `Runner.run` takes them.

        Returns:
            New tensors. Of ONNX Runtime they are there; of torch's programs they are queued on the current stream.

        Raises:
            UsageError: another dtype, shape or device, or a target that the network does not have.
            SaccadeError: out of memory, or the graph is not what its contract says.
        """
        p = self.spec.preprocessing
        expected = f"{self.spec.pixels} [N, {p.height}, {p.width}, {p.channels}] on {self.device}"
        dtype = getattr(torch, self.spec.pixels)
        shape = (p.height, p.width, p.channels)
        fits = images.dtype == dtype and images.dim() == 4 and tuple(images.shape[1:]) == shape and len(images) > 0
        here = images.device.type == self.device and not images.device.index  # programs run on the first GPU
        if not fits or not here or not images.is_contiguous():
            got = f"{str(images.dtype).removeprefix('torch.')} {list(images.shape)} on {images.device}"
            raise UsageError(f"run: expected contiguous images {expected}, got {got}")
        count = len(images)
        inputs = {"images": images, **self._inputs(count, target, region, images.device)}
        size = self.spec.output_size or ()
        shapes = {"logits": (self.spec.num_outputs, *size), **{m.name: m.shape for m in self.spec.maps}}
        if self.spec.features:
            shapes["features"] = (self.spec.features,)
        outputs = {name: torch.empty((count, *rest), device=images.device) for name, rest in shapes.items()}
        if self.device == "cuda":
            torch.cuda.current_stream(images.device).synchronize()  # a runtime of its own reads on a stream of its own
        try:
            self._session.on_device(inputs, outputs)
        except SaccadeError:
            raise
        except Exception as error:  # out of memory, or a graph that is not what its contract says
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
            raise SaccadeError(f"run: fails on a batch of {count} ({reason}); try a smaller batch size") from error
        maps = {m.name: outputs[m.name] for m in self.spec.maps}
        return TensorMaps(outputs["logits"], maps, outputs.get("features"))

    def _inputs(self, count: int, target: Any, region: Any, device: torch.device) -> dict[str, Tensor]:
        def on_device() -> dict[str, Tensor]:
            asked = program_inputs(self.spec, count, target, region)
            return {name: torch.from_numpy(value).to(device) for name, value in asked.items()}

        if region is not None or not (target is None or isinstance(target, int)):
            return on_device()
        key = count, target, device
        if key not in self._asked:
            self._asked = {key: on_device()}
        return self._asked[key]
