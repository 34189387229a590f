"""Reading a TorchScript archive from someone else: its code as syntax trees, its objects and tensors as plain tables.

`torch.jit.load` compiles the archive's code, and runs those parts of it that restore an object. So the archive is read
here first, without torch's own reader: names of operators that a network does not have, objects that restore
themselves, and tensors that are larger than their bytes are refused before anything else sees the file.
"""

from __future__ import annotations

import ast
import io
import math
import pickle
import re
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...contract import UsageError
from ...contract.program_file import KEY
from .onnx_file import word

_ENTRY = re.compile(
    r"code/[\w./\-<>]+\.py(\.debug_pkl)?|(data|constants|traced_inputs)/\d+|(data|constants|traced_inputs)\.pkl"
    r"|extra/[^/]+|version|byteorder|\.data/\w+|\.\w+"
)
_AT_LOAD = {"__setstate__", "__getstate__"}
_MAX_CODE = 8 * 2**20
_MAX_PACKED = 64 * 2**20
_MAX_COPIED = 1_000_000
_MAX_PICKLE = 256 * 2**20
_QUANTIZED = (
    "it is quantized: what it rounds to whole numbers is a staircase whose gradient is zero everywhere; explain the "
    "float32 network that it was made of: it has the same layers"
)
_DTYPES = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}


@dataclass
class ScriptObject:
    """An object of a class in the archive's code: a module of the network."""

    kind: str
    attributes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Archive:
    """What a TorchScript archive holds.

    Attributes:
        classes: qualified name → its methods; a NamedTuple has none.
        functions: qualified name → the function.
        constants: the tensors that the code calls `CONSTANTS.c0`, …
        network: the outermost module.
        picture: (C, H, W) of the pictures that a traced network was traced with, or None.
    """

    classes: Mapping[str, Mapping[str, ast.FunctionDef]]
    functions: Mapping[str, ast.FunctionDef]
    constants: tuple[Any, ...]
    network: ScriptObject
    picture: tuple[int, int, int] | None


def read_torchscript(path: Path, operators: frozenset[str]) -> Archive:
    """Read and check an archive.

    Args:
        operators: the names, below `torch.` and `ops.`, that its code may have.

    Raises:
        UsageError: no such file, no TorchScript, damaged, a compiled program, or more in it than a network.
    """
    if not path.is_file():
        raise UsageError(f"model {path}: there is no such file; expected a TorchScript network (torch.jit.save)")
    if not zipfile.is_zipfile(path):
        raise _no_script(path)
    try:
        with zipfile.ZipFile(path) as archive:
            return _read(path, archive, operators)
    except (zipfile.BadZipFile, NotImplementedError, EOFError, OSError, RecursionError, MemoryError) as error:
        raise UsageError(f"model {path}: a damaged archive ({type(error).__name__}); copy or save it again") from None
    except (pickle.UnpicklingError, SyntaxError, ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        lines = str(error).strip().splitlines() or [""]
        raise UsageError(
            f"model {path}: a damaged archive ({type(error).__name__}: {word(lines[0])}); copy or save it again"
        ) from None


def _no_script(path: Path) -> UsageError:
    return UsageError(
        f"model {path}: it is no TorchScript, maybe a state dict or a pickled module, which say not what the network "
        f"computes; give the function that builds it, package.module:function --weights {path.name}, or save it with "
        "torch.jit"
    )


def _read(path: Path, archive: zipfile.ZipFile, operators: frozenset[str]) -> Archive:
    def refuse(what: str) -> UsageError:
        return UsageError(f"model {path}: {what}; it is not loaded; save the plain network again with torch.jit")

    entries = {e.filename.partition("/")[2]: e for e in archive.infolist()}
    root = archive.infolist()[0].filename.partition("/")[0] if entries else ""
    if not any(name.startswith("code/") for name in entries) or "data.pkl" not in entries:
        raise _no_script(path)
    if f"extra/{KEY}" in entries:
        raise UsageError(
            f"model {path}: it is a compiled program already; run it (saccade run), or give the network that it was "
            "compiled from"
        )
    if len({name.casefold() for name in entries}) != len(archive.infolist()):  # torch's reader looks up without case
        raise refuse("it has two entries of one name")
    for name, entry in entries.items():
        if entry.filename != f"{root}/{name}" or not _ENTRY.fullmatch(name) or ".." in name:
            raise refuse(f"it holds {word(entry.filename)!r}, which no network has")
        packed = name.startswith("code/") or name.endswith(".pkl")
        if entry.compress_type and not packed:
            raise refuse(f"it holds {word(name)!r} packed")
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise refuse(f"it holds {word(name)!r} packed in a way that torch does not know")
    code = [e for name, e in entries.items() if name.endswith(".py")]
    packed = [e for e in entries.values() if e.compress_type]
    for parts, most in ((code, _MAX_CODE), (packed, _MAX_PACKED)):
        if sum(e.file_size for e in parts) > most:
            raise refuse(f"its code unpacks to over {most:,} bytes")
    if _content(archive, entries["byteorder"]).strip() != b"little" if "byteorder" in entries else False:
        raise refuse("it was written on a machine of another byte order")
    classes: dict[str, dict[str, ast.FunctionDef]] = {}
    functions: dict[str, ast.FunctionDef] = {}
    trees = {
        e.filename.partition("/code/")[2].removesuffix(".py").replace("/", "."): ast.parse(_content(archive, e))
        for e in code
    }
    methods = {n.name for tree in trees.values() for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)}
    for place, tree in trees.items():
        _check_code(path, tree, operators, methods - operators)
        for part in tree.body:
            if isinstance(part, ast.ClassDef):
                own = {m.name: m for m in part.body if isinstance(m, ast.FunctionDef)}
                classes[f"{place}.{part.name}"] = own
            elif isinstance(part, ast.FunctionDef):
                functions[f"{place}.{part.name}"] = part
    if methods & _AT_LOAD:
        raise refuse("it has code of its own that runs as it is loaded")
    constants = _Reader(path, archive, root, "constants", classes).read() if "constants.pkl" in entries else ()
    network = _Reader(path, archive, root, "data", classes).read()
    if not isinstance(network, ScriptObject) or not isinstance(constants, tuple):
        raise refuse("it holds no module")
    traced = _Reader(path, archive, root, "traced_inputs", classes).read() if "traced_inputs.pkl" in entries else None
    return Archive(classes, functions, constants, network, _picture(traced))


def _picture(traced: Any) -> tuple[int, int, int] | None:
    inputs = traced.get("forward") if isinstance(traced, dict) else None
    first = inputs[0] if isinstance(inputs, (list, tuple)) and len(inputs) == 1 else None
    return (first.shape[1], first.shape[2], first.shape[3]) if isinstance(first, Tensor) and first.dim() == 4 else None


def _content(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    """What an entry unpacks to: no more of it than it says."""
    with archive.open(entry) as file:
        data = file.read(entry.file_size + 1)
    if len(data) != entry.file_size:
        raise zipfile.BadZipFile(f"{entry.filename} has another size than it says")
    return data


_CASTS = frozenset("annotate unchecked_cast uninitialized int float bool range getattr".split())


def _check_code(path: Path, tree: ast.AST, operators: frozenset[str], methods: set[str]) -> None:
    """Refuse operators that a network does not have, wherever in the code they stand: for the proof torch runs this
    code, branches included that are not carried out here. What is called must be an operator of the list by its full
    name, a method or function of the archive's own, or a cast; nothing else may stand for an operator.

    Args:
        methods: the names of the archive's own methods and functions.
    """
    roots: set[int] = set()  # names that are the beginning of an operator that may be called
    own = {
        target.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and (dotted(node.value) or "").startswith("__torch__.")
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = dotted(node.func) or ""
        if name.startswith(("torch.", "ops.")):
            short = name.removeprefix("torch.")
            if short.startswith(("ops.quantized", "quantize", "dequantize", "_make_per", "fake_quantize")):
                raise UsageError(f"model {path}: {_QUANTIZED} (found {word(short)})")
            if short not in operators:
                raise UsageError(
                    f"model {path}: it has the operator {word(short)}, which is not among those of CNNs that can be "
                    "explained"
                )
            roots.add(id(_root(node.func)))
        elif isinstance(node.func, ast.Name):
            if name not in _CASTS | own:
                raise UsageError(f"model {path}: its code calls {word(name)}, which is not supported")
        elif not isinstance(node.func, ast.Attribute):
            raise UsageError(f"model {path}: its code calls what it has computed, which is not supported")
        elif not name.startswith("__torch__.") and node.func.attr not in methods:
            raise UsageError(f"model {path}: its code calls {word(node.func.attr)} of a value, which is not supported")
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id in ("torch", "ops") and id(node) not in roots:
            raise UsageError(f"model {path}: its code uses {node.id} as a value, which is not supported")


def _root(node: ast.AST) -> ast.AST:
    while isinstance(node, ast.Attribute):
        node = node.value
    return node


def dotted(node: ast.AST) -> str | None:
    """`a.b.c` of a name and its attributes; None of anything else."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else None


class _Reader(pickle._Unpickler):  # pyright: ignore[reportAttributeAccessIssue]
    """The archive's own pickle, which may hold tensors, numbers, texts, lists and objects of its code alone: no name
    in it leads to a function of Python's.

    Python's own unpickler in Python: that in C takes memory for a memo as long as the largest index that a file names,
    and lets a file set the state of any object.
    """

    def __init__(
        self, path: Path, archive: zipfile.ZipFile, root: str, name: str, classes: Mapping[str, object]
    ) -> None:
        data = archive.getinfo(f"{root}/{name}.pkl")
        if data.file_size > _MAX_PICKLE:
            raise UsageError(f"model {path}: {name}.pkl has {data.file_size:,} bytes; save the network again")
        super().__init__(io.BytesIO(_content(archive, data)))
        self._copied = 0
        self._path, self._archive, self._folder, self._classes = path, archive, f"{root}/{name}", classes
        self._storages: dict[str, Tensor] = {}
        self._kinds: dict[str, torch.dtype] = {}

    def read(self) -> Any:
        """What the pickle holds."""
        return self.load()

    def find_class(self, module: str, name: str) -> Any:
        """Stand-ins for the few names that such a pickle has."""
        whole = f"{module}.{name}"
        if whole in self._classes:
            return _stand_in(whole)
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        if whole == "torch._utils._rebuild_tensor_v2":
            return _tensor
        if whole == "collections.OrderedDict":
            return OrderedDict
        if module == "torch.jit._pickle" and name.startswith("build_"):
            return self._list
        if whole == "torch.jit._pickle.restore_type_tag":
            return lambda value, _: value
        if "quantized" in whole or name == "_rebuild_qtensor" or name.startswith("Q"):
            raise UsageError(f"model {self._path}: {_QUANTIZED} (found {word(whole)})")
        if name in ("HalfStorage", "BFloat16Storage"):
            raise UsageError(
                f"model {self._path}: its weights are in half precision; expected float32; give the network as it was "
                "before, and say --precision float16"
            )
        raise UsageError(f"model {self._path}: it holds an object {word(whole)!r}; it is not loaded")

    def persistent_load(self, pid: Any) -> Tensor:
        """A tensor's numbers, in one dimension: no more of them than the entry has bytes."""
        kind, dtype, key, _, count = pid
        if kind != "storage" or not isinstance(dtype, torch.dtype) or not re.fullmatch(r"\d{1,9}", key):
            raise ValueError("a tensor without numbers")
        if self._folder.endswith("/traced_inputs"):  # kept without their numbers
            return torch.empty(count, dtype=dtype, device="meta")
        if key not in self._storages:
            data = _content(self._archive, self._archive.getinfo(f"{self._folder}/{key}"))
            if len(data) != count * dtype.itemsize:
                raise ValueError(f"{count} numbers in {len(data)} bytes")
            found = torch.frombuffer(bytearray(data), dtype=dtype) if data else torch.empty(0, dtype=dtype)
            self._storages[key] = found.float() if dtype == torch.float64 else found
            self._kinds[key] = dtype
        if self._kinds[key] != dtype:
            raise ValueError("one storage of two types")
        return self._storages[key]

    def _list(self, values: Any) -> list[Any]:
        """A list that torch gives a type: of all of them together no more than a network has."""
        self._copied += len(values)
        if self._copied > _MAX_COPIED:
            raise ValueError(f"lists of over {_MAX_COPIED:,} values")
        return list(values)

    def load_build(self) -> None:
        """Give an object its attributes; nothing else has a state."""
        state = self.stack.pop()
        if not isinstance(self.stack[-1], ScriptObject) or not isinstance(state, dict):
            raise ValueError("an object that restores itself")
        self.stack[-1].attributes.update(state)

    dispatch = {**pickle._Unpickler.dispatch, pickle.BUILD[0]: load_build}  # pyright: ignore[reportAttributeAccessIssue]  # noqa: RUF012


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> Tensor:
    numbers = [offset, *size, *stride]
    if not isinstance(storage, Tensor) or len(size) != len(stride) or len(size) > 16:
        raise ValueError("a tensor without a shape")
    if not all(type(n) is int and n >= 0 for n in numbers):
        raise ValueError(f"a tensor of the shape {size}")
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if math.prod(size) > storage.numel() or (math.prod(size) and last >= storage.numel()):
        raise ValueError(f"a tensor of the shape {tuple(size)} of {storage.numel()} numbers")
    return storage.as_strided(size, stride, offset)


def _stand_in(kind: str) -> type:
    """A class whose objects take what the pickle says of them and do nothing."""

    def create(cls: type) -> ScriptObject:
        return object.__new__(cls)

    def start(cls: type, *args: Any) -> ScriptObject:
        if args:
            raise ValueError("an object with arguments")
        self = create(cls)
        ScriptObject.__init__(self, kind)
        return self

    return type("Object", (ScriptObject,), {"__new__": start, "__init__": lambda self: None})
