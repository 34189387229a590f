"""How far a run is, seen from outside."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from .. import sinks
from ..contract import SaccadeError
from .folder import is_held
from .options import Standing

_SILENCE = 60.0
"""Seconds after which a run on another machine that says nothing is taken for dead."""


@dataclass(frozen=True)
class Status:
    """What run.json says of a run, and whether a process is at work on it.

    Attributes:
        state: "running"; "finished"; "interrupted" by Ctrl-C; "failed" with an error; "killed", where it says that it
            runs and nobody is there. All but the first two can be gone on with.
        standing: how far it is.
        where: the process and machine of its last start.
        starts: how often it was started.
        heard: seconds since it last wrote run.json.
        seconds: stage → seconds, summed over threads and workers; those that begin with `wait_` are of the main loop.
        aside: shard → why its photos could not be run.
    """

    state: Literal["running", "finished", "interrupted", "failed", "killed"]
    standing: Standing
    where: str
    starts: int
    heard: float
    seconds: Mapping[str, float]
    aside: Mapping[int, str]


def read_status(folder: str | os.PathLike[str]) -> Status:
    """Read how far a run is; it may be at work or not.

    Raises:
        UsageError: the folder is no run.
        SaccadeError: its run.json is damaged.
    """
    held = is_held(folder)  # first: a run that ends in between is finished, and not killed
    info = sinks.read_run(folder)
    try:
        return _status(info, held)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError) as error:
        raise SaccadeError(f"status: run.json of {folder} is damaged ({error!r}); repeat the run's command") from None


def _status(info: Mapping[str, Any], held: bool) -> Status:
    photos, shards, last = info["photos"], info["shards"], info["starts"][-1]
    state = info["status"]
    if state not in ("running", "finished", "interrupted", "failed"):
        raise ValueError(state)
    heard = time.time() - float(info["updated"])
    # From another machine a lock may not be seen.
    if state == "running" and not held and (last["host"] == socket.gethostname() or heard > _SILENCE):
        state = "killed"
    standing = Standing(
        listed=int(photos["listed"]),
        done=int(photos["done"]),
        failed=int(photos["failed"]),
        before=int(last["before"]),
        shards=int(shards["all"]),
        finished=int(shards["finished"]),
        current=tuple(int(n) for n in shards["current"]) if state == "running" else (),
        seconds=float(last["seconds"]),
    )
    return Status(
        state,
        standing,
        f"process {int(last['process'])} on {last['host']}",
        len(info["starts"]),
        heard,
        {str(k): float(v) for k, v in info["seconds"].items()},
        {int(k): str(v) for k, v in shards["aside"].items()},
    )
