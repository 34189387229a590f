"""ONNX programs in ONNX Runtime; imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from ..contract import SaccadeError, Spec, UsageError
from .devices import cuda_devices
from .session import Session, check_names


def open_session(path: Path, spec: Spec, device: str, threads: int | None) -> tuple[Session, str]:
    """Open the program; returns the session and the device that it runs on."""
    options = ort.SessionOptions()
    options.log_severity_level = 3  # errors alone; they also come as exceptions
    if threads:
        options.intra_op_num_threads = threads
    # Idle threads that spin take the cores that decoding and drawing need.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    providers: list[Any] = ["CPUExecutionProvider"]
    has_cuda = "CUDAExecutionProvider" in ort.get_available_providers()
    if device == "cuda" and not has_cuda:
        raise UsageError(
            "load: this onnxruntime has no CUDA provider; use --device cpu, or install onnxruntime-gpu in its place"
        )
    if device == "cuda" or (device == "auto" and has_cuda and cuda_devices()):
        ort.preload_dlls()  # finds the CUDA libraries of NVIDIA's own Python packages, which torch brings
        providers.insert(0, ("CUDAExecutionProvider", {"use_tf32": "0"}))  # a float32 program in float32
    try:
        session = ort.InferenceSession(str(path), options, providers=providers)
    except Exception as error:
        reason = str(error).splitlines()[0]
        raise SaccadeError(f"load: ONNX Runtime refuses {path}: {reason}; compile it again") from None
    used = "cuda" if session.get_providers()[0] == "CUDAExecutionProvider" else "cpu"
    if device == "cuda" and used == "cpu":
        raise SaccadeError(
            "load: ONNX Runtime could not start its CUDA provider (see: saccade doctor); use --device cpu"
        )
    inputs = {i.name for i in session.get_inputs()}
    names = check_names(path, spec, inputs, {o.name for o in session.get_outputs()})

    return OnnxRuntimeSession(session, names, used), used


class OnnxRuntimeSession:
    """See `session.DeviceSession`."""

    def __init__(self, session: ort.InferenceSession, names: list[str], device: str) -> None:
        self._session, self._names, self._device = session, names, device

    def __call__(self, inputs: Mapping[str, npt.NDArray[Any]]) -> list[npt.NDArray[np.float32]]:
        return self._session.run(self._names, dict(inputs))  # pyright: ignore[reportReturnType]

    def on_device(self, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> None:
        binding = self._session.io_binding()
        for bind, tensors in ((binding.bind_input, inputs), (binding.bind_output, outputs)):
            for name, tensor in tensors.items():
                kind = np.dtype(str(tensor.dtype).removeprefix("torch."))
                bind(name, self._device, tensor.device.index or 0, kind, tuple(tensor.shape), tensor.data_ptr())
        self._session.run_with_iobinding(binding)  # waits for its own stream
