"""A network that somebody else exported, in its own runtime: what a compiled program's logits are proven against."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ..contract import SaccadeError

Run = Callable[[np.ndarray], np.ndarray]


def open_artefact(path: Path, operators: frozenset[str] = frozenset()) -> Run:
    """Open an ONNX or TorchScript network on the CPU. The file has been read and checked before.

    Args:
        operators: those of TorchScript that it may run.

    Returns:
        A function from float32 pictures, as the file takes them, to its one output, which it may have in a table (as
        "out") or a tuple.

    Raises:
        SaccadeError: the runtime refuses the file, or its pictures.
    """
    with open(path, "rb") as file:
        archive = file.read(2) == b"PK"
    try:
        run = _torchscript(path, operators) if archive else _onnx(path)
    except SaccadeError:
        raise
    except Exception as error:
        raise SaccadeError(f"compile: {path} does not open in its own runtime ({_line(error)}); no proof") from None

    def apply(images: np.ndarray) -> np.ndarray:
        try:
            return run(images)
        except Exception as error:
            raise SaccadeError(
                f"compile: {path} does not run in its own runtime on {list(images.shape)} ({_line(error)}); no proof"
            ) from None

    return apply


def _onnx(path: Path) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what it has to say, it raises
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda images: np.asarray(session.run(None, {name: images})[0])


def _torchscript(path: Path, operators: frozenset[str]) -> Run:
    from .torchscript_session import open_network

    return open_network(path, operators)


def _line(error: Exception) -> str:
    lines: list[Any] = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[-1][:200]}"
