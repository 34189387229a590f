"""What this machine has, what is missing, and the command that adds it."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import platform
from dataclasses import dataclass

from .engine.contract import UsageError


@dataclass(frozen=True)
class Finding:
    """A line of the report: what was looked for, whether it is there, its details, and what to do if it is not."""

    name: str
    good: bool
    details: str
    advice: str = ""


def examine() -> list[Finding]:
    """Look at Python, the extension, the runtimes, the GPU and the libraries."""
    found = [Finding("Python", True, f"{platform.python_version()} on {platform.platform()}, {os.cpu_count()} cores")]
    found.append(_extension())
    found.append(_onnxruntime())
    found.append(_torch())
    found.append(_gpu())
    for name, use in (
        ("torchvision", "models"),
        ("timm", "models"),
        ("onnx", "writing ONNX programs"),
        ("onnxscript", "writing ONNX programs"),
        ("pyarrow", "evidence"),
        ("duckdb", "questions to the evidence"),
        ("pillow", "decoding"),
    ):
        version = _version(name)
        found.append(Finding(name, version is not None, f"{version or 'missing'} ({use})", f"pip install {name}"))
    return found


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _extension() -> Finding:
    try:
        native = importlib.import_module("saccade._native")
    except ImportError as error:
        return Finding("extension", False, str(error), "pip install --force-reinstall saccade, with a C++17 compiler")
    try:
        return Finding("extension", True, f"CPU path: {native.isa()} ({platform.machine()})")
    except UsageError as error:
        return Finding("extension", False, str(error), "unset SACCADE_ISA")


def _onnxruntime() -> Finding:
    distribution = next((n for n in ("onnxruntime-gpu", "onnxruntime") if _version(n)), None)
    if distribution is None:
        return Finding("onnxruntime", False, "missing", "pip install onnxruntime (or onnxruntime-gpu, never both)")
    if _version("onnxruntime-gpu") and _version("onnxruntime"):
        advice = "pip uninstall onnxruntime onnxruntime-gpu, then install one of them: they overwrite each other"
        return Finding("onnxruntime", False, "onnxruntime and onnxruntime-gpu are both installed", advice)
    import onnxruntime

    providers = ", ".join(p.removesuffix("ExecutionProvider") for p in onnxruntime.get_available_providers())
    return Finding("onnxruntime", True, f"{distribution} {_version(distribution)}: {providers}")


def _torch() -> Finding:
    version = _version("torch")
    if version is None:
        return Finding("torch", False, "missing (compiling, TorchScript programs)", "pip install torch torchvision")
    return Finding("torch", True, f"{version} (compiling, TorchScript programs)")


def _gpu() -> Finding:
    from .engine.execute import cuda_devices

    count = cuda_devices()
    if not count:
        return Finding("GPU", True, "none: the driver shows no CUDA device; programs run on the CPU")
    import torch

    if not torch.cuda.is_available():
        return Finding(
            "GPU", False, f"{count} CUDA devices, but this torch has no CUDA", "install a CUDA build of torch"
        )
    return Finding("GPU", True, ", ".join(torch.cuda.get_device_name(i) for i in range(count)))
