"""ONNX's operators where no picture is among the inputs: weights that are rearranged, and the arithmetic of shapes."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from onnx import helper

from .onnx_call import MAX_NUMBERS, Call, Operator, product


def small(call: Call, shape: Sequence[Any]) -> tuple[int, ...]:
    """A shape of which an array may be made."""
    sizes = tuple(shape)
    if any(isinstance(s, torch.SymInt) for s in sizes):
        call.refuse("makes a table as long as the batch; export it with a free batch size")
    if any(s < 0 for s in sizes) or product(sizes) > MAX_NUMBERS:
        call.refuse(f"makes numbers of the shape {list(sizes)[:8]}; expected at most {MAX_NUMBERS:,}")
    return tuple(int(s) for s in sizes)


def tidy(array: np.ndarray) -> np.ndarray:
    """An array of objects as one of numbers, where all of them are."""
    if array.dtype != object or any(isinstance(v, torch.SymInt) for v in array.flat):
        return array
    return array.astype(np.bool_ if array.size and isinstance(array.flat[0], (bool, np.bool_)) else np.int64)


def shape_of(call: Call) -> np.ndarray:
    """The operator Shape, of a picture's value as of an array."""
    sizes = list(call.value(0).shape)
    start, end = call.attribute("start", 0), call.node.attributes.get("end")
    sizes = sizes[start : end if isinstance(end, int) else None]
    return tidy(np.array([s if isinstance(s, torch.SymInt) else int(s) for s in sizes], dtype=object))


def size_of(call: Call) -> np.ndarray:
    """The operator Size."""
    return tidy(np.array(product(call.value(0).shape), dtype=object))


def cast(call: Call) -> np.ndarray:
    """The operators Cast and CastLike."""
    array = call.array(0)
    try:
        dtype = call.array(1).dtype if call.node.operator == "CastLike" else _dtype(call.attribute("to", 0))
    except (KeyError, ValueError, TypeError):
        call.refuse("casts to an unknown type; export it again")
    if array.dtype == object:  # the batch size among others: it stays whole
        if not np.issubdtype(dtype, np.integer):
            call.refuse("computes with the batch size as a number; export it with a free batch size")
        return array
    if dtype == np.float64:
        dtype = np.dtype(np.float32)
    if dtype.kind not in "fiub" or dtype == np.float16:
        call.refuse(f"casts to {dtype}; expected float32 or whole numbers")
    return array.astype(dtype)


def _dtype(number: int) -> np.dtype:
    return np.dtype(helper.tensor_dtype_to_np_dtype(number))


def _binary(function: Callable[[Any, Any], Any]) -> Operator:
    def apply(call: Call) -> np.ndarray:
        a, b = call.array(0), call.array(1)
        small(call, np.broadcast_shapes(a.shape, b.shape))
        return _array(call, function(a, b))

    return apply


def _unary(function: Callable[[Any], Any]) -> Operator:
    return lambda call: _array(call, function(call.array(0)))


def _array(call: Call, found: Any) -> np.ndarray:
    like = call.array(0)
    array = tidy(np.asarray(found, dtype=object) if like.dtype == object else np.asarray(found))
    return array.astype(np.float32) if array.dtype == np.float64 else array


def _divide(a: np.ndarray, b: np.ndarray) -> Any:
    if a.dtype.kind == "f":
        return a / b
    if (b == 0).any():
        raise ValueError("division by zero")
    if a.dtype == object or b.dtype == object:
        return a // b
    return np.trunc(a / b).astype(a.dtype)  # ONNX cuts towards zero


def _fold(function: Callable[[Any, Any], Any]) -> Operator:
    def apply(call: Call) -> np.ndarray:
        found = call.array(0)
        for i in range(1, len(call.values)):
            small(call, np.broadcast_shapes(found.shape, call.array(i).shape))
            found = function(found, call.array(i))
        return _array(call, found)

    return apply


def _gather(call: Call) -> np.ndarray:
    data, places = call.array(0), call.array(1)
    axis = call.axis(call.attribute("axis", 0), data.ndim)
    small(call, (*data.shape[:axis], *places.shape, *data.shape[axis + 1 :]))
    return tidy(np.take(data, places.astype(np.int64), axis=axis))


def _concat(call: Call) -> np.ndarray:
    parts = [call.array(i) for i in range(len(call.values))]
    if sum(p.size for p in parts) > MAX_NUMBERS:
        call.refuse(f"makes over {MAX_NUMBERS:,} numbers")
    return tidy(np.concatenate(parts, axis=call.attribute("axis", 0)))


def _constant(call: Call) -> np.ndarray:
    given = call.node.attributes
    if isinstance(value := given.get("value"), np.ndarray):
        return value
    for name, dtype in (("value_float", "float32"), ("value_floats", "float32"), ("value_int", "int64")):
        if name in given:
            return np.array(given[name], dtype)
    return np.array(call.numbers("value_ints") or call.refuse("holds no numbers; export it again"), np.int64)


def _constant_of_shape(call: Call) -> np.ndarray:
    value = call.attribute("value", np.zeros(1, np.float32))
    sizes = tuple(call.array(0).reshape(-1))
    if any(isinstance(s, torch.SymInt) for s in sizes):
        call.refuse("makes a table as long as the batch; export it with a free batch size")
    return np.full(small(call, sizes), value.reshape(-1)[0])


def _range(call: Call) -> np.ndarray:
    start, end, step = (call.array(i).reshape(-1)[0] for i in range(3))
    small(call, [max(int((end - start) / step), 0)])
    return np.arange(start, end, step)


def _reshape(call: Call) -> np.ndarray:
    array, sizes = call.array(0), call.numbers("shape", 1) or []
    if any(isinstance(s, torch.SymInt) for s in sizes):
        call.refuse("gives weights the batch's shape; export it with a free batch size")
    kept = [array.shape[i] if s == 0 and i < array.ndim else s for i, s in enumerate(sizes)]
    return array.reshape(kept)


def _squeeze(call: Call) -> np.ndarray:
    axes = call.numbers("axes", 1)
    return np.squeeze(call.array(0), None if axes is None else tuple(axes))


def _unsqueeze(call: Call) -> np.ndarray:
    return np.expand_dims(call.array(0), tuple(call.numbers("axes", 1) or ()))


def _slice(call: Call) -> np.ndarray:
    array, index = call.array(0), slices(call, call.value(0).shape)
    return tidy(array[tuple(index)])


def slices(call: Call, shape: Sequence[Any]) -> list[slice]:
    """What the operator Slice takes of each axis."""
    starts, ends = call.numbers("starts", 1) or [], call.numbers("ends", 2) or []
    axes = call.numbers("axes", 3) or list(range(len(starts)))
    steps = call.numbers("steps", 4) or [1] * len(starts)
    if not len(starts) == len(ends) == len(axes) == len(steps) or 0 in steps:
        call.refuse("has starts, ends, axes and steps that do not fit; export it again")
    found = [slice(None)] * len(shape)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        last = -(2**31) if step < 0 and isinstance(end, int) else None
        stop = None if last is not None and end <= last else end
        found[call.axis(axis, len(shape))] = slice(start, stop, step)
    return found


def _expand(call: Call) -> np.ndarray:
    array, sizes = call.array(0), call.numbers("", 1) or []
    return np.broadcast_to(array, small(call, np.broadcast_shapes(array.shape, small(call, sizes))))


def _tile(call: Call) -> np.ndarray:
    array, repeats = call.array(0), call.numbers("", 1) or []
    small(call, [s * r for s, r in zip(array.shape, repeats, strict=True)])
    return np.tile(array, repeats)


def _reduce(function: Callable[..., Any]) -> Operator:
    def apply(call: Call) -> np.ndarray:
        array, axes = call.array(0), call.numbers("axes", 1)
        if not axes and call.attribute("noop_with_empty_axes", 0):
            return array
        found = function(array, axis=tuple(axes) if axes else None, keepdims=bool(call.attribute("keepdims", 1)))
        return _array(call, found)

    return apply


def _dequantize(call: Call) -> np.ndarray:
    """Weights that are stored as whole numbers: (value − zero) · scale, exact."""
    array, scale = call.array(0).astype(np.float32), call.array(1).astype(np.float32)
    zero = call.array(2).astype(np.float32) if call.given(2) else np.zeros_like(scale)
    if scale.size > 1:
        if scale.ndim != 1 or call.attribute("block_size", 0):
            call.refuse("has a scale for each block; expected one for each channel; give the float32 network")
        along = [1] * array.ndim
        axis = call.axis(call.attribute("axis", 1), array.ndim)
        if scale.size != array.shape[axis]:
            call.refuse(f"has {scale.size} scales for {array.shape[axis]} channels; export it again")
        along[axis] = -1
        scale, zero = scale.reshape(along), zero.reshape(along)
    return (array - zero) * scale


def _where(call: Call) -> np.ndarray:
    test, a, b = (call.array(i) for i in range(3))
    small(call, np.broadcast_shapes(test.shape, a.shape, b.shape))
    return tidy(np.where(test.astype(np.bool_), a, b))


def _transpose(call: Call) -> np.ndarray:
    return np.transpose(call.array(0), call.numbers("perm"))


def _split(call: Call) -> tuple[np.ndarray, ...]:
    array = call.array(0)
    axis = call.axis(call.attribute("axis", 0), array.ndim)
    sizes = call.numbers("split", 1) or [-(-array.shape[axis] // len(call.node.outputs))] * len(call.node.outputs)
    return tuple(np.split(array, np.cumsum(sizes)[:-1], axis=axis))


ARRAYS: dict[str, Operator] = {
    "Abs": _unary(abs),
    "Add": _binary(operator.add),
    "And": _binary(np.logical_and),
    "Cast": cast,
    "CastLike": cast,
    "Ceil": _unary(np.ceil),
    "Concat": _concat,
    "Constant": _constant,
    "ConstantOfShape": _constant_of_shape,
    "DequantizeLinear": _dequantize,
    "Div": _binary(_divide),
    "Equal": _binary(operator.eq),
    "Expand": _expand,
    "Floor": _unary(np.floor),
    "Gather": _gather,
    "Greater": _binary(operator.gt),
    "GreaterOrEqual": _binary(operator.ge),
    "Identity": _unary(lambda a: a),
    "Less": _binary(operator.lt),
    "LessOrEqual": _binary(operator.le),
    "Max": _fold(np.maximum),
    "Min": _fold(np.minimum),
    "Mod": _binary(operator.mod),
    "Mul": _binary(operator.mul),
    "Neg": _unary(operator.neg),
    "Not": _unary(np.logical_not),
    "Or": _binary(np.logical_or),
    "Range": _range,
    "ReduceMax": _reduce(np.max),
    "ReduceMin": _reduce(np.min),
    "ReduceProd": _reduce(np.prod),
    "ReduceSum": _reduce(np.sum),
    "Reshape": _reshape,
    "Size": size_of,
    "Slice": _slice,
    "Split": _split,
    "Sqrt": _unary(np.sqrt),
    "Squeeze": _squeeze,
    "Sub": _binary(operator.sub),
    "Tile": _tile,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
    "Where": _where,
}
"""Operator → its value where none of its inputs is a picture's."""
