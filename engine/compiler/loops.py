"""A loop of a program: a method calls `fold`, tracing sees its step once, and the graph gets one node for all of it.

While tracing, `fold` puts a marker before and one behind a single step. What lies between the two is the loop's body
and is moved into a module of its own (`extract_loops`); what the body reads from outside, the forward pass for
instance, stays outside and is computed once.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, List  # noqa: UP035 - TorchScript knows this list alone

import torch
from torch import Tensor, fx, nn

Step = Callable[[Tensor, Tensor], Tensor]


@torch.library.custom_op("saccade::loop_begin", mutates_args=())
def _begin(carry: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
    return carry.clone(), items[0].clone()


@_begin.register_fake
def _(carry: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
    return torch.empty_like(carry), torch.empty_like(items[0])


@torch.library.custom_op("saccade::loop_end", mutates_args=())
def _end(carry: Tensor, begun: Tensor, items: Tensor) -> Tensor:
    return carry.clone()


@_end.register_fake
def _(carry: Tensor, begun: Tensor, items: Tensor) -> Tensor:
    return torch.empty_like(carry)


def fold(step: Step, carry: Tensor, items: Tensor) -> Tensor:
    """`for item in items: carry = step(carry, item)`, for a method that is being traced.

    Args:
        step: keeps the carry's shape and dtype; may read whatever lies around it. It is not differentiated.
        carry: the start.
        items: [count, …].
    """
    begun, item = _begin(carry, items)
    return _end(step(begun, item), begun, items)


class Loop(nn.Module):
    """A loop in a compiled graph.

    Attributes:
        body: (carry, item, captured) → carry.
    """

    def __init__(self, body: fx.GraphModule) -> None:
        super().__init__()
        self.body = body

    def forward(self, carry: Tensor, items: Tensor, captured: List[Tensor]) -> Tensor:  # noqa: UP006
        for i in range(items.size(0)):
            carry = self.body(carry, items[i], captured)
        return carry


class Scan(nn.Module):
    """The same loop as an operator, for exporters that would unroll the other."""

    def __init__(self, body: fx.GraphModule) -> None:
        super().__init__()
        self.body = body

    def forward(self, carry: Tensor, items: Tensor, captured: list[Tensor]) -> Tensor:
        def step(carry: Tensor, item: Tensor, *captured: Tensor) -> tuple[Tensor, Tensor]:
            return self.body(carry, item, list(captured)), torch.zeros(1)

        # The operator itself: torch's own `scan` sends the step through dynamo, whose caches fix the batch size.
        return torch.ops.higher_order.scan(step, [carry], [items], tuple(captured))[0]


def extract_loops(module: fx.GraphModule) -> None:
    """Move what lies between markers into a `Loop` each, in place."""
    graph = module.graph
    ends = [n for n in graph.nodes if n.target is torch.ops.saccade.loop_end.default]
    for i, end in enumerate(ends):
        last, begun, items = end.args
        begin = begun.args[0]
        body, captured = _body(graph, begin, last)
        name = f"loop_{i}"
        module.add_submodule(name, Loop(body))
        with graph.inserting_before(end):
            call = graph.call_module(name, (begin.args[0], items, captured))
        call.meta = dict(end.meta)
        end.replace_all_uses_with(call)
        graph.erase_node(end)
    if ends:
        graph.eliminate_dead_code()
        module.recompile()


def _body(graph: fx.Graph, begin: fx.Node, last: fx.Node) -> tuple[fx.GraphModule, list[fx.Node]]:
    inside = _reach(begin, lambda n: n.users) & (_reach(last, lambda n: n.all_input_nodes) | {last})
    parts = {n.args[1]: n for n in begin.users if n.target is operator.getitem}
    inside -= set(parts.values())
    body = fx.Graph()
    copied: dict[fx.Node, Any] = {}
    for index, name in enumerate(("carry", "item")):
        placeholder = body.placeholder(name, type_expr=Tensor)
        if index in parts:
            copied[parts[index]] = placeholder
    everything = body.placeholder("captured", type_expr=List[Tensor])  # noqa: UP006
    captured: list[fx.Node] = []

    def inner(node: fx.Node) -> fx.Node:
        if node in copied:
            return copied[node]
        # Sizes, which are no tensors, and views, which exporters will not have beside what they view, are made inside.
        if node.op == "call_function" and (
            not isinstance(node.meta.get("val"), Tensor) or getattr(node.target, "is_view", False)
        ):
            copied[node] = body.node_copy(node, inner)
        else:
            copied[node] = body.call_function(operator.getitem, (everything, len(captured)))
            copied[node].meta = dict(node.meta)
            captured.append(node)
        return copied[node]

    for node in graph.nodes:
        if node in inside:
            for needed in node.all_input_nodes:
                inner(needed)
            copied[node] = body.node_copy(node, inner)
    body.output(inner(last))
    return fx.GraphModule(nn.Module(), body), captured


def _reach(start: fx.Node, neighbours: Callable[[fx.Node], Any]) -> set[fx.Node]:
    found: set[fx.Node] = set()
    todo = list(neighbours(start))
    while todo:
        if (node := todo.pop()) not in found:
            found.add(node)
            todo.extend(neighbours(node))
    return found
