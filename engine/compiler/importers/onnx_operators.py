"""ONNX's operators on pictures' values, in PyTorch's: element by element, shapes, sums and products.

The source for each is ONNX's own "Operator Schemas"; where operator sets differ, `Call.opset` says which one it is.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .onnx_call import Call, Operator, product
from .onnx_pictures import PICTURES
from .onnx_shapes import shape_of, size_of, slices

# ---- element by element ---------------------------------------------------------------------------------------------


def _unary(function: Callable[[Tensor], Tensor]) -> Operator:
    return lambda call: function(call.tensor(0))


def _binary(function: Callable[[Any, Any], Any]) -> Operator:
    return lambda call: function(call.operand(0), call.operand(1))


def _fold(function: Callable[[Any, Any], Any]) -> Operator:
    return lambda call: functools.reduce(function, [call.tensor(i) for i in range(len(call.values))])


def _mean(call: Call) -> Tensor:
    return _fold(operator.add)(call) / len(call.values)


def _clip(call: Call) -> Tensor:
    if call.opset < 11:
        low, high = call.node.attributes.get("min"), call.node.attributes.get("max")
    else:
        low, high = (call.array(i).item() if call.given(i) else None for i in (1, 2))
    if low is not None and high is not None:
        return F.hardtanh(call.tensor(0), low, high)
    return call.tensor(0).clamp(low, high)


def _hard_sigmoid(call: Call) -> Tensor:
    alpha, beta = call.attribute("alpha", 0.2), call.attribute("beta", 0.5)
    if abs(alpha - 1 / 6) < 1e-6 and beta == 0.5:
        return F.hardsigmoid(call.tensor(0))
    return (call.tensor(0) * alpha + beta).clamp(0, 1)


def _prelu(call: Call) -> Tensor:
    x = call.tensor(0)
    return torch.where(x > 0, x, call.tensor(1) * x)


def _gelu(call: Call) -> Tensor:
    return F.gelu(call.tensor(0), approximate=call.attribute("approximate", "none"))


def _selu(call: Call) -> Tensor:
    alpha, gamma = call.attribute("alpha", 1.6732632), call.attribute("gamma", 1.0507010)
    return gamma * F.elu(call.tensor(0), alpha)


def _swish(call: Call) -> Tensor:
    x, alpha = call.tensor(0), call.attribute("alpha", 1.0)
    return F.silu(x) if alpha == 1 else x * torch.sigmoid(alpha * x)


def _softmax(function: Callable[..., Tensor]) -> Operator:
    def apply(call: Call) -> Tensor:
        x = call.tensor(0)
        axis = call.axis(call.attribute("axis", -1 if call.opset >= 13 else 1), x.dim())
        if call.opset >= 13 or axis == x.dim() - 1:
            return function(x, dim=axis)
        return function(x.flatten(axis), dim=-1).reshape(x.shape)  # the older one ran over all axes behind

    return apply


def _cast(call: Call) -> Tensor:
    """Between kinds of floats nothing changes: the network has one."""
    x, to = call.tensor(0), call.attribute("to", 0)
    if not x.is_floating_point() or (call.node.operator == "Cast" and to not in (1, 11)):
        call.refuse("casts a picture's values to or from whole numbers, which has no gradient")
    return x


def _dropout(call: Call) -> Tensor:
    if call.given(2) and bool(call.array(2)):
        call.refuse("is in training mode; call .eval() before exporting")
    return call.tensor(0)


# ---- sums and products ----------------------------------------------------------------------------------------------


def _gemm(call: Call) -> Tensor:
    a, b = call.tensor(0), call.tensor(1)
    alpha, beta = call.attribute("alpha", 1.0), call.attribute("beta", 1.0)
    c = call.optional(2)
    if alpha == 1 and not call.attribute("transA", 0) and (c is None or (beta == 1 and c.dim() == 1)):
        return F.linear(a, b if call.attribute("transB", 0) else b.t(), c)
    a = a.t() if call.attribute("transA", 0) else a
    found = alpha * (a @ (b.t() if call.attribute("transB", 0) else b))
    return found if c is None else found + beta * c


def _matmul(call: Call) -> Tensor:
    a, b = call.tensor(0), call.tensor(1)
    if b.dim() == 2 and isinstance(call.value(1), np.ndarray):
        return F.linear(a, b.t())
    return torch.matmul(a, b)


def _reduce(function: Callable[[Tensor, list[int], bool], Tensor]) -> Operator:
    def apply(call: Call) -> Tensor:
        x, axes = call.tensor(0), call.numbers("axes", 1)
        if not axes and call.attribute("noop_with_empty_axes", 0):
            return x
        axes = [call.axis(a, x.dim()) for a in axes or range(x.dim())]
        if 0 in axes:
            call.refuse("adds up over the batch; expected a network that sees each picture by itself")
        return function(x, axes, bool(call.attribute("keepdims", 1)))

    return apply


# ---- shapes ---------------------------------------------------------------------------------------------------------


def _flatten(call: Call) -> Tensor:
    x = call.tensor(0)
    axis = call.attribute("axis", 1)
    axis += x.dim() if axis < 0 else 0
    return x.flatten(1) if axis == 1 else x.reshape(product(x.shape[:axis]), product(x.shape[axis:]))


def _reshape(call: Call) -> Tensor:
    x, sizes = call.tensor(0), call.numbers("shape", 1) or []
    if not call.attribute("allowzero", 0):
        sizes = [x.shape[i] if s == 0 and i < x.dim() else s for i, s in enumerate(sizes)]
    if call.batch and isinstance(x.shape[0], torch.SymInt) and sizes and isinstance(sizes[0], int):
        # A file for one batch size has it written into its shapes.
        each = product(x.shape[1:])
        if sizes[0] == call.batch[0] and (-1 in sizes or product(sizes[1:]) == each):
            sizes[0] = call.batch[1]
        elif sizes[0] != -1:
            call.refuse(f"mixes the fixed batch of {call.batch[0]} with other sizes; export it with a free batch size")
    if sizes[1:] and all(isinstance(s, int) and s > 0 for s in sizes[1:]) and sizes[0] == -1:
        each = product(x.shape[1:])
        if isinstance(x.shape[0], torch.SymInt) and product(sizes[1:]) == each:
            sizes[0] = x.shape[0]
    return x.reshape(sizes)


def _squeeze(call: Call) -> Tensor:
    x, axes = call.tensor(0), call.numbers("axes", 1)
    if axes is None:
        axes = [i for i in range(1, x.dim()) if x.shape[i] == 1]
    return x.squeeze([call.axis(a, x.dim()) for a in axes])


def _unsqueeze(call: Call) -> Tensor:
    x, axes = call.tensor(0), call.numbers("axes", 1) or []
    for axis in sorted(call.axis(a, x.dim() + len(axes)) for a in axes):
        x = x.unsqueeze(axis)
    return x


def _transpose(call: Call) -> Tensor:
    x = call.tensor(0)
    return x.permute(call.numbers("perm") or list(range(x.dim()))[::-1])


def _concat(call: Call) -> Tensor:
    parts = [call.tensor(i) for i in range(len(call.values))]
    axis = call.axis(call.attribute("axis", 1), parts[0].dim())
    if axis != 0 and any(isinstance(p.shape[0], torch.SymInt) for p in parts):
        parts = [p.expand(call.free(p.shape[0]), *p.shape[1:]) for p in parts]
    return torch.cat(parts, dim=axis)


def _split(call: Call) -> tuple[Tensor, ...]:
    x = call.tensor(0)
    axis = call.axis(call.attribute("axis", 0), x.dim())
    sizes = call.numbers("split", 1) or -(-x.shape[axis] // len(call.node.outputs))
    return torch.split(x, sizes, dim=axis)


def _slice(call: Call) -> Tensor:
    x = call.tensor(0)
    for axis, part in enumerate(slices(call, x.shape)):
        if part == slice(None):
            continue
        step = part.step or 1
        if axis == 0 and isinstance(x.shape[0], torch.SymInt):
            call.refuse("cuts the batch; expected a network that sees each picture by itself")
        if step < 0:
            places = range(int(x.shape[axis]))[part]
            x = x.index_select(axis, torch.tensor(list(places), dtype=torch.int64))
        else:
            x = x[(slice(None),) * axis + (part,)]
    return x


def _gather(call: Call) -> Tensor:
    x, places = call.tensor(0), call.array(1)
    axis = call.axis(call.attribute("axis", 0), x.dim())
    if axis == 0 and isinstance(x.shape[0], torch.SymInt):
        call.refuse("picks out of the batch; expected a network that sees each picture by itself")
    if places.ndim == 0:
        return x.select(axis, int(places))
    flat = np.where(places < 0, places + x.shape[axis], places).astype(np.int64).reshape(-1)
    found = x.index_select(axis, torch.tensor(flat.tolist(), dtype=torch.int64))
    return found.unflatten(axis, places.shape) if places.ndim > 1 else found


def _expand(call: Call) -> Tensor:
    x, sizes = call.tensor(0), call.numbers("", 1) or []
    sizes = [1] * (x.dim() - len(sizes)) + sizes
    have = [1] * (len(sizes) - x.dim()) + list(x.shape)
    if call.batch and isinstance(have[0], torch.SymInt):
        sizes[0] = call.free(sizes[0])
    return x.expand([h if isinstance(s, int) and s in (1, -1) else s for s, h in zip(sizes, have, strict=True)])


def _tile(call: Call) -> Tensor:
    x, repeats = call.tensor(0), call.numbers("", 1) or []
    if len(repeats) != x.dim() or repeats[0] != 1:
        call.refuse("repeats the batch; expected a network that sees each picture by itself")
    return x.repeat(repeats)


def _pad(call: Call) -> Tensor:
    x = call.tensor(0)
    pads = call.numbers("pads", 1) or []
    axes = [call.axis(a, x.dim()) for a in call.numbers("", 3) or range(x.dim())]
    mode = call.attribute("mode", "constant")
    fill = call.array(2).item() if call.given(2) else call.attribute("value", 0.0)
    if len(pads) != 2 * len(axes) or mode not in ("constant", "reflect", "edge", "wrap"):
        call.refuse(f"has mode {mode!r} and pads {pads[:8]}; export it again")
    both = {axis: (pads[i], pads[i + len(axes)]) for i, axis in enumerate(axes)}
    if any(both.get(0, (0, 0))):
        call.refuse("pads the batch; expected a network that sees each picture by itself")
    first = min((axis for axis, p in both.items() if any(p)), default=x.dim())
    flat = [n for axis in reversed(range(first, x.dim())) for n in both.get(axis, (0, 0))]
    if not flat:
        return x
    return F.pad(
        x, flat, {"edge": "replicate", "wrap": "circular"}.get(mode, mode), fill if mode == "constant" else None
    )


TENSORS: dict[str, Operator] = {
    **PICTURES,
    "Abs": _unary(torch.abs),
    "Add": _binary(operator.add),
    "And": _binary(torch.logical_and),
    "Cast": _cast,
    "CastLike": _cast,
    "Ceil": _unary(torch.ceil),
    "Celu": lambda call: F.celu(call.tensor(0), call.attribute("alpha", 1.0)),
    "Clip": _clip,
    "Concat": _concat,
    "Cos": _unary(torch.cos),
    "Div": _binary(operator.truediv),
    "Dropout": _dropout,
    "Elu": lambda call: F.elu(call.tensor(0), call.attribute("alpha", 1.0)),
    "Equal": _binary(operator.eq),
    "Erf": _unary(torch.erf),
    "Exp": _unary(torch.exp),
    "Expand": _expand,
    "Flatten": _flatten,
    "Floor": _unary(torch.floor),
    "Gather": _gather,
    "Gelu": _gelu,
    "Gemm": _gemm,
    "Greater": _binary(operator.gt),
    "GreaterOrEqual": _binary(operator.ge),
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _unary(F.hardswish),
    "Identity": _unary(lambda x: x),
    "LeakyRelu": lambda call: F.leaky_relu(call.tensor(0), call.attribute("alpha", 0.01)),
    "Less": _binary(operator.lt),
    "LessOrEqual": _binary(operator.le),
    "Log": _unary(torch.log),
    "LogSoftmax": _softmax(F.log_softmax),
    "MatMul": _matmul,
    "Max": _fold(torch.maximum),
    "Mean": _mean,
    "Min": _fold(torch.minimum),
    "Mish": _unary(F.mish),
    "Mul": _binary(operator.mul),
    "Neg": _unary(torch.neg),
    "Not": _unary(torch.logical_not),
    "Or": _binary(torch.logical_or),
    "PRelu": _prelu,
    "Pad": _pad,
    "Pow": _binary(operator.pow),
    "Reciprocal": _unary(torch.reciprocal),
    "ReduceL1": _reduce(lambda x, axes, keep: x.abs().sum(axes, keep)),
    "ReduceL2": _reduce(lambda x, axes, keep: x.square().sum(axes, keep).sqrt()),
    "ReduceMax": _reduce(lambda x, axes, keep: x.amax(axes, keep)),
    "ReduceMean": _reduce(lambda x, axes, keep: x.mean(axes, keep)),
    "ReduceMin": _reduce(lambda x, axes, keep: x.amin(axes, keep)),
    "ReduceSum": _reduce(lambda x, axes, keep: x.sum(axes, keep)),
    "ReduceSumSquare": _reduce(lambda x, axes, keep: x.square().sum(axes, keep)),
    "Relu": _unary(F.relu),
    "Reshape": _reshape,
    "Selu": _selu,
    "Shape": shape_of,
    "Sigmoid": _unary(torch.sigmoid),
    "Sign": _unary(torch.sign),
    "Sin": _unary(torch.sin),
    "Size": size_of,
    "Slice": _slice,
    "Softmax": _softmax(F.softmax),
    "Softplus": _unary(F.softplus),
    "Softsign": _unary(F.softsign),
    "Split": _split,
    "Sqrt": _unary(torch.sqrt),
    "Squeeze": _squeeze,
    "Sub": _binary(operator.sub),
    "Sum": _fold(operator.add),
    "Swish": _swish,
    "Tile": _tile,
    "Tanh": _unary(torch.tanh),
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
    "Where": lambda call: torch.where(call.tensor(0), call.operand(1), call.operand(2)),
}
"""Operator → its value where a picture's is among its inputs."""
