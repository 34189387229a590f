"""A layer's output as maps [N, C, h, w], however the network holds it, and back."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, cat, fx

_PREFIX = 16
"""At most so many tokens (class, distillation, registers) stand in front of a grid's."""


@dataclass(frozen=True)
class Layout:
    """How maps lie in a layer's output.

    Attributes:
        shape: (C, h, w).
        kind: "maps" [N, C, h, w]; "channels last" [N, h, w, C], as Swin and ConvNeXt have them inside; "tokens"
            [N, prefix + h·w, C], as vision transformers have them.
        prefix: tokens in front that are no place of the picture.
    """

    shape: tuple[int, int, int]
    kind: str = "maps"
    prefix: int = 0

    def fold(self, value: Tensor) -> Tensor:
        """The layer's output as maps."""
        if self.kind == "channels last":
            return value.permute(0, 3, 1, 2)
        if self.kind == "tokens":
            return value[:, self.prefix :].transpose(1, 2).reshape(-1, *self.shape)
        return value

    def unfold(self, maps: Tensor, value: Tensor) -> Tensor:
        """Maps in the layer's own order; tokens that are no place stay as `value` has them."""
        if self.kind == "channels last":
            return maps.permute(0, 2, 3, 1)
        if self.kind == "tokens":
            tokens = maps.flatten(2).transpose(1, 2)
            return cat([value[:, : self.prefix], tokens], dim=1) if self.prefix else tokens
        return maps


def layout_of(node: fx.Node, picture: tuple[int, int]) -> Layout | None:
    """How maps lie in a node's value; None where it holds none.

    Args:
        node: of an imported graph.
        picture: (H, W) of the network's input.
    """
    shape = _shape(node)
    if shape is None or any(n < 1 for n in shape):
        return None
    if len(shape) == 3:
        # Beside the shapes: where channels are last, they are not few beside the rows and columns of places.
        last = 2 * shape[2] > max(shape[:2]) and _fits(shape[:2], picture) and not _fits(shape[1:], picture)
        return Layout((shape[2], shape[0], shape[1]), "channels last") if last else Layout(shape)
    if len(shape) == 2 and (grid := _grid_before(node, shape[0])):
        return Layout((shape[1], *grid), "tokens", shape[0] - grid[0] * grid[1])
    return None


def _fits(sides: tuple[int, ...], picture: tuple[int, int]) -> bool:
    """Whether these are the picture's sides scaled alike, within a place."""
    return abs(sides[0] * picture[1] - sides[1] * picture[0]) <= max(picture)


def _grid_before(node: fx.Node, tokens: int) -> tuple[int, int] | None:
    """The grid of the patches that became these tokens: the nearest maps in front with as many places, or few less."""
    seen, todo = {node}, [node]
    while todo:
        current = todo.pop(0)
        shape = _shape(current)
        if shape is not None and len(shape) == 3 and 0 <= tokens - shape[1] * shape[2] <= _PREFIX and shape[1] > 1:
            return shape[1], shape[2]
        for before in current.all_input_nodes:
            if before not in seen:
                seen.add(before)
                todo.append(before)
    return None


def _shape(node: fx.Node) -> tuple[int, ...] | None:
    value = node.meta.get("val")
    if not isinstance(value, Tensor) or value.dim() < 2 or not all(isinstance(s, int) for s in value.shape[1:]):
        return None
    return tuple(value.shape[1:])
