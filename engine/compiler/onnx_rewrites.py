"""The ONNX graph that torch's exporter wrote, rewritten in place: the same values with less work for ONNX Runtime.

On an x86-64 CPU, ONNX Runtime keeps what lies between convolutions in a blocked layout (NCHWc), which few operators
know: convolutions, sums, products of two. The masks of a backward pass, a comparison and a choice, are not among them;
for each of them it copies the activations and the gradient out of that layout and back.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from ..contract.masks import IDENTITY, STEEP

_BLOCK = 16
"""Channels in a block: 16 with AVX-512, 8 without. Other numbers of channels are not blocked in what is one by one."""
_WIDE = 2.0**20
"""Bounds beyond it could overflow when they are multiplied by `STEEP`."""
_SPREADING = {"Conv", "ConvTranspose", "Gemm", "MatMul", "Gather", "ReduceMean"}
"""What these give is finite wherever all of it is."""
_MOVING = {"Reshape", "Transpose", "Slice", "Expand", "Squeeze", "Unsqueeze", "Cast", "Identity", "Clip", "Neg", "Relu"}
"""Of these it is the first input that has to be finite; of the next, every one."""
_JOINING = {"Add", "Sub", "Mul", "Concat"}


def simplify(model: onnx.ModelProto, device: str) -> None:
    """All rewrites that pay on a device ("cpu" or "cuda"); in a graph without max pools, masks and strides, none."""
    graph = _Graph(model.graph)
    _count_within_planes(graph)
    _part_shared_kernels(graph)
    if device == "cpu":
        _multiply_by_masks(graph)
    graph.sweep()


class _Graph:
    """A graph, by the names of its values."""

    def __init__(self, proto: onnx.GraphProto) -> None:
        self.proto = proto
        self.nodes = list(proto.node)
        self.maker = {name: node for node in self.nodes for name in node.output}
        self.constants = {each.name: each for each in proto.initializer}
        self.types = {each.name: each.type.tensor_type for each in proto.value_info}

    def made_by(self, name: str, operator: str) -> onnx.NodeProto | None:
        node = self.maker.get(name)
        return node if node is not None and node.op_type == operator else None

    def sides(self, name: str) -> list[int]:
        """Of a value's shape; 0 where it is free."""
        return [side.dim_value for side in self.types[name].shape.dim] if name in self.types else []

    def scalar(self, name: str) -> float | None:
        """The value of a constant that is one number."""
        value = numpy_helper.to_array(self.constants[name]) if name in self.constants else np.empty(0)
        return float(value.item()) if value.size == 1 else None

    def constant(self, name: str, value: npt.NDArray) -> str:
        if name not in self.constants:
            self.constants[name] = numpy_helper.from_array(value, name)
        return name

    def sweep(self) -> None:
        """Write it back, without what nobody reads any more."""
        wanted, kept = {each.name for each in self.proto.output}, []
        for node in reversed(self.nodes):
            if wanted.intersection(node.output):
                wanted.update(_reads(node))
                kept.append(onnx.NodeProto.FromString(node.SerializeToString()))
        del self.proto.node[:]
        self.proto.node.extend(reversed(kept))
        there = {each.name for each in self.proto.initializer}
        self.proto.initializer.extend(each for name, each in self.constants.items() if name not in there)
        for field in (self.proto.initializer, self.proto.value_info):
            for i in reversed(range(len(field))):
                if field[i].name not in wanted:
                    del field[i]


def _reads(node: onnx.NodeProto) -> Iterator[str]:
    """What a node reads; a loop's body also reads the names of the graph around it, and may give them back."""
    yield from node.input
    for attribute in node.attribute:
        for inner in attribute.g.node:
            yield from _reads(inner)
        yield from (each.name for each in attribute.g.output)


def _count_within_planes(graph: _Graph) -> None:
    """Indices of a max pool count over the whole tensor, where a backward pass counts within a plane. The exporter
    takes the plane's first index away, which it finds by another max pool, of 1×1 windows; it is known without one.
    """
    nodes: list[onnx.NodeProto] = []
    for node in graph.nodes:
        pool = graph.made_by(node.input[0], "MaxPool") if node.op_type == "Sub" else None
        first = graph.made_by(node.input[1], "Slice") if pool is not None else None
        single = graph.made_by(first.input[0], "MaxPool") if first is not None else None
        if pool is not None and single is not None and pool.output[1:] == [node.input[0]]:
            sides = graph.sides(pool.input[0])
            kernel = next(list(each.ints) for each in single.attribute if each.name == "kernel_shape")
            if len(sides) == 4 and all(sides[1:]) and kernel == [1, 1] and single.input[0] == pool.input[0]:
                nodes += _first_of_planes(graph, node, pool.input[0], sides[1], sides[2] * sides[3])
        nodes.append(node)
    graph.nodes = nodes


def _first_of_planes(
    graph: _Graph, node: onnx.NodeProto, pooled: str, channels: int, plane: int
) -> Iterator[onnx.NodeProto]:
    """The first index of each plane, [N, C, 1, 1], for a node to take away. A remainder would do, but OpenVINO computes
    it in float32, and indices do not end at 2^24.
    """
    name = node.output[0]

    def whole(*value: int) -> str:
        shape = "_".join(map(str, value))
        return graph.constant(f"whole_{shape}", np.array(value if len(value) > 1 else value[0], np.int64))

    yield helper.make_node("Shape", [pooled], [f"{name}_batch"], start=0, end=1)
    yield helper.make_node("Squeeze", [f"{name}_batch"], [f"{name}_pictures"])
    yield helper.make_node("Mul", [f"{name}_pictures", whole(channels)], [f"{name}_planes"])
    yield helper.make_node("Range", [whole(0), f"{name}_planes", whole(1)], [f"{name}_counted"])
    yield helper.make_node("Mul", [f"{name}_counted", whole(plane)], [f"{name}_first"])
    yield helper.make_node("Reshape", [f"{name}_first", whole(-1, channels, 1, 1)], [f"{name}_first_of_planes"])
    node.input[1] = f"{name}_first_of_planes"


def _part_shared_kernels(graph: _Graph) -> None:
    """A kernel of its own for the way back of a strided convolution with as many channels in as out. OpenVINO (2026.4,
    on CPUs with AVX-512) packs a convolution's kernel once, finds a transposed one's by the same name and shape, and
    answers with noise.
    """
    for node in graph.nodes:
        kernel = graph.constants.get(node.input[1]) if node.op_type == "ConvTranspose" else None
        groups = next((each.i for each in node.attribute if each.name == "group"), 1)
        if kernel is not None and kernel.dims[0] == kernel.dims[1] * groups:
            node.input[1] = graph.constant(f"{kernel.name}_back", numpy_helper.to_array(kernel))


def _multiply_by_masks(graph: _Graph) -> None:
    """where(y ≤ a, 0, gradient) → gradient · tanh(2^100 · (y - a)), and for ReLU6's second bound the like. The scaling
    is a batch norm, which becomes a convolution of each channel alone with tanh for its activation: one operator of the
    blocked layout, and the product another. (`openvino_session` makes simpler masks of these again.)
    """
    nodes: list[onnx.NodeProto] = []
    blocked: set[str] = set()

    def add(operator: str, inputs: list[str], output: str, **attributes: object) -> str:
        nodes.append(helper.make_node(operator, inputs, [output], name=output, **attributes))
        return output

    def vector(value: float, channels: int) -> str:
        return graph.constant(f"each_{float(value).hex()}_{channels}", np.full(channels, value, np.float32))

    for node in graph.nodes:
        bounds = _bounds(graph, node)
        if bounds:
            out, gradient = node.output[0], node.input[2]
            channels = graph.sides(gradient)[1]
            if gradient not in blocked:  # into the blocked layout, by a convolution with 1
                kernel = graph.constant(f"{IDENTITY}{channels}", np.ones((channels, 1, 1, 1), np.float32))
                moved = add("Conv", [gradient, kernel], f"{out}_gradient", kernel_shape=[1, 1], group=channels)
                graph.proto.value_info.add(name=moved).type.tensor_type.CopyFrom(graph.types[gradient])
                gradient = moved
            for i, (y, sign, bound) in enumerate(bounds):
                scale, shift, mean, variance = (
                    vector(value, channels) for value in (sign * STEEP, -sign * bound * STEEP, 0, 1)
                )
                steep = add("BatchNormalization", [y, scale, shift, mean, variance], f"{out}_steep_{i}", epsilon=0.0)
                mask = add("Tanh", [steep], f"{out}_mask_{i}")
                gradient = add("Mul", [gradient, mask], out if i == len(bounds) - 1 else f"{out}_{i}")
            blocked.add(out)
            continue
        if node.op_type == "Conv" or (node.op_type == "Add" and blocked.issuperset(node.input)):
            blocked.add(node.output[0])
        nodes.append(node)
    graph.nodes = nodes


def _bounds(graph: _Graph, node: onnx.NodeProto) -> list[tuple[str, float, float]]:
    """The (y, sign, bound) with sign · (y - bound) > 0 for each bound of where(y ≤ a or y ≥ b, 0, gradient), where y
    comes out of a ReLU or a clip with these bounds, and so never lies beyond them; none of other nodes, and where
    planes are not float32 or no whole blocks of channels.
    """
    if node.op_type != "Where" or graph.scalar(node.input[1]) != 0:
        return []
    either = graph.made_by(node.input[0], "Or")
    tests = [graph.maker.get(name) for name in (either.input if either is not None else node.input[:1])]
    bounds = []
    for test in tests:
        if test is None or test.op_type not in ("LessOrEqual", "GreaterOrEqual"):
            return []
        (y, bound), below = test.input, test.op_type == "LessOrEqual"
        value, maker = graph.scalar(bound), graph.maker.get(y)
        limits = {"Relu": [0.0], "Clip": []}.get(maker.op_type) if maker is not None else None
        if maker is None or limits is None or value is None or not _alike(graph, y, node.input[2]):
            return []
        limits = limits or [graph.scalar(name) for name in maker.input[1:]]
        if len(limits) <= (not below) or limits[not below] != value or abs(value) > _WIDE:
            return []
        bounds.append((y, 1.0 if below else -1.0, value))
    return bounds if _finite(graph, node.input[2]) else []


def _finite(graph: _Graph, gradient: str) -> bool:
    """Whether a gradient has no infinity of its own where the mask is closed, which a choice would hide and a product
    would not: as that of sqrt(relu(x)) has at 0.
    """
    ahead, seen = [gradient], set()
    while ahead:
        node = graph.maker.get(ahead.pop())
        if node is None or node.output[0] in seen or node.op_type in _SPREADING:
            continue
        seen.add(node.output[0])
        if node.op_type in _MOVING or (node.op_type == "Div" and graph.scalar(node.input[1])):
            ahead.append(node.input[0])
        elif node.op_type in _JOINING:
            ahead.extend(node.input)
        elif node.op_type == "ScatterElements":
            ahead.append(node.input[2])  # onto zeros
        elif node.op_type == "Where":
            if graph.scalar(node.input[1]) != 0:  # a mask, which has chosen already
                ahead.extend(node.input[1:])
        else:
            return False
    return True


def _alike(graph: _Graph, one: str, other: str) -> bool:
    """Whether they are float32 [N, C, H, W] of the same sides, in whole blocks of channels."""
    sides = graph.sides(one)
    return (
        len(sides) == 4
        and all(sides[1:])
        and sides[1] % _BLOCK == 0
        and sides == graph.sides(other)
        and {graph.types[name].elem_type for name in (one, other)} == {TensorProto.FLOAT}
    )
