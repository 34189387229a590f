"""Batch norm folded into the convolution in front of it, before anything is differentiated: the forward pass loses an
operator and the backward pass a product for each.
"""

from __future__ import annotations

import copy
import dataclasses
import operator
from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from ..contract import Preprocessing
from .network import Network, short_name
from .proof import error_to_maximum, pictures
from .trace import normalise

EXACT = 1e-12
"""Largest difference that folding in float64 may make to the logits, relative to the largest."""
ROUNDED = 1e-4
"""The same with the weights rounded to their own dtype: a norm of a tiny variance can make a folded bias too coarse."""

Pairs = Collection[tuple[fx.Node, fx.Node]]
"""(convolution, the batch norm behind it)."""


def fold_batch_norm(
    network: Network, preprocessing: Preprocessing, keep: Collection[fx.Node]
) -> tuple[Network, dict[str, float] | None]:
    """The same network with each batch norm that follows a convolution folded into its weights and bias.

    Left alone is what cannot be told apart afterwards: weights that are used twice, and a convolution whose own output
    is wanted or read elsewhere. Where the folded network does not answer as the network does, nothing is folded.

    Args:
        preprocessing: of the pictures that the two are compared on.
        keep: nodes whose values a program explains or shows.

    Returns:
        (the folded network, how far its logits are from the network's in float64, relative to each picture's largest:
        with the weights as folded, `exact`, and as they are stored, `rounded`), or the network itself and None. The
        folded network's module is the one whose weights are the stored ones, in float64; its layers are those that
        still have a value in the graph.
    """
    memory = Counter(v.data_ptr() for v in network.state.values())
    own = {n for n in network.graph.nodes if n.name in network.state and len(n.users) == 1}
    own = {n for n in own if memory[network.state[n.name].data_ptr()] == 1}
    pairs = [p for p in map(_pair, network.graph.nodes) if p and p[0] not in keep and own.issuperset(_parameters(*p))]
    if network.module is not None:
        modules = dict(network.module.named_modules())
        pairs = [p for p in pairs if _convolution_of(network, p[0], modules) is not None]
    if not pairs:
        return network, None
    try:
        folded, errors = _folded(network, preprocessing, pairs)
    except Exception:
        # It casts to float32, or its module has a will of its own: unfolded, the proof says what is wrong.
        return network, None
    return (folded, errors) if errors["exact"] <= EXACT and errors["rounded"] <= ROUNDED else (network, None)


def _folded(network: Network, preprocessing: Preprocessing, pairs: Pairs) -> tuple[Network, dict[str, float]]:
    drawn = torch.from_numpy(pictures(preprocessing, ["textured", "letterboxed"]))
    x = normalise(drawn, preprocessing, torch.float64)
    state = {k: v.double() if v.is_floating_point() else v for k, v in network.state.items()}
    expected = _logits(network, state, x)
    for convolution, norm in pairs:
        _fold(convolution, norm, state)
    folded = copy.copy(network)
    folded.graph, moved = _without(network.graph, dict(pairs))
    folded.input, folded.output = moved[network.input], moved[network.output]
    folded.layers = [dataclasses.replace(x, node=moved[x.node]) for x in network.layers if x.node in moved]
    found = {"exact": _logits(folded, state, x)}
    # What is proven is the network whose weights have been rounded, so that the file's own error is seen alone.
    folded.state = {k: v.to(network.state[k].dtype) for k, v in state.items()}
    for name in {n.name for pair in pairs for n in _parameters(*pair)}:
        state[name] = folded.state[name].double()
    found["rounded"] = _logits(folded, state, x)
    errors = {name: error_to_maximum(logits, expected) for name, logits in found.items()}
    if network.module is not None:
        folded.module = copy.deepcopy(network.module).double()
        _load(folded.module, network, pairs, state)
        with torch.no_grad():
            logits = folded.module(x[:1])
        logits = logits["out"] if isinstance(logits, dict) else logits  # torchvision's segmentation models
        if not error_to_maximum(logits.numpy(), found["rounded"][:1]) <= EXACT:
            raise ValueError("the module does not compute what its graph does")
    return folded, errors


def _logits(network: Network, state: dict[str, Tensor], x: Tensor) -> np.ndarray:
    with torch.no_grad():
        return network.cut(state, x, network.input)[1](x).numpy()


def _pair(node: fx.Node) -> tuple[fx.Node, fx.Node] | None:
    """(convolution, batch norm) where `node` is a batch norm whose input nothing else reads."""
    if short_name(node.target) != "_native_batch_norm_legit_no_training":
        return None
    before = node.args[0]
    if not isinstance(before, fx.Node) or len(before.users) > 1:
        return None
    one_output = all(u.target is operator.getitem and u.args[1] == 0 for u in node.users)
    return (before, node) if one_output and short_name(before.target) in ("conv2d", "conv2d_by_name") else None


def _parameters(convolution: fx.Node, norm: fx.Node) -> list[Any]:
    """The convolution's weight and, where there is one, bias; scale, shift, mean and variance of the batch norm."""
    return [convolution.args[1], *([b] if (b := _bias(convolution)) is not None else []), *norm.args[1:5]]


def _bias(convolution: fx.Node) -> object:
    return convolution.args[2] if len(convolution.args) > 2 else convolution.kwargs.get("bias")


def _fold(convolution: fx.Node, norm: fx.Node, state: dict[str, Tensor]) -> None:
    """γ (W x + b − μ) / √(σ² + ε) + β, written as one convolution: the norm's own shift holds the new bias."""
    weight, *bias, gamma, beta, mean, variance = (n.name for n in _parameters(convolution, norm))
    scale = state[gamma] * torch.rsqrt(state[variance] + norm.args[6])
    shift = state[bias[0]] - state[mean] if bias else -state[mean]
    state[weight] = state[weight] * scale.reshape(-1, 1, 1, 1)
    state[beta] = state[beta] + shift * scale


def _without(graph: fx.Graph, pairs: dict[fx.Node, fx.Node]) -> tuple[fx.Graph, dict[fx.Node, fx.Node]]:
    """A copy of the graph without the batch norms, and where each node went; folded convolutions are not in it, as
    their place holds another value now.
    """
    new, moved = fx.Graph(), {}
    norms = set(pairs.values())
    for node in graph.nodes:
        if node in norms:
            continue
        if node.target is operator.getitem and node.args[0] in norms:
            norm = node.args[0]
            moved[node] = both = moved[norm.args[0]]
            both.args = (*both.args[:2], moved[norm.args[2]], *both.args[3:])
            both.kwargs = {k: v for k, v in both.kwargs.items() if k != "bias"}
        elif node.op == "output":
            new.node_copy(node, moved.__getitem__)
        else:
            moved[node] = new.node_copy(node, moved.__getitem__)
    return new, {k: v for k, v in moved.items() if k not in pairs}


def _load(module: nn.Module, network: Network, pairs: Pairs, state: dict[str, Tensor]) -> None:
    """Give the module the folded weights; its batch norms stay where they are and change no bit of what they get, as on
    a flat picture the last one decides which of equal neighbours a max pool takes.
    """
    values, modules = {}, dict(module.named_modules())
    for convolution, norm in pairs:
        weight, *_, gamma, beta, mean, variance = (n.name for n in _parameters(convolution, norm))
        _convolution_of(network, convolution, modules).bias = nn.Parameter(state[beta], requires_grad=False)
        values[weight] = state[weight]
        values |= {name: torch.zeros_like(state[name]) for name in (beta, mean)}
        values |= {name: torch.ones_like(state[name]) for name in (gamma, variance)}
        values[variance] -= norm.args[6]
    nn.Module.load_state_dict(module, {network.names[k]: v for k, v in values.items()}, strict=False)


def _convolution_of(network: Network, convolution: fx.Node, modules: Mapping[str, nn.Module]) -> Any:
    """The nn.Conv2d whose weight this is, or None: it may be a parameter of the user's own."""
    path, _, name = network.names.get(convolution.args[1].name, "").rpartition(".")  # pyright: ignore[reportAttributeAccessIssue]
    found = modules.get(path)
    return found if isinstance(found, nn.Conv2d) and name == "weight" else None
