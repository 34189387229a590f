"""Model + method -> program: import, cut, methods, adjoints, trace, emit, proof."""

from .compiling import SUFFIX, write_forward, write_program
from .methods import METHODS
from .models import Model, load_model, wrap_module
from .network import Layer, Network
from .proof import Lowering

__all__ = [
    "METHODS",
    "SUFFIX",
    "Layer",
    "Lowering",
    "Model",
    "Network",
    "load_model",
    "wrap_module",
    "write_forward",
    "write_program",
]
