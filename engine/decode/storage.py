"""Where photos are read from, files and what holds many of them: one door for all, and patience with what goes away."""

from __future__ import annotations

import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from types import TracebackType
from typing import Protocol, TypeVar

from ..contract import PhotoError, SaccadeError, SourceError
from . import tars, urls
from .cursors import Cursor
from .entry import MissingPackageError, Photo
from .opening import on_one_line, reason_of
from .patience import PATIENCE, Waiting, gone, transient

T = TypeVar("T")

_OPEN = 4
"""Files that hold many photos and are kept open; each keeps up to `cursors.KEPT` bytes."""
_PLACES = 64


class _Holder(Protocol):
    def get(self, position: int, name: str) -> bytes: ...
    def close(self) -> None: ...


class Storage:
    """Reads photos of any source, from any thread.

    Args:
        patience: seconds for which a source that went away is waited for.
    """

    def __init__(self, patience: float = PATIENCE) -> None:
        self._patience = patience
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._holders: OrderedDict[tuple[str, str], _Holder] = OrderedDict()
        self._reached: OrderedDict[str, tuple[float, str]] = OrderedDict()

    def __enter__(self) -> Storage:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def fetch(self, photo: Photo) -> str | bytes:
        """A photo's path, if it is a file on this machine, else its bytes.

        Raises:
            PhotoError: it cannot be read.
            SourceError: its source went away and did not come back in time.
        """
        return self.read(photo, lambda source: source)

    def read(self, photo: Photo, use: Callable[[str | bytes], T], stop: threading.Event | None = None) -> T:
        """Call `use` with what `fetch` gives, and all that again while the source is away.

        Args:
            photo: what to read.
            use: what may raise a PhotoError whose cause is the system's error.
            stop: ends the waiting.

        Raises:
            PhotoError, SourceError: as `fetch`.
        """
        url = urls.is_url(photo.path)
        waiting = Waiting(self._patience, self._closed, *([stop] if stop else []))
        while True:
            try:
                found = use(self._content(photo))
            except PhotoError as error:
                passing = transient(error, None if url else photo.path)
                if passing is None or (not url and self._others_are_there(photo, passing)):
                    raise
                if not waiting.again():
                    if self._is_there(photo, passing, waiting.since):
                        raise
                    raise SourceError(gone(photo.place, passing, self._patience)) from error
            else:
                self._note(photo.path, url)
                return found

    def close(self) -> None:
        """Close all files and end all waiting; it may be called again."""
        self._closed.set()
        with self._lock:
            holders = list(self._holders.values())
            self._holders.clear()
        for holder in holders:
            holder.close()

    def _note(self, path: str, url: bool) -> None:
        """Remember what could be read, of the places that were used last."""
        place = urls.root_of(path) if url else os.path.dirname(path)
        with self._lock:
            self._reached.pop(place, None)
            self._reached[place] = (time.monotonic(), path)
            if len(self._reached) > _PLACES:
                self._reached.popitem(last=False)

    def _others_are_there(self, photo: Photo, reason: BaseException) -> bool:
        """Whether a photo's folder alone is gone: others beside it, on the same disk, were read and still exist."""
        if not isinstance(reason, (FileNotFoundError, NotADirectoryError)):
            return False
        above = os.path.dirname(photo.path)
        while not os.path.isdir(above) and above != os.path.dirname(above):
            above = os.path.dirname(above)
        if above == os.path.dirname(above):
            return False
        with self._lock:
            others = [path for _, path in reversed(self._reached.values()) if path.startswith(os.path.join(above, ""))]
        try:
            return any(os.path.exists(path) and os.stat(path).st_dev == os.stat(above).st_dev for path in others)
        except OSError:
            return False

    def _is_there(self, photo: Photo, reason: BaseException, since: float | None) -> bool:
        """Whether a source answers for other photos, so that the fault is this one's: a bad sector, a broken object."""
        if urls.is_url(photo.path):
            with self._lock:
                return since is not None and self._reached.get(urls.root_of(photo.path), (0.0, ""))[0] > since
        if isinstance(reason, (FileNotFoundError, NotADirectoryError)):
            return False
        try:
            with os.scandir(os.path.dirname(photo.path) or ".") as entries:
                return next(entries, None) is not None
        except OSError:
            return False

    def _content(self, photo: Photo) -> str | bytes:
        try:
            return self._read(photo)
        except (PhotoError, MissingPackageError):
            raise
        except SaccadeError as error:  # a scheme that does not exist, a set that was damaged since it was listed
            raise PhotoError(str(error)) from error
        except MemoryError as error:
            raise PhotoError(
                f"decode: {on_one_line(photo.place)} does not fit into memory; use fewer threads"
            ) from error
        except FileNotFoundError as error:
            raise PhotoError(f"decode: {on_one_line(photo.place)} does not exist; check the path") from error
        except Exception as error:  # of fsspec's file systems, Arrow and the decompressors, dozens of types
            raise PhotoError(
                f"decode: {on_one_line(photo.place)} cannot be read: {reason_of(error)}; check its source"
            ) from error

    def _read(self, photo: Photo) -> str | bytes:
        if photo.member is None:
            return urls.fetch(photo.path) if urls.is_url(photo.path) else photo.path
        if tars.is_tar(urls.ending_of(photo.path)) and not tars.is_compressed(photo.path):
            return tars.read_member(photo)
        return self._holder(photo).get(photo.offset or 0, photo.member)

    def _holder(self, photo: Photo) -> _Holder:
        """The open file that holds a photo; of those that were not asked for longest one is closed."""
        path, column = photo.path, (photo.member or "").rpartition("[")[0]
        if tars.is_tar(urls.ending_of(path)):
            column = ""
        oldest = None
        with self._lock:
            holder = self._holders.pop((path, column), None) or _opened(path, column)
            self._holders[path, column] = holder
            if len(self._holders) > _OPEN:
                _, oldest = self._holders.popitem(last=False)
        if oldest is not None:
            oldest.close()
        return holder


def _opened(path: str, column: str) -> _Holder:
    if not column:
        return Cursor(path, lambda _: tars.read_photos(path))
    if urls.ending_of(path).lower().endswith(".parquet"):
        from .parquet import Pictures

        pictures = Pictures(path, column)
        return Cursor(path, pictures.read, pictures.begins)
    from .datasets_on_disk import Reader

    return Reader(path, column)
