"""A compiled graph in half precision, as mixed-precision inference does it (Micikevicius et al., "Mixed Precision
Training", ICLR 2018): what multiplies matrices takes and gives 16 bits, what adds up many values works in float32.

Weights are kept in 16 bits, so a file takes half the room; logits and maps still come out as float32.
"""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, fx

from ..contract.spec import Precision
from .network import short_name
from .rewrites import fold_constants
from .trace import Traced

aten = torch.ops.aten

DTYPES: dict[Precision, torch.dtype] = {"float16": torch.float16, "bfloat16": torch.bfloat16}

_MULTIPLIES = ("convolution", "linear", "addmm", "mm", "bmm", "matmul", "baddbmm")
_MOVES = ("t", "transpose", "permute", "reshape", "flip", "view", "squeeze", "unsqueeze", "index_select")
_FOLLOWS = (
    *_MOVES,
    *("abs", "add", "amax", "amin", "avg_pool2d", "cat", "clone", "constant_pad_nd", "div", "expand", "gather"),
    *("gelu", "hardsigmoid", "hardswish", "hardtanh", "leaky_relu", "max_pool2d_with_indices", "maximum", "minimum"),
    *("pixel_shuffle", "mul", "neg", "new_zeros", "ones_like", "relu", "repeat", "select", "sigmoid", "silu", "slice"),
    *("split", "split_with_sizes", "stack", "sub", "tanh", "unbind", "where", "zeros_like", "_unsafe_view"),
)
"""Operators that are as narrow as what they are given: they choose, move or combine a few values. All others, sums and
exponentials among them, work in float32."""


def lower(traced: Traced, precision: Precision) -> Traced:
    """The same program with its convolutions and matrix products in `precision`."""
    module = fold_constants(traced.module)
    dtype = DTYPES[precision]
    narrow = {n for n in module.graph.nodes if n.op == "get_attr" and _is_factor(module, n)}
    for node in narrow:
        weights = module.get_buffer(str(node.target))
        if weights.is_floating_point():
            module.register_buffer(str(node.target), weights.to(dtype))
    floats = {n: _is_float(n, module) for n in module.graph.nodes}
    inputs = (torch.empty(0, dtype=traced.pixels), *(each.zeros(0) for each in traced.inputs))
    placeholders = [n for n in module.graph.nodes if n.op == "placeholder"]
    floats |= {n: v.is_floating_point() for n, v in zip(placeholders, inputs, strict=True)}
    _lower(module, dtype, floats, {n for n in narrow if floats[n]})
    return dataclasses.replace(traced, module=module)


def _lower(module: fx.GraphModule, dtype: torch.dtype, floats: Mapping[fx.Node, bool], narrow: set[fx.Node]) -> None:
    """Put casts between what is narrow and what is not, in place.

    Args:
        floats: which nodes hold floating-point values.
        narrow: the nodes that are known to be narrow; the others are added.
    """
    casts: dict[tuple[fx.Node, torch.dtype], fx.Node] = {}

    def cast(node: fx.Node, to: torch.dtype) -> fx.Node:
        if not floats.get(node) or (to is dtype) == (node in narrow):
            return node
        if (node, to) not in casts:
            with module.graph.inserting_after(node):
                casts[node, to] = module.graph.call_function(aten._to_copy.default, (node,), {"dtype": to})
        return casts[node, to]

    def cast_all(node: fx.Node, to: torch.dtype) -> None:
        node.args, node.kwargs = fx.node.map_arg((node.args, node.kwargs), lambda n: cast(n, to))

    for node in list(module.graph.nodes):
        if node.op == "output":
            cast_all(node, torch.float32)
        elif node.op == "call_module":
            carry, items, captured = node.args
            node.args = (cast(carry, torch.float32), cast(items, torch.float32), captured)
            body = module.get_submodule(str(node.target)).body
            assert isinstance(body, fx.GraphModule)
            own = {n: _is_float(n, body) for n in body.graph.nodes}
            own |= {n: n.name != "captured" for n in body.graph.nodes if n.op == "placeholder"}
            given = {n for n in body.graph.nodes if (i := _captured(n)) is not None and captured[i] in narrow}
            _lower(body, dtype, own, given)
        elif node.op == "call_function" and floats[node] and node not in narrow:
            name, inputs = short_name(node.target), [n for n in node.all_input_nodes if floats.get(n)]
            fixed = node.kwargs.get("dtype") is torch.float32
            wide = [n for n in inputs if n not in narrow and not _is_number(n)]
            if node.target is operator.getitem:
                if inputs and inputs[0] in narrow:
                    narrow.add(node)
            elif (name in _MULTIPLIES and not _is_sum(node)) or (
                name in _FOLLOWS and len(wide) < len(inputs) and not wide and not fixed
            ):
                cast_all(node, dtype)
                narrow.add(node)
            else:
                cast_all(node, torch.float32)
    module.graph.lint()
    module.recompile()


def _is_sum(node: fx.Node) -> bool:
    """Whether a product of batches is one with vectors: a weighted sum, as of a layer's maps."""
    return short_name(node.target) == "bmm" and 1 in node.meta["val"].shape[1:]


def _is_factor(module: fx.GraphModule, node: fx.Node) -> bool:
    """Whether a constant is read by matrix products alone, moved about or not."""
    return all(
        short_name(user.target) in _MULTIPLIES or (short_name(user.target) in _MOVES and _is_factor(module, user))
        for user in _readers(module, node)
    )


def _readers(module: fx.GraphModule, node: fx.Node) -> Iterator[fx.Node]:
    """Who reads a node, in loops too."""
    for user in node.users:
        if user.op != "call_module":
            yield user
            continue
        captured: Any = user.args[2]
        body = module.get_submodule(str(user.target)).body
        assert isinstance(body, fx.GraphModule)
        for inner in body.graph.nodes:
            if (i := _captured(inner)) is not None and captured[i] is node:
                yield from inner.users


def _captured(node: fx.Node) -> int | None:
    """Which of the captured values a node of a loop's body stands for."""
    if node.target is operator.getitem and isinstance(node.args[0], fx.Node) and node.args[0].name == "captured":
        return int(node.args[1])  # pyright: ignore[reportArgumentType]
    return None


def _is_float(node: fx.Node, module: fx.GraphModule) -> bool:
    value = module.get_buffer(str(node.target)) if node.op == "get_attr" else node.meta.get("val")
    if isinstance(value, (tuple, list)):  # what gives several gives values first, then their indices or statistics
        value = value[0] if value else None
    return isinstance(value, Tensor) and value.is_floating_point()


def _is_number(node: fx.Node) -> bool:
    value = node.meta.get("val")
    return isinstance(value, Tensor) and value.dim() == 0
