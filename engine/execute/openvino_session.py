"""ONNX programs in OpenVINO, on the CPU; imports no torch. An extra: `pip install saccade[openvino]`."""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from ..contract import SaccadeError, Spec, UsageError
from ..contract.masks import IDENTITY, STEEP
from ..contract.spec import Precision
from .session import Session, check_names

_HINTS = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}
_CAPABILITIES = {"float32": "FP32", "bfloat16": "BF16", "float16": "FP16"}


def open_session(
    path: Path, spec: Spec, device: str, threads: int | None, precision: Precision = "float32"
) -> tuple[Session, str]:
    """Open the program; returns the session and the device that it runs on."""
    try:
        openvino = _openvino()
    except ImportError as error:
        raise UsageError(
            f"load: runtime 'openvino': {error}; pip install 'saccade[openvino]', or use --runtime onnxruntime"
        ) from None
    if device == "cuda":
        raise UsageError("load: runtime 'openvino' runs on the CPU; use --device cpu, or --runtime onnxruntime")
    try:
        core = openvino.Core()
        has = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    except RuntimeError as error:
        reason = (str(error).strip().splitlines() or ["no reason given"])[-1][:200]
        raise SaccadeError(f"load: OpenVINO finds no CPU ({reason}); use --runtime onnxruntime") from None
    if _CAPABILITIES[precision] not in has:
        raise UsageError(
            f"load: this CPU computes no {precision} (OpenVINO: {', '.join(has)}); use --precision float32"
        )
    options: dict[str, Any] = {
        # By itself it takes bfloat16 where the CPU has it; a program's proof is of float32.
        "INFERENCE_PRECISION_HINT": _HINTS[precision],
        "PERFORMANCE_HINT": "LATENCY",  # one batch at a time on all cores; decoding and drawing fill the gaps
        "ENABLE_CPU_PINNING": False,
    }
    if threads:
        options["INFERENCE_NUM_THREADS"] = threads
    try:
        model = core.read_model(str(path))
        _simple_masks(model)
        compiled = core.compile_model(model, "CPU", options)
    except Exception as error:
        reason = str(error).strip().splitlines()
        raise SaccadeError(
            f"load: OpenVINO refuses {path}: {(reason or ['no reason given'])[-1][:200]}; use --runtime onnxruntime"
        ) from None
    outputs = {name: port for port in compiled.outputs for name in port.get_names()}
    inputs = {name for port in compiled.inputs for name in port.get_names()}
    names = check_names(path, spec, inputs, set(outputs))

    own = threading.local()  # a compiled model's own call shares one request, and its memory, among threads

    def run(inputs: Mapping[str, npt.NDArray[Any]]) -> list[npt.NDArray[np.float32]]:
        if not hasattr(own, "request"):
            own.request = compiled.create_infer_request()
        found = own.request.infer(dict(inputs))
        return [found[outputs[name]] for name in names]

    return run, "cpu"


_importing = threading.Lock()


def _openvino() -> ModuleType:
    """The package, as if its reports were not installed, which nothing here needs: importing it sends one to its maker,
    through a process forked from all that runs here, which may hang and hold our files open.
    """
    reports = "openvino_telemetry"
    with _importing:
        hidden = sys.modules.setdefault(reports, None) is None  # pyright: ignore[reportArgumentType]
        try:
            import openvino
        finally:
            if hidden:
                del sys.modules[reports]
    return openvino


def _simple_masks(model: Any) -> None:
    """The masks that `compiler.onnx_rewrites` makes for ONNX Runtime are comparisons, and the convolutions with 1 in
    front of them are nothing: here that is less work, and float16 has no 2^100.
    """
    from openvino import opset13 as operators

    for node in model.get_ordered_ops():
        if node.get_type_name() == "Tanh":
            norm = node.input_value(0).get_node()
            if norm.get_type_name() != "BatchNormInference":
                continue
            y = norm.input_value(0)
            constants = [_constant_behind(norm.input_value(i)) for i in (1, 2)]
            scale, shift = (0.0 if each is None else float(each.data.flat[0]) for each in constants)
            if abs(scale) == STEEP:
                compare = operators.greater if scale > 0 else operators.less
                mask = operators.convert(compare(y, np.float32(-shift / scale)), "f32")
                node.output(0).replace(mask.output(0))
        elif node.get_type_name() == "GroupConvolution":
            kernel = _constant_behind(node.input_value(1))
            if kernel is not None and kernel.get_friendly_name().startswith(IDENTITY):
                node.output(0).replace(node.input_value(0))


def _constant_behind(value: Any) -> Any:
    """The constant that a value is, reshaped or not."""
    node = value.get_node()
    while node.get_type_name() in ("Reshape", "Unsqueeze"):
        node = node.input_value(0).get_node()
    return node if node.get_type_name() == "Constant" else None
