"""Operators whose backward pass, as PyTorch writes it, no runtime but PyTorch has: the same mathematics in operators
that every runtime has.

Two tables. FORWARD replaces composite operators of the imported graph before anything is differentiated; BACKWARD
decomposes the operators that differentiation leaves, while tracing. All shapes but the batch are known numbers here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch._decomp import get_decompositions

aten = torch.ops.aten


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


FORWARD: dict[Any, Callable[..., Any]] = {
    aten.adaptive_avg_pool2d.default: adaptive_avg_pool2d,
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
    # The strided convolution may have left a margin of its input unread; the transposed one has to give it back.
    lost = [(n + 2 * p - r - 1) % s for n, p, r, s in zip(x.shape[2:], padding, reach, stride, strict=True)]
    return aten.convolution(grad, weight, None, stride, padding, dilation, True, lost, groups), None, None


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
    kernel = list(kernel_size) * (2 // len(kernel_size))
    step = list(stride) * (2 // len(stride)) if stride else kernel
    pad = list(padding) * (2 // len(padding))
    rows, count_y = _window_matrix(height, h, kernel[0], step[0], pad[0], count_include_pad)
    columns, count_x = _window_matrix(width, w, kernel[1], step[1], pad[1], count_include_pad)
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


BACKWARD: dict[Any, Callable[..., Any]] = {
    **get_decompositions(
        [
            aten.threshold_backward,
            aten.hardtanh_backward,
            aten.hardsigmoid_backward,
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
    aten.convolution_backward.default: convolution_backward,
    aten.native_batch_norm_backward.default: native_batch_norm_backward,
    aten.max_pool2d_with_indices_backward.default: max_pool2d_with_indices_backward,
    aten.avg_pool2d_backward.default: avg_pool2d_backward,
    aten.detach.default: lambda x: x,
}
