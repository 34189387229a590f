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
from .methods import Method, pooled_features
from .network import Network

aten = torch.ops.aten

_CONVOLUTIONS = ("convolution", "conv1d", "conv2d", "conv3d", "conv_transpose")  # by an operator's or adjoint's name


@dataclass(frozen=True)
class Request:
    """One explanation that a program shall give: its output's name, the method and the layer it is about."""

    name: str
    method_name: str
    method: Method
    layer: str
    node: fx.Node


@dataclass(frozen=True)
class Traced:
    """The compiled graph and what its outputs are.

    Attributes:
        module: takes (images uint8 [N, H, W, C], target int64 [N]), gives a tuple in the order of `outputs`.
        outputs: `logits`, the maps' names, and `features` where there is a CAM.
        maps: what the contract says of each map.
        features: C of `features`, or None.
        image_shape: (H, W, C) of the uint8 input.
    """

    module: fx.GraphModule
    outputs: tuple[str, ...]
    maps: tuple[MapSpec, ...]
    features: int | None
    image_shape: tuple[int, int, int]


def trace(network: Network, preprocessing: Preprocessing, requests: Sequence[Request]) -> Traced:
    """Compile the requests into one graph.

    Raises:
        UsageError: a layer gives no spatial map, or the logits do not depend on it.
    """
    outputs = ["logits", *(r.name for r in requests)]
    first_cam = next((i for i, r in enumerate(requests) if r.method.kind == "cam"), None)
    for request in requests:
        _check(network, request)

    def program(state: dict[str, Tensor], images: Tensor, target: Tensor) -> tuple[Tensor, ...]:
        x = normalise(images, preprocessing, network.dtype)
        _, tail = network.cut(state, x, network.input)
        logits = tail(x)
        explained = torch.where(target < 0, logits.argmax(dim=1), target)

        def score(values: Tensor) -> Tensor:
            return values.gather(1, explained.unsqueeze(1)).squeeze(1)

        results, features = [logits], []
        for i, request in enumerate(requests):
            activation, tail = network.cut(state, x, request.node)
            results.append(request.method.function(activation, tail, score))
            if i == first_cam:
                features.append(pooled_features(activation, results[-1]))
        return (*results, *features)

    height, width, channels = preprocessing.height, preprocessing.width, preprocessing.channels
    mode = network.fake_mode
    with mode:
        images = torch.empty(network.batch, height, width, channels, dtype=torch.uint8)
        target = torch.empty(network.batch, dtype=torch.int64)
    state = {k: mode.from_tensor(v, static_shapes=True) for k, v in network.state.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            # Some decompositions fill or add in place; functionalized, no operator of the graph writes into a tensor.
            functional = torch.func.functionalize(program, remove="mutations")
            graph_module = make_fx(functional, decomposition_table=BACKWARD)(state, images, target)
        except Exception as error:
            reason = str(error).strip().splitlines()
            raise UsageError(
                f"compile: the backward pass of {network.name} cannot be written as a graph: "
                f"{type(error).__name__}: {reason[0][:200] if reason else ''}; please report this network"
            ) from error
    results = next(n for n in graph_module.graph.nodes if n.op == "output").args[0]
    shapes = [tuple(int(s) for s in n.meta["val"].shape[1:]) for n in results]
    module = _tidy(graph_module, network)
    if first_cam is not None:
        outputs.append("features")
    maps = tuple(
        MapSpec(r.name, r.method_name, r.layer, r.method.kind, shape)
        for r, shape in zip(requests, shapes[1:], strict=False)
    )
    return Traced(
        module, tuple(outputs), maps, shapes[-1][0] if first_cam is not None else None, (height, width, channels)
    )


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
    for node in module.graph.nodes:
        node.kwargs = {k: torch.float64 if v is torch.float32 else v for k, v in node.kwargs.items()}
    module.recompile()
    return module


def convolutions(graph: fx.Graph) -> int:
    """How many convolutions a graph has: the count that shows whether there is one forward pass or two."""
    return sum(getattr(n.target, "__name__", "").startswith(_CONVOLUTIONS) for n in graph.nodes)


def _check(network: Network, request: Request) -> None:
    if request.method.kind == "cam":
        shape = tuple(request.node.meta["val"].shape)
        if len(shape) != 4:
            raise UsageError(
                f"compile: {request.method_name} needs a layer that gives maps [N, C, h, w]; {request.layer!r} of "
                f"{network.name} gives {['N', *map(int, shape[1:])]}; choose another (see: saccade layers MODEL)"
            )
    if request.method.needs_gradient and not network.reaches_output(request.node):
        raise UsageError(
            f"compile: the logits of {network.name} do not depend on {request.layer!r}, so {request.method_name} has "
            "no gradient there; choose another layer (see: saccade layers MODEL)"
        )


def _tidy(traced: fx.GraphModule, network: Network) -> fx.GraphModule:
    """Merge what is equal, drop what nothing reads, and turn the state's placeholders into buffers."""
    _merge_equal(traced.graph)
    traced.graph.eliminate_dead_code()
    placeholders = [n for n in traced.graph.nodes if n.op == "placeholder"]
    names = [*network.state, "images", "target"]
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
    return fx.GraphModule(root, graph)


def _merge_equal(graph: fx.Graph) -> None:
    """Common sub-expressions: two nodes with one operator and the same arguments become one."""
    seen: dict[Any, fx.Node] = {}
    for node in list(graph.nodes):
        if node.op not in ("call_function", "get_attr"):
            continue
        key = (node.op, node.target, _hashable(node.args), _hashable(node.kwargs))
        if (first := seen.setdefault(key, node)) is not node:
            node.replace_all_uses_with(first)
            graph.erase_node(node)


def _hashable(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return tuple(map(_hashable, value))
    if isinstance(value, dict):
        return tuple(sorted((k, _hashable(v)) for k, v in value.items()))
    return value if isinstance(value, fx.Node) else (type(value), value)  # 1, 1.0 and True are not the same constant
