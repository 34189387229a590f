"""How to run a program over photos, and what came of it."""

from __future__ import annotations

import importlib.util
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from .. import execute
from ..contract import Spec, UsageError
from ..render import Look
from ..sinks import MAX_SHARDS
from .sheets import SHEET_LIMIT, check_look

WORTH_A_PROCESS = 500
"""Photos from which on a run works in a process of its own, so that a photo that crashes it costs a row and not a
night. Starting one takes half a second."""
_SHARDS = 1000
_SMALLEST, _LARGEST = 64, 4096


@dataclass(frozen=True)
class RunOptions:
    """How to run a program over photos.

    Attributes:
        target: what to explain, as `execute.Runner.run` takes it for all images; None for the program's choice.
        batch_size: photos for one call of the program.
        decode: "fast" (JPEG at reduced scale) or "exact" (the model library's own pixels).
        look: colormap, scaling and opacity of pictures.
        overlays: whether to write one picture for each photo and map.
        keep: "small" or "full", see `sinks.EvidenceWriter`.
        sheet_limit: photos on the sheet, spread evenly over the run; 0 for no sheet.
        shard_size: photos in a shard, the unit of what is kept when a run is stopped; None for a thousandth of the
            set, from 64 to 4096.
        workers: processes that decode, execute and write; 0 for this one; None for 0 where there are few photos, else
            1. Two are for networks too small to use all cores in one call. They change nothing in what is written.
            With Ray: actors; None for as many as the cluster has room for.
        threads: decoding threads, and the runtime's, of all workers together; None for one per core. With Ray: of each
            actor, as many as it reserves CPUs; None for what fits, at most 4, or each GPU's share.
        patience: seconds for which a source that went away is waited for.
        engine: where the workers are: "local" or "ray", see docs/cluster.md.
    """

    target: Any = None
    batch_size: int = 16
    decode: Literal["fast", "exact"] = "fast"
    look: Look = field(default_factory=Look)
    overlays: bool = False
    keep: Literal["small", "full"] = "small"
    sheet_limit: int = SHEET_LIMIT
    shard_size: int | None = None
    workers: int | None = None
    threads: int | None = None
    patience: float = 60.0
    engine: Literal["local", "ray"] = "local"

    def to_json(self) -> dict[str, Any]:
        """The options by name, as JSON can say them."""
        target = self.target.tolist() if isinstance(self.target, np.ndarray) else self.target
        return {**asdict(self), "target": target}


WITHOUT_EFFECT = frozenset(("workers", "threads", "patience", "engine"))
"""The options that change nothing in what a run writes: it may go on with others."""


@dataclass(frozen=True)
class RunResult:
    """What a run did.

    Attributes:
        photos, failed: photos in the evidence, and those whose rows carry an error.
        before: how many of them were there already, from an earlier start.
        seconds: how long this start took.
        sheet: the contact sheet, if any.
        aside: shard → why its photos could not be run, not even one by one.
    """

    photos: int
    failed: int
    before: int
    seconds: float
    sheet: Path | None
    aside: dict[int, str]


@dataclass(frozen=True)
class Standing:
    """How far a run is.

    Attributes:
        listed, done, failed: photos in the manifest; those that were decoded and explained, earlier starts included;
            those of them that failed.
        before: photos that were there when it was started.
        shards, finished: shards in all, and those that are written.
        current: the shards that are being worked on.
        seconds: since it was started.
    """

    listed: int
    done: int
    failed: int
    before: int
    shards: int
    finished: int
    current: tuple[int, ...]
    seconds: float

    @property
    def rate(self) -> float:
        """Photos per second since it was started."""
        return (self.done - self.before) / self.seconds if self.seconds > 0 else 0.0

    @property
    def left(self) -> float | None:
        """Seconds that are left at this rate; None where that cannot be said yet."""
        return (self.listed - self.done) / self.rate if self.rate else None


def check_options(spec: Spec, options: RunOptions) -> None:
    """See that a program can be run so; `run` does it too.

    Raises:
        UsageError: an option does not fit the program.
    """
    for name, least in (("batch_size", 1), ("shard_size", 1), ("workers", 0), ("threads", 1), ("patience", 0)):
        value = getattr(options, name)
        if value is not None and not least <= value < math.inf:
            raise UsageError(f"run: {name.replace('_', ' ')} must be a number from {least} on; got {value}")
    if options.engine == "ray":
        if options.workers == 0:
            raise UsageError("run: on Ray all work is done by workers; expected 1 or more, got 0")
        if importlib.util.find_spec("ray") is None:
            raise UsageError("run: Ray is not installed; pip install 'saccade[ray]'")
    if spec.pixels != "uint8":
        raise UsageError(
            f"run: {spec.model} was compiled for ascent, to change a picture (saccade dream); it has no maps"
        )
    execute.program_inputs(spec, 1, options.target)
    check_look(spec, options.look)


def shard_size(photos: int, asked: int | None) -> int:
    """Photos in a shard.

    Raises:
        UsageError: there would be too many shards.
    """
    size = asked or min(max(photos // _SHARDS, _SMALLEST), _LARGEST)
    if photos > size * MAX_SHARDS:
        raise UsageError(
            f"run: {photos:,} photos in shards of {size} are over {MAX_SHARDS:,} shards; use --shard-size "
            f"{-(-photos // MAX_SHARDS)} or more"
        )
    return size
