"""What the pure PyTorch path (`eager.py`) explains: `targets.py` written a second time, picture by picture."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class Goal(NamedTuple):
    """What is explained: a kind of `targets`, the program's inputs beside the pictures, the path and call of a unit's
    layer with its grid as in `Ask`.
    """

    kind: str
    asked: tuple[Tensor, ...]
    path: str | None = None
    call: int = 1
    grid: tuple[int, int] | None = None


def maps_of(value: Tensor, grid: tuple[int, int] | None) -> Tensor:
    """Tokens or channels-last maps as [N, C, h, w]."""
    if grid is None:
        return value
    if value.dim() == 4:
        return value.movedim(3, 1)
    h, w = grid
    return torch.stack([token.T.unflatten(1, (h, w)) for token in value[:, value.shape[1] - h * w :]])


def scores(goal: Goal, logits: Tensor) -> list[Callable[[Tensor], Tensor]]:
    """The score of each rank."""
    rows = torch.arange(len(logits), device=logits.device)
    if goal.kind == "class":
        (target,) = goal.asked
        order = torch.argsort(-logits, dim=1, stable=True)
        found = []
        for rank, asked in enumerate(target.reshape(len(logits), -1).T):
            explained = torch.where(asked < 0, order[:, rank], asked)
            found.append(lambda values, explained=explained: values[rows, explained])
        return found
    if goal.kind == "outputs":
        weights = goal.asked[0].to(logits.dtype)
        return [lambda values: torch.einsum("nk,nk->n", values, weights)]
    if goal.kind == "unit":
        return [lambda values: _unit(values, goal)]
    target, region = goal.asked
    masks = []
    for image, mask, asked in zip(logits, region, target.tolist(), strict=True):
        own = image.argmax(dim=0) if len(image) > 1 else torch.where(image[0] > 0, 0, -1)
        areas = [int((own == k).sum()) for k in range(len(image))]
        k = asked if asked >= 0 else areas.index(max(areas))
        places = torch.zeros_like(image)
        if (mask != 0).any():
            marked = (mask != 0).to(image.dtype)[None, None]
            places[k] = F.adaptive_avg_pool2d(marked, (image.shape[1], image.shape[2]))[0, 0]
        else:
            places[k] = (own == k).to(image.dtype)
        masks.append(places)
    where = torch.stack(masks)
    return [lambda values: torch.einsum("nkhw,nkhw->n", values, where)]


def _unit(values: Tensor, goal: Goal) -> Tensor:
    maps = maps_of(values, goal.grid)
    found = []
    for image, (channel, row, column) in zip(maps, goal.asked[0].tolist(), strict=True):
        plane = image[channel].reshape(1, 1) if image.dim() == 1 else image[channel]
        plane = plane if row < 0 else plane[row : row + 1]
        plane = plane if column < 0 else plane[:, column : column + 1]
        found.append(plane.mean())
    return torch.stack(found)
