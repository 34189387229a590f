"""Workers that are processes of this machine."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from typing import Any

from ..contract import SaccadeError
from .crew import Cause, Heard

_REST = 5.0
"""Seconds for what a worker had said before it ended; what has left its group could hold its output open for ever."""


class Process:
    """A worker in a process; a `crew.Transport`.

    Args:
        job: what `job_to_json` gave.
        heard: takes what it says.
    """

    def __init__(self, job: dict[str, Any], heard: Heard) -> None:
        try:
            self._process = subprocess.Popen(
                # Not from the folder that one happens to be in (-P): a file there may be called like a module.
                [sys.executable, "-P", "-c", "from saccade.engine.pipeline.worker import main; main()"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                encoding="utf-8",
                errors="replace",
                process_group=0,  # Ctrl-C is for the one who started it; and see `_watch`
            )
        except OSError as error:
            raise SaccadeError(f"run: cannot start a worker process: {error.strerror}; run it again") from error
        self.say(job)
        self._listener = threading.Thread(target=self._listen, args=(heard,), daemon=True)
        self._listener.start()
        self._watcher = threading.Thread(target=self._watch, args=(heard,), daemon=True)
        self._watcher.start()

    def say(self, words: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.write(json.dumps(words) + "\n")
            self._process.stdin.flush()

    def cause(self) -> Cause:
        code, see = self._process.wait(), "its reason, if it gave one, is above"
        if code >= 0:
            return Cause(f"ended with exit code {code}", "left", see)
        with contextlib.suppress(ValueError):
            return Cause(f"was ended by {signal.Signals(-code).name}", "killed", see)
        return Cause(f"was ended by signal {-code}", "killed", see)

    def end(self) -> None:
        self._process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):  # one that waits for a disk cannot be ended now
            self._process.wait(5)
            self._watcher.join()
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        if not self._listener.is_alive():
            self._process.stdout.close()

    def _listen(self, heard: Heard) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            # What is no message was cut as it died, or printed by a library before standard output was ours.
            with contextlib.suppress(ValueError):
                if isinstance(message := json.loads(line), dict):
                    heard(message)

    def _watch(self, heard: Heard) -> None:
        """Say that it has ended, and end what a library has forked from it, which would hold its output open."""
        self._process.wait()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._listener.join(_REST)
        heard(None)
