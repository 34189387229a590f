"""One call of an ONNX operator, as the functions that carry it out see it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor

from ...contract import UsageError
from .onnx_file import OnnxNode

Value = Tensor | np.ndarray
"""A picture's value is a Tensor. What no picture changes, weights and the arithmetic of shapes, is an array: of
numbers, or of objects where the free batch size (a torch.SymInt) is among them."""

MAX_NUMBERS = 2**24
"""Numbers of the largest array that an operator without a picture may make out of smaller ones."""


@dataclass(frozen=True)
class Call:
    """An operator with the values that it was given.

    Attributes:
        model: what people call the network, for messages.
        node: the operator.
        opset: the version of ONNX's operators.
        values: its inputs; None where one is left out.
        held: from a constant's name to a tensor of the network's state, or None.
        batch: (the batch size that the file is fixed to, the free one), or None where the file's is free.
        like: a tensor of the network's dtype and device.
    """

    model: str
    node: OnnxNode
    opset: int
    values: tuple[Value | None, ...]
    held: Callable[[str], Tensor | None]
    batch: tuple[int, Any] | None
    like: Tensor

    def refuse(self, what: str) -> NoReturn:
        """Say what of this operator is not supported."""
        raise UsageError(f"model {self.model}: {self.node} {what}")

    def given(self, index: int) -> bool:
        """Whether there is an input at `index`."""
        return index < len(self.values) and self.values[index] is not None

    def value(self, index: int) -> Value:
        """The input at `index`."""
        if not self.given(index):
            self.refuse(f"lacks its input {index}; export it again")
        found = self.values[index]
        assert found is not None
        return found

    def tensor(self, index: int) -> Tensor:
        """The input at `index` as a tensor."""
        value = self.value(index)
        if isinstance(value, Tensor):
            return value
        held = self.held(self.node.inputs[index])
        if held is not None:
            return held
        if value.dtype == object:
            self.refuse("computes with the batch size as a number; export it with a free batch size")
        return torch.from_numpy(np.array(value)) if value.ndim else torch.tensor(value.item())

    def optional(self, index: int) -> Tensor | None:
        """The input at `index` as a tensor, or None where it is left out."""
        return self.tensor(index) if self.given(index) else None

    def operand(self, index: int) -> Any:
        """The same for arithmetic: a constant that is one number is that number."""
        value = self.value(index)
        return value.item() if isinstance(value, np.ndarray) and value.ndim == 0 else self.tensor(index)

    def array(self, index: int) -> np.ndarray:
        """The input at `index` where no picture may change it."""
        value = self.value(index)
        if isinstance(value, Tensor):
            self.refuse(f"takes its input {index} from the picture; expected a fixed one")
        return value

    def attribute(self, name: str, default: Any = None) -> Any:
        """An attribute of the kind that `default` has."""
        found = self.node.attributes.get(name, default)
        if default is not None and type(found) is not type(default):
            self.refuse(f"has {name} = {str(found)[:40]!r}; export it again")
        return found

    def numbers(self, name: str, index: int | None = None) -> list[Any] | None:
        """Whole numbers that older operator sets have as an attribute and newer ones as an input; None without."""
        if index is not None and self.given(index):
            return [n if isinstance(n, torch.SymInt) else int(n) for n in self.array(index).reshape(-1)]
        found = self.node.attributes.get(name)
        if found is None:
            return None
        if not isinstance(found, list) or not all(isinstance(n, int) for n in found):
            self.refuse(f"has {name} = {str(found)[:40]!r}; export it again")
        return list(found)

    def axis(self, axis: int, rank: int) -> int:
        """An axis counted from the front."""
        if not -rank <= axis < rank:
            self.refuse(f"names axis {axis} of {rank}; export it again")
        return axis % rank

    def free(self, size: Any) -> Any:
        """A size of the batch's axis, freed where the file fixes it."""
        return self.batch[1] if self.batch and not isinstance(size, torch.SymInt) and size == self.batch[0] else size


Operator = Callable[[Call], Any]
"""Carries out a call: gives the operator's value, or a tuple of them."""


def product(sizes: Sequence[Any]) -> Any:
    """The product, where one of the sizes may be the free batch size."""
    total: Any = 1
    for size in sizes:
        total = total * size
    return total
