"""Faults that pass: which they are, and waiting for their end."""

from __future__ import annotations

import errno
import itertools
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from ..contract import SourceError
from .opening import on_one_line, reason_of

PATIENCE = 60.0
"""Seconds for which a source that went away is waited for."""

FIRST_DELAY, LONGEST_DELAY = 0.1, 10.0

_NAMES = """EIO ESTALE ETIMEDOUT ENOTCONN EHOSTDOWN EHOSTUNREACH ENETDOWN ENETUNREACH ENETRESET ECONNABORTED ECONNRESET
ECONNREFUSED EPIPE EAGAIN EBUSY EREMOTEIO ENOLINK ECOMM ESHUTDOWN ENODEV ENXIO ENOMEDIUM EMFILE ENFILE""".split()
TRANSIENT = frozenset(getattr(errno, name) for name in _NAMES if hasattr(errno, name))
"""What a network share, a disk that was unplugged or a server says while it is away, or a machine short of handles."""

STATUSES = frozenset((408, 425, 429, 500, 502, 503, 504))
"""HTTP: too early, too many, not now."""

T = TypeVar("T")


def transient(error: BaseException, path: str | None = None) -> BaseException | None:
    """What in an error, or in its causes, may pass; None where it is the file's own.

    Args:
        error: what was raised.
        path: the local file that was read: where its folder is gone as well, so is the share or disk that it is on.
    """
    for cause in _causes(error):
        if isinstance(cause, (FileNotFoundError, NotADirectoryError)) and path is not None:
            return None if os.path.isdir(os.path.dirname(path) or ".") else cause
        # fsspec says of everything that a server answers that there is no such file, and has the answer as its cause.
        if isinstance(cause, (ConnectionError, TimeoutError, socket.gaierror)):
            return cause
        if isinstance(cause, OSError) and cause.errno in TRANSIENT:
            return cause
        # aiohttp's and others' errors of HTTP carry its status; botocore's a table.
        status = getattr(cause, "status", None)
        if isinstance(status, int) and status in STATUSES:
            return cause
        if (aiohttp := sys.modules.get("aiohttp")) and isinstance(
            cause, (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError)
        ):
            return cause
        if (botocore := sys.modules.get("botocore.exceptions")) and isinstance(
            cause, (botocore.HTTPClientError, botocore.ConnectionError)
        ):
            return cause
    return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        cause = cause.__cause__


class Waiting:
    """Exponential back-off for one thing that is tried again.

    Args:
        patience: seconds after the first failure until it gives up.
        stops: events that end the waiting.
    """

    def __init__(self, patience: float, *stops: threading.Event) -> None:
        self.patience = patience
        self.since: float | None = None
        self._delay = FIRST_DELAY
        self._stops = stops

    def again(self) -> bool:
        """Wait, and say whether to try again."""
        now = time.monotonic()
        if self.since is None:
            self.since = now
        left = self.since + self.patience - now
        if left <= 0:
            return False
        until = now + min(self._delay, left)
        self._delay = min(2 * self._delay, LONGEST_DELAY)
        while (rest := until - time.monotonic()) > 0:
            if any(stop.is_set() for stop in self._stops):
                return False
            # Two events cannot be waited for at once.
            if self._stops:
                self._stops[0].wait(min(rest, 0.05))
            else:
                time.sleep(rest)
        return not any(stop.is_set() for stop in self._stops)


def patiently(attempt: Callable[[], T], path: str) -> T:
    """Do something with a source, again while it is away.

    Raises:
        SourceError: it did not come back within `PATIENCE`.
        BaseException: what `attempt` raised, where that does not pass.
    """
    waiting = Waiting(PATIENCE)
    while True:
        try:
            return attempt()
        except Exception as error:
            # At the beginning a path that is not there is a wrong path.
            passing = transient(error)
            if passing is None:
                raise
            if not waiting.again():
                raise SourceError(gone(path, passing, PATIENCE)) from error


def resumed(listing: Callable[[], Iterator[T]], path: str) -> Iterator[T]:
    """List something, and where its source goes away meanwhile, list it again from where it was.

    Raises:
        SourceError: it did not come back within `PATIENCE`.
        BaseException: what `listing` raised, where that does not pass.
    """
    given = 0
    waiting: Waiting | None = None
    while True:
        try:
            for item in itertools.islice(listing(), given, None):
                given, waiting = given + 1, None
                yield item
            return
        except Exception as error:
            passing = transient(error)
            if passing is None:
                raise
            waiting = waiting or Waiting(PATIENCE)
            if not waiting.again():
                raise SourceError(gone(path, passing, PATIENCE)) from error


def gone(place: str, reason: BaseException, patience: float) -> str:
    """The line for a source that did not come back."""
    return (
        f"decode: {on_one_line(place)} cannot be reached: {reason_of(reason)}; its source went away and was not back "
        f"within {patience:g} s; bring it back, then resume"
    )
