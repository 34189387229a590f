"""Network + methods -> one plain forward graph: uint8 images and a target in, logits and maps out.

The methods run once on fake tensors under `make_fx`, which writes down the operators below autograd: what was a
backward pass comes out as ordinary operators. Every method is traced by itself, the forward pass included, and equal
sub-graphs are then merged, so that all of them share one forward and whatever of the backward they have in common.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.experimental.proxy_tensor import make_fx

from ..contract import MapSpec, Preprocessing, UsageError
from .adjoints import BACKWARD
from .cut import HeadWeights, NetworkCut
from .layouts import Layout
from .loops import extract_loops
from .methods import Method, pooled_features
from .network import Network, short_name
from .rewrites import simplify
from .targets import Score, Target, class_score, explained_classes, output_score, region_score, unit_score

aten = torch.ops.aten

_CONVOLUTIONS = ("convolution", "conv1d", "conv2d", "conv3d", "conv_transpose")  # by an operator's or adjoint's name


@dataclass(frozen=True)
class Request:
    """One explanation that a program shall give: its output's name, the method and the layer it is about.

    Attributes:
        rank: which of the k classes of the target it explains, from 1.
    """

    name: str
    method_name: str
    method: Method
    layer: str
    node: fx.Node
    layout: Layout
    rank: int = 1


@dataclass(frozen=True)
class Input:
    """An input of a program beside the pictures: its name, dtype and shape without the batch."""

    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]

    def zeros(self, batch: Any) -> Tensor:
        return torch.zeros(batch, *self.shape, dtype=self.dtype)


@dataclass(frozen=True)
class Traced:
    """The compiled graph and what its inputs and outputs are.

    Attributes:
        module: takes (images [N, H, W, C], `inputs`…), gives a tuple in the order of `outputs`.
        inputs: `target`, and `region` where a segmentation is explained.
        outputs: `logits`, the maps' names, and `features` where there is a CAM.
        maps: what the contract says of each map.
        features: C of `features`, or None.
        image_shape: (H, W, C) of the images.
        pixels: their dtype, uint8, or float32 for an ascent.
    """

    module: fx.GraphModule
    inputs: tuple[Input, ...]
    outputs: tuple[str, ...]
    maps: tuple[MapSpec, ...]
    features: int | None
    image_shape: tuple[int, int, int]
    pixels: torch.dtype


def inputs_of(network: Network, target: Target) -> tuple[Input, ...]:
    """What a program of that target takes beside the pictures (see targets.py)."""
    if target.kind == "outputs":
        return (Input("target", torch.float32, (network.num_outputs,)),)
    if target.kind == "unit":
        return (Input("target", torch.int64, (3,)),)
    if target.kind == "region":
        return (Input("target", torch.int64, ()), Input("region", torch.uint8, network.input_shape[1:]))
    return (Input("target", torch.int64, () if target.count == 1 else (target.count,)),)


def trace(network: Network, preprocessing: Preprocessing, requests: Sequence[Request], target: Target) -> Traced:
    """Compile the requests into one graph.

    Raises:
        UsageError: a layer gives no spatial map, or what is explained does not depend on it.
    """
    outputs = ["logits", *(r.name for r in requests)]
    first_cam = next((i for i, r in enumerate(requests) if r.method.kind == "cam"), None)
    explained = network.output if target.layer is None else network.layer(target.layer)
    for request in requests:
        _check(network, request, explained, target)
    inputs = inputs_of(network, target)

    def program(state: dict[str, Tensor], images: Tensor, *asked: Tensor) -> tuple[Tensor, ...]:
        x = normalise(images, preprocessing, network.dtype)
        logits = network.cut(state, x, network.input)[1](x)
        goals = _goals(network, target, explained, logits, asked)
        results, features = [logits], []
        for i, r in enumerate(requests):
            score, pick = goals[r.rank - 1]
            cut = NetworkCut(network, state, x, r.node, r.layout, explained, score, pick)
            found = r.method.function(cut)
            if r.method.kind == "ascent":  # from the normalised input's gradient to the pixels'
                found = found / (255 * torch.tensor(preprocessing.std, dtype=torch.float64)).to(network.dtype)
            results.append(found)
            if i == first_cam:
                features.append(pooled_features(cut.activation, results[-1]))
        return (*results, *features)

    height, width, channels = preprocessing.height, preprocessing.width, preprocessing.channels
    pixels = torch.float32 if any(r.method.kind == "ascent" for r in requests) else torch.uint8
    mode = network.fake_mode
    with mode:
        images = torch.empty(network.batch, height, width, channels, dtype=pixels)
        asked = [each.zeros(network.batch) for each in inputs]
    state = {k: mode.from_tensor(v, static_shapes=True) for k, v in network.state.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            # Some decompositions fill or add in place; functionalized, no operator of the graph writes into a tensor.
            functional = torch.func.functionalize(program, remove="mutations")
            graph_module = make_fx(functional, decomposition_table=BACKWARD)(state, images, *asked)
        except Exception as error:
            reason = str(error).strip().splitlines()
            raise UsageError(
                f"compile: the explanation of {network.name} cannot be written as a graph: "
                f"{type(error).__name__}: {reason[0][:200] if reason else ''}; please report this network"
            ) from error
    results = next(n for n in graph_module.graph.nodes if n.op == "output").args[0]
    shapes = [tuple(int(s) for s in n.meta["val"].shape[1:]) for n in results]
    module = _tidy(graph_module, network, ["images", *(each.name for each in inputs)])
    if first_cam is not None:
        outputs.append("features")
    maps = tuple(
        MapSpec(r.name, r.method_name, r.layer, r.method.kind, shape, r.rank)
        for r, shape in zip(requests, shapes[1:], strict=False)
    )
    features = shapes[-1][0] if first_cam is not None else None
    return Traced(module, inputs, tuple(outputs), maps, features, (height, width, channels), pixels)


def _goals(
    network: Network, target: Target, explained: fx.Node, logits: Tensor, asked: Sequence[Tensor]
) -> list[tuple[Score, HeadWeights | None]]:
    """The score of each rank, and how it reads a linear head's weights."""
    if target.kind == "class":
        classes = explained_classes(logits, asked[0])
        return [(class_score(c), lambda weights, c=c: weights.index_select(0, c)) for c in classes]
    if target.kind == "region":
        return [(region_score(logits, *asked), None)]
    if target.kind == "outputs":
        given = asked[0].to(logits.dtype)
        return [(output_score(given), lambda weights: (given.unsqueeze(2) * weights.unsqueeze(0)).sum(dim=1))]
    layout, inner = network.layout(explained), unit_score(asked[0], network.unit_shape(explained))
    return [(inner if layout is None else lambda values: inner(layout.fold(values)), None)]


def normalise(images: Tensor, preprocessing: Preprocessing, dtype: torch.dtype) -> Tensor:
    """uint8 [N, H, W, C] -> the network's input [N, C, H, W]: (images / 255 − mean) / std."""
    x = images.permute(0, 3, 1, 2).to(dtype).contiguous() / 255
    if any(preprocessing.mean) or any(s != 1 for s in preprocessing.std):
        mean = torch.tensor(preprocessing.mean, dtype=torch.float64).to(dtype).reshape(1, -1, 1, 1)
        std = torch.tensor(preprocessing.std, dtype=torch.float64).to(dtype).reshape(1, -1, 1, 1)
        x = (x - mean) / std
    return x


def float64(traced: Traced) -> fx.GraphModule:
    """The same graph in double precision: constants cast, float32 casts turned into float64 ones."""
    module = copy.deepcopy(traced.module).double()
    for part in graph_modules(module):
        for node in part.graph.nodes:
            node.kwargs = {k: torch.float64 if v is torch.float32 else v for k, v in node.kwargs.items()}
        part.recompile()
    return module


def graph_modules(module: fx.GraphModule) -> list[fx.GraphModule]:
    """The graph and the bodies of its loops."""
    return [part for part in module.modules() if isinstance(part, fx.GraphModule)]


def convolutions(graph: fx.Graph) -> int:
    """How many convolutions a graph has outside of loops: whether there is one forward pass or two."""
    return sum(getattr(n.target, "__name__", "").startswith(_CONVOLUTIONS) for n in graph.nodes)


def _check(network: Network, request: Request, explained: fx.Node, target: Target) -> None:
    name, layer = request.method_name, request.layer
    what = "the logits" if target.layer is None else f"layer {target.layer!r}"
    if request.method.asks and not network.reaches(request.node, explained):
        raise UsageError(
            f"compile: {what} of {network.name} do{'' if target.layer is None else 'es'} not depend on {layer!r}, so "
            f"{name} has nothing to show there; choose another layer (see: saccade layers MODEL)"
        )
    if request.method.target_layer == "pooled" and target.kind not in ("class", "outputs"):
        raise UsageError(f"compile: {name} reads the weights of classes or outputs; target {target.kind} has none")
    rectifiers = ("relu", "relu_", "relu6", "hardtanh")
    if request.method.rule and not any(short_name(n.target) in rectifiers for n in network.graph.nodes):
        raise UsageError(f"compile: {name} changes how ReLUs go back, and {network.name} has none; use saliency")


def _tidy(traced: fx.GraphModule, network: Network, inputs: Sequence[str]) -> fx.GraphModule:
    """Merge what is equal, drop what nothing reads, and turn the state's placeholders into buffers."""
    simplify(traced.graph)
    placeholders = [n for n in traced.graph.nodes if n.op == "placeholder"]
    names = [*network.state, *inputs]
    graph, copied, buffers = fx.Graph(), {}, {}
    for node, name in zip(placeholders, names, strict=True):
        if name not in network.state:
            copied[node] = graph.placeholder(name)
    for node, name in zip(placeholders, names, strict=True):
        if name in network.state and node.users:
            buffers[name] = network.state[name]
            copied[node] = graph.get_attr(name)
    for node in traced.graph.nodes:
        if node.op == "get_attr":
            buffers[node.target] = getattr(traced, node.target)
        if node.op == "output":
            graph.output(fx.node.map_arg(tuple(node.args[0]), copied.__getitem__))
        elif node not in copied and node.op != "placeholder":
            copied[node] = graph.node_copy(node, copied.__getitem__)
    for node in graph.nodes:
        if node.target is aten.view.default:  # the traced memory order is a guess (see adjoints.FORWARD)
            node.target = aten.reshape.default
        if isinstance(node.target, torch._ops.OpOverload) and node.target._schema.is_mutable:
            raise UsageError(f"compile: {network.name} writes into a tensor ({node.target}); this is not supported yet")
    root = nn.Module()
    for name, value in buffers.items():
        root.register_buffer(name, value)
    module = fx.GraphModule(root, graph)
    extract_loops(module)
    return module
