"""The file of another runtime that a network was read from, and its proof: the network gives that file's own logits."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..contract import Preprocessing, SaccadeError, UsageError

if TYPE_CHECKING:
    from torch.export import ExportedProgram

    from .network import Network

LOGITS = 1e-4
"""Largest difference between the artefact's float32 logits and the network's in float64, relative to the largest."""

MAX_VALUES = 2**28
"""Numbers of the largest value that a file may make of one picture: 1 GiB. Only its shapes are known so far."""

MAX_BATCH = 256
"""Pictures that a file with a fixed batch is given at once, for the proof."""

RunArtefact = Callable[[np.ndarray], np.ndarray]
"""float32 pictures, as the artefact takes them, to its logits."""


@dataclass(frozen=True)
class Artefact:
    """The file that a network was read from.

    Attributes:
        path: an `.onnx` or TorchScript file.
        batch: the batch size that it is fixed to, or None.
        channels_last: whether it takes pictures [N, H, W, C].
        operators: of a TorchScript file, those that it may run.
    """

    path: Path
    batch: int | None = None
    channels_last: bool = False
    operators: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if self.batch is not None and self.batch > MAX_BATCH:
            raise UsageError(
                f"model {self.path}: it is fixed to batches of {self.batch}; expected at most {MAX_BATCH}; export it "
                "with a free batch size"
            )


def check_picture(path: Path, height: int, width: int) -> None:
    """Refuse pictures that are larger than any network's.

    Raises:
        UsageError: more than 8192² pixels.
    """
    if not 0 < height * width <= 2**26:
        raise UsageError(f"model {path}: its pictures have {height}x{width} pixels; expected 1 to {2**26:,}")


def check_sizes(path: Path, program: ExportedProgram) -> None:
    """Refuse a file whose values would take more memory than a network of pictures does, before any is computed.

    Raises:
        UsageError: one of them is larger than `MAX_VALUES`.
    """
    for node in program.graph.nodes:
        values = node.meta.get("val")
        for value in values if isinstance(values, (tuple, list)) else (values,):
            if isinstance(value, torch.Tensor):
                sizes = [s for s in value.shape if isinstance(s, int)]
                if math.prod(sizes) > MAX_VALUES:
                    raise UsageError(
                        f"model {path}: it makes a value of the shape {['N', *sizes][:6]}; expected at most "
                        f"{MAX_VALUES:,} numbers for a picture"
                    )


def prove_artefact(network: Network, preprocessing: Preprocessing, run: RunArtefact) -> dict[str, float]:
    """Hold a network against the artefact that it was read from, on a batch of three pictures and on one alone.

    Args:
        run: the artefact in its own runtime.

    Returns:
        The largest difference of a logit, for the contract.

    Raises:
        SaccadeError: it exceeds its bound.
    """
    from .proof import error_to_maximum, pictures  # which know the network's graph
    from .trace import normalise

    artefact = network.artefact
    assert artefact is not None
    drawn = torch.from_numpy(pictures(preprocessing, ["textured", "flat", "letterboxed"], seed=6))
    x = normalise(drawn, preprocessing, torch.float64)
    state = {k: v.double() if v.is_floating_point() else v for k, v in network.state.items()}
    with torch.no_grad():
        expected = network.cut(state, x, network.input)[1](x).numpy()
    given = x.permute(0, 2, 3, 1) if artefact.channels_last else x
    given = np.ascontiguousarray(given.numpy(), dtype=np.float32)
    if artefact.batch is None:
        answers = [(run(given), expected), (run(given[:1]), expected[:1])]
    else:  # each picture by itself, as often as the file wants it
        answers = [
            (run(g[None].repeat(artefact.batch, axis=0))[:1], e[None]) for g, e in zip(given, expected, strict=True)
        ]
    worst = 0.0
    for got, logits in answers:
        if got.shape != logits.shape:
            raise SaccadeError(
                f"compile: proof failed: {artefact.path} gives {list(got.shape)} for {len(logits)} pictures, the "
                f"network read from it {list(logits.shape)}; no file was written; please report this network"
            )
        worst = max(worst, error_to_maximum(got, logits))
    if not worst <= LOGITS:
        raise SaccadeError(
            f"compile: proof failed: the logits of the network read from {artefact.path} differ from the file's own by "
            f"{worst:.1e} of the largest (allowed {LOGITS:.0e}); no file was written; please report this network"
        )
    return {"logits": float(f"{worst:.2e}"), "bound": LOGITS}
