"""A TorchScript network as an nn.Module that carries its archive's code out, and so as the compiler's graph.

torch's own way from TorchScript to torch.export (`TS2EPConverter`) is private and loses the modules' names; TorchScript
is deprecated. The archives stay, and their code is a small language, so it is read here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx, nn

from ...contract import UsageError
from ..artefact import Artefact, check_picture, check_sizes
from ..network import Network, capture, short_name
from .onnx_file import word
from .torchscript_code import OPERATORS, Code, Scripted
from .torchscript_file import Archive, ScriptObject, read_torchscript

_MAX_DEPTH = 40
_MAX_MODULES = 20_000
_CLASSES = {
    "conv2d": "Conv2d",
    "conv_transpose2d": "ConvTranspose2d",
    "batch_norm": "BatchNorm2d",
    "relu": "ReLU",
    "relu_": "ReLU",
    "max_pool2d": "MaxPool2d",
    "avg_pool2d": "AvgPool2d",
    "adaptive_avg_pool2d": "AdaptiveAvgPool2d",
    "linear": "Linear",
}


def load_torchscript(path: Path, input_size: tuple[int, int] | None) -> Network:
    """Bring a TorchScript network, traced or scripted, into the compiler's graph.

    Args:
        path: the archive.
        input_size: (H, W), which only a traced network tells.

    Raises:
        UsageError: no such file, no TorchScript, hostile, or a network that is no CNN; says what and where.
    """
    archive = read_torchscript(path, OPERATORS)
    if input_size is None and archive.picture is None:
        raise UsageError(f"model {path}: it does not say how large its input is; give it with --input-size, e.g. 224")
    channels, *size = archive.picture or (_channels(archive), 0, 0)
    height, width = input_size or size
    if channels not in (1, 3):
        raise UsageError(f"model {path}: it takes {channels} channels; expected 1 (grey) or 3 (RGB)")
    check_picture(path, height, width)
    module = _Pictures(str(path), archive)
    program = capture(module, path.stem, (channels, height, width))
    check_sizes(path, program)
    _name_layers(program.graph)
    return Network(path.stem, program, None, Artefact(path, module.code.batch, operators=OPERATORS))


class _Pictures(nn.Module):
    """float32 [N, C, H, W] → logits."""

    def __init__(self, name: str, archive: Archive) -> None:
        super().__init__()
        self.code = Code(name, archive)
        self.network = _module(self.code, archive.network, [])
        for i, value in enumerate(archive.constants):
            if isinstance(value, Tensor) and value.dim():
                self.register_buffer(f"constant_{i}", value)

    def forward(self, x: Tensor) -> Any:
        """Carry out the network."""
        self.code.start()
        self.code.constants = [self._constant(i, v) for i, v in enumerate(self.code.archive.constants)]
        found = self.network(x)
        if isinstance(found, dict):
            found = found.get("out")  # torchvision's segmentation models
        if isinstance(found, (tuple, list)):  # GoogLeNet's has empty places beside its logits
            tensors = [f for f in found if isinstance(f, Tensor)]
            found = tensors[0] if len(tensors) == 1 else found
        if not isinstance(found, Tensor):
            kind = f"{len(found)} outputs" if isinstance(found, (tuple, list)) else f"a {type(found).__name__}"
            self.code.refuse(f"gives {kind}; expected one tensor, logits [N, K]")
        return found

    def _constant(self, index: int, value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        return getattr(self, f"constant_{index}") if value.dim() else value.item()


def _module(code: Code, found: ScriptObject, path: list[str]) -> Scripted:
    code.modules += 1
    if len(path) > _MAX_DEPTH or code.modules > _MAX_MODULES:
        code.refuse("has modules inside each other without end")
    own = type(found.kind.rpartition(".")[2], (Scripted,), {"__module__": "torchscript"})
    module = own(code, found.kind)
    for name, value in found.attributes.items():
        place = ".".join([*path, str(name)])
        try:
            if isinstance(value, ScriptObject):
                module.add_module(name, _module(code, value, [*path, str(name)]))
            elif isinstance(value, Tensor):
                module.register_buffer(name, value)
            else:
                module.values[name] = value
        except (KeyError, TypeError):
            code.refuse(f"has a module or tensor that cannot be named {word(place)}")
    return module


def _channels(archive: Archive) -> int:
    """The channels of the pictures: what the first convolution reads."""
    found: list[Any] = []
    waiting, seen = [archive.network], {id(archive.network)}
    while waiting:  # depth first, each module once, in the order of its attributes
        inside = []
        for value in waiting.pop().attributes.values():
            if not isinstance(value, ScriptObject):
                found.append(value)
            elif id(value) not in seen:
                seen.add(id(value))
                inside.append(value)
        waiting += reversed(inside)
    weights = [t for t in (*found, *archive.constants) if isinstance(t, Tensor) and t.dim() == 4]
    return next((int(w.shape[1]) for w in weights if w.shape[1] in (1, 3)), 3)


def _name_layers(graph: fx.Graph) -> None:
    """Take the archive's own outermost module out of the layers' names; where it has no modules inside, as frozen ones
    have not, every operator is a layer.
    """
    named = False
    for node in graph.nodes:
        stack = {
            key: (path.removeprefix("network."), kind)
            for key, (path, kind) in (node.meta.get("nn_module_stack") or {}).items()
            if path.startswith("network.")
        }
        node.meta["nn_module_stack"] = stack
        named = named or bool(stack)
    for node in () if named else graph.nodes:
        if node.op == "call_function" and isinstance(node.meta.get("val"), torch.Tensor):
            kind = _CLASSES.get(short_name(node.target), short_name(node.target))
            node.meta["nn_module_stack"] = {f"call {node.name}": (node.name, kind)}
