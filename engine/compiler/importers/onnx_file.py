"""Reading an `.onnx` network from someone else into plain tables, before anything is made of it.

The sizes that a file claims are held against the bytes that it has; external data is read only from the network's own
folder; sub-graphs, functions and other parts that no plain network has are refused by name.
"""

from __future__ import annotations

import ast
import itertools
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import AttributeProto, TensorProto, helper, numpy_helper

from ...contract import UsageError
from ...contract.program_file import KEY

Scope = tuple[str, str]
"""A module that an operator came from: (its path, its class)."""

OLDEST = 7
"""Before this operator set, broadcasting was an attribute."""

_MAX_BYTES = 2**31 - 1
_MAX_NODES = 100_000
_MAX_RANK = 16
_FLOATS = (TensorProto.FLOAT, TensorProto.DOUBLE)
_OTHERS = (
    *(TensorProto.INT8, TensorProto.INT16, TensorProto.INT32, TensorProto.INT64, TensorProto.BOOL),
    *(TensorProto.UINT8, TensorProto.UINT16, TensorProto.UINT32, TensorProto.UINT64),
)
_HALVES = (TensorProto.FLOAT16, TensorProto.BFLOAT16)


@dataclass(frozen=True)
class OnnxNode:
    """One operator.

    Attributes:
        operator: `Conv`; with its domain in front where that is not ONNX's own.
        name: as the file has it, or empty.
        inputs: names of values; empty where one is left out.
        outputs: the same.
        attributes: numbers, texts, arrays and lists of them.
        scopes: the modules that it lay in when it was exported, from the outside in; empty where the file tells none.
    """

    operator: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    scopes: tuple[Scope, ...]

    def __str__(self) -> str:
        return f"{word(self.operator)} (node {word(self.name or self.outputs[0])})"


@dataclass(frozen=True)
class OnnxGraph:
    """A network: float32 pictures in, one tensor out.

    Attributes:
        opset: the version of ONNX's own operators.
        input: the name of the pictures.
        input_shape: four sizes, None where one is free.
        output: the name of the logits.
        constants: name → weights and other numbers.
        nodes: in the order in which they can run.
    """

    opset: int
    input: str
    input_shape: tuple[int | None, ...]
    output: str
    constants: Mapping[str, np.ndarray]
    nodes: tuple[OnnxNode, ...]


def word(text: str) -> str:
    """A name from a file as it may stand in a message."""
    return "".join(c if c.isprintable() else "?" for c in text[:60]) + ("…" if len(text) > 60 else "")


def read_onnx(path: Path) -> OnnxGraph:
    """Read a network.

    Raises:
        UsageError: no such file, not ONNX, damaged, a compiled program, or a graph that is no plain network.
    """
    if not path.is_file():
        raise UsageError(f"model {path}: there is no such file; expected an ONNX network")
    if (size := path.stat().st_size) > _MAX_BYTES:
        raise UsageError(f"model {path}: {size:,} bytes; an ONNX file has less than 2 GiB, the rest beside it")
    damaged = UsageError(f"model {path}: not an ONNX file, or a damaged one; export or copy it again")
    try:
        model = onnx.load_model_from_string(path.read_bytes())
    except Exception:  # protobuf's own kinds of error differ between its versions
        raise damaged from None
    try:
        return _read(path, model)
    except (TypeError, AttributeError):  # a text that is not UTF-8 comes as bytes
        raise damaged from None


def _read(path: Path, model: onnx.ModelProto) -> OnnxGraph:
    if any(entry.key == KEY for entry in model.metadata_props):
        raise UsageError(
            f"model {path}: it is a compiled program already; run it (saccade run), or give the network that it "
            "was compiled from"
        )
    graph = model.graph
    texts = [name for node in graph.node for name in (*node.input, *node.output, node.name, node.op_type, node.domain)]
    if not all(isinstance(text, str) for text in (*texts, *(t.name for t in graph.initializer))):
        raise TypeError("a name that is not UTF-8")
    if len(graph.node) == 0 or len(graph.output) == 0:
        raise UsageError(f"model {path}: not an ONNX network, or a damaged one: it has no operators or no output")
    opset = _opset(path, model)
    if graph.sparse_initializer or len(graph.node) > _MAX_NODES:
        raise UsageError(f"model {path}: it has sparse weights or over {_MAX_NODES:,} operators; expected a plain CNN")
    store = _ExternalData(path)
    constants: dict[str, np.ndarray] = {}
    for tensor in graph.initializer:
        if tensor.name in constants:
            raise UsageError(f"model {path}: two constants are named {word(tensor.name)}; export it again")
        constants[tensor.name] = _array(path, tensor, tensor.name, store)
    name, shape = _input(path, graph, constants)
    if len(graph.output) != 1:
        listed = ", ".join(word(value.name) for value in graph.output[:4])
        raise UsageError(
            f"model {path}: it has {len(graph.output)} outputs ({listed}{', …' if len(graph.output) > 4 else ''}); "
            "expected one, the logits; export it with that one alone"
        )
    known, nodes = {name, *constants}, []
    for node in graph.node:
        found = _node(path, node, store)
        for value in found.inputs:
            if value and value not in known:
                raise UsageError(
                    f"model {path}: {found} reads {word(value)}, which nothing before it gives: a cycle or a damaged "
                    "file; export it again"
                )
        for value in found.outputs:
            if value and value in known:
                raise UsageError(f"model {path}: {found} gives {word(value)} a second time; export it again")
            known.add(value)
        nodes.append(found)
    if graph.output[0].name not in known:
        raise UsageError(f"model {path}: nothing gives its output {word(graph.output[0].name)}; export it again")
    return OnnxGraph(opset, name, shape, graph.output[0].name, constants, tuple(nodes))


def _opset(path: Path, model: onnx.ModelProto) -> int:
    versions = [o.version for o in model.opset_import if o.domain in ("", "ai.onnx")]
    newest = onnx.defs.onnx_opset_version()
    if len(versions) != 1 or not OLDEST <= versions[0] <= newest:
        said = str(versions[0]) if versions else "none"
        raise UsageError(f"model {path}: operator set {said}; expected {OLDEST} to {newest}; export it again with one")
    return versions[0]


def _input(path: Path, graph: onnx.GraphProto, constants: Mapping[str, Any]) -> tuple[str, tuple[int | None, ...]]:
    inputs = [value for value in graph.input if value.name not in constants]  # before IR 4, weights were inputs too
    if len(inputs) != 1:
        listed = ", ".join(word(value.name) for value in inputs[:4])
        raise UsageError(f"model {path}: it takes {len(inputs)} inputs ({listed}); expected one, pictures [N, C, H, W]")
    kind = inputs[0].type.tensor_type
    if kind.elem_type != TensorProto.FLOAT:
        raise UsageError(
            f"model {path}: its input {word(inputs[0].name)} is {_type(kind.elem_type)}; expected float32 pictures; "
            "export the network without its decoding and scaling, which --mean and --std describe"
        )
    dims = [d.dim_value if d.HasField("dim_value") else None for d in kind.shape.dim]
    if len(dims) != 4 or any(d is not None and d < 0 for d in dims):
        shown = [d.dim_param or d.dim_value for d in kind.shape.dim][:8]
        raise UsageError(f"model {path}: its input is {shown}; expected pictures [N, C, H, W]")
    return inputs[0].name, tuple(d or None for d in dims)


def _type(number: int) -> str:
    try:
        return helper.tensor_dtype_to_string(number).removeprefix("TensorProto.").lower()
    except (KeyError, ValueError, TypeError):
        return f"type {number}"


# ---- operators ----------------------------------------------------------------------------------------------------


def _node(path: Path, node: onnx.NodeProto, store: _ExternalData) -> OnnxNode:
    domain = "" if node.domain in ("", "ai.onnx") else f"{node.domain}."
    if not any(node.output):
        raise UsageError(f"model {path}: {word(node.op_type)} gives nothing; export it again")
    plain = OnnxNode(f"{domain}{node.op_type}", node.name, tuple(node.input), tuple(node.output), {}, ())
    attributes = {a.name: _attribute(path, a, plain, store) for a in node.attribute}
    return OnnxNode(plain.operator, node.name, plain.inputs, plain.outputs, attributes, _scopes(node))


def _attribute(path: Path, attribute: AttributeProto, node: OnnxNode, store: _ExternalData) -> Any:
    kind = attribute.type
    if kind == AttributeProto.INT:
        return attribute.i
    if kind == AttributeProto.FLOAT:
        return attribute.f
    if kind == AttributeProto.STRING:
        return attribute.s.decode(errors="replace")
    if kind == AttributeProto.INTS:
        return list(attribute.ints)
    if kind == AttributeProto.FLOATS:
        return list(attribute.floats)
    if kind == AttributeProto.STRINGS:
        return [s.decode(errors="replace") for s in attribute.strings]
    if kind == AttributeProto.TENSOR:
        return _array(path, attribute.t, attribute.name, store)
    raise UsageError(
        f"model {path}: {node} has {word(attribute.name)}, a sub-graph or a sparse tensor; expected a network whose "
        "operators do not depend on the picture"
    )


def _scopes(node: onnx.NodeProto) -> tuple[Scope, ...]:
    """The modules that a node lay in: torch's exporter notes them, its older one wrote them into the node's name."""
    notes = {entry.key: entry.value for entry in node.metadata_props if len(entry.value) < 10_000}
    paths = _strings(notes.get("pkg.torch.onnx.name_scopes"))
    classes = _strings(notes.get("pkg.torch.onnx.class_hierarchy"))
    if paths and len(paths) == len(classes):
        pairs = zip(paths[:-1], classes[:-1], strict=True)  # the last of each is the operator itself
        return tuple((p, c.rpartition(".")[2]) for p, c in pairs if p)
    if not node.name.startswith("/"):
        return ()
    parts, found, before = node.name.split("/")[1:-1], "", ""
    scopes: list[Scope] = []
    for part in parts:  # `/layer1/layer1.0/conv1/Conv`: a member of a container repeats the container's name
        found = found + part[len(before) :] if before and part.startswith(f"{before}.") else f"{found}.{part}"
        before = part
        scopes.append((found.lstrip("."), ""))
    return tuple(scopes)


def _strings(text: str | None) -> list[str]:
    try:
        found = ast.literal_eval(text or "")
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return []
    return found if isinstance(found, list) and all(isinstance(f, str) for f in found) else []


# ---- numbers ------------------------------------------------------------------------------------------------------


def _array(path: Path, tensor: TensorProto, name: str, store: _ExternalData) -> np.ndarray:
    dims = list(tensor.dims)
    if tensor.data_type in _HALVES:
        raise UsageError(
            f"model {path}: {word(name)} is {_type(tensor.data_type)}; expected float32; give the network as it was "
            "before it was narrowed, and say --precision float16"
        )
    if tensor.data_type not in (*_FLOATS, *_OTHERS) or tensor.HasField("segment"):
        raise UsageError(f"model {path}: {word(name)} is {_type(tensor.data_type)}; expected float32 or whole numbers")
    if len(dims) > _MAX_RANK or any(d < 0 for d in dims):
        raise UsageError(f"model {path}: {word(name)} has the shape {dims[:8]}; export or copy the file again")
    dtype = np.dtype(helper.tensor_dtype_to_np_dtype(tensor.data_type))
    try:
        if tensor.data_location == TensorProto.EXTERNAL:
            found = store.read(tensor, name, dtype, math.prod(dims)).reshape(dims)
        else:
            found = numpy_helper.to_array(tensor)
    except (ValueError, TypeError, OverflowError, MemoryError):
        raise UsageError(
            f"model {path}: {word(name)} has not the bytes that its shape {dims[:8]} needs; copy the file again"
        ) from None
    return found.astype(np.float32) if found.dtype == np.float64 else found


class _ExternalData:
    """Weights in files beside the network, read only from its own folder and never more than those files hold."""

    def __init__(self, path: Path) -> None:
        self._path, self._folder = path, path.resolve().parent
        self._taken: dict[Path, int] = {}
        self._read: dict[tuple[Any, ...], np.ndarray] = {}

    def read(self, tensor: TensorProto, name: str, dtype: np.dtype, count: int) -> np.ndarray:
        """`count` numbers, in one dimension."""
        said = {entry.key: entry.value for entry in tensor.external_data}
        place = said.get("location", "")
        given = Path(place)
        file = self._folder / given
        inside = place and "\0" not in place and not given.is_absolute() and ".." not in given.parts
        if not inside or not os.path.realpath(file).startswith(f"{self._folder}{os.sep}"):
            raise UsageError(
                f"model {self._path}: {word(name)} lies in {word(place)!r}, outside of the network's own folder; "
                "it is not read"
            )
        if not file.is_file():
            raise UsageError(
                f"model {self._path}: its weights' file {word(place)!r} is not beside it; copy both to one folder"
            )
        try:
            offset, length = (int(said.get(key, "0") or "0") for key in ("offset", "length"))
        except ValueError:
            raise UsageError(f"model {self._path}: {word(name)} has no place in {word(place)!r}") from None
        place_and_kind = file, offset, dtype.str, *tensor.dims
        if place_and_kind in self._read:  # weights that are tied
            return self._read[place_and_kind]
        size, need = file.stat().st_size, count * dtype.itemsize
        self._taken[file] = self._taken.get(file, 0) + need
        whole = 0 <= offset <= size - need and length in (0, need)
        if not whole or self._taken[file] > size:
            raise UsageError(
                f"model {self._path}: {word(name)} needs {need:,} bytes at {offset:,} of {word(place)!r}, which has "
                f"{size:,}; copy both files again"
            )
        found = np.fromfile(file, dtype, count, offset=offset)
        self._read[place_and_kind] = found.astype(np.float32) if found.dtype == np.float64 else found
        return self._read[place_and_kind]


def calls(nodes: Sequence[OnnxNode]) -> list[list[tuple[str, Scope]]]:
    """For each node the calls of modules that it lies in, from the outside in: (the call's key, the module).

    A module that is entered again, after operators outside of it, is called a second time. Where the file tells of no
    module, every operator is one, with the operator as its class.
    """
    if not any(node.scopes for node in nodes):
        return [[(name, (name, _class(node)))] for node, name in zip(nodes, _unique(nodes), strict=True)]
    found: list[list[tuple[str, Scope]]] = []
    open_: dict[str, int] = {}
    count: dict[str, int] = {}
    for node in nodes:
        if node.operator == "Constant" or (not node.scopes and not node.name.startswith("/")):
            found.append([])  # written by an optimiser: it says nothing of where the network is
            continue
        inside = [path for path, _ in node.scopes]
        open_ = {path: number for path, number in open_.items() if path in inside}
        for path in inside:
            if path not in open_:
                count[path] = open_[path] = count.get(path, 0) + 1
        found.append(
            [
                (f"{path}@{open_[path]}", (path, kind or (_class(node) if path == inside[-1] else "Module")))
                for path, kind in node.scopes
            ]
        )
    return found


def _unique(nodes: Sequence[OnnxNode]) -> list[str]:
    """A short name for every node: its own without what stands in front of every name, or what it does."""
    names = [node.name or f"{node.operator}_{i}" for i, node in enumerate(nodes)]
    parts = [name.split("/")[:-1] for name in names]
    shared = sum(1 for _ in itertools.takewhile(lambda each: len(set(each)) == 1, zip(*parts, strict=False)))
    seen: dict[str, int] = {}
    unique = []
    for name in names:
        short = "/".join(name.split("/")[shared:]).replace("@", "_") or name
        seen[short] = number = seen.get(short, 0) + 1
        unique.append(short if number == 1 else f"{short}_{number}")
    return unique


_CLASSES = {
    "Conv": "Conv2d",
    "ConvTranspose": "ConvTranspose2d",
    "BatchNormalization": "BatchNorm2d",
    "LayerNormalization": "LayerNorm",
    "Relu": "ReLU",
    "MaxPool": "MaxPool2d",
    "AveragePool": "AvgPool2d",
    "GlobalAveragePool": "AdaptiveAvgPool2d",
    "Gemm": "Linear",
}


def _class(node: OnnxNode) -> str:
    """What an operator does in torch's words, as the table of layers has it for every other model."""
    return _CLASSES.get(node.operator, node.operator)
