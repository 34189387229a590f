"""The network that is checked: its maps, with its own weights or others, and its probabilities."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
import torch

from ..engine.compiler import Model
from ..engine.compiler.compiling import make_requests
from ..engine.compiler.emit import emit
from ..engine.compiler.folding import fold_batch_norm
from ..engine.compiler.targets import Target
from ..engine.compiler.trace import trace
from ..engine.contract import SaccadeError, UsageError, softmax
from .redrawing import State

Floats = npt.NDArray[np.float32]
Pixels = npt.NDArray[np.uint8]

_BATCH = 32  # pictures that go through the forward pass at a time
_NO_MAP = ("activations", "ascent")


class Subject:
    """A classifier and the methods that are checked on it.

    The explanations are the compiled graph, run as it is by torch, where weights can be exchanged; the probabilities,
    asked for thousands of times, come from the forward pass alone as an ONNX file.

    Attributes:
        network: the network as programs have it, batch norms folded.
        preprocessing: what its pictures are.
        maps: what the graph says of each method's map.
        baseline: the colour that a removed part gets, uint8 [C]: the mean that the network subtracts, so that it sees
            zeros.

    Raises:
        UsageError: no classifier that gives logits, or a method that gives no single map.
    """

    def __init__(self, model: Model, methods: Sequence[str], layer: str | None = None) -> None:
        _check(model, methods)
        requests = make_requests(model.network, methods, layer)
        network, _ = fold_batch_norm(model.network, model.preprocessing, {r.node for r in requests})
        traced = trace(network, model.preprocessing, make_requests(network, methods, layer), Target())
        self.network, self.preprocessing, self.maps = network, model.preprocessing, traced.maps
        self.baseline = np.clip(np.rint(255 * np.array(model.preprocessing.mean)), 0, 255).astype(np.uint8)
        self._graph, self._outputs = traced.module, traced.outputs
        self._own = {name for name, _ in traced.module.named_buffers()}

    def explain(self, images: Pixels, classes: npt.NDArray[np.int64], state: State | None = None) -> dict[str, Floats]:
        """The maps of the methods, by their names, float32 [N, h, w].

        Args:
            images: uint8 [N, H, W, C].
            classes: int64 [N], what is explained.
            state: weights in place of the network's own.
        """
        exchanged = {name: value for name, value in (state or {}).items() if name in self._own}
        given = torch.from_numpy(images), torch.from_numpy(classes)
        with torch.inference_mode():
            outputs = torch.func.functional_call(self._graph, exchanged, given)
        found = dict(zip(self._outputs, outputs, strict=True))
        return {m.name: found[m.name].float().numpy() for m in self.maps}

    def probabilities(self, images: Pixels) -> Floats:
        """The softmax of the logits, float32 [N, K], of images uint8 [N, H, W, C].

        Raises:
            SaccadeError: the network cannot be written as ONNX, or gives values that are no numbers.
        """
        parts = []
        for first in range(0, len(images), _BATCH):
            some = images[first : first + _BATCH]
            (logits,) = self._forward.run(["logits"], {"images": some, "target": np.full(len(some), -1, np.int64)})
            parts.append(np.asarray(logits))
        logits = np.concatenate(parts)
        if not np.isfinite(logits).all():
            raise SaccadeError(f"check: {self.network.name} gives values that are no numbers; check its weights")
        return softmax(logits)

    @cached_property
    def _forward(self) -> ort.InferenceSession:
        with tempfile.TemporaryDirectory(prefix="saccade-") as folder:
            path = Path(folder, "forward.onnx")
            emit(trace(self.network, self.preprocessing, [], Target()), "onnx", path)
            options = ort.SessionOptions()
            options.log_severity_level = 3  # errors alone; they also come as exceptions
            return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _check(model: Model, methods: Sequence[str]) -> None:
    network = model.network
    if not network.gives_logits:
        shape = ["N", network.num_outputs, *(network.output_size or ())]
        raise UsageError(
            f"check: {network.name} is no classifier that gives logits (its output is {shape}"
            f"{', behind a sigmoid, softmax or tanh' if network.num_outputs > 1 and not network.output_size else ''}); "
            "expected logits [N, K] of two or more classes: what is removed is measured in a class's probability"
        )
    for name in methods:
        if name.replace("_", "-") in _NO_MAP:
            raise UsageError(
                f"check: {name} gives no map of where the evidence lies; choose others (see: saccade methods)"
            )
