"""What a traced graph computes twice, or with more work than it takes: rewritten, in place, to the same values."""

from __future__ import annotations

from typing import Any

import torch
from torch import fx

aten = torch.ops.aten


def simplify(graph: fx.Graph) -> None:
    """All rewrites, in the order in which one makes room for the next."""
    _merge_equal(graph)
    _drop_double_transposes(graph)
    _gather_rows(graph)
    _average_before_expanding(graph)
    graph.eliminate_dead_code()


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


def _drop_double_transposes(graph: fx.Graph) -> None:
    """A linear layer's forward transposes its weights, its backward the transposed ones."""
    for node in graph.nodes:
        if node.target is aten.t.default and node.args[0].target is aten.t.default:
            node.replace_all_uses_with(node.args[0].args[0])


def _gather_rows(graph: fx.Graph) -> None:
    """one-hot [N, K] @ weights [K, M] → rows of the weights [N, M]: how the backward of a class's logit begins."""
    for node in graph.nodes:
        if node.target is not aten.mm.default:
            continue
        one_hot, weights = node.args
        if one_hot.target is not aten.scatter_add.default:
            continue
        start, dim, classes, ones = one_hot.args
        is_one_hot = start.target is aten.new_zeros.default and dim == 1 and _is_one(ones)
        if not is_one_hot or classes.target is not aten.unsqueeze.default or classes.args[1] != 1:
            continue
        with graph.inserting_before(node):
            rows = graph.call_function(aten.index_select.default, (weights, 0, classes.args[0]))
        rows.meta = dict(node.meta)
        node.replace_all_uses_with(rows)


def _average_before_expanding(graph: fx.Graph) -> None:
    """The mean over places of what was repeated at all of them: how global average pooling's gradient is averaged."""
    for node in graph.nodes:
        if node.target is not aten.mean.dim:
            continue
        divided, dims, *rest = node.args
        repeated = divided.args[0] if divided.target is aten.div.Scalar else divided
        if repeated.target is not aten.expand.default:
            continue
        one, many = repeated.args[0].meta["val"].shape, repeated.meta["val"].shape
        dims = [d % len(many) for d in dims]
        if tuple(one) != tuple(1 if i in dims else side for i, side in enumerate(many)):
            continue
        with graph.inserting_before(node):
            value = repeated.args[0]
            if divided is not repeated:
                value = graph.call_function(divided.target, (value, divided.args[1]))
                value.meta = dict(repeated.args[0].meta)
            mean = graph.call_function(aten.mean.dim, (value, dims, *rest), dict(node.kwargs))
        mean.meta = dict(node.meta)
        node.replace_all_uses_with(mean)


def _is_one(value: Any) -> bool:
    while value.target in (aten.expand.default, aten.unsqueeze.default, aten.reshape.default, aten.view.default):
        value = value.args[0]
    return value.target is aten.ones_like.default
