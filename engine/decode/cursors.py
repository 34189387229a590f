"""Reading photos by their place from a file that is best, or only, read forward."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator

from ..contract import PhotoError
from .opening import on_one_line, reason_of
from .patience import transient

KEPT = 2**26
"""Bytes of photos that were passed: what other threads are about to ask for, and pictures drawn a few batches later."""

Items = Iterator[tuple[int, str, "bytes | str"]]
"""(place, name, bytes or the line that says what is wrong), places rising."""


class Cursor:
    """One place in one file. Threads ask for photos in about their order: what is passed on the way to one of them is
    kept for the others, so that the file is gone through once; asked for what is behind, it begins anew.

    Args:
        path: the file.
        read: its photos from a place on where reading can begin.
        begins: the last such place up to a photo's.
    """

    def __init__(self, path: str, read: Callable[[int], Items], begins: Callable[[int], int] = lambda _: 0) -> None:
        self._path = path
        self._read = read
        self._begins = begins
        self._lock = threading.Lock()
        self._items: Items | None = None
        self._next = 0
        self._kept: OrderedDict[int, tuple[str, bytes | str]] = OrderedDict()
        self._size = 0
        self._broken: tuple[int, str] | None = None

    def get(self, position: int, name: str) -> bytes:
        """A photo's bytes.

        Raises:
            PhotoError: it is not there, is damaged or too large.
            Exception: the file cannot be read up to there.
        """
        with self._lock:
            found = self._kept.get(position) or self._find(position)
        if found is None or found[0] != name:
            place = on_one_line(f"{name} in {self._path}")
            raise PhotoError(f"decode: {place} is not where it was listed; list the photos again")
        if isinstance(found[1], str):
            raise PhotoError(found[1])
        return found[1]

    def close(self) -> None:
        """Close the file; the next question opens it again."""
        with self._lock:
            self._stop()
            self._kept.clear()
            self._size = 0

    def _find(self, position: int) -> tuple[str, bytes | str] | None:
        begin = self._begins(position)
        # A damaged file is not read again up to the damage for each of the photos behind.
        if self._broken is not None and begin <= self._broken[0] <= position:
            raise ValueError(self._broken[1])
        if self._items is None or position < self._next or begin > self._next:
            self._stop()
            self._items, self._next = self._read(begin), begin
        try:
            for at, name, content in self._items:
                self._next = at + 1
                self._keep(at, name, content)
                if at >= position:
                    return (name, content) if at == position else None
        except Exception as error:
            self._items = None
            system = isinstance(error, (FileNotFoundError, MemoryError)) or getattr(error, "errno", None)
            if not system and transient(error) is None:
                self._broken = self._next, reason_of(error)
            raise
        self._items = None
        return None

    def _keep(self, at: int, name: str, content: bytes | str) -> None:
        if at in self._kept:
            return
        self._kept[at] = name, content
        self._size += len(content)
        while self._size > KEPT:
            _, (_, oldest) = self._kept.popitem(last=False)
            self._size -= len(oldest)

    def _stop(self) -> None:
        close = getattr(self._items, "close", None)  # a generator closes its files
        self._items = None
        if close is not None:
            close()
