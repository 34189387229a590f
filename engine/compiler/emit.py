"""The compiled graph as a file of a runtime's own kind."""

from __future__ import annotations

import copy
import logging
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import fx
from torch.export import Dim

from ..contract import SaccadeError, UsageError
from .loops import Loop, Scan
from .rewrites import fold_constants
from .trace import Traced, graph_modules

aten = torch.ops.aten

_PROTOBUF_LIMIT = 2**31 - 2**20
_EXPORT_BATCH = 4  # any size above 1: 0 and 1 are special to the exporter


def emit(traced: Traced, to: str, path: Path, device: str = "cpu") -> None:
    """Write the graph, without a contract yet, to `path` as `to` ("onnx", "torchscript" or "aotinductor").

    Args:
        device: "cpu" or "cuda", what AOTInductor makes code for; the others' files run on both, ONNX programs faster on
            what they are for.
    """
    folded = fold_constants(traced.module)
    if to == "onnx":
        emit_onnx(folded, traced, path, device)
    elif to == "torchscript":
        emit_torchscript(folded, path)
    else:
        emit_aotinductor(folded, traced, path, device)


def emit_onnx(module: fx.GraphModule, traced: Traced, path: Path, device: str = "cpu") -> None:
    """Through torch.export and torch's own ONNX exporter, rewritten to what ONNX Runtime is fast at.

    Raises:
        UsageError: the weights exceed the 2 GiB that one protobuf file holds.
        SaccadeError: an operator has no ONNX counterpart.
    """
    import onnx

    from .onnx_rewrites import simplify

    size = sum(b.numel() * b.element_size() for b in module.buffers())
    if size > _PROTOBUF_LIMIT:
        raise UsageError(
            f"compile: the weights take {size / 2**30:.1f} GiB, one ONNX file holds 2 GiB; use --to torchscript"
        )
    for name, part in list(module.named_children()):
        if isinstance(part, Loop):
            setattr(module, name, Scan(part.body))
    chatty = logging.getLogger("onnx_ir")
    level = chatty.level
    chatty.setLevel(logging.ERROR)  # it tells users what it could not shorten
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exported = _export(module, traced, "cpu")
        try:
            program = torch.onnx.export(
                exported,
                dynamo=True,
                input_names=["images", *(each.name for each in traced.inputs)],
                output_names=list(traced.outputs),
                verbose=False,
                optimize=True,
            )
        except Exception as error:
            reason = str(error.__cause__ or error).strip().splitlines()[0][:300]
            raise SaccadeError(
                f"compile: torch's ONNX exporter refused this graph ({reason}); use --to torchscript"
            ) from error
        finally:
            chatty.setLevel(level)
    assert program is not None
    model = program.model_proto
    del model.metadata_props[:]
    # The exporter notes for every node where in which file it came from: paths of the machine that compiled.
    for part in (model.graph, *model.functions):
        _forget_origin(part)
    simplify(model, device)
    onnx.save(model, str(path))


def _export(module: fx.GraphModule, traced: Traced, device: str) -> torch.export.ExportedProgram:
    example = (
        torch.zeros(_EXPORT_BATCH, *traced.image_shape, dtype=traced.pixels, device=device),
        *(each.zeros(_EXPORT_BATCH).to(device) for each in traced.inputs),
    )
    batch = Dim("N", min=1)
    return torch.export.export(module.eval(), example, dynamic_shapes=tuple({0: batch} for _ in example))


def _forget_origin(part: Any) -> None:
    """Clear the notes of a graph or function and of all that is in it."""
    part.ClearField("doc_string")
    del part.metadata_props[:]
    for item in (*part.node, *part.value_info):
        item.ClearField("doc_string")
        del item.metadata_props[:]
    for node in part.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                _forget_origin(attribute.g)
    if hasattr(part, "initializer"):
        for value in (*part.input, *part.output, *part.initializer):
            value.ClearField("doc_string")
            del value.metadata_props[:]


def emit_torchscript(module: fx.GraphModule, path: Path) -> None:
    """Through torch.jit.script of the same graph. It is deprecated, and still runs wherever torch does."""
    module = copy.deepcopy(module).eval()
    for part in graph_modules(module):
        _scriptable(part)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scripted = torch.jit.script(module)
        torch.jit.save(scripted, str(path))


def emit_aotinductor(module: fx.GraphModule, traced: Traced, path: Path, device: str) -> None:
    """Through torch.export and AOTInductor, `torch.compile`'s successor to TorchScript: native code for this kind of
    CPU or GPU, in a `.pt2` package.

    Raises:
        UsageError: a loop, which AOTInductor would unroll.
        SaccadeError: there is no C++ compiler, or AOTInductor refuses the graph.
    """
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # it warns where there is no GPU
    import torch._inductor

    if any(isinstance(part, Loop) for part in module.children()):
        raise UsageError(
            "compile: --to aotinductor takes no method with a loop in it (smooth-grad, integrated-gradients, "
            "score-cam, ablation-cam, occlusion); use --to torchscript or onnx"
        )
    module = copy.deepcopy(module).to(device)
    # Weights as constants, in the order that this CPU's convolutions read them; of no graph that could be trained.
    options: dict[str, Any] = {"freezing": True} if device == "cpu" else {}
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        try:
            torch._inductor.aoti_compile_and_package(
                _export(module, traced, device), package_path=str(path), inductor_configs=options
            )
        except Exception as error:
            reason = str(error.__cause__ or error).strip().splitlines()
            said = (reason or [type(error).__name__])[0][:300]
            what = "needs a C++ compiler" if "InvalidCxxCompiler" in f"{error!r}{error}" else "refused this graph"
            raise SaccadeError(
                f"compile: AOTInductor {what} ({said}); use --to torchscript (see: saccade doctor)"
            ) from error


def _scriptable(module: fx.GraphModule) -> None:
    """Scripting resolves overloads by itself, from the arguments, and knows a few operators by another name."""
    for node in module.graph.nodes:
        if not isinstance(node.target, torch._ops.OpOverload):
            continue
        if node.target is aten.sym_size.int:
            node.target = aten.size
        elif node.target is aten._to_copy.default:
            node.target, node.args, node.kwargs = aten.to, (node.args[0], node.kwargs["dtype"]), {}
        elif node.target is aten.lift_fresh_copy.default:
            node.target = aten.clone
        else:
            node.target = node.target.overloadpacket
        node.kwargs = {k: v for k, v in node.kwargs.items() if k not in ("device", "pin_memory", "layout")}
    module.recompile()
