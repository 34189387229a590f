"""Saccade shows what a convolutional network looks at, at dataset speed.

    import saccade

    program = saccade.compile(module, "grad-cam", input_size=224, mean=[0.5] * 3, std=[0.25] * 3)
    explanation = program(images)          # uint8 [N, H, W, 3]
    explanation.grad_cam                   # float32 [N, h, w]
    program.save("module.onnx")

Importing this package loads nothing heavy; what is named below is loaded when it is first used.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .engine.contract import PhotoError, SaccadeError, Spec, UsageError
    from .program import Explanation, Program, compile, dream, filters, layers, load

# From 1.29 on ONNX Runtime reports to its maker unless this is set before it is first imported. Other people's photos
# are nobody's business; who wants the reports sets it to 0.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__version__ = "0.1.0"

_WHERE = {
    "Explanation": ".program",
    "PhotoError": ".engine.contract",
    "Program": ".program",
    "SaccadeError": ".engine.contract",
    "Spec": ".engine.contract",
    "UsageError": ".engine.contract",
    "compile": ".program",
    "dream": ".program",
    "filters": ".program",
    "layers": ".program",
    "load": ".program",
}

__all__ = [
    "Explanation",
    "PhotoError",
    "Program",
    "SaccadeError",
    "Spec",
    "UsageError",
    "compile",
    "dream",
    "filters",
    "layers",
    "load",
]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'saccade' has no attribute {name!r}")
    return getattr(importlib.import_module(_WHERE[name], __name__), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
