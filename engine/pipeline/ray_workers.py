"""Workers that are actors of a Ray cluster. Ray is imported when one is asked for, and not before."""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import os
import queue
import re
import socket
import threading
import time
from collections.abc import Sequence
from typing import Any

from ..contract import SaccadeError, UsageError
from .crew import Cause, Heard
from .worker import serve

_FEW_THREADS = 4
"""Threads of an actor where nobody says how many: a network scales to that many, and a photo costs one program's memory
for each actor."""
_MOST_OF_THEM = 0.9
"""The share of all CPUs that these threads must make use of, or else there are fewer."""
_TELL = 0.5
"""Seconds for which an actor keeps the news that a batch is done, which nobody waits for: a call costs a millisecond of
the run's own process."""
_GONE = 30.0
"""Seconds to wait for the news that an actor which was ended is gone."""


class Cluster:
    """The Ray cluster that this process belongs to, as long as the `with` block lasts:

    the one that is connected already, that of RAY_ADDRESS, one that was begun here by `ray start`, or else one of this
    machine alone, which ends with the block.

    Args:
        device: "cuda": each actor has a GPU of its own.
        workers: how many actors; None for as many as there is room for.
        threads: CPUs of each actor; None for what fits.

    Attributes:
        workers, threads: what was chosen.
    """

    def __init__(self, device: str, workers: int | None, threads: int | None) -> None:
        import ray

        self._ray, self._gpus = ray, int(device == "cuda")
        self._asked = workers, threads
        self.workers = self.threads = 0
        self._own = False

    def __enter__(self) -> Cluster:
        """Connect.

        Raises:
            UsageError: there is no room for a single actor.
            SaccadeError: there is no cluster where RAY_ADDRESS says.
        """
        ray = self._ray
        if not ray.is_initialized():
            try:
                ray.init(log_to_driver=False, logging_level=logging.ERROR, include_dashboard=False)
            except (ConnectionError, RuntimeError, ValueError) as error:
                where = os.environ.get("RAY_ADDRESS") or "this machine"
                why = str(error).splitlines()[0] if str(error) else repr(error)
                raise SaccadeError(
                    f"run: no Ray cluster at {where} ({why}); see that it is there (ray status), or unset RAY_ADDRESS"
                ) from None
            self._own = True
        try:
            resources = [node["Resources"] for node in ray.nodes() if node["Alive"]]
            nodes = [(int(found.get("CPU", 0)), int(found.get("GPU", 0))) for found in resources]
            self.workers, self.threads = room(nodes, bool(self._gpus), *self._asked)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._own:
            self._ray.shutdown()
            self._own = False

    def start(self, job: dict[str, Any], heard: Heard) -> Actor:
        """Start a worker where there is room for it, or as soon as there is."""
        return Actor(job, heard, {"num_cpus": self.threads, "num_gpus": self._gpus})


def room(nodes: Sequence[tuple[int, int]], cuda: bool, workers: int | None, threads: int | None) -> tuple[int, int]:
    """How many actors, and CPUs for each.

    Args:
        nodes: the CPUs and GPUs of each.
        cuda: whether each actor has a GPU.
        workers, threads: what was asked for, if anything.

    Raises:
        UsageError: no node has room for one.
    """
    fit = [(cpus, gpus if cuda else cpus) for cpus, gpus in nodes if cpus and (gpus or not cuda)]
    what = "CPUs and a GPU" if cuda else "CPUs"
    if not fit:
        raise UsageError(f"run: no node of the Ray cluster has {what}; start one (ray status says what there is)")

    def actors(threads: int) -> int:
        return sum(min(cpus // threads, most) for cpus, most in fit)

    if threads is None and workers is not None:
        threads = next((n for n in range(max(cpus for cpus, _ in fit), 0, -1) if actors(n) >= workers), 1)
    elif threads is None and cuda:
        threads = max(1, min(cpus // gpus for cpus, gpus in fit))
    elif threads is None:
        enough = _MOST_OF_THEM * sum(cpus for cpus, _ in fit)
        threads = next(n for n in range(_FEW_THREADS, 0, -1) if n * actors(n) >= enough)
    if not actors(threads):
        largest = max(cpus for cpus, _ in fit)
        raise UsageError(f"run: no node of the Ray cluster has {threads} {what}; use --threads {largest} or fewer")
    return workers or actors(threads), threads


class Actor:
    """A worker in an actor; a `crew.Transport`.

    Ray neither starts it again nor repeats what it was told: that is for the crew, which knows what it had.

    Args:
        job: what `job_to_json` gave.
        heard: takes what it says.
        resources: what Ray reserves for it.
    """

    def __init__(self, job: dict[str, Any], heard: Heard, resources: dict[str, Any]) -> None:
        import ray

        self._ray, self._cause = ray, Cause("went away", "away", "see ray status")
        served: Any = ray.remote(Served)
        # Two methods at a time: one hears, the other speaks.
        options = {"max_concurrency": 2, "max_restarts": 0, "max_task_retries": 0, "scheduling_strategy": "SPREAD"}
        self._actor: Any = served.options(**options, **resources).remote(json.dumps(job))
        self._numbers = itertools.count()
        self._listener = threading.Thread(target=self._listen, args=(heard,), daemon=True)
        self._listener.start()

    def say(self, words: dict[str, Any]) -> None:
        # Of two calls that may run at the same time either may be the first: they are numbered.
        self._actor.say.options(num_returns=0).remote(next(self._numbers), json.dumps(words))

    def cause(self) -> Cause:
        return self._cause

    def end(self) -> None:
        self._ray.kill(self._actor)
        self._listener.join(_GONE)

    def _listen(self, heard: Heard) -> None:
        see = "Ray's logs on its node, /tmp/ray/session_latest/logs, may say why"
        try:
            while True:
                for line in self._ray.get(self._actor.hear.remote()):
                    message = json.loads(line)
                    if "left" in message:
                        self._cause = Cause(f"ended with {message['left']}", "left", see)
                        return
                    heard(message)
        except self._ray.exceptions.RayError as error:
            self._cause = _cause(error, see)
        finally:
            heard(None)


def _cause(error: Exception, see: str) -> Cause:
    """Why an actor is gone; Ray has words for it and, but for one kind, no codes."""
    text = str(error).strip()
    if getattr(error, "_actor_init_failed", False):
        return Cause(f"ended with {text.splitlines()[-1].strip()}", "left", see)
    if "worker process has died" not in text:  # its node went away, or cannot be reached
        return Cause("went away with its node", "away", see)
    if "OUT_OF_MEMORY" in text or re.search("memory monitor|running low on memory", text):
        return Cause("was ended by Ray, as its node ran out of memory", "killed", see)
    return Cause("crashed or was killed", "killed", see)


class Served:
    """What runs on a node: one worker, with its program, for as long as the actor lives.

    Args:
        job: what `job_to_json` gave, as JSON.
    """

    def __init__(self, job: str) -> None:
        self._words: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._said: queue.SimpleQueue[tuple[str, bool]] = queue.SimpleQueue()
        """Lines, and whether they have to be heard at once."""
        self._early: dict[int, str] = {}
        self._number = 0
        self._lock = threading.Lock()
        threading.Thread(target=self._serve, args=(json.loads(job),), daemon=True).start()

    def say(self, number: int, line: str) -> None:
        """Take what one is told, in the order in which it was said."""
        with self._lock:
            self._early[number] = line
            while self._number in self._early:
                self._words.put(json.loads(self._early.pop(self._number)))
                self._number += 1

    def hear(self) -> list[str]:
        """What was said since the last call; waits for something that the crew has to act on, or a moment."""
        line, urgent = self._said.get()
        lines, limit = [line], time.monotonic() + _TELL
        with contextlib.suppress(queue.Empty):
            while True:
                line, more = self._said.get(timeout=0 if urgent else max(0.0, limit - time.monotonic()))
                lines.append(line)
                urgent = urgent or more
        return lines

    def _serve(self, job: dict[str, Any]) -> None:
        host = socket.gethostname()

        def say(message: dict[str, Any]) -> None:
            if "error" in message:
                message = {**message, "error": f"{message['error']} (on {host})"}
            self._said.put((json.dumps(message), "batch" not in message))

        try:
            missing = next((p for p in (job["manifest"], job["program"]["path"]) if not os.path.exists(p)), None)
            if missing:
                need = "the photos, the program and the run's folder have to be on storage that all nodes see"
                say({"error": f"run: {missing} is not there; {need}, under the same path", "usage": True})
            else:
                serve(job, self._words, say)
        except BaseException as error:
            self._said.put((json.dumps({"left": f"{type(error).__name__}: {error}"}), True))
