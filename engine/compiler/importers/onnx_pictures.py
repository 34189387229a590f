"""ONNX's operators on maps [N, C, h, w]: convolution, pooling, norms, scaling."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ...contract.spec import MAX_SIDE
from .onnx_call import Call, Operator

Pads = tuple[int, int, int, int]
"""top, left, bottom, right"""


def _maps(call: Call) -> Tensor:
    x = call.tensor(0)
    if x.dim() != 4:
        call.refuse(f"works on {x.dim()} dimensions; expected maps [N, C, h, w]")
    return x


def _pair(call: Call, name: str, default: int | None = 1) -> tuple[int, int]:
    found = call.numbers(name) or ([default] * 2 if default is not None else [])
    if len(found) != 2 or any(n < 1 for n in found):
        call.refuse(f"has {name} = {found[:6]}; expected two numbers above 0")
    return found[0], found[1]


def _pads(call: Call, x: Tensor, kernel: tuple[int, int], stride: tuple[int, int], dilation: tuple[int, int]) -> Pads:
    auto = call.attribute("auto_pad", "NOTSET")
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        both = []
        for size, k, s, d in zip(x.shape[2:], kernel, stride, dilation, strict=True):
            total = max((-(-size // s) - 1) * s + d * (k - 1) + 1 - size, 0)
            both.append((total // 2, total - total // 2) if auto == "SAME_UPPER" else (total - total // 2, total // 2))
        return both[0][0], both[1][0], both[0][1], both[1][1]
    pads = call.numbers("pads") if auto == "NOTSET" else None
    top, left, bottom, right = pads if pads and len(pads) == 4 else (0, 0, 0, 0)
    return top, left, bottom, right


def _is_even(pads: Pads) -> bool:
    """Whether as much is added in front as behind."""
    return pads[:2] == pads[2:] and min(pads) >= 0


def _padded(x: Tensor, pads: Pads, value: float = 0.0) -> Tensor:
    top, left, bottom, right = pads
    return F.pad(x, (left, right, top, bottom), value=value) if any(pads) else x


def _conv(call: Call) -> Tensor:
    x, weight = _maps(call), call.tensor(1)
    if weight.dim() != 4:
        call.refuse(f"has weights of {weight.dim()} dimensions; expected a convolution of maps, [O, I, kh, kw]")
    stride, dilation = _pair(call, "strides"), _pair(call, "dilations")
    pads = _pads(call, x, (weight.shape[2], weight.shape[3]), stride, dilation)
    if not _is_even(pads):
        x, pads = _padded(x, pads), (0, 0, 0, 0)
    return F.conv2d(x, weight, call.optional(2), stride, pads[:2], dilation, call.attribute("group", 1))


def _conv_transpose(call: Call) -> Tensor:
    x, weight = _maps(call), call.tensor(1)
    if weight.dim() != 4:
        call.refuse(f"has weights of {weight.dim()} dimensions; expected [I, O, kh, kw]")
    stride, dilation = _pair(call, "strides"), _pair(call, "dilations")
    more = call.numbers("output_padding") or [0, 0]
    kernel = (weight.shape[2], weight.shape[3])
    whole = [
        s * (n - 1) + p + d * (k - 1) + 1
        for n, s, p, k, d in zip(x.shape[2:], stride, more, kernel, dilation, strict=True)
    ]
    auto, wanted = call.attribute("auto_pad", "NOTSET"), call.numbers("output_shape")
    if wanted is None and auto.startswith("SAME"):
        wanted = [n * s for n, s in zip(x.shape[2:], stride, strict=True)]
    if wanted is not None:
        total = [w - n for w, n in zip(whole, wanted[-2:], strict=True)]
        # The schema gives the odd one to the end for SAME_UPPER, to the start for all others.
        front = [t // 2 if auto == "SAME_UPPER" else t - t // 2 for t in total]
        pads = (front[0], front[1], total[0] - front[0], total[1] - front[1])
    else:
        pads = _pads(call, x, kernel, stride, dilation)
    inner = pads[:2] if _is_even(pads) else (0, 0)
    groups = call.attribute("group", 1)
    found = F.conv_transpose2d(x, weight, call.optional(2), stride, inner, tuple(more), groups, dilation)
    return found if _is_even(pads) else _padded(found, (-pads[0], -pads[1], -pads[2], -pads[3]))


# ---- pooling --------------------------------------------------------------------------------------------------------


def _max_pool(call: Call) -> Tensor:
    x, kernel = _maps(call), _pair(call, "kernel_shape", None)
    if len(call.node.outputs) > 1 and call.node.outputs[1]:
        call.refuse("gives the places of its maxima; expected the maxima alone")
    stride, dilation = _pair(call, "strides"), _pair(call, "dilations")
    pads = _pads(call, x, kernel, stride, dilation)
    if not _is_even(pads) or any(2 * p > k for p, k in zip(pads[:2], kernel, strict=True)):
        x, pads = _padded(x, pads, -math.inf), (0, 0, 0, 0)
    return F.max_pool2d(x, kernel, stride, pads[:2], dilation, bool(call.attribute("ceil_mode", 0)))


def _average_pool(call: Call) -> Tensor:
    x, kernel = _maps(call), _pair(call, "kernel_shape", None)
    stride, counts = _pair(call, "strides"), bool(call.attribute("count_include_pad", 0))
    if _pair(call, "dilations") != (1, 1):
        call.refuse("has dilations; expected an average over neighbours")
    pads, ceil = _pads(call, x, kernel, stride, (1, 1)), bool(call.attribute("ceil_mode", 0))
    if _is_even(pads) and all(2 * p <= k for p, k in zip(pads[:2], kernel, strict=True)):
        return F.avg_pool2d(x, kernel, stride, pads[:2], ceil, counts)
    if ceil:
        call.refuse("has ceil_mode and padding on one side; export it without one of them")
    found = F.avg_pool2d(_padded(x, pads), kernel, stride)
    if counts:
        return found
    share = F.avg_pool2d(_padded(torch.ones(1, 1, *x.shape[2:], dtype=x.dtype), pads), kernel, stride)
    return found / share


def _global_average_pool(call: Call) -> Tensor:
    return F.adaptive_avg_pool2d(_maps(call), 1)


def _global_max_pool(call: Call) -> Tensor:
    x = _maps(call)
    return F.max_pool2d(x, (x.shape[2], x.shape[3]))


# ---- norms ----------------------------------------------------------------------------------------------------------


def _batch_norm(call: Call) -> Tensor:
    if call.attribute("training_mode", 0) or sum(map(bool, call.node.outputs)) > 1:
        call.refuse("is in training mode; call .eval() before exporting")
    scale, shift, mean, variance = (call.tensor(i) for i in range(1, 5))
    return F.batch_norm(call.tensor(0), mean, variance, scale, shift, False, 0.0, call.attribute("epsilon", 1e-5))


def _instance_norm(call: Call) -> Tensor:
    return F.instance_norm(_maps(call), None, None, call.tensor(1), call.tensor(2), eps=call.attribute("epsilon", 1e-5))


def _layer_norm(call: Call) -> Tensor:
    x = call.tensor(0)
    if sum(map(bool, call.node.outputs)) > 1:
        call.refuse("gives its mean and deviation; expected the norm alone")
    axis = call.axis(call.attribute("axis", -1), x.dim())
    return F.layer_norm(x, x.shape[axis:], call.tensor(1), call.optional(2), call.attribute("epsilon", 1e-5))


def _group_norm(call: Call) -> Tensor:
    x, groups = call.tensor(0), call.attribute("num_groups", 1)
    scale, shift = call.tensor(1), call.tensor(2)
    if call.opset < 21:  # then there was one for each group
        each = x.shape[1] // groups
        scale, shift = scale.repeat_interleave(each), shift.repeat_interleave(each)
    return F.group_norm(x, groups, scale, shift, call.attribute("epsilon", 1e-5))


def _local_response_norm(call: Call) -> Tensor:
    x, size = _maps(call), call.attribute("size", 1)
    alpha, beta, bias = (call.attribute(k, d) for k, d in (("alpha", 1e-4), ("beta", 0.75), ("bias", 1.0)))
    before, after = (size - 1) // 2, size // 2
    if not 1 <= size <= 2 * x.shape[1]:
        call.refuse(f"has size {size} over {x.shape[1]} channels")
    squares = F.pad(x.square(), (0, 0, 0, 0, before, after))
    total = sum(squares.narrow(1, i, x.shape[1]) for i in range(size))
    return x / (bias + alpha / size * total) ** beta


# ---- scaling --------------------------------------------------------------------------------------------------------


def _resize(call: Call) -> Tensor:
    """Resize and Upsample of rows and columns, each axis by itself."""
    x = _maps(call)
    mode = call.attribute("mode", "nearest")
    upsample = call.node.operator == "Upsample"
    where = call.attribute("coordinate_transformation_mode", "half_pixel")
    if upsample or call.opset == 10:
        where = "asymmetric"
    rounding = call.attribute("nearest_mode", "floor" if upsample or call.opset == 10 else "round_prefer_floor")
    if where not in _COORDINATES or mode not in ("nearest", "linear") or call.attribute("antialias", 0):
        call.refuse(f"has mode {mode!r} and {where!r}; expected nearest or linear without antialiasing")
    if call.attribute("keep_aspect_ratio_policy", "stretch") != "stretch":
        call.refuse("keeps the aspect ratio; expected sizes or scales")
    old = [int(s) for s in x.shape[2:]]
    scales, sizes = _scales_and_sizes(call, old)
    if mode == "linear" and sizes == [int(n * s) for n, s in zip(old, scales, strict=True)]:
        exact = all(n * s == m for n, s, m in zip(old, scales, sizes, strict=True))
        half = where == "half_pixel" or (where == "pytorch_half_pixel" and min(sizes) > 1)
        if (half and exact) or where == "align_corners":
            return F.interpolate(x, size=sizes, mode="bilinear", align_corners=not half)
    if mode == "linear":
        rows, columns = (_linear(*each, where) for each in zip(old, sizes, scales, strict=True))
        return torch.from_numpy(rows).to(x.dtype) @ x @ torch.from_numpy(columns.T.copy()).to(x.dtype)
    places = [_nearest(*each, where, rounding) for each in zip(old, sizes, scales, strict=True)]
    if all(p == [i * n // m for i in range(m)] for p, n, m in zip(places, old, sizes, strict=True)):
        return F.interpolate(x, size=sizes, mode="nearest")
    for axis, p in zip((2, 3), places, strict=True):
        x = x.index_select(axis, torch.tensor(p, dtype=torch.int64))
    return x


def _scales_and_sizes(call: Call, old: list[int]) -> tuple[list[float], list[int]]:
    """Of rows and columns: how much they are scaled, and to what."""
    axes = call.numbers("axes")
    legacy = call.node.operator == "Upsample" or call.opset == 10
    scales: Any = call.node.attributes.get("scales")
    if scales is None and call.given(1 if legacy else 2):
        scales = call.array(1 if legacy else 2).reshape(-1).tolist()
    sizes = None if scales else call.numbers("", 3)
    both = scales or sizes or []
    if axes is None:
        axes = list(range(4))
    if len(both) != len(axes):
        call.refuse(f"has {len(both)} scales or sizes for {len(axes)} axes; export it again")
    of = {call.axis(axis, 4): n for axis, n in zip(axes, both, strict=True)}
    if scales:
        if any(of.get(axis, 1) != 1 for axis in (0, 1)) or not all(0 < s < 2**16 for s in scales):
            call.refuse(f"has the scales {scales[:4]}; expected rows and columns to be scaled")
        found = [float(of.get(axis, 1)) for axis in (2, 3)]
        return found, _sides(call, [_above(n * s) for n, s in zip(old, found, strict=True)])
    if 1 in of and of[1] != call.value(0).shape[1]:
        call.refuse("scales channels; expected rows and columns to be scaled")
    ends = [int(of.get(axis, n)) for axis, n in zip((2, 3), old, strict=True)]
    return [m / n for m, n in zip(_sides(call, ends), old, strict=True)], ends


def _sides(call: Call, sides: list[int]) -> list[int]:
    """The sizes that a picture is scaled to, of which places are counted as the network is read."""
    if not all(1 <= side <= MAX_SIDE for side in sides):
        call.refuse(f"scales to {sides}; expected rows and columns of 1 to {MAX_SIDE}")
    return sides


def _above(size: float) -> int:
    """The floor, but that a scale like 2/3, cut to float32, makes 2 of 3."""
    return math.floor(size + 1e-4)


_COORDINATES = {
    "half_pixel": lambda i, n, m, scale: (i + 0.5) / scale - 0.5,
    "pytorch_half_pixel": lambda i, n, m, scale: (i + 0.5) / scale - 0.5 if m > 1 else 0 * i,
    "align_corners": lambda i, n, m, scale: i * ((n - 1) / (m - 1)) if m > 1 else 0 * i,
    "asymmetric": lambda i, n, m, scale: i / scale,
}
"""Of output places i in 0 … m − 1, made of n: where they lie in the input."""


def _linear(n: int, m: int, scale: float, where: str) -> np.ndarray:
    """float64 [m, n]: the share that each input has in each output."""
    at = np.clip(_COORDINATES[where](np.arange(m, dtype=np.float64), n, m, scale), 0, n - 1)
    low = np.floor(at).astype(np.int64)
    high = np.minimum(low + 1, n - 1)
    found = np.zeros((m, n))
    np.add.at(found, (np.arange(m), low), 1 - (at - low))
    np.add.at(found, (np.arange(m), high), at - low)
    return found


def _nearest(n: int, m: int, scale: float, where: str, rounding: str) -> list[int]:
    """The input that each output repeats; in float32, where ties fall as they do in the runtimes."""
    at = _COORDINATES[where](np.arange(m, dtype=np.float32), n, m, np.float32(scale))
    rounded = {
        "floor": np.floor(at),
        "ceil": np.ceil(at),
        "round_prefer_ceil": np.floor(at + 0.5),
    }.get(rounding, np.ceil(at - 0.5))
    return np.clip(rounded, 0, n - 1).astype(np.int64).tolist()


def _depth_to_space(call: Call) -> Tensor:
    x, block = _maps(call), call.attribute("blocksize", 1)
    if call.attribute("mode", "DCR") == "CRD":
        return F.pixel_shuffle(x, block)
    n, c, h, w = x.shape
    x = x.reshape(n, block, block, c // block**2, h, w).permute(0, 3, 4, 1, 5, 2)
    return x.reshape(n, c // block**2, h * block, w * block)


def _space_to_depth(call: Call) -> Tensor:
    x, block = _maps(call), call.attribute("blocksize", 1)
    n, c, h, w = x.shape
    x = x.reshape(n, c, h // block, block, w // block, block).permute(0, 3, 5, 1, 2, 4)
    return x.reshape(n, c * block**2, h // block, w // block)


PICTURES: dict[str, Operator] = {
    "AveragePool": _average_pool,
    "BatchNormalization": _batch_norm,
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "DepthToSpace": _depth_to_space,
    "GlobalAveragePool": _global_average_pool,
    "GlobalMaxPool": _global_max_pool,
    "GroupNormalization": _group_norm,
    "InstanceNormalization": _instance_norm,
    "LRN": _local_response_norm,
    "LayerNormalization": _layer_norm,
    "MaxPool": _max_pool,
    "Resize": _resize,
    "SpaceToDepth": _space_to_depth,
    "Upsample": _resize,
}
