"""A model as one functional ATen graph with a table of its layers, and the cut of that graph at a layer."""

from __future__ import annotations

import difflib
import hashlib
import logging
import operator
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export import Dim, ExportedProgram
from torch.export.graph_signature import OutputKind

from ..contract import UsageError
from .adjoints import FORWARD
from .artefact import Artefact
from .layouts import Layout, layout_of

_TRACE_BATCH = 3  # the batch size while exporting; proof.py checks others
INPUT = "input"
"""The name of the network's input where a layer is asked for."""

_TRAINING_OPS = {
    "aten.native_dropout.default",
    "aten.native_batch_norm.default",
    "aten._native_batch_norm_legit.default",
    "aten._native_batch_norm_legit_functional.default",
}


@dataclass(frozen=True)
class Layer:
    """One call of one module, in the order in which calls finish.

    Attributes:
        name: the module's path, `layer1.0.relu`; a second call of the same module is `layer1.0.relu@2`.
        type: the module's class, without its package.
        depth: how many modules it lies in.
        node: the graph's node that holds its output.
        shape: the output's shape without the batch.
        leaf: whether no other module runs inside it.
        call: 1 for the first call of that module, 2 for the second, …
    """

    name: str
    type: str
    depth: int
    node: fx.Node
    shape: tuple[int, ...]
    leaf: bool
    call: int

    @property
    def module(self) -> str:
        """The module's path without the number of the call."""
        return self.name.partition("@")[0]


class Network:
    """A network as a functional graph: `images` float [N, C, H, W] in, logits [N, K] out (of a segmentation
    [N, K, h, w]), N free.

    Attributes:
        name: what people call it.
        state: placeholder name → parameter, buffer or constant.
        names: placeholder name → the module's own name of it.
        layers: every module call, in the order of execution.
        input_shape: (C, H, W).
        num_outputs: K.
        output_size: (h, w) of a segmentation's logits, else None.
        module: the nn.Module it came from, or None where there is only a file; only the eager reference uses it.
        artefact: the file of another runtime that it came from, or None.
    """

    def __init__(
        self, name: str, program: ExportedProgram, module: nn.Module | None, artefact: Artefact | None = None
    ) -> None:
        self.name = name
        self.module = module
        self.artefact = artefact
        program = program.run_decompositions({})  # makes in-place operators functional, keeps composite ones
        self.graph = program.graph
        self.state, self.input = _state_and_input(name, program)
        self.names = {s.arg.name: s.target for s in program.graph_signature.input_specs if s.target is not None}
        self.output = _single_output(name, program)
        value = self.input.meta["val"]
        self.batch = value.shape[0]
        self.fake_mode = value.fake_mode
        self.input_shape = tuple(int(s) for s in value.shape[1:])
        logits = self.output.meta["val"].shape
        self.num_outputs = int(logits[1])
        self.output_size = (int(logits[2]), int(logits[3])) if len(logits) == 4 else None
        self.dtype: torch.dtype = value.dtype
        for node in self.graph.nodes:
            node.target = FORWARD.get(node.target, node.target)
            if node.op not in ("placeholder", "call_function", "output"):
                raise UsageError(
                    f"compile: {name} has control flow or a sub-graph ({node.op} {node.target}); expected a network "
                    "whose operators do not depend on the picture"
                )
            if str(node.target) in _TRAINING_OPS or (str(node.target) == "aten.dropout.default" and node.args[2]):
                raise UsageError(f"compile: {name} was exported in training mode ({node.target}); call .eval() first")
            tags = getattr(node.target, "tags", ())
            if torch.Tag.nondeterministic_seeded in tags and "dropout" not in str(node.target):
                raise UsageError(f"compile: {name} draws random numbers ({node.target}); its maps would not be its own")
        self.layers = _layers(self.graph)

    # ---- names -------------------------------------------------------------------------------------------------

    def layer(self, name: str) -> fx.Node:
        """The node that holds the output of layer `name` (or the input, for `input`).

        Raises:
            UsageError: there is no such layer; names the nearest ones.
        """
        if name == INPUT:
            return self.input
        for layer in self.layers:
            if layer.name == name:
                return layer.node
        names = [layer.name for layer in self.layers]
        near = difflib.get_close_matches(name, names, n=3, cutoff=0.6)
        top = [layer.name for layer in self.layers if layer.depth == 0]
        listed = ", ".join(near or ([*top[:2], "…", *top[-2:]] if len(top) > 5 else top))
        raise UsageError(f"compile: layer {name!r} is not in {self.name}; it has {listed} (see: saccade layers MODEL)")

    def default_layer(self) -> Layer | None:
        """Grad-CAM's default target layer: the last feature block before pooling and head.

        The network is descended into while one module holds everything; then, among the modules that run side by
        side, the last one is the head, and the answer is the last before it that gives maps with more than one place
        and is not itself an average pool. Where those are a transformer's tokens and the head reads the class token
        alone, nothing depends on the others any more: the answer is the last layer norm in front of an attention.
        """
        calls = [c for c in self.layers if c.depth == 0]
        while len(calls) == 1 and not calls[0].leaf:
            outer = calls[0]
            calls = [c for c in self.layers if c.depth == outer.depth + 1]
        for layer in reversed(calls[:-1]):
            layout = self.layout(layer.node)
            if layout is None or layout.shape[1] * layout.shape[2] < 2 or "AvgPool" in layer.type:
                continue
            return self._before_attention() or layer if layout.prefix else layer
        return None

    def _before_attention(self) -> Layer | None:
        for layer in reversed(self.layers):
            if "Norm" in layer.type and self.layout(layer.node) is not None:
                behind = self.descendants(layer.node)
                if any("softmax" in str(n.target) or "attention" in str(n.target) for n in behind):
                    return layer
        return None

    def layout(self, node: fx.Node) -> Layout | None:
        """How maps lie in a node's value; None where it holds none."""
        return layout_of(node, self.input_shape[1:])

    def unit_shape(self, node: fx.Node) -> tuple[int, ...]:
        """A node's units without the batch: (C, h, w) of maps, however they are held, else the value's own shape."""
        layout = self.layout(node)
        return layout.shape if layout else tuple(int(s) for s in node.meta["val"].shape[1:])

    def pooled_head(self) -> tuple[fx.Node, str] | None:
        """The maps that global average pooling and one linear layer turn into the logits, and the name of that layer's
        weights [K, C] in `state`; None where the head is another one.
        """
        node, weights = self.output, None
        while node.op == "call_function":
            kind = short_name(node.target)
            if weights is None and kind in ("linear", "addmm"):
                source, weight = (node.args[0], node.args[1]) if kind == "linear" else node.args[1:3]
                while isinstance(weight, fx.Node) and short_name(weight.target) in ("t", "permute", "transpose"):
                    weight = weight.args[0]
                if not isinstance(weight, fx.Node) or weight.name not in self.state:
                    return None
                weights = weight.name
            elif kind in _PASSING:
                source = node.args[0]
            elif weights is not None and _averages_all(node):
                source = node.args[0]
                assert isinstance(source, fx.Node)
                while short_name(source.target) in ("dropout", "clone", "contiguous"):
                    source = source.args[0]
                return (source, weights) if self.layout(source) is not None else None
            else:
                return None
            assert isinstance(source, fx.Node)
            node = source
        return None

    # ---- running -----------------------------------------------------------------------------------------------

    def cut(
        self, state: Mapping[str, Tensor], x: Tensor, at: fx.Node, to: fx.Node | None = None
    ) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """Cut the network at a node.

        Args:
            state: placeholder name → tensor, as `self.state` (fake, float64, …).
            x: the normalised input [N, C, H, W].
            at: a node of the graph that depends on the input.
            to: the node whose value is wanted; by default the logits.

        Returns:
            (activation, tail): the value of `at`, and the function from it to the value of `to`. What the tail needs
            beside the activation (a residual's other branch) is handed through from the head.
        """
        env: dict[fx.Node, Any] = {n: state[n.name] for n in self.graph.nodes if n.name in state}
        env[self.input] = x
        after = self.descendants(at)
        evaluate((n for n in self.graph.nodes if n not in after), env)

        def tail(activation: Tensor) -> Tensor:
            return evaluate((n for n in self.graph.nodes if n in after), {**env, at: activation})[to or self.output]

        return env[at], tail

    def descendants(self, at: fx.Node) -> set[fx.Node]:
        """Every node whose value depends on that of `at`."""
        found: set[fx.Node] = set()
        todo = list(at.users)
        while todo:
            if (node := todo.pop()) not in found:
                found.add(node)
                todo.extend(node.users)
        return found

    def reaches(self, at: fx.Node, to: fx.Node) -> bool:
        """Whether the value of `to` depends on that of `at`."""
        return at is to or to in self.descendants(at)

    def filters(self, layer: str) -> Tensor:
        """The weights [O, I, kh, kw] of a layer that is one convolution.

        Raises:
            UsageError: there is no such layer, or it is none.
        """
        node = self.layer(layer)
        kind = short_name(node.target)
        weight = node.args[1] if kind in ("conv2d", "convolution", "conv2d_by_name") else None
        if not isinstance(weight, fx.Node) or weight.name not in self.state or self.state[weight.name].dim() != 4:
            named = [x.name for x in self.layers if "Conv2d" in x.type]
            raise UsageError(
                f"weights: {layer!r} of {self.name} is no convolution; there are {', '.join(named[:3])}"
                f"{', …' if len(named) > 3 else ''} (see: saccade layers MODEL)"
            )
        return self.state[weight.name].detach()

    @property
    def gives_logits(self) -> bool:
        """Whether softmax(output) is a confidence: several outputs, and no sigmoid or softmax at their end."""
        name = str(self.output.target)
        return (
            self.num_outputs > 1
            and not self.output_size
            and not any(end in name for end in ("sigmoid", "softmax", "tanh"))
        )

    def weights_hash(self) -> str:
        """`sha256:…` over the names, dtypes, shapes and bytes of the state, sorted by name."""
        digest = hashlib.sha256()
        for name, value in sorted(self.state.items()):
            digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
            digest.update(value.detach().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
        return f"sha256:{digest.hexdigest()}"


def evaluate(nodes: Iterable[fx.Node], env: dict[fx.Node, Any]) -> dict[fx.Node, Any]:
    """Run nodes of a functional graph in order, adding their values to `env`."""
    for node in nodes:
        if node.op == "call_function" and node not in env:
            args, kwargs = fx.node.map_arg((node.args, node.kwargs), lambda n: env[n])
            assert callable(node.target)
            env[node] = node.target(*args, **kwargs)
    return env


def import_module(module: nn.Module, name: str, input_shape: tuple[int, int, int]) -> Network:
    """Bring an nn.Module into the compiler's graph.

    Args:
        module: a classifier float [N, C, H, W] → logits [N, K]; it is put into eval mode.
        name: what people call it.
        input_shape: (C, H, W).

    Raises:
        UsageError: torch.export cannot capture it, or its output is not [N, K].
    """
    return Network(name, capture(module, name, input_shape), module)


def capture(module: nn.Module, name: str, input_shape: tuple[int, int, int]) -> ExportedProgram:
    """Export a module with a free batch size; see `import_module`."""
    module = module.eval().requires_grad_(False)
    dtype = next((p.dtype for p in module.parameters()), torch.float32)
    example = torch.zeros(_TRACE_BATCH, *input_shape, dtype=dtype)
    chatty = logging.getLogger("torch._subclasses.fake_tensor")
    level = chatty.level
    chatty.setLevel(logging.CRITICAL)  # what does not fit is said below, in one line
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the exporter's own deprecations are not our user's concern
            return torch.export.export(module, (example,), dynamic_shapes=({0: Dim("N", min=1)},))
    except UsageError:  # an importer's own
        raise
    except Exception as error:
        reason = (str(error).strip().splitlines() or [""])[0]
        if "Constraints violated" in reason:  # len(x) is a number to the exporter
            reason = "its code fixes the batch size; take x.shape[0] for len(x), and -1 in reshapes"
        raise UsageError(
            f"compile: torch.export cannot capture {name} with input {list(input_shape)}: "
            f"{type(error).__name__}: {reason}"
        ) from error
    finally:
        chatty.setLevel(level)


def _state_and_input(name: str, program: ExportedProgram) -> tuple[dict[str, Tensor], fx.Node]:
    state: dict[str, Tensor] = {}
    inputs: list[str] = []
    for spec in program.graph_signature.input_specs:
        if spec.target is None:
            inputs.append(spec.arg.name)
        elif spec.target in program.state_dict:
            state[spec.arg.name] = program.state_dict[spec.target].detach()
        else:
            state[spec.arg.name] = program.constants[spec.target].detach()
    if len(inputs) != 1:
        raise UsageError(f"compile: {name} takes {len(inputs)} inputs; expected one, pictures [N, C, H, W]")
    node = next(n for n in program.graph.nodes if n.op == "placeholder" and n.name == inputs[0])
    shape = node.meta["val"].shape
    if len(shape) != 4:
        raise UsageError(f"compile: {name} takes a tensor of {len(shape)} dimensions; expected pictures [N, C, H, W]")
    if isinstance(shape[0], int) or not all(isinstance(s, int) for s in shape[1:]):
        raise UsageError(
            f"compile: {name} was exported for inputs {list(map(str, shape))}; expected a free batch size and a fixed "
            'picture size; export it with dynamic_shapes=({0: Dim("N")},)'
        )
    return state, node


def _single_output(name: str, program: ExportedProgram) -> fx.Node:
    if changed := [s.target for s in program.graph_signature.output_specs if s.kind == OutputKind.BUFFER_MUTATION]:
        raise UsageError(
            f"compile: {name} changes its own state as it runs ({changed[0]}), as in training mode; call .eval() first"
        )
    outputs = next(n for n in program.graph.nodes if n.op == "output").args[0]
    container = program.call_spec.out_spec
    if container is not None and container.type in (dict, OrderedDict) and "out" in container.context:
        outputs = [outputs[list(container.context).index("out")]]  # torchvision's segmentation models
    elif container is not None and not container.is_leaf():
        kind = getattr(container.type, "__name__", "container")
        raise UsageError(f"compile: {name} gives a {kind}; expected one tensor, logits [N, K]; wrap it in a module")
    if len(outputs) != 1 or not isinstance(outputs[0], fx.Node):
        raise UsageError(f"compile: {name} gives {len(outputs)} outputs; expected one, logits [N, K]")
    if not outputs[0].meta["val"].is_floating_point():
        raise UsageError(
            f"compile: {name} gives {outputs[0].meta['val'].dtype}; expected logits [N, K] with a gradient"
        )
    shape = outputs[0].meta["val"].shape
    if len(shape) not in (2, 4) or not all(isinstance(s, int) for s in shape[1:]):
        raise UsageError(
            f"compile: {name} gives an output of shape {[str(s) for s in shape]}; expected logits [N, K], or "
            "[N, K, h, w] of a segmentation"
        )
    return outputs[0]


_PASSING = ("flatten", "view", "reshape", "squeeze", "dropout", "clone", "contiguous")
"""Operators between pooling and a linear layer that keep the numbers as they are."""


def short_name(target: Any) -> str:
    """`linear` of `aten.linear.default`, or a function's own name."""
    return str(target).split(".")[1] if isinstance(target, torch._ops.OpOverload) else getattr(target, "__name__", "")


def _averages_all(node: fx.Node) -> bool:
    source = node.args[0]
    if not isinstance(source, fx.Node) or len(shape := source.meta["val"].shape) != 4:
        return False
    kind = short_name(node.target)
    if kind == "mean":
        places = node.args[1] if len(node.args) > 1 else None
        return isinstance(places, (list, tuple)) and sorted(int(d) % 4 for d in places) in ([2, 3], [1, 2])  # type: ignore[arg-type]
    if kind == "adaptive_avg_pool2d":
        return all(side == 1 for side in node.args[1])  # type: ignore[union-attr]
    return kind == "avg_pool2d" and list(node.args[1]) == list(shape[2:])  # type: ignore[arg-type]


def _layers(graph: fx.Graph) -> list[Layer]:
    calls: dict[str, tuple[str, str, int]] = {}  # the key of one call -> (module path, class, depth)
    members: dict[str, set[fx.Node]] = {}
    for node in graph.nodes:
        stack = [(k, v) for k, v in (node.meta.get("nn_module_stack") or {}).items() if v[0] and not k.startswith("_")]
        if node.op != "call_function" or node.target is torch.ops.aten.sym_size.int:
            continue
        for depth, (key, (path, type_)) in enumerate(stack):
            kind = type_ if isinstance(type_, str) else type_.__name__
            calls.setdefault(key, (path, kind.rpartition(".")[2], depth))
            members.setdefault(key, set()).add(node)
    order = {node: i for i, node in enumerate(graph.nodes)}
    found: list[tuple[int, int, Layer]] = []
    count: dict[str, int] = {}
    for key, (path, kind, depth) in calls.items():
        count[path] = number = count.get(path, 0) + 1
        inside = members[key]
        outputs = [n for n in inside if any(u not in inside for u in n.users) and _tensor_shape(n) is not None]
        if not outputs:
            continue
        node = max(outputs, key=order.__getitem__)
        leaf = not any(other != key and members[other] <= inside and calls[other][2] > depth for other in calls)
        name = path if number == 1 else f"{path}@{number}"
        shape = _tensor_shape(node)
        assert shape is not None
        found.append((order[node], -depth, Layer(name, kind, depth, node, shape, leaf, number)))
    return [layer for _, _, layer in sorted(found, key=operator.itemgetter(0, 1))]


def _tensor_shape(node: fx.Node) -> tuple[int, ...] | None:
    value = node.meta.get("val")
    if not isinstance(value, Tensor):
        return None
    return tuple(s if isinstance(s, int) else -1 for s in value.shape[1:])
