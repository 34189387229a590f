"""Networks of which only a file for some runtime is left, brought into the compiler's graph."""

from .onnx_import import load_onnx
from .torchscript_import import load_torchscript

ENDINGS = (".onnx", ".pt", ".pth", ".ts", ".torchscript")
"""What the names of such files end in."""

__all__ = ["ENDINGS", "load_onnx", "load_torchscript"]
