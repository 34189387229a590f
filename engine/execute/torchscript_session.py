"""TorchScript programs in torch. TorchScript is deprecated; see `compiler/emit.py` for what follows it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

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


_CONTROL = frozenset(
    "Constant CreateObject DictConstruct GetAttr If ListConstruct ListUnpack Loop NumToTensor RaiseException "
    "TupleConstruct TupleIndex TupleUnpack Uninitialized data device dtype is_cuda is_quantized layout max min "
    "requires_grad shape unchecked_cast unchecked_unwrap_optional".split()
)
_OF_NUMBERS = frozenset(
    "Bool BoolImplicit Delete Float FloatImplicit Int IntImplicit ScalarImplicit __derive_index __getitem__ "
    "__range_length _set_item dict len str".split()
)
"""What torch makes of conditions, loops and numbers in the code."""


def open_network(path: Path, operators: frozenset[str]) -> Callable[[np.ndarray], np.ndarray]:
    """Open somebody else's network, whose archive has been checked: a function from float32 pictures to its output.

    torch's own reading of the code is held to the same operators: what it runs is looked at, not what it was read from.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = torch.jit.load(str(path), map_location="cpu").eval()
    known = {"aten": operators | _OF_NUMBERS, "prim": _CONTROL}
    graph = module.inlined_graph  # which its blocks and nodes live no longer than
    waiting = [graph]
    while waiting:
        for node in waiting.pop().nodes():
            waiting += node.blocks()
            space, _, name = node.kind().partition("::")
            if name not in known.get(space, ()):
                raise SaccadeError(f"compile: {path} runs {node.kind()}, which no network that can be explained has")

    def run(images: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            found = module(torch.from_numpy(images))
        if isinstance(found, dict):
            found = found["out"]
        return (found if isinstance(found, Tensor) else next(f for f in found if isinstance(f, Tensor))).numpy()

    return run
