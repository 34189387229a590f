"""ONNX programs in OpenVINO, on the CPU; imports no torch. An extra: `pip install saccade[openvino]`."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..contract import SaccadeError, Spec, UsageError
from .session import Session, check_names


def open_session(path: Path, spec: Spec, device: str, threads: int | None) -> tuple[Session, str]:
    """Open the program; returns the session and the device that it runs on."""
    try:
        import openvino
    except ImportError as error:
        raise UsageError(
            f"load: runtime 'openvino': {error}; pip install 'saccade[openvino]', or use --runtime onnxruntime"
        ) from None
    if device == "cuda":
        raise UsageError("load: runtime 'openvino' runs on the CPU; use --device cpu, or --runtime onnxruntime")
    options: dict[str, Any] = {
        # By itself it takes bfloat16 where the CPU has it; a program's proof is of float32.
        "INFERENCE_PRECISION_HINT": "f32",
        "PERFORMANCE_HINT": "LATENCY",  # one batch at a time on all cores; decoding and drawing fill the gaps
        "ENABLE_CPU_PINNING": False,
    }
    if threads:
        options["INFERENCE_NUM_THREADS"] = threads
    try:
        compiled = openvino.Core().compile_model(str(path), "CPU", options)
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
