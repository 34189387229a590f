"""An `.onnx` network as an nn.Module that carries its operators out in order, and so as the compiler's graph.

No kept-up library does this: onnx2torch was last released in August 2024 and knows neither today's operator sets nor
the files of torch's present exporter.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ...contract import UsageError
from ..artefact import Artefact, check_picture, check_sizes
from ..network import Network, capture
from .onnx_call import Call, Value
from .onnx_file import OnnxGraph, OnnxNode, calls, read_onnx
from .onnx_operators import TENSORS
from .onnx_shapes import ARRAYS

MAX_MADE = 2**31
"""Bytes of all constants that the nodes of a file make of others."""


_QUANTIZED = (
    "rounds what a picture gives to whole numbers, a staircase whose gradient is zero everywhere; explain the float32 "
    "network that this one was made of: it has the same layers"
)
_CLASSES = "gives places or classes, which have no gradient; export the network without it, up to its logits"
_FLOW = "is control flow; expected a network whose operators do not depend on the picture"
REASONS = {
    **dict.fromkeys(("QuantizeLinear", "DynamicQuantizeLinear", "ConvInteger", "MatMulInteger"), _QUANTIZED),
    **dict.fromkeys(("QLinearConv", "QLinearMatMul", "com.microsoft.QGemm"), _QUANTIZED),
    **dict.fromkeys(("com.microsoft.QLinearAdd", "com.microsoft.QLinearGlobalAveragePool"), _QUANTIZED),
    **dict.fromkeys(("ArgMax", "ArgMin", "TopK", "NonMaxSuppression", "NonZero"), _CLASSES),
    **dict.fromkeys(("If", "Loop", "Scan"), _FLOW),
}
_DEPTH = 12
_DEFAULT_CHANNELS = 3


def load_onnx(path: Path, input_size: tuple[int, int] | None) -> Network:
    """Bring an ONNX network into the compiler's graph.

    Args:
        path: the file; weights beside it are read from its own folder only.
        input_size: (H, W), needed where the file leaves it free.

    Raises:
        UsageError: no such file, not ONNX, hostile, or a network that is no CNN; says what and where.
    """
    graph = read_onnx(path)
    module = OnnxNetwork(str(path), graph)
    channels, *given = module.picture
    if None in given and input_size is None:
        raise UsageError(f"model {path}: it does not say how large its input is; give it with --input-size, e.g. 224")
    height, width = (g or s for g, s in zip(given, input_size or (0, 0), strict=True))
    check_picture(path, height, width)
    program = capture(module, path.stem, (channels, height, width))
    check_sizes(path, program)
    stacks = calls(module.nodes)
    for node in program.graph.nodes:
        inside = [v[0] for v in (node.meta.get("nn_module_stack") or {}).values()]
        found = next((m for place in inside if (m := re.fullmatch(r"operators\.(\d+)(@\d+)?", place))), None)
        stack = stacks[int(found[1])] if found else []
        node.meta["nn_module_stack"] = {f"call {key}": scope for key, scope in stack}
    return Network(path.stem, program, None, Artefact(path, module.batch, module.channels_last))


class OnnxNetwork(nn.Module):
    """float32 [N, C, H, W] → logits.

    Attributes:
        nodes: the operators that depend on the picture; the others are carried out at once.
        batch: the batch size that the file is fixed to, or None.
        channels_last: whether the file itself takes [N, H, W, C].
        picture: (C, H, W), None where the file leaves rows or columns free.
    """

    def __init__(self, name: str, graph: OnnxGraph) -> None:
        super().__init__()
        self._name, self._graph = name, graph
        self.batch = graph.input_shape[0]
        self._constants: dict[str, np.ndarray] = dict(graph.constants)
        self._made = 0
        self.nodes: list[OnnxNode] = []
        for node in graph.nodes:
            self._take(node)
        used = {value for node in self.nodes for value in node.inputs}
        self._held: dict[str, str] = {}
        self.weights = nn.Module()
        tied: dict[tuple[int, ...], torch.Tensor] = {}  # by where they lie
        for name, value in self._constants.items():
            if name in used and value.dtype == np.float32 and value.ndim:
                place = (value.ctypes.data, *value.shape, *value.strides)
                if place not in tied:
                    tied[place] = torch.from_numpy(np.array(value))
                self._held[name] = _hold(self.weights, name, tied[place], len(self._held))
        self.operators = nn.ModuleList(_Operator(node.operator) for node in self.nodes)
        self.channels_last, self.picture = self._picture()

    def _take(self, node: OnnxNode) -> None:
        """Carry a node out where it depends on no picture, or keep it."""
        known = [self._constants.get(value) if value else None for value in node.inputs]
        if all(k is not None for k, value in zip(known, node.inputs, strict=True) if value):
            if node.operator in ARRAYS:
                found = self._run(ARRAYS[node.operator], self._call(node, tuple(known), None, torch.empty(0)))
                self._made += sum(np.asarray(value).nbytes for value in found)
                if self._made > MAX_MADE:
                    raise UsageError(
                        f"model {self._name}: it makes over {MAX_MADE:,} bytes of constants; simplify the network"
                    )
                self._constants.update(zip(node.outputs, map(np.asarray, found), strict=False))
                return
            if node.operator == "Shape":
                raise UsageError(f"model {self._name}: {node} reads the shape of weights; simplify the network")
        if node.operator not in TENSORS and node.operator not in ARRAYS:
            reason = REASONS.get(node.operator, "is not among the operators of CNNs that can be explained")
            raise UsageError(f"model {self._name}: {node} {reason}")
        self.nodes.append(node)

    def _picture(self) -> tuple[bool, tuple[int, int | None, int | None]]:
        _, *sizes = self._graph.input_shape
        last = sizes[0] not in (1, 3) and sizes[2] in (1, 3)
        channels, height, width = (sizes[2], sizes[0], sizes[1]) if last else sizes
        if channels is None:
            reader = next((n for n in self.nodes if n.operator == "Conv" and n.inputs[0] == self._graph.input), None)
            weight = self._constants.get(reader.inputs[1]) if reader else None
            channels = weight.shape[1] if weight is not None and weight.ndim == 4 else _DEFAULT_CHANNELS
        if channels not in (1, 3):
            raise UsageError(
                f"model {self._name}: it takes {[s or 'free' for s in sizes]} for a picture; expected [C, H, W] or "
                "[H, W, C] with 1 channel (grey) or 3 (RGB)"
            )
        return last, (channels, height, width)

    def forward(self, x: Tensor) -> Any:
        """Carry out all operators."""
        like = x
        free = x.shape[0]
        values: dict[str, Value] = dict(self._constants)
        values[self._graph.input] = x.permute(0, 2, 3, 1) if self.channels_last else x
        batch = (self.batch, free) if self.batch is not None else None
        for node, carry_out in zip(self.nodes, self.operators, strict=True):
            given = tuple(values[name] if name else None for name in node.inputs)
            call = self._call(node, given, batch, like)
            arrays = node.operator in ARRAYS and not any(isinstance(g, Tensor) for g in given)
            found = self._run(ARRAYS[node.operator] if arrays else carry_out, call)
            values.update(zip(node.outputs, found, strict=False))
        found = values[self._graph.output]
        if not isinstance(found, Tensor):
            raise UsageError(f"model {self._name}: its output does not depend on the picture; export it again")
        return found

    def _call(self, node: OnnxNode, given: tuple[Value | None, ...], batch: Any, like: Tensor) -> Call:
        return Call(self._name, node, self._graph.opset, given, self._tensor, batch, like)

    def _tensor(self, name: str) -> Tensor | None:
        return self.weights.get_buffer(self._held[name]) if name in self._held else None

    def _run(self, carry_out: Callable[[Call], Any], call: Call) -> tuple[Value, ...]:
        try:
            found = carry_out(call)
        except UsageError:
            raise
        except Exception as error:
            lines = str(error).strip().splitlines() or [""]
            call.refuse(f"does not fit what it is given ({type(error).__name__}: {lines[0][:160]}); export it again")
        return found if isinstance(found, tuple) else (found,)


class _Operator(nn.Module):
    """One operator, so that the graph tells which of them its nodes came from."""

    def __init__(self, operator: str) -> None:
        super().__init__()
        self._operator = operator

    def forward(self, call: Call) -> Any:
        if self._operator not in TENSORS:
            call.refuse("works on pictures' values here, which is not supported")
        return TENSORS[self._operator](call)


def _hold(root: nn.Module, name: str, value: Tensor, number: int) -> str:
    """Put a constant into the tree of modules that its name speaks of; gives its path."""
    parts = [re.sub(r"\W", "_", part) for part in name.split(".")]
    place = root
    try:
        if len(parts) > _DEPTH or not all(parts):
            raise KeyError(name)
        for part in parts[:-1]:
            if part not in place._modules:
                place.add_module(part, nn.Module())
            place = place.get_submodule(part)
        place.register_buffer(parts[-1], value)
    except (KeyError, AttributeError):
        root.register_buffer(f"constant_{number}", value)
        return f"constant_{number}"
    return ".".join(parts)
