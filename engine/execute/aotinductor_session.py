"""AOTInductor packages in torch: native code, so only files that one trusts as one trusts a program."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

import torch

from ..contract import SaccadeError, Spec, UsageError
from .session import Session
from .torch_session import TorchSession

logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # it warns where there is no GPU
import torch._inductor  # noqa: E402


def open_session(path: Path, spec: Spec, device: str, threads: int | None) -> tuple[Session, str]:
    """Open the package; returns the session and the device that it was compiled for."""
    if threads:
        torch.set_num_threads(threads)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            package = torch._inductor.aoti_load_package(str(path))
        used = package.get_metadata()["AOTI_DEVICE_KEY"]
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise SaccadeError(f"load: torch refuses {path}: {reason}; compile it again on this machine") from None
    if device not in ("auto", used):
        raise UsageError(
            f"load: {path} was compiled for {used}; use --device {used}, or compile it with --device {device}"
        )
    return TorchSession(package, path, spec, used), used
