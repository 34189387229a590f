"""The one call: `load(path)` gives a Runner, `runner.run(images, target)` the maps."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import numpy.typing as npt

from ..contract import Maps, SaccadeError, Spec, UsageError
from ..contract.program_file import Contract, read_contract
from ..contract.spec import Precision
from .asking import explained, program_inputs
from .devices import cuda_devices
from .session import Session

RUNTIMES = {
    "onnx": ("onnxruntime", "openvino"),
    "torchscript": ("torchscript",),
    "aotinductor": ("aotinductor",),
}
"""The kind of a program file → the runtimes that run it, its own first: the one that it was proven in."""


@dataclass(frozen=True)
class Origin:
    """How a program was loaded, so that another process can load it in the same way: arguments of `load`."""

    path: str
    device: str
    runtime: str
    precision: Precision


class Runner:
    """A loaded program.

    Attributes:
        spec: its contract.
        runtime: `onnxruntime`, `openvino`, `torchscript` or `aotinductor`.
        device: `cpu` or `cuda`.
        precision: `float32`, `float16` or `bfloat16`, what it multiplies in.
    """

    def __init__(self, spec: Spec, runtime: str, device: str, precision: str, session: Session) -> None:
        self.spec = spec
        self.runtime = runtime
        self.device = device
        self.precision = precision
        self.measured: dict[str, Any] = {}
        """What was measured before it was chosen; a run writes it down."""
        self._session: Session | None = session
        self.origin: Origin | None = None
        """Where it comes from; None if it was not made by `load`."""

    @property
    def session(self) -> Session:
        """What runs it."""
        if self._session is None:
            assert self.origin is not None
            self._session = load(**vars(self.origin), trust=True).session
        return self._session

    def release(self) -> None:
        """Give back its memory, where it can be loaded again: that is done when it is run next."""
        if self.origin is not None:
            self._session = None

    def run(self, images: npt.NDArray[np.uint8 | np.float32], target: Any = None, region: Any = None) -> Maps:
        """Explain a batch.

        Args:
            images: uint8 [N, H, W, C] of the contract's size (float32 for an ascent, see `Spec.pixels`).
            target: what to explain, one for all images or one for each; None for the program's own choice. By the
                contract's kind of target: class indices (-1: the predicted one), weights of outputs or an output's
                index, a channel or (channel, row, column).
            region: of a segmentation: bool or uint8 [H, W] or [N, H, W], where the score is taken; None, or a picture
                of zeros, for the network's own region of the class.

        Raises:
            UsageError: wrong dtype or shape, or a target that the network does not have.
        """
        p = self.spec.preprocessing
        expected = f"{self.spec.pixels} [N, {p.height}, {p.width}, {p.channels}]"
        if (
            images.dtype != np.dtype(self.spec.pixels)
            or images.ndim != 4
            or images.shape[1:] != (p.height, p.width, p.channels)
        ):
            raise UsageError(f"run: expected images {expected}, got {images.dtype} {list(images.shape)}")
        if len(images) == 0:
            raise UsageError(f"run: expected at least one image {expected}, got none")
        inputs = program_inputs(self.spec, len(images), target, region)
        try:
            logits, *rest = self.session({"images": np.ascontiguousarray(images), **inputs})
        except Exception as error:  # out of memory, or a graph that is not what its contract says
            reason = str(error).strip().splitlines() or [type(error).__name__]
            raise SaccadeError(
                f"run: {self.runtime} fails on a batch of {len(images)} ({reason[0][:200]}); try a smaller batch size"
            ) from error
        maps = dict(zip((m.name for m in self.spec.maps), rest, strict=False))
        self._check_shapes(len(images), logits, maps)
        found, score = explained(self.spec, logits, inputs)
        return Maps(logits, found, maps, rest[-1] if self.spec.features else None, score)

    def _check_shapes(self, count: int, logits: npt.NDArray, maps: dict[str, npt.NDArray]) -> None:
        spec = self.spec
        expected = {"logits": (count, spec.num_outputs, *(spec.output_size or ()))}
        expected |= {m.name: (count, *m.shape) for m in spec.maps}
        for name, values in {"logits": logits, **maps}.items():
            if values.shape != expected[name]:
                raise SaccadeError(
                    f"run: {name} of {spec.model} has shape {list(values.shape)}, its contract says "
                    f"{list(expected[name])}; compile it again"
                )


def load(
    path: str | os.PathLike[str],
    device: str = "auto",
    runtime: str = "auto",
    threads: int | None = None,
    precision: Precision | None = None,
    trust: bool = False,
    contract: Contract | None = None,
) -> Runner:
    """Check and load a program file.

    Args:
        path: a `.onnx`, `.ts` or `.pt2` file made by `saccade compile`.
        device: "cpu", "cuda", or "auto": CUDA where there is a device and the runtime was built for it.
        runtime: "onnxruntime", "openvino" (both for `.onnx`), "torchscript", "aotinductor", or "auto": the one that the
            file was proven in (`fastest` measures which is the fastest).
        threads: CPU threads of the runtime; None leaves its own default, all cores.
        precision: None for what the file was compiled in; OpenVINO can run a float32 file in "bfloat16" or "float16"
            where the CPU computes them (`contract.Agreement` says what that costs).
        trust: run native code from the file. A `.pt2` program is a shared library: load only what you compiled or got
            from someone you would run a program of.
        contract: what `read_contract` found in this file, for one who has read it already; None reads it.

    Raises:
        UsageError: no such file, or a runtime or device that is not to be had.
        SaccadeError: the file is no program or is damaged.
    """
    kind, spec = contract or read_contract(path)
    fitting = RUNTIMES[kind]
    if runtime not in ("auto", *fitting):
        every = [name for names in RUNTIMES.values() for name in names]
        what = f"{path} is for {' or '.join(fitting)}" if runtime in every else f"expected one of {', '.join(every)}"
        raise UsageError(f"load: runtime {runtime!r}: {what}; compile it again with --to for another runtime")
    if kind == "aotinductor" and not trust:
        raise UsageError(
            f"load: {path} is native code that would run as a program of yours; say --trust if you know who compiled it"
        )
    chosen = fitting[0] if runtime == "auto" else runtime
    wanted = precision or spec.precision
    if wanted not in get_args(Precision):
        raise UsageError(f"load: precision {wanted!r}: expected one of {', '.join(get_args(Precision))}")
    if wanted != spec.precision and not (chosen == "openvino" and spec.precision == "float32"):
        raise UsageError(
            f"load: {path} computes in {spec.precision}, not {wanted}; compile it with --precision {wanted}"
            + (", or use --runtime openvino" if "openvino" in fitting and spec.precision == "float32" else "")
        )
    if device not in ("auto", "cpu", "cuda"):
        raise UsageError(f"load: device {device!r}: expected auto, cpu or cuda")
    if device == "cuda" and not cuda_devices():
        raise UsageError("load: device 'cuda': the driver shows no CUDA device here; use --device cpu (saccade doctor)")
    if chosen == "onnxruntime":
        from .onnxruntime_session import open_session
    elif chosen == "openvino":
        from .openvino_session import open_session
    elif chosen == "aotinductor":
        from .aotinductor_session import open_session
    else:
        from .torchscript_session import open_session
    narrower: dict[str, Any] = {} if wanted == spec.precision else {"precision": wanted}  # OpenVINO's alone
    session, used = open_session(Path(path), spec, device, threads, **narrower)
    runner = Runner(spec, chosen, used, wanted, session)
    runner.origin = Origin(os.path.abspath(path), used, chosen, wanted)
    return runner
