"""Networks whose layers are drawn anew, one after the other from the top: cascading randomisation.

Adebayo et al., "Sanity Checks for Saliency Maps", NeurIPS 2018, section 3.1. All of them share the graph that was
compiled once and differ in its weights alone, so that none is compiled for itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..engine.compiler import Network
from ..engine.compiler.network import short_name

State = dict[str, Tensor]
"""Names of a network's `state` → other values."""

_DEPTHS = 5


@dataclass(frozen=True)
class WeightLayer:
    """A step of the cascade: an operator with a weight, and the vectors used from there to the next one.

    Attributes:
        name: the module's path.
        weights: names in the network's state with two or more dimensions.
        zeros, ones: names of vectors that begin with that value: biases and means; scales and variances of norms.
    """

    name: str
    weights: list[str]
    zeros: list[str]
    ones: list[str]


def weight_layers(network: Network) -> list[WeightLayer]:
    """What can be drawn anew, from the first layer to the last."""
    known = set(network.state)
    if network.module is not None:
        parameters = {name for name, _ in network.module.named_parameters(remove_duplicate=False)}
        known = {name for name in known if network.names.get(name) in parameters or _is_running(network, name)}
    found: list[WeightLayer] = []
    for node in network.graph.nodes:
        names = [n.name for n in node.all_input_nodes if n.name in known and network.state[n.name].is_floating_point()]
        known.difference_update(names)  # a weight that is used twice belongs where it is used first
        vectors = [n for n in names if network.state[n].dim() < 2]
        if weights := [n for n in names if network.state[n].dim() > 1]:
            found.append(WeightLayer(network.names[weights[0]].removesuffix(".weight"), weights, [], []))
        for name in vectors if found else ():
            own = network.names[name]
            if own.endswith(("bias", "running_mean")):
                found[-1].zeros.append(name)
            elif own.endswith("running_var") or "norm" in short_name(node.target):
                found[-1].ones.append(name)
    return found


def _is_running(network: Network, name: str) -> bool:
    return network.names.get(name, "").endswith(("running_mean", "running_var"))


def depths_of(layers: int) -> list[int]:
    """How many layers from the top are drawn anew, step by step: the last alone, then quarters of all."""
    return [int(d) for d in np.unique(np.linspace(1, layers, _DEPTHS).round())]


def redrawn(network: Network, layers: list[WeightLayer], seed: int) -> list[State]:
    """New values for each layer, as before training: weights normal with variance 2 ÷ fan-in (He et al., "Delving Deep
    into Rectifiers", ICCV 2015, equation 10), which keeps the signal alive behind ReLUs; biases 0, norms idle.

    Returns:
        One table for each layer; those of the last d make the network that is drawn anew to depth d.
    """
    generator = torch.Generator().manual_seed(seed)
    found = []
    for layer in layers:
        new: State = {}
        for name in layer.weights:
            old = network.state[name]
            drawn = torch.randn(old.shape, generator=generator) * (2 / old[0].numel()) ** 0.5
            new[name] = drawn.to(old.dtype)
        new |= {name: torch.zeros_like(network.state[name]) for name in layer.zeros}
        new |= {name: torch.ones_like(network.state[name]) for name in layer.ones}
        found.append(new)
    return found
