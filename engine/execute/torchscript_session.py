"""TorchScript programs in torch. TorchScript is deprecated; see `compiler/emit.py` for what follows it."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch

from ..contract import SaccadeError, Spec
from .devices import cuda_devices
from .session import Session
from .torch_session import TorchSession


def open_session(path: Path, spec: Spec, device: str, threads: int | None) -> tuple[Session, str]:
    """Open the program; returns the session and the device that it runs on."""
    used = "cuda" if device == "cuda" or (device == "auto" and cuda_devices() and torch.cuda.is_available()) else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise SaccadeError("load: this torch has no CUDA; use --device cpu, or install a CUDA build of torch")
    if threads:
        torch.set_num_threads(threads)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            module = torch.jit.freeze(torch.jit.load(str(path), map_location=used).eval())
    except Exception as error:
        reason = str(error).strip().splitlines()[0]
        raise SaccadeError(f"load: torch refuses {path}: {reason}; compile it again") from None
    return TorchSession(module, path, spec, used), used
