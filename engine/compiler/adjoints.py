"""Operators whose backward pass, as PyTorch writes it, no runtime but PyTorch has: the same mathematics in operators
that every runtime has.

Two tables. FORWARD replaces composite operators of the imported graph before anything is differentiated; BACKWARD
decomposes the operators that differentiation leaves, while tracing. All shapes but the batch are known numbers here.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torch._decomp import get_decompositions

aten = torch.ops.aten

Rule = Literal["plain", "guided", "deconvnet"]
"""What a ReLU lets through on the way back: "plain", where it was open; "guided", of that what is positive;
"deconvnet", all that is positive."""

_rule: ContextVar[Rule] = ContextVar("rule", default="plain")


@contextlib.contextmanager
def backward_rule(rule: Rule) -> Iterator[None]:
    """The rule of every ReLU that is differentiated inside."""
    token = _rule.set(rule)
    try:
        yield
    finally:
        _rule.reset(token)


def adaptive_avg_pool2d(x: Tensor, output_size: Sequence[int]) -> Tensor:
    """Average pooling to a given size; each output averages x[floor(i·H/h) : ceil((i+1)·H/h)]."""
    (height, width), (h, w) = x.shape[-2:], output_size
    if (h, w) == (height, width):
        return x
    if (h, w) == (1, 1):
        return x.mean(dim=(-2, -1), keepdim=True)
    if height % h == 0 and width % w == 0:
        return F.avg_pool2d(x, (height // h, width // w))
    return _both_axes(x, _pooling_matrix(height, h), _pooling_matrix(width, w))


def _both_axes(x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """`rows @ x @ columns.T` for each plane of x [N, C, H, W]; rows [h, H] and columns [w, W] in float64, then cast."""
    batch, channels = x.shape[:2]
    (h, height), (w, width) = rows.shape, columns.shape
    wide = torch.mm(x.reshape(-1, width), columns.T.to(x.dtype)).reshape(batch, channels, height, w)
    tall = torch.mm(wide.transpose(2, 3).reshape(-1, height), rows.T.to(x.dtype))
    return tall.reshape(batch, channels, w, h).transpose(2, 3)


def _pooling_matrix(size: int, out: int) -> Tensor:
    """[out, size]; row i holds 1/length over the places that output i averages."""
    position = torch.arange(size, dtype=torch.float64)
    index = torch.arange(out, dtype=torch.float64).unsqueeze(1)
    start, end = torch.floor(index * size / out), torch.ceil((index + 1) * size / out)
    return ((position >= start) & (position < end)).to(torch.float64) / (end - start)


def conv2d_by_name(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sequence[int] = (1, 1),
    padding: str = "valid",
    dilation: Sequence[int] = (1, 1),
    groups: int = 1,
) -> Tensor:
    """Convolution whose padding is "same" or "valid"; an even reach pads one place more at the far side."""
    reach = [d * (k - 1) if padding == "same" else 0 for d, k in zip(_pair(dilation), weight.shape[2:], strict=True)]
    odd = [r % 2 for r in reach]
    if any(odd):
        x = constant_pad_nd(x, [0, odd[1], 0, odd[0]])
    return F.conv2d(x, weight, bias, _pair(stride), [r // 2 for r in reach], _pair(dilation), groups)


def constant_pad_nd(x: Tensor, pad: Sequence[int], value: float = 0) -> Tensor:
    """Padding, or cutting where negative, one axis after the other: the operator itself cannot be traced with a free
    batch under `torch.func.grad`.
    """
    for i in range(0, len(pad), 2):
        axis = x.dim() - 1 - i // 2
        before, after = pad[i], pad[i + 1]
        start, length = max(-before, 0), x.shape[axis] - max(-before, 0) - max(-after, 0)
        if length != x.shape[axis]:
            x = x.narrow(axis, start, length)
        parts = []
        for count in (before, after):
            shape = [count if d == axis else n for d, n in enumerate(x.shape)]
            parts.append(x.new_full(shape, value) if count > 0 else None)
        x = torch.cat([p for p in (parts[0], x, parts[1]) if p is not None], dim=axis)
    return x


def pad(x: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Tensor:
    """Padding in any of its modes."""
    if mode == "constant":
        return constant_pad_nd(x, pad, value or 0)
    if mode != "circular":
        return aten.pad(x, pad, mode, value)
    for i in range(0, len(pad), 2):
        axis, size = x.dim() - 1 - i // 2, x.shape[x.dim() - 1 - i // 2]
        before, after = max(pad[i], 0), max(pad[i + 1], 0)
        parts = [x.narrow(axis, size - before, before), x, x.narrow(axis, 0, after)]
        x = torch.cat([p for p in parts if p.shape[axis]], dim=axis)
        x = constant_pad_nd(x, [0, 0] * (i // 2) + [min(pad[i], 0), min(pad[i + 1], 0)])
    return x


def instance_norm(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    use_input_stats: bool,
    momentum: float,
    eps: float,
    cudnn_enabled: bool,
) -> Tensor:
    """Each plane minus its mean over its standard deviation; PyTorch's own goes through batch norm in training mode."""
    shape = [1, -1] + [1] * (x.dim() - 2)
    if use_input_stats:
        places = list(range(2, x.dim()))
        x = x - x.mean(dim=places, keepdim=True)
        x = x * torch.rsqrt((x * x).mean(dim=places, keepdim=True) + eps)
    else:
        assert running_mean is not None
        assert running_var is not None
        x = (x - running_mean.reshape(shape)) * torch.rsqrt(running_var + eps).reshape(shape)
    x = x if weight is None else x * weight.reshape(shape)
    return x if bias is None else x + bias.reshape(shape)


def _upsample(operator: Any) -> Callable[..., Tensor]:
    """Upsampling as two matrix products; PyTorch's own, traced backward, takes the batch size for a constant.

    The matrices are the operator's own answers for the unit vectors, so they are its own interpolation to the bit.
    """

    def upsample(x: Tensor, output_size: Sequence[int] | None, *more: Any) -> Tensor:
        *options, scales = more  # align_corners, where the operator has it
        sides = x.shape[-2:]
        sizes = output_size or [int(n * s) for n, s in zip(sides, scales, strict=True)]
        matrices = []
        for i, (n, out) in enumerate(zip(sides, sizes, strict=True)):
            unit = torch.eye(n, dtype=torch.float64).reshape(1, n, n, 1)
            one = None if scales is None else [scales[i], 1.0]
            matrices.append(operator(unit, [out, 1] if one is None else None, *options, one)[0, :, :, 0].T)
        return _both_axes(x, *matrices)

    return upsample


def resize_bilinear(x: Tensor, size: Sequence[int]) -> Tensor:
    """`interpolate(x, size, mode="bilinear")` of maps [N, C, h, w], with the batch left free."""
    return _upsample(aten.upsample_bilinear2d.vec)(x, list(size), False, None)


def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Attention spelt out; PyTorch's fused kernels keep what only their own backward pass understands."""
    if dropout_p or is_causal or enable_gqa:
        raise RuntimeError("attention with dropout, a causal mask or grouped queries is not supported")
    scale = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    scores = _batched(query * math.sqrt(scale), (key * math.sqrt(scale)).transpose(-2, -1))
    if attn_mask is not None:
        hidden = attn_mask.dtype == torch.bool
        scores = torch.where(attn_mask, scores, -math.inf) if hidden else scores + attn_mask
    return _batched(torch.softmax(scores, dim=-1), value)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`x @ weight.T + bias`; of tokens PyTorch's own, traced backward, takes the batch size for a constant."""
    if x.dim() == 2:
        return F.linear(x, weight, bias)
    flat = x.reshape(-1, x.shape[-1])
    flat = torch.mm(flat, weight.t()) if bias is None else torch.addmm(bias, flat, weight.t())
    return flat.reshape(*x.shape[:-1], weight.shape[0])


def matmul(x: Tensor, y: Tensor) -> Tensor:
    """`x @ y`, for the same reason."""
    if x.dim() > 2 and y.dim() == 2:
        return linear(x, y.t())
    return _batched(x, y) if x.dim() == y.dim() > 2 else torch.matmul(x, y)


def _batched(x: Tensor, y: Tensor) -> Tensor:
    """[…, a, b] @ […, b, c]; leading sides of 1 are repeated."""
    leading = torch.broadcast_shapes(x.shape[:-2], y.shape[:-2])
    x, y = x.expand(*leading, *x.shape[-2:]), y.expand(*leading, *y.shape[-2:])
    product = torch.bmm(x.reshape(-1, *x.shape[-2:]), y.reshape(-1, *y.shape[-2:]))
    return product.reshape(*leading, x.shape[-2], y.shape[-1])


def _pair(value: Sequence[int]) -> list[int]:
    return list(value) * (2 // len(value))


# What stands here should round as PyTorch does: on a flat picture a last bit decides which of equal neighbours a max
# pool takes, and with it the gradient (a mean taken axis by axis moved saliency by 2e-2 of its maximum, in float64).
FORWARD: dict[Any, Callable[..., Any]] = {
    aten.adaptive_avg_pool2d.default: adaptive_avg_pool2d,
    aten.conv2d.padding: conv2d_by_name,
    aten.constant_pad_nd.default: constant_pad_nd,
    aten.pad.default: pad,
    aten.instance_norm.default: instance_norm,
    aten.linear.default: linear,
    aten.matmul.default: matmul,
    aten.scaled_dot_product_attention.default: scaled_dot_product_attention,
    aten.upsample_nearest2d.vec: _upsample(aten.upsample_nearest2d.vec),
    aten.upsample_bilinear2d.vec: _upsample(aten.upsample_bilinear2d.vec),
    aten.upsample_bicubic2d.vec: _upsample(aten.upsample_bicubic2d.vec),
    # The traced tensors' memory order is the tracer's guess; a reshape is right for every order.
    aten.view.default: aten.reshape.default,
}


def convolution_backward(
    grad: Tensor,
    x: Tensor,
    weight: Tensor,
    bias_sizes: Any,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
    output_mask: Sequence[bool],
) -> tuple[Tensor | None, None, None]:
    """The input's gradient alone: no method asks for a weight's."""
    if not output_mask[0]:
        return None, None, None
    if transposed:
        return (
            aten.convolution(grad, weight, None, stride, padding, dilation, False, [0] * len(stride), groups),
            None,
            None,
        )
    kernel = weight.shape[2:]
    reach = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
    if all(s == 1 for s in stride) and all(p <= r for p, r in zip(padding, reach, strict=True)):
        # An ordinary convolution with the flipped kernel: 1.2 to 1.5 × faster in ONNX Runtime than ConvTranspose,
        # and the flipped kernel is a constant that the runtime folds.
        outputs, inputs = weight.shape[0], weight.shape[1]
        flipped = weight.flip(list(range(2, weight.dim())))
        flipped = flipped.reshape(groups, outputs // groups, inputs, *kernel).transpose(1, 2)
        flipped = flipped.reshape(groups * inputs, outputs // groups, *kernel)
        edge = [r - p for r, p in zip(reach, padding, strict=True)]
        return (
            aten.convolution(grad, flipped, None, stride, edge, dilation, False, [0] * len(stride), groups),
            None,
            None,
        )
    plain = grad.dim() == 4 and groups == 1 and all(d == 1 for d in dilation)
    plain = plain and all(p < k for p, k in zip(padding, kernel, strict=True))
    if plain and weight.shape[1] <= _FEW and stride[0] == stride[1]:
        return _by_phases(grad, x, weight, stride, padding), None, None
    # The strided convolution may have left a margin of its input unread; the transposed one has to give it back.
    lost = [(n + 2 * p - r - 1) % s for n, p, r, s in zip(x.shape[2:], padding, reach, stride, strict=True)]
    return aten.convolution(grad, weight, None, stride, padding, dilation, True, lost, groups), None, None


_FEW = 4
"""Channels of a picture: so few of them leave most of a vector empty in a transposed convolution."""


def _by_phases(grad: Tensor, x: Tensor, weight: Tensor, stride: Sequence[int], padding: Sequence[int]) -> Tensor:
    """A strided convolution's input gradient [N, C, H, W] as one ordinary convolution that gives the s² places between
    two of its steps as channels, which are then laid out: Shi et al., "Is the deconvolution layer the same as a
    convolutional layer?", 2016. Of resnet18's stem a third of the time in AOTInductor, half in ONNX Runtime.

    Place y = s·m + φ gets the gradients r with y = s·r + k − p for a tap k, so those at r = m + d, where the taps are
    k = φ + p − s·d: for each φ in 0 … s−1 one for each d in lowest … highest, some of them beyond the kernel's edge.
    """
    (outputs, inputs, *kernel), sides = weight.shape, x.shape[2:]
    highest = [-(-p // s) for s, p in zip(stride, padding, strict=True)]
    lowest = [(s + p - k) // s for s, p, k in zip(stride, padding, kernel, strict=True)]
    before = [s * d - p for s, d, p in zip(stride, highest, padding, strict=True)]
    taps = [high - low + 1 for low, high in zip(lowest, highest, strict=True)]
    after = [s * n - k - b for s, n, k, b in zip(stride, taps, kernel, before, strict=True)]
    weight = constant_pad_nd(weight, [before[1], after[1], before[0], after[0]])
    weight = weight.reshape(outputs, inputs, taps[0], stride[0], taps[1], stride[1]).flip([2, 4])
    weight = weight.permute(1, 3, 5, 0, 2, 4).reshape(-1, outputs, *taps)
    steps = [-(-n // s) for n, s in zip(sides, stride, strict=True)]
    last = [m - 1 + high - (r - 1) for m, high, r in zip(steps, highest, grad.shape[2:], strict=True)]
    edge = [max(-low, end) for low, end in zip(lowest, last, strict=True)]  # the same at both ends, then cut off
    found = aten.convolution(grad, weight, None, [1, 1], edge, [1, 1], False, [0, 0], 1)
    top, left = (-e - low for e, low in zip(edge, lowest, strict=True))
    bottom, right = (end - e for e, end in zip(edge, last, strict=True))
    found = F.pixel_shuffle(constant_pad_nd(found, [left, right, top, bottom]), stride[0])
    beyond = [n - m * s for n, m, s in zip(sides, steps, stride, strict=True)]
    return constant_pad_nd(found, [0, beyond[1], 0, beyond[0]])


def hardsigmoid_backward(grad: Tensor, x: Tensor) -> Tensor:
    """PyTorch's own kernel takes its sixth as a float32 in double precision too: 3e-8 off, and so is this."""
    return torch.where((x > -3) & (x < 3), grad * 0.16666667163372040, torch.zeros_like(grad))


def native_batch_norm_backward(
    grad: Tensor,
    x: Tensor,
    weight: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor,
    save_mean: Any,
    save_invstd: Any,
    train: bool,
    eps: float,
    output_mask: Sequence[bool],
) -> tuple[Tensor, None, None]:
    """In eval mode batch norm is a scale and a shift for each channel, and its gradient the scale."""
    if train:
        raise RuntimeError("batch norm in training mode has no place in an explanation")
    scale = torch.rsqrt(running_var + eps)
    if weight is not None:
        scale = weight * scale
    return grad * scale.reshape([1, -1] + [1] * (grad.dim() - 2)), None, None


def max_pool2d_with_indices_backward(
    grad: Tensor,
    x: Tensor,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    ceil_mode: bool,
    indices: Tensor,
) -> Tensor:
    """Each gradient goes to the place that the maximum came from; where windows overlap they add up."""
    height, width = x.shape[-2:]
    flat = grad.new_zeros([*x.shape[:-2], height * width])
    return flat.scatter_add(-1, indices.flatten(-2), grad.flatten(-2)).reshape(x.shape)


def avg_pool2d_backward(
    grad: Tensor,
    x: Tensor,
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
) -> Tensor:
    """Both axes' averages are matrices, so the gradient is the same product with them transposed."""
    (height, width), (h, w) = x.shape[-2:], grad.shape[-2:]
    kernel, edge = _pair(kernel_size), _pair(padding)
    step = _pair(stride) if stride else kernel
    rows, count_y = _window_matrix(height, h, kernel[0], step[0], edge[0], count_include_pad)
    columns, count_x = _window_matrix(width, w, kernel[1], step[1], edge[1], count_include_pad)
    divisor = count_y.unsqueeze(1) * count_x
    if divisor_override is not None:
        divisor = torch.full_like(divisor, divisor_override)
    return _both_axes(grad * (1 / divisor).to(grad.dtype), rows.T, columns.T)


def _window_matrix(
    size: int, out: int, kernel: int, stride: int, padding: int, count_include_pad: bool
) -> tuple[Tensor, Tensor]:
    """([out, size] with 1 where a window covers a place, [out] the number of places that its average counts)."""
    position = torch.arange(size, dtype=torch.float64)
    start = torch.arange(out, dtype=torch.float64).unsqueeze(1) * stride - padding
    covered = ((position >= start) & (position < start + kernel)).to(torch.float64)
    if count_include_pad:
        return covered, (torch.clamp(start + kernel, max=size + padding) - start).squeeze(1)
    return covered, covered.sum(dim=1)


def hardtanh_backward(grad: Tensor, x: Tensor, low: float, high: float) -> Tensor:
    """Decided by the output, which is the forward pass's own node again: the runtime may then keep the clamp inside the
    convolution in front of it, and forget what came before (mobilenet_v2's saliency in ONNX Runtime: 0.88 of the time).
    """
    y = aten.hardtanh(x, low, high)
    return torch.where((y <= low) | (y >= high), 0.0, grad)


def _rectified(plain: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The backward pass of ReLU or ReLU6 under the rule that holds."""

    def adjoint(grad: Tensor, *rest: Any) -> Tensor:
        if _rule.get() == "deconvnet":
            return torch.relu(grad)
        back = plain(grad, *rest)
        return torch.relu(back) if _rule.get() == "guided" else back

    return adjoint


BACKWARD: dict[Any, Callable[..., Any]] = {
    **get_decompositions(
        [
            aten.hardswish_backward,
            aten.leaky_relu_backward,
            aten.elu_backward,
            aten.softplus_backward,
            aten.sigmoid_backward,
            aten.tanh_backward,
            aten.silu_backward,
            aten.mish_backward,
            aten.gelu_backward,
            aten.native_layer_norm_backward,
            aten.native_group_norm_backward,
            aten._softmax_backward_data,
            aten._log_softmax_backward_data,
            aten.select_backward,
            aten.slice_backward,
        ]
    ),
    **{k: _rectified(plain) for k, plain in get_decompositions([aten.threshold_backward]).items()},
    aten.hardtanh_backward.default: _rectified(hardtanh_backward),
    aten.convolution_backward.default: convolution_backward,
    aten.hardsigmoid_backward.default: hardsigmoid_backward,
    aten.native_batch_norm_backward.default: native_batch_norm_backward,
    aten.max_pool2d_with_indices_backward.default: max_pool2d_with_indices_backward,
    aten.avg_pool2d_backward.default: avg_pool2d_backward,
    aten.detach.default: lambda x: x,
}
