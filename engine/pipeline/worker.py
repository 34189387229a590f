"""What a worker does, and a process that does it (`main`, started by `processes`).

It is told what to do and says what happened in messages that JSON can hold; the process, in lines on its standard input
and output. A photo that crashes a decoder ends the worker and not the run.

    in   the job; then {"shard": 7, …} (see `Task`), {"end": true} after which it finishes what it has, {"probe": 12}
    out  {"ready": true}; the reports of `work`; {"idle": true} after an end; {"probe": 12}; {"error": …, "usage": …}
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import decode, execute
from ..contract import PhotoError, SaccadeError, UsageError
from .explaining import Job, Task, job_from_json, work


def main() -> None:
    """Until standard input ends."""
    talk = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)  # what a library prints is no message
    lock = threading.Lock()

    def say(message: dict[str, Any]) -> None:
        with lock:
            talk.write(json.dumps(message) + "\n")

    words: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()

    def listen() -> None:
        for line in sys.stdin:
            words.put(json.loads(line))
        os._exit(0)  # whoever started this is gone, or has enough: nothing half-done counts

    info = json.loads(sys.stdin.readline())
    threading.Thread(target=listen, daemon=True).start()
    serve(info, words, say)


def serve(
    info: dict[str, Any], words: queue.SimpleQueue[dict[str, Any]], say: Callable[[dict[str, Any]], None]
) -> None:
    """Load the job's program, then do as one is told; returns only after an error.

    Args:
        info: what `job_to_json` gave.
        words: what one is told.
        say: takes what happened; called from two threads.
    """
    try:
        runner, photos, job = job_from_json(info)
        say({"ready": True})
        # One for all probes: a compressed tar is read forward.
        with decode.Storage(job.options.patience) as storage:
            while True:
                word = words.get()
                if "probe" in word:
                    _probe(runner, photos[word["probe"]], job, storage)
                    say(word)
                elif "shard" in word:
                    work(runner, photos, job, _tasks(word, words), say)
                    say({"idle": True})
    except SaccadeError as error:
        say({"error": str(error), "usage": isinstance(error, UsageError)})


def _tasks(first: dict[str, Any], words: queue.SimpleQueue[dict[str, Any]]) -> Iterator[Task]:
    word = first
    while "shard" in word:
        yield Task(**word)
        word = words.get()


def _probe(runner: execute.Runner, photo: decode.Photo, job: Job, storage: decode.Storage) -> None:
    """Read and explain one photo as the run would, for nothing but to see whether this process survives."""

    def view(source: str | bytes) -> npt.NDArray[np.uint8]:
        return decode.read_view(source, runner.spec.preprocessing, job.options.decode, photo.place)[0]

    try:
        image = storage.read(photo, view)
    except PhotoError:
        return
    runner.run(image[None], job.options.target)


if __name__ == "__main__":
    main()
