"""Networks exported as other programs export them, and ONNX graphs written by hand."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

Export = Callable[[nn.Module, torch.Tensor, Path], Path]
_EXPORTER = logging.getLogger("torch.onnx")


@contextlib.contextmanager
def _silence():
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        yield


def dynamo(module: nn.Module, x: torch.Tensor, folder: Path) -> Path:
    """The present exporter of torch: a free batch, weights in a file beside."""
    path = folder / "dynamo.onnx"
    with _silence():
        shapes = ({0: torch.export.Dim("N", min=1)},)
        torch.onnx.export(module, (x,), str(path), dynamo=True, dynamic_shapes=shapes, verbose=False)
    return path


def fixed(module: nn.Module, x: torch.Tensor, folder: Path) -> Path:
    """The same as it is when nobody says anything of batches: one picture at a time."""
    path = folder / "fixed.onnx"
    with _silence():
        torch.onnx.export(module, (x[:1],), str(path), dynamo=True, verbose=False)
    return path


def legacy(module: nn.Module, x: torch.Tensor, folder: Path) -> Path:
    """The older exporter of torch, with an operator set of 2021."""
    path = folder / "legacy.onnx"
    names = {"input_names": ["x"], "dynamic_axes": {"x": {0: "N"}}}
    with _silence():
        torch.onnx.export(module, (x,), str(path), dynamo=False, opset_version=13, **names)
    return path


def old(module: nn.Module, x: torch.Tensor, folder: Path) -> Path:
    """The same with an older operator set and one picture at a time."""
    path = folder / "old.onnx"
    with _silence():
        torch.onnx.export(module, (x[:1],), str(path), dynamo=False, opset_version=11)
    return path


def traced(module: nn.Module, x: torch.Tensor, folder: Path) -> Path:
    """torch.jit.trace."""
    with _silence():
        torch.jit.trace(module, x, check_trace=False).save(folder / "traced.pt")  # pyright: ignore
    return folder / "traced.pt"


def scripted(module: nn.Module, x: torch.Tensor, folder: Path) -> Path:
    """torch.jit.script."""
    with _silence():
        torch.jit.script(module).save(folder / "scripted.pt")
    return folder / "scripted.pt"


def frozen(module: nn.Module, x: torch.Tensor, folder: Path) -> Path:
    """torch.jit.freeze: no module is left, weights are constants, batch norms are folded."""
    with _silence():
        torch.jit.freeze(torch.jit.script(module)).save(folder / "frozen.pt")
    return folder / "frozen.pt"


EXPORTS: dict[str, Export] = {e.__name__: e for e in (dynamo, fixed, legacy, old, traced, scripted, frozen)}


def write_graph(
    path: Path,
    nodes: Sequence[onnx.NodeProto],
    constants: dict[str, np.ndarray] | None = None,
    shape: Sequence[int | str] = ("N", 3, 8, 10),
    opset: int = 17,
    kind: int = TensorProto.FLOAT,
) -> Path:
    """An ONNX file of these nodes, from `x` to `y`; its output's shape is left open."""
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in (constants or {}).items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path
