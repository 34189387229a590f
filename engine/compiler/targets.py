"""What is explained: the kinds of target, and the score [N] that each makes of what the network gives.

| kind    | `target`                  | score                                                                    |
|---------|---------------------------|--------------------------------------------------------------------------|
| class   | int64 [N] or [N, k]       | the logit of the class; −1 in place i is the i-th most probable class    |
| region  | int64 [N], and `region`   | the sum of the class's logits over a segmentation's region               |
| outputs | float32 [N, K]            | the outputs of a regression weighted by `target`                         |
| unit    | int64 [N, 3]              | (channel, row, column) of an inner layer; row or column −1: their mean   |

`region` is uint8 [N, H, W] at the input's size, not 0 where the region is; all 0 stands for the region that the network
itself gives to the class (where its logit is the largest, or positive if there is one class alone). Class −1 is then
the class that holds the largest region.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..contract import UsageError
from ..contract.spec import TargetKind
from .adjoints import adaptive_avg_pool2d

MOST = 20
"""The largest k of top-k."""

Score = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Target:
    """A kind of target, compiled into a program.

    Attributes:
        kind: see the module's table.
        count: k, how many classes are explained at once.
        layer: the layer of a unit, or None.
    """

    kind: TargetKind = "class"
    count: int = 1
    layer: str | None = None


def parse_target(text: str) -> Target:
    """`class`, `top-5`, `region`, `outputs` or `unit:LAYER`.

    Raises:
        UsageError: something else.
    """
    if text in ("class", "region", "outputs"):
        return Target(text)  # pyright: ignore[reportArgumentType]
    if found := re.fullmatch(r"top-(\d{1,3})", text):
        if not 1 <= int(found[1]) <= MOST:
            raise UsageError(f"compile: target {text!r}: expected top-1 to top-{MOST}")
        return Target("class", int(found[1]))
    if text.startswith("unit:") and len(text) > 5:
        return Target("unit", layer=text[5:])
    raise UsageError(f"compile: target {text!r}: expected class, top-5, region, outputs or unit:LAYER")


def explained_classes(logits: Tensor, target: Tensor) -> list[Tensor]:
    """The classes that `target` [N] or [N, k] asks for, int64 [N] each; equal logits rank by their index."""
    asked = target.unsqueeze(1) if target.dim() == 1 else target
    found = []
    for i in range(asked.shape[1]):
        best = logits.argmax(dim=1)
        found.append(torch.where(asked[:, i] < 0, best, asked[:, i]))
        taken = torch.arange(logits.shape[1]) == best.unsqueeze(1)
        logits = torch.where(taken, -torch.inf, logits)
    return found


def class_score(explained: Tensor) -> Score:
    """The logit of a class [N]."""
    return lambda logits: logits.gather(1, explained.unsqueeze(1)).squeeze(1)


def region_score(logits: Tensor, target: Tensor, region: Tensor) -> Score:
    """The sum of a class's logits over a region, as Vinogradova et al., "Towards Interpretable Semantic Segmentation
    via Gradient-weighted Class Activation Mapping", AAAI 2020, equation 1.

    Args:
        logits: [N, K, h, w], unperturbed; they fix the region.
        target: int64 [N].
        region: uint8 [N, H, W]; where the logits are smaller, a place counts with the share that is marked.
    """
    classes = logits.shape[1]
    if classes > 1:
        own = torch.arange(classes).reshape(1, -1, 1, 1) == logits.argmax(dim=1, keepdim=True)
    else:
        own = logits > 0
    own = own.to(logits.dtype)
    explained = torch.where(target < 0, own.sum(dim=(2, 3)).argmax(dim=1), target)
    chosen = (torch.arange(classes) == explained.unsqueeze(1)).to(logits.dtype).unsqueeze(2).unsqueeze(3)
    marked = (region != 0).to(logits.dtype).unsqueeze(1)
    given = marked.amax(dim=(1, 2, 3), keepdim=True)
    weights = torch.where(given > 0, adaptive_avg_pool2d(marked, logits.shape[2:]) * chosen, own * chosen)
    return lambda values: (values * weights).sum(dim=(1, 2, 3))


def output_score(target: Tensor) -> Score:
    """Outputs weighted by `target`, both [N, K]."""
    return lambda outputs: (outputs * target).sum(dim=1)


def unit_score(target: Tensor, shape: tuple[int, ...]) -> Score:
    """A channel's mean, or one of its places; the layer gives [N, *shape], shape (C, h, w) or (C,)."""
    height, width = shape[1:] if len(shape) == 3 else (1, 1)
    channel = (torch.arange(shape[0]) == target[:, :1]).unsqueeze(2).unsqueeze(3)
    row, column = (target[:, i].reshape(-1, 1, 1, 1) for i in (1, 2))
    rows = (torch.arange(height).reshape(1, 1, -1, 1) == row) | (row < 0)
    columns = (torch.arange(width).reshape(1, 1, 1, -1) == column) | (column < 0)
    places = torch.where(row < 0, height, 1) * torch.where(column < 0, width, 1)

    def score(values: Tensor) -> Tensor:
        weights = (channel & rows & columns).to(values.dtype) / places.to(values.dtype)
        return (values.reshape(-1, *shape[:1], height, width) * weights).sum(dim=(1, 2, 3))

    return score
