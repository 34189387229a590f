"""Backends driven through the table of csrc/runtime/backend.h, without anything of the library."""

from __future__ import annotations

import ctypes as c
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from saccade.engine.contract import Spec
from saccade.engine.execute import load, program_inputs

INVALID, DAMAGED, UNAVAILABLE, FAILED, LATE, NO_MEMORY = range(1, 7)
FORMATS = {".onnx": 0, ".ts": 1, ".pt2": 2}
TYPES = {np.dtype(np.uint8): 0, np.dtype(np.int64): 1, np.dtype(np.float32): 2}


class Tensor(c.Structure):
    _fields_ = [
        ("name", c.c_char_p),
        ("type", c.c_int32),
        ("rank", c.c_int32),
        ("shape", c.c_int64 * 5),
        ("data", c.c_void_p),
        ("bytes", c.c_size_t),
        ("device", c.c_int32),
        ("index", c.c_int32),
    ]


class Shape(c.Structure):
    _fields_ = [("rank", c.c_int32), ("sides", c.c_int64 * 4)]


class LoadRequest(c.Structure):
    _fields_ = [
        ("path", c.c_char_p),
        ("data", c.c_char_p),
        ("size", c.c_size_t),
        ("format", c.c_int32),
        ("device", c.c_int32),
        ("index", c.c_int32),
        ("threads", c.c_int32),
        ("library", c.c_char_p),
        ("inputs", c.POINTER(c.c_char_p)),
        ("outputs", c.POINTER(c.c_char_p)),
        ("num_inputs", c.c_size_t),
        ("num_outputs", c.c_size_t),
        ("output_shapes", c.POINTER(Shape)),
    ]


_MESSAGE = (c.c_char_p, c.c_size_t)
_TENSORS = (c.POINTER(Tensor), c.c_size_t)


class Table(c.Structure):
    _fields_ = [
        ("version", c.c_uint32),
        ("formats", c.c_uint32),
        ("name", c.c_char_p),
        ("describe", c.CFUNCTYPE(c.c_char_p, c.c_void_p)),
        ("load", c.CFUNCTYPE(c.c_int, c.POINTER(LoadRequest), c.POINTER(c.c_void_p), *_MESSAGE)),
        ("unload", c.CFUNCTYPE(None, c.c_void_p)),
        ("open", c.CFUNCTYPE(c.c_int, c.c_void_p, c.POINTER(c.c_void_p), *_MESSAGE)),
        ("close", c.CFUNCTYPE(None, c.c_void_p)),
        ("run", c.CFUNCTYPE(c.c_int, c.c_void_p, *_TENSORS, *_TENSORS, c.c_int64, *_MESSAGE)),
    ]


class BackendError(Exception):
    """What a backend returned: its code and message."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def _check(code: int, message: c.Array[c.c_char]) -> None:
    if code != 0:
        raise BackendError(code, message.value.decode())


def input_names(spec: Spec) -> list[str]:
    return ["images", "target", *(["region"] if spec.target == "region" else [])]


def image_shapes(spec: Spec) -> list[tuple[int, ...]]:
    """The outputs' shapes for one image, without the batch, by the contract."""
    return [shape[1:] for shape in output_shapes(spec, 1).values()]


def output_shapes(spec: Spec, count: int) -> dict[str, tuple[int, ...]]:
    """The outputs of a batch by the contract, in its order."""
    shapes = {"logits": (count, spec.num_outputs, *(spec.output_size or ()))}
    shapes |= {m.name: (count, *m.shape) for m in spec.maps}
    return shapes | ({"features": (count, spec.features)} if spec.features else {})


class Model:
    """A program in a backend's library, shared by threads.

    Args:
        backend: libsaccade_NAME.so.
        program: its file.
        inputs, outputs: names that its contract has.
        data: the program's bytes; the path is then only a name.
        shapes: of the outputs, without the batch, as the contract has them; None tells the backend nothing.
        request: other fields of `LoadRequest`.

    Raises:
        BackendError: the backend refuses it.
    """

    def __init__(
        self,
        backend: Path,
        program: Path | None,
        inputs: list[str],
        outputs: list[str],
        data: bytes | None = None,
        shapes: Sequence[tuple[int, ...]] | None = None,
        **request: Any,
    ) -> None:
        entry = c.CDLL(str(backend), mode=os.RTLD_NOW | os.RTLD_LOCAL).saccade_backend
        entry.restype = c.POINTER(Table)
        self.table: Table = entry().contents
        self.inputs, self.outputs = inputs, outputs
        self._data = data  # has to stay
        asked = LoadRequest(
            os.fsencode(program) if program else None,
            data,
            len(data or b""),
            request.pop("format", FORMATS[program.suffix] if program else 0),
            **request,
        )
        for field, names in (("inputs", inputs), ("outputs", outputs)):
            setattr(asked, field, (c.c_char_p * len(names))(*(n.encode() for n in names)))
            setattr(asked, f"num_{field}", len(names))
        if shapes is not None:
            assert len(shapes) == len(outputs)
            asked.output_shapes = (Shape * len(shapes))(
                *(Shape(len(shape), (c.c_int64 * 4)(*shape)) for shape in shapes)
            )
        self.pointer = c.c_void_p()
        message = c.create_string_buffer(512)
        _check(self.table.load(c.byref(asked), c.byref(self.pointer), message, 512), message)

    @property
    def runtime(self) -> str:
        return self.table.describe(self.pointer).decode()

    def close(self) -> None:
        self.table.unload(self.pointer)


class Context:
    """One thread's use of a model."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.pointer = c.c_void_p()
        message = c.create_string_buffer(512)
        _check(model.table.open(model.pointer, c.byref(self.pointer), message, 512), message)

    def close(self) -> None:
        self.model.table.close(self.pointer)

    def run(
        self,
        inputs: Mapping[str, npt.NDArray[Any]],
        outputs: Mapping[str, npt.NDArray[Any]],
        timeout_us: int = 0,
        device: int = 0,
    ) -> None:
        """Run into `outputs`, which are written to; both in the contract's order, contiguous.

        Raises:
            BackendError: it failed, or was late.
        """
        message = c.create_string_buffer(512)
        given = [c.cast(_tensors(values, device), c.POINTER(Tensor)) for values in (inputs, outputs)]
        code = self.model.table.run(
            self.pointer, given[0], len(inputs), given[1], len(outputs), timeout_us, message, 512
        )
        _check(code, message)


def _tensors(values: Mapping[str, npt.NDArray[Any]], device: int) -> c.Array[Tensor]:
    tensors = (Tensor * len(values))()
    for tensor, (name, value) in zip(tensors, values.items(), strict=True):
        assert value.flags.c_contiguous
        tensor.name, tensor.type, tensor.rank = name.encode(), TYPES[value.dtype], value.ndim
        tensor.shape[: value.ndim] = value.shape
        tensor.data, tensor.bytes, tensor.device = value.ctypes.data, value.nbytes, device
    return tensors


def empty(spec: Spec, count: int) -> dict[str, npt.NDArray[np.float32]]:
    """Memory for a batch's outputs, of NaN: what is not written shows."""
    return {name: np.full(shape, np.nan, np.float32) for name, shape in output_shapes(spec, count).items()}


# ---- what the tests share ------------------------------------------------------------------------------------------

KINDS = [("onnxruntime", "onnx"), ("openvino", "onnx"), ("torch", "torchscript"), ("torch", "aotinductor")]
PYTHON = {"torch torchscript": "torchscript", "torch aotinductor": "aotinductor"}
"""What the engine calls a backend's runtime, where it is not the same name."""
BOUND = 1e-6
"""Of a float32 result beside Python's in the same runtime and version, relative to the largest value."""

Arrays = dict[str, npt.NDArray[Any]]


def agree(found: Arrays, expected: Arrays) -> bool:
    """Whether all values are there and within `BOUND`."""
    return found.keys() == expected.keys() and all(
        found[name].shape == value.shape
        and bool(np.isfinite(found[name]).all())
        and float(np.abs(found[name] - value).max()) <= BOUND * max(float(np.abs(value).max()), 1e-30)
        for name, value in expected.items()
    )


def pictures(spec: Spec, count: int, seed: int = 0) -> npt.NDArray[np.uint8]:
    p = spec.preprocessing
    return np.random.default_rng(seed).integers(0, 256, (count, p.height, p.width, p.channels), dtype=np.uint8)


def asked(spec: Spec, count: int, target: Any = None, region: Any = None, seed: int = 0) -> Arrays:
    """A program's inputs, in its order."""
    return {"images": pictures(spec, count, seed), **program_inputs(spec, count, target, region)}


def python_says(path: Path, runtime: str, inputs: Arrays, spec: Spec) -> Arrays:
    found = load(path, device="cpu", runtime=runtime, trust=True).session(inputs)
    return dict(zip(output_shapes(spec, 1), found, strict=True))


def graph(path: Path, nodes: list[onnx.NodeProto], outputs: dict[str, Any], constants: Arrays | None = None) -> Path:
    """An ONNX file with the inputs `images` uint8 [N, 8, 8, 3] and `target` int64 [N]; outputs name → (type, shape)."""
    made = helper.make_graph(
        nodes,
        "graph",
        [
            helper.make_tensor_value_info("images", TensorProto.UINT8, ["N", 8, 8, 3]),
            helper.make_tensor_value_info("target", TensorProto.INT64, ["N"]),
        ],
        [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in outputs.items()],
        [numpy_helper.from_array(value, name) for name, value in (constants or {}).items()],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, path)
    return path


INPUTS: Arrays = {"images": np.zeros((2, 8, 8, 3), np.uint8), "target": np.array([3, 5])}
