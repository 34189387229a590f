"""Carrying out the code of a TorchScript archive: the small part of Python that torch's own printer writes.

Control flow that depends on numbers is followed as it is; what is left for the tracer are operators on tensors.
"""

from __future__ import annotations

import ast
import itertools
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from ...contract import UsageError
from .onnx_file import word
from .torchscript_file import Archive, dotted

aten = torch.ops.aten

_MAX_STEPS = 1_000_000
_MAX_DEPTH = 60
_MAX_LIST = 10_000

_TENSORS = frozenset(
    "abs adaptive_avg_pool2d adaptive_max_pool2d add addmm amax amin avg_pool2d bmm cat celu chunk clamp clamp_max "
    "clamp_min clone constant_pad_nd contiguous conv2d conv_transpose2d cos detach div dropout elu erf exp expand "
    "expand_as feature_dropout flatten flip gelu glu group_norm hardsigmoid hardswish hardtanh index_select "
    "instance_norm layer_norm leaky_relu linear log log_softmax logical_and logical_not logical_or matmul max_pool2d "
    "maximum mean minimum mish mm mul narrow neg norm ones_like pad permute pixel_shuffle pixel_unshuffle pow prelu "
    "reciprocal reflection_pad2d relu relu6 repeat replication_pad2d reshape rsqrt rsub select selu sigmoid silu sin "
    "slice softmax softplus softsign split split_with_sizes sqrt square squeeze stack std sub sum t tanh threshold "
    "transpose type_as unbind unflatten unsqueeze upsample_bilinear2d upsample_nearest2d var view view_as where "
    "zeros_like zero_".split()
)
_IN_PLACE = frozenset(
    "add_ celu_ clamp_ div_ dropout_ elu_ hardsigmoid_ hardswish_ hardtanh_ leaky_relu_ mish_ mul_ relu_ relu6_ selu_ "
    "sigmoid_ silu_ sub_ tanh_ threshold_ feature_dropout_ squeeze_ unsqueeze_".split()
)


def _at(values: Any, index: Any) -> Any:
    return values[index]


def _slice(values: Any, start: Any = None, end: Any = None, step: Any = None) -> Any:
    return values[slice(start, end, step)]


class _Message:
    """What `format` gives: for an exception's text or a warning, and nothing that may be compared."""

    def __eq__(self, other: object) -> bool:
        raise ValueError("a text that is compared")

    __hash__ = None  # pyright: ignore[reportAssignmentType]


def _bounded(value: Any) -> Any:
    """A value as large as the code of a network has: torch's own whole numbers have 64 bits."""
    if isinstance(value, (list, tuple, str)) and len(value) > _MAX_LIST:
        raise ValueError(f"a list of over {_MAX_LIST} values")
    if type(value) is int and not -(2**63) <= value < 2**63:
        raise ValueError("a number of over 64 bits")
    return value


def _times(a: Any, b: Any) -> Any:
    for values, count in ((a, b), (b, a)):
        if isinstance(values, (list, str)) and isinstance(count, int) and len(values) * count > _MAX_LIST:
            raise ValueError(f"a list of over {_MAX_LIST} values")
    return a * b


def _append(values: list[Any], value: Any) -> list[Any]:
    if len(values) >= _MAX_LIST:
        raise ValueError(f"a list of over {_MAX_LIST} values")
    values.append(value)
    return values


_NUMBERS: dict[str, Callable[..., Any]] = {
    "add": lambda a, b, alpha=1: a + b if isinstance(a, (list, str)) else a + b * alpha,
    "sub": lambda a, b, alpha=1: a - b * alpha,
    "mul": _times,
    "div": lambda a, b, rounding_mode=None: a / b if rounding_mode is None else a // b,
    "floordiv": operator.floordiv,
    "floor_divide": operator.floordiv,
    "remainder": operator.mod,
    "neg": operator.neg,
    "eq": operator.eq,
    "ne": operator.ne,
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
    "slice": _slice,
    "sqrt": lambda a: a**0.5,
    "ceil": lambda a: -(-a // 1),
    "floor": lambda a: a // 1,
}
"""What an operator's name means where no tensor is among its arguments."""

_BUILT_IN: dict[str, Callable[..., Any]] = {
    "__and__": lambda a, b: a and b,
    "__contains__": lambda values, value: value in values,
    "__is__": operator.is_,
    "__isnot__": operator.is_not,
    "__not__": operator.not_,
    "__or__": lambda a, b: a or b,
    "append": _append,
    "dim": lambda x: x.dim(),
    "extend": lambda values, more: [_append(values, value) for value in more] and None,
    "format": lambda *_: _Message(),
    "is_floating_point": lambda x: x.is_floating_point(),
    "items": lambda table: list(table.items()),
    "keys": lambda table: list(table),
    "len": len,
    "list": lambda values: list(itertools.islice(values, _MAX_LIST + 1)),
    "numel": lambda x: x.numel(),
    "ops.prim.NumToTensor": lambda number: number,
    "ops.prim.device": lambda x: x.device,
    "ops.prim.dtype": lambda x: x.dtype,
    "ops.prim.is_cuda": lambda x: False,
    "ops.prim.is_quantized": lambda x: False,
    "ops.prim.max": max,
    "ops.prim.min": min,
    "ops.prim.requires_grad": lambda x: False,
    "ops.prim.shape": lambda x: list(x.shape),
    "ops.prim.unchecked_cast": lambda value: value,
    "pop": lambda values, at=-1: values.pop(at),
    "size": lambda x, at=None: list(x.shape) if at is None else x.shape[at],
    "values": lambda table: list(table.values()),
    "warn": lambda *_, **__: None,
}
_IDLE = frozenset(
    "ops.prim.RaiseException bernoulli_ bernoulli empty zeros ones full arange rand rand_like randn empty_like device "
    "to _convolution batch_norm num_batches_tracked has_torch_function Int Float Bool str".split()
)
"""Other names that may stand in the code, carried out here or in no branch that a network in eval mode takes."""

OPERATORS = frozenset({*_TENSORS, *_IN_PLACE, *_NUMBERS, *_BUILT_IN, *_IDLE})


class Scripted(nn.Module):
    """A module of an archive, its sub-modules and tensors in their places; `kind` names its class."""

    def __init__(self, code: Code, kind: str) -> None:
        super().__init__()
        self.code, self.kind = code, kind
        self.values: dict[str, Any] = {}

    def forward(self, *args: Any, method: str = "forward", given: Mapping[str, Any] | None = None) -> Any:
        """Carry out a method; `given` are its arguments by name."""
        return self.code.call(self.code.archive.classes[self.kind][method], (self, *args), given or {})

    def attribute(self, name: str) -> Any:
        """A sub-module, tensor or value."""
        if name in self._modules or name in self._buffers:
            return getattr(self, name)
        return self.values[name]


class Code:
    """The code of an archive, ready to be carried out.

    Attributes:
        batch: the batch size that the code turned out to be fixed to, or None.
    """

    def __init__(self, name: str, archive: Archive) -> None:
        self.name, self.archive = name, archive
        self.batch: int | None = None
        self.constants: list[Any] = []
        self.modules = self._steps = self._depth = 0

    def start(self) -> None:
        """Before each forward pass."""
        self._steps = self._depth = 0

    def refuse(self, what: str) -> NoReturn:
        """Say what of the code is not supported."""
        raise UsageError(f"model {self.name}: its code {what}")

    def call(self, function: ast.FunctionDef, args: Sequence[Any], given: Mapping[str, Any]) -> Any:
        """Carry out a function."""
        names = [a.arg for a in function.args.args]
        defaults = function.args.defaults
        values = dict(zip(names[len(names) - len(defaults) :], map(self._literal, defaults), strict=True))
        values |= dict(zip(names, args, strict=False)) | dict(given)
        if set(values) != set(names) or len(args) > len(names):
            self.refuse(f"calls {word(function.name)} with other arguments than it has")
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            self.refuse("calls itself without end")
        found = self._run(function.body, values)
        self._depth -= 1
        return found[0] if found else None

    def _literal(self, node: ast.expr) -> Any:
        return self._value(node, {})

    # ---- statements ------------------------------------------------------------------------------------------------

    def _run(self, body: Sequence[ast.stmt], values: dict[str, Any]) -> tuple[Any] | None:
        """Carry out statements; gives (what was returned,) or None where nothing was."""
        for line in body:
            self._steps += 1
            if self._steps > _MAX_STEPS:
                self.refuse("does not come to an end")
            if isinstance(line, ast.Return):
                return (self._value(line.value, values) if line.value else None,)
            found = None
            if isinstance(line, ast.Assign):
                self._assign(line.targets[0], self._value(line.value, values), values)
            elif isinstance(line, ast.Expr):
                self._value(line.value, values)
            elif isinstance(line, ast.If):
                found = self._run(line.body if self._test(line.test, values) else line.orelse, values)
            elif isinstance(line, ast.For):
                for value in self._value(line.iter, values):
                    self._assign(line.target, value, values)
                    if found := self._run(line.body, values):
                        break
            elif isinstance(line, ast.While):
                while not found and self._test(line.test, values):
                    found = self._run(line.body, values)
                    self._steps += 1
                    if self._steps > _MAX_STEPS:
                        self.refuse("does not come to an end")
            elif not isinstance(line, (ast.Pass, ast.AnnAssign)):
                self.refuse(f"has {type(line).__name__}, which is not supported")
            if found:
                return found
        return None

    def _assign(self, target: ast.expr, value: Any, values: dict[str, Any]) -> None:
        if isinstance(target, ast.Name):
            values[target.id] = value
        elif isinstance(target, (ast.Tuple, ast.List)):
            for each, part in zip(target.elts, value, strict=True):
                self._assign(each, part, values)
        else:
            self.refuse("changes an attribute as it runs; expected a network in eval mode")

    def _test(self, node: ast.expr, values: dict[str, Any]) -> bool:
        found = self._value(node, values)
        if isinstance(found, Tensor):
            self.refuse("decides by the picture what to do; expected the same operators for every picture")
        return bool(found)

    # ---- expressions -----------------------------------------------------------------------------------------------

    def _value(self, node: ast.expr, values: dict[str, Any]) -> Any:
        if isinstance(node, ast.Constant):
            return node.value
        if isinstance(node, ast.Name):
            return values[node.id]
        if isinstance(node, (ast.List, ast.Tuple)):
            found = [self._value(n, values) for n in node.elts]
            return found if isinstance(node, ast.List) else tuple(found)
        if isinstance(node, ast.Dict):
            return {
                self._value(k, values): self._value(v, values) for k, v in zip(node.keys, node.values, strict=True) if k
            }
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            return -self._value(node.operand, values)
        if isinstance(node, ast.Subscript):
            return _at(self._value(node.value, values), self._value(node.slice, values))
        if isinstance(node, ast.Attribute):
            return self._attribute(node, values)
        if isinstance(node, ast.Call):
            return self._called(node, values)
        self.refuse(f"has {type(node).__name__}, which is not supported")

    def _attribute(self, node: ast.Attribute, values: dict[str, Any]) -> Any:
        name = dotted(node) or ""
        if name.startswith("__torch__."):
            return name
        if name.startswith("CONSTANTS.c"):
            return self.constants[int(name.removeprefix("CONSTANTS.c"))]
        return self._of(self._value(node.value, values), node.attr)

    def _of(self, owner: Any, name: str) -> Any:
        if not isinstance(owner, Scripted):
            self.refuse(f"asks {type(owner).__name__} for {word(name)}, which is not supported")
        return owner.attribute(name)

    def _called(self, node: ast.Call, values: dict[str, Any]) -> Any:
        name = dotted(node.func) or ""
        if name == "annotate" or name == "unchecked_cast":
            return self._value(node.args[1], values)
        if name == "uninitialized":
            return None
        args = [self._value(a, values) for a in node.args]
        given = {k.arg: self._value(k.value, values) for k in node.keywords if k.arg}
        if name in ("int", "float", "bool"):
            return self._cast(name, args[0])
        if name == "range":
            return range(*args)
        if name == "getattr":
            return self._of(*args)
        if name.startswith(("torch.", "ops.")):
            return self._operator(name.removeprefix("torch."), args, given)
        if isinstance(node.func, ast.Attribute) and not name.startswith("__torch__."):
            return self._method(self._value(node.func.value, values), node.func.attr, args, given, values)
        function = self._value(node.func, values)
        if function in self.archive.functions:
            return self.call(self.archive.functions[function], args, given)
        if self.archive.classes.get(function) == {}:  # a NamedTuple
            return (*args, *given.values())
        self.refuse(f"calls {word(str(function))}, which is not supported")

    def _cast(self, kind: str, value: Any) -> Any:
        if isinstance(value, Tensor):
            self.refuse("makes a number of what depends on the picture")
        if kind == "int":
            return value if isinstance(value, torch.SymInt) else int(value)
        return float(value) if kind == "float" else bool(value)

    def _method(self, owner: Any, name: str, args: list[Any], given: dict[str, Any], values: Mapping[str, Any]) -> Any:
        if not isinstance(owner, Scripted) or name not in self.archive.classes[owner.kind]:
            self.refuse(f"calls {word(name)} of {type(owner).__name__}, which is not supported")
        if owner is values.get("self"):  # a part of what runs already, and no call of another module
            return self.call(self.archive.classes[owner.kind][name], (owner, *args), given)
        return owner(*args, method=name, given=given)

    def _operator(self, name: str, args: list[Any], given: dict[str, Any]) -> Any:
        try:
            if name in _BUILT_IN:
                return _bounded(_BUILT_IN[name](*args, **given))
            if name == "ops.prim.RaiseException":
                said = f" {word(args[0])!r}" if isinstance(args[0], str) else ""
                self.refuse(f"raises an exception{said} for pictures of this size")
            has_tensor = any(isinstance(a, Tensor) for a in (*args, *given.values()))
            if not has_tensor and name in _NUMBERS:
                return _bounded(_NUMBERS[name](*args, **given))
            if name in _SPECIAL:
                return _SPECIAL[name](self, *args, **given)
            if name in _TENSORS or name in _IN_PLACE:
                return getattr(aten, name)(*args, **given)
            if name in ("eq", "ne", "lt", "le", "gt", "ge", "remainder", "floor_divide", "ceil", "floor"):
                return getattr(aten, name)(*args, **given)
        except UsageError:
            raise
        except Exception as error:
            lines = str(error).strip().splitlines() or [""]
            self.refuse(f"has {word(name)}, which does not fit ({type(error).__name__}: {lines[0][:160]})")
        self.refuse(f"has {word(name)}, which is not supported")


# ---- operators that are carried out in another way ------------------------------------------------------------------


def _convolution(
    code: Code,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    transposed: bool,
    output_padding: list[int],
    groups: int,
    *_: bool,
) -> Tensor:
    """What tracing leaves of `conv2d` and `conv_transpose2d`."""
    if weight.dim() != 4:
        code.refuse(f"has a convolution with weights of {weight.dim()} dimensions; expected [O, I, kh, kw]")
    if transposed:
        return aten.conv_transpose2d(x, weight, bias, stride, padding, output_padding, groups, dilation)
    return aten.conv2d(x, weight, bias, stride, padding, dilation, groups)


def _batch_norm(
    code: Code, x: Tensor, weight: Any, bias: Any, mean: Any, variance: Any, training: bool, *rest: Any
) -> Tensor:
    if training or mean is None:
        code.refuse("has a batch norm in training mode; call .eval() before saving")
    return aten.batch_norm(x, weight, bias, mean, variance, False, *rest)


def _dropout(code: Code, x: Tensor, p: float, train: bool) -> Tensor:
    if train:
        code.refuse("has a dropout in training mode; call .eval() before saving")
    return x


def _to(code: Code, x: Tensor, *args: Any, **given: Any) -> Tensor:
    """Between kinds of floats nothing changes: the network has one. Kinds are numbers in such code."""
    kinds = [a for a in (*args, *given.values()) if isinstance(a, torch.dtype) or type(a) is int]
    floats = (5, 6, 7, 15, torch.float16, torch.float32, torch.float64, torch.bfloat16)
    if not x.is_floating_point() or any(kind not in floats for kind in kinds):
        code.refuse("casts values to or from whole numbers, which has no gradient")
    return x


def _reshaped(name: str) -> Callable[..., Tensor]:
    """Reshape and view, where a file for one batch size has that written into its shapes."""

    def apply(code: Code, x: Tensor, sizes: Sequence[Any]) -> Tensor:
        sizes = list(sizes)
        first, rest = sizes[0] if sizes else -1, sizes[1:]
        if isinstance(x.shape[0], torch.SymInt) and type(first) is int and first > 0:
            each = 1
            for size in x.shape[1:]:
                each *= size
            product = 1
            for size in rest:
                product *= size
            if -1 in rest or product == each:
                if code.batch not in (None, first):
                    code.refuse(f"is fixed to batches of {code.batch} and of {first}; save it with one")
                code.batch, sizes[0] = first, x.shape[0]
        return getattr(aten, name)(x, sizes)

    return apply


_SPECIAL: dict[str, Callable[..., Any]] = {
    "_convolution": _convolution,
    "batch_norm": _batch_norm,
    "dropout": _dropout,
    "dropout_": _dropout,
    "feature_dropout": _dropout,
    "feature_dropout_": _dropout,
    "detach": lambda code, x: code.refuse("cuts the gradient off (detach); save the network without it"),
    "reshape": _reshaped("reshape"),
    "view": _reshaped("view"),
    "to": _to,
}
