"""What a compiled program is held against: eager PyTorch with hooks and autograd, in float64."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from ..contract import Preprocessing, SaccadeError
from . import eager
from .network import INPUT, Network, evaluate
from .targets import Target
from .trace import Request, normalise

_ROUNDING = 1e-12
"""A mean gradient that is smaller, relative to the largest gradient, is rounding: nothing to make a map of."""

Arrays = dict[str, np.ndarray]


class Reference:
    """Eager float64: hooks on the nn.Module, or on a replay of the graph where there is no module (a `.pt2`)."""

    def __init__(
        self, network: Network, preprocessing: Preprocessing, requests: Sequence[Request], target: Target
    ) -> None:
        self._network, self._preprocessing, self._requests, self._target = network, preprocessing, requests, target
        self.takes_bytes = all(r.method.kind != "ascent" for r in requests)
        self._nodes = [r.node for r in requests] + ([network.layer(target.layer)] if target.layer else [])
        if network.module is not None:
            self.module: nn.Module = copy.deepcopy(network.module).double()
        else:
            self.module = Replay(network, self._nodes)

    def __call__(self, images: np.ndarray, *asked: np.ndarray) -> tuple[Arrays, Arrays, dict[str, bool]]:
        """Explain a batch.

        Returns:
            (logits and maps by output name; for maps that end in a ReLU and features what `error_to_maximum` takes for
            their maxima, float64 [N]; whether each method's gradient is anywhere more than rounding).
        """
        x = normalise(torch.from_numpy(images), self._preprocessing, torch.float64)
        try:
            logits, found = eager.explain(self.module, x, self.goal(*asked), self.asks())
        except RuntimeError as error:
            raise SaccadeError(
                f"compile: no proof: {self._network.name} does not run in float64 "
                f"({str(error).strip().splitlines()[0][:200]}); no file was written; take casts to float32 out of it"
            ) from error
        expected, scales, alive = {"logits": logits.detach().numpy()}, {}, {}
        for request, explained in zip(self._requests, found, strict=True):
            name, kind = request.name, request.method.kind
            values, raw = self.shown(request, explained), explained.raw.abs().flatten(1)
            expected[name] = values
            alive[name] = bool((raw > 0).any())
            if kind == "cam":
                scales[name] = raw.amax(dim=1).numpy()
                if (gradient := explained.gradient) is not None:
                    most = explained.activation.abs().max() * gradient.abs().max()
                    alive[name] = bool((raw.max() > _ROUNDING * most).item())
                if "features" not in expected:
                    expected["features"] = _features(explained.activation.numpy(), values)
                    share = np.maximum(values.max(axis=(1, 2)), 1e-30) / np.maximum(scales[name], 1e-30)
                    scales["features"] = np.abs(expected["features"]).max(axis=1) / share
        return expected, scales, alive

    def shown(self, request: Request, explained: eager.Explained) -> np.ndarray:
        """The map as a program gives it."""
        values = explained.map.numpy()
        if request.method.kind == "ascent":  # from the normalised input's gradient to the pixels'
            values = values / (255 * np.asarray(self._preprocessing.std))
        return values

    def goal(self, *asked: np.ndarray) -> eager.Goal:
        """What is explained, in the reference's words."""
        inputs = tuple(torch.from_numpy(a) for a in asked)
        if self._target.layer is None:
            return eager.Goal(self._target.kind, inputs)
        place = self._place(len(self._nodes) - 1, self._target.layer)
        return eager.Goal(self._target.kind, inputs, *place, self._grid(self._nodes[-1]))

    def asks(self) -> list[eager.Ask]:
        """The requests, in the reference's words."""
        return [
            eager.Ask(r.method_name, *self._place(i, r.layer), r.rank, self._grid(r.node))
            for i, r in enumerate(self._requests)
        ]

    def _place(self, index: int, layer: str) -> tuple[str, int]:
        if layer == INPUT:
            return INPUT, 1
        if self._network.module is None:
            return f"at_{index}", 1
        found = next(each for each in self._network.layers if each.name == layer)
        return found.module, found.call

    def _grid(self, node: fx.Node) -> tuple[int, int] | None:
        layout = self._network.layout(node)
        return None if layout is None or layout.kind == "maps" else layout.shape[1:]


class Replay(nn.Module):
    """An imported graph as a module in float64; the values of chosen nodes pass through modules `at_0`, `at_1`, …"""

    def __init__(self, network: Network, nodes: Sequence[fx.Node]) -> None:
        super().__init__()
        self._network = network
        self._state = {k: v.double() if v.is_floating_point() else v for k, v in network.state.items()}
        self._stops: dict[fx.Node, list[nn.Module]] = {}
        for i, node in enumerate(nodes):
            stop = nn.Identity()
            self.add_module(f"at_{i}", stop)
            self._stops.setdefault(node, []).append(stop)

    def forward(self, x: Tensor) -> Tensor:
        env: dict[fx.Node, Any] = {n: self._state[n.name] for n in self._network.graph.nodes if n.name in self._state}
        env[self._network.input] = x
        for node in self._network.graph.nodes:
            evaluate([node], env)
            for stop in self._stops.get(node, ()):
                env[node] = stop(env[node])
        return env[self._network.output]


def _features(activation: np.ndarray, cam: np.ndarray) -> np.ndarray:
    """The average of activations [N, C, h, w] over the places of a CAM [N, h, w], zero where it is blank: [N, C]."""
    rows = [
        np.average(a.reshape(len(a), -1), axis=1, weights=c.ravel()) if c.any() else np.zeros(len(a))
        for a, c in zip(activation, cam, strict=True)
    ]
    return np.stack(rows)
