"""What a traced graph computes twice, or with more work than it takes: rewritten to the same values."""

from __future__ import annotations

import copy
import itertools
import operator
from typing import Any

import torch
from torch import Tensor, fx

from .network import evaluate

aten = torch.ops.aten

_FOLD_LIMIT = 2**16
"""Constants derived from weights are computed at compile time up to this many elements, or this share of the largest
tensor that they come from. Above both (flipped kernels) the runtime folds them when it loads, and the file does not
carry them twice, but for AOTInductor's, which holds them as it reads them."""
_FOLD_SHARE = 1 / 2


def simplify(graph: fx.Graph) -> None:
    """All rewrites of the traced graph, in place, in the order in which one makes room for the next."""
    _merge_equal(graph)
    _drop_double_transposes(graph)
    _gather_rows(graph)
    _average_before_expanding(graph)
    _average_weights(graph)
    _mask_before_spreading(graph)
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
            if _is_over_planes(node):  # of one place each
                mean = graph.call_function(aten.reshape.default, (value, [-1, many[1]]))
            else:
                mean = graph.call_function(aten.mean.dim, (value, dims, *rest), dict(node.kwargs))
        mean.meta = dict(node.meta)
        node.replace_all_uses_with(mean)


def _average_weights(graph: fx.Graph) -> None:
    """The mean over places of rows @ weights [K, C·h·w] → rows @ the weights' mean over places [K, C]: the weights of
    Grad-CAM in front of a linear layer. VGG16's program then reads 8 MB going back there, not 411.
    """
    averaged: dict[Any, fx.Node] = {}

    def call(target: Any, *args: Any) -> fx.Node:
        made = graph.call_function(target, args)
        made.meta["val"] = target(*fx.node.map_arg(args, lambda n: n.meta["val"]))
        return made

    for node in graph.nodes:
        if node.target is not aten.mean.dim or node.args[0].target not in _RESHAPES or not _is_over_planes(node):
            continue
        maps = node.args[0]
        product, shape = maps.args[0], tuple(maps.meta["val"].shape)
        if product.target is not aten.mm.default:
            continue
        rows, weights = product.args
        if len(product.users) > 1 or len(maps.users) > 1:  # it is made anyway
            continue
        if weights.op != "placeholder" or weights.meta["val"].shape[1] != shape[1] * shape[2] * shape[3]:
            continue
        with graph.inserting_before(node):
            if (key := (weights, shape[1:])) not in averaged:
                averaged[key] = call(aten.mean.dim, call(aten.reshape.default, weights, [-1, *shape[1:]]), [2, 3])
            found = call(aten.mm.default, rows, averaged[key])
        node.replace_all_uses_with(found)


def _mask_before_spreading(graph: fx.Graph) -> None:
    """where(closed(y), 0, what a max pool of y hands back) → what it hands back of where(closed(pooled), 0, gradient):
    each gradient goes to the place that the pooled value came from, so that one alone says whether it passes, and there
    are fewer of them.
    """
    for node in graph.nodes:
        if node.target is not aten.where.self or not _is_zero(node.args[1]):
            continue
        closed, _, spread = node.args
        added = spread.args[0] if spread.target in _RESHAPES else spread
        if added.target is not aten.scatter_add.default or len(spread.users) > 1 or len(added.users) > 1:
            continue
        start, dim, places, gradient = added.args
        taken = places.args[0] if places.target in _RESHAPES else None
        if start.target is not aten.new_zeros.default or dim != -1:
            continue
        if taken is None or taken.target is not operator.getitem or taken.args[1] != 1:
            continue
        if taken.args[0].target is not _MAX_POOL:
            continue
        pool = taken.args[0]
        y, pooled = pool.args[0], next((u for u in pool.users if u.args[1] == 0), None)
        tests = _tests_of(closed, y)
        if not tests or pooled is None or spread.meta["val"].shape != y.meta["val"].shape:
            continue
        with graph.inserting_before(added):
            moved = {y: graph.call_function(aten.reshape.default, (pooled, places.args[1]))}
            moved[y].meta = dict(gradient.meta)
            for test in tests:
                moved[test] = graph.node_copy(test, lambda n, moved=moved: moved.get(n, n))
                moved[test].meta = {}
            zero = graph.node_copy(node.args[1])
            masked = graph.call_function(aten.where.self, (moved[closed], zero, gradient))
        masked.meta = dict(gradient.meta)
        added.replace_input_with(gradient, masked)
        node.replace_all_uses_with(spread)


def _is_over_planes(mean: fx.Node) -> bool:
    """Whether it takes maps [N, C, h, w] to [N, C]."""
    rank, (_, dims, *rest) = mean.args[0].meta["val"].dim(), mean.args
    return rank == 4 and sorted(d % 4 for d in dims) == [2, 3] and not rest and not mean.kwargs


_RESHAPES = {aten.reshape.default, aten.view.default}
_MAX_POOL = aten.max_pool2d_with_indices.default
_TESTS = {aten.le.Scalar, aten.ge.Scalar, aten.logical_or.default, aten.bitwise_or.Tensor, aten.__or__.Tensor}


def _tests_of(closed: fx.Node, y: fx.Node) -> list[fx.Node]:
    """The comparisons of y with numbers that a condition is made of, in their order; none if it reads anything else."""
    if closed.target not in _TESTS:
        return []
    inner = [_tests_of(n, y) for n in closed.all_input_nodes if n is not y]
    return [*(test for tests in inner for test in tests), closed] if all(inner) else []


def _is_zero(value: Any) -> bool:
    return value.target is aten.scalar_tensor.default and value.args[0] == 0


def _is_one(value: Any) -> bool:
    while value.target in {aten.expand.default, aten.unsqueeze.default, *_RESHAPES}:
        value = value.args[0]
    return value.target is aten.ones_like.default


def fold_constants(module: fx.GraphModule) -> fx.GraphModule:
    """Compute what depends on no input, so that no factory function with a device in it stays in the file."""
    module = copy.deepcopy(module)
    graph = module.graph
    known: dict[fx.Node, Any] = {}
    folded: dict[fx.Node, Any] = {}
    for node in graph.nodes:
        if node.op == "get_attr":
            known[node] = module.get_buffer(str(node.target))
        elif node.op == "call_function" and all(n in known for n in node.all_input_nodes):
            value = evaluate([node], dict(known))[node]
            sources = [known[n] for n in node.all_input_nodes if isinstance(known[n], Tensor)]
            largest = max([source.numel() for source in sources], default=0)
            if not isinstance(value, Tensor) or value.numel() <= max(_FOLD_LIMIT, _FOLD_SHARE * largest):
                known[node] = folded[node] = value
            elif any(value.data_ptr() == source.data_ptr() for source in sources):
                known[node] = value  # seen otherwise, and not there twice: what is made of it may be small
    free = (name for i in itertools.count() if not hasattr(module, name := f"constant_{i}"))
    for node, value in folded.items():
        if isinstance(value, Tensor) and any(u not in folded for u in node.users):
            name = next(free)
            module.register_buffer(name, value.clone())
            with graph.inserting_before(node):
                node.replace_all_uses_with(graph.get_attr(name))
    graph.eliminate_dead_code()
    used = {str(n.target) for n in graph.nodes if n.op == "get_attr"}
    for name in [n for n, _ in module.named_buffers() if n not in used]:
        delattr(module, name)
    module.recompile()
    return module
