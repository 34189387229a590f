"""A run's folder: held by one process at a time, and gone on with where it stopped."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from .. import decode, sinks
from ..contract import SaccadeError, UsageError

MANIFEST = "manifest.arrow"
_NEW = ".manifest-new.arrow"
"""Where photos are listed before the run begins."""
_LOCK = ".lock"
_PART = re.compile(r"\..*-[0-9a-f]{12}\.part(\.[a-z]+)?", re.DOTALL)  # see `contract.replacing`
_OF_A_RUN = ("run.json", "evidence", "overlays", "sheet.jpg", "shards.jsonl", ".sheet", MANIFEST)
"""What is removed, in this order: as long as the manifest is there, the rest is known for a run's."""


class RunFolder:
    """A run's folder, held as long as the `with` block lasts.

    Args:
        path: the folder; made where it is missing.
        restart: remove the run that is in it, and nothing else, once another one begins.

    Attributes:
        path: the folder.
        found: what an earlier start left in run.json, or None.
    """

    def __init__(self, path: str | os.PathLike[str], restart: bool = False) -> None:
        self.path = Path(path)
        self.found: dict[str, Any] | None = None
        self._restart = restart
        self._lock: IO[str] | None = None
        self._made = self._placed = False

    def __enter__(self) -> RunFolder:
        """Take it.

        Raises:
            UsageError: it is a file, another process is at work in it, or it holds files of a run's names that are no
                run's.
            SaccadeError: it cannot be made or emptied, or its run.json is damaged.
        """
        try:
            if self.path.exists() and not self.path.is_dir():
                raise UsageError(f"run: {self.path} is a file; expected a folder for the results")
        except OSError as error:
            raise UsageError(f"run: {self.path}: {error.strerror}; choose another folder") from None
        there = [self.path / name for name in _OF_A_RUN if os.path.lexists(self.path / name)]
        if there and not any((self.path / name).is_file() for name in ("run.json", MANIFEST)):
            raise UsageError(f"run: {self.path} holds {there[0].name!r}, which is no run's; choose another folder")
        self._take()
        try:
            self.sweep()
            if not self._restart:
                if (self.path / "run.json").is_file():
                    self.found = sinks.read_run(self.path)
                elif sinks.finished_shards(self.path):
                    raise UsageError(
                        f"run: {self.path} holds evidence without its run.json; put that back to go on, choose another "
                        "folder, or --restart to remove it"
                    )
        except BaseException:
            self._give_back()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._give_back()

    def manifest(self, asked: Mapping[str, Any], write: Callable[[Path], decode.Manifest]) -> decode.Manifest:
        """The photos of the run: as they were listed when it was begun, or listed now.

        Args:
            asked: what the photos were named by.
            write: lists them into a file.

        Raises:
            UsageError: the run that is here is of photos that were named by something else.
        """
        if self.found is None:
            return write(self.path / _NEW)
        self.check_same({"asked": self.found.get("asked")}, {"asked": asked})
        return decode.Manifest(self.path / MANIFEST)

    def begin(self, manifest: decode.Manifest) -> None:
        """Make room for a new run of these photos.

        Raises:
            SaccadeError: the run that is here cannot be removed.
        """
        for name in _OF_A_RUN[:-1]:
            path = self.path / name
            try:
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)
            except OSError as error:
                raise SaccadeError(f"run: cannot remove {path}: {error.strerror}; choose another folder") from None
        try:
            os.replace(manifest.path, self.path / MANIFEST)
        except OSError as error:
            raise SaccadeError(f"write: cannot write {self.path / MANIFEST}: {error.strerror}") from None
        manifest.path, self._placed = self.path / MANIFEST, True

    def check_same(self, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
        """See that what is asked for now is what the run that is here was begun with.

        Raises:
            UsageError: it is not; the line names what differs.
        """
        differ = list(_differences(_plain(before), _plain(now)))
        if differ:
            raise UsageError(
                f"run: {self.path} holds a run with other options: {'; '.join(differ)}; repeat its command to go on, "
                "choose another folder, or --restart to remove it"
            )

    def sweep(self) -> None:
        """Remove what somebody who was killed was writing: files without their name."""
        folders = [self.path, self.path / "evidence", self.path / ".sheet"]
        folders += [Path(where) for where, _, _ in os.walk(self.path / "overlays")]
        for folder in folders:
            with contextlib.suppress(OSError):
                for entry in os.scandir(folder):
                    if _PART.fullmatch(entry.name):
                        os.unlink(entry)

    def _take(self) -> None:
        self._made = not self.path.exists()
        path = self.path / _LOCK
        while True:
            try:
                self.path.mkdir(parents=True, exist_ok=True)
                # Held until the block is left; not through a link, which may lead to somebody's file.
                self._lock = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666), "r+")
            except OSError as error:
                raise SaccadeError(
                    f"write: cannot write {path}: {error.strerror}; free some space, or choose a folder that you may "
                    "write to"
                ) from None
            if not _locked(self._lock):
                self._lock.seek(0)
                who = self._lock.read(200).strip() or "another process"
                self._lock.close()
                raise UsageError(
                    f"run: {self.path} is being written by {who}; wait for it (saccade status {self.path}), or choose "
                    "another folder"
                )
            if os.fstat(self._lock.fileno()).st_nlink:
                break
            self._lock.close()  # the one who held it has removed it meanwhile
        with contextlib.suppress(OSError):  # a full disk: the lock holds all the same
            os.ftruncate(self._lock.fileno(), 0)
            os.write(self._lock.fileno(), f"process {os.getpid()} on {socket.gethostname()}".encode())

    def _give_back(self) -> None:
        if self._lock is None:
            return
        # What was refused before it began leaves no trace.
        begun = (self.path / "run.json").exists()
        with contextlib.suppress(OSError):
            (self.path / _NEW).unlink(missing_ok=True)
            if not begun:
                if self._placed:
                    (self.path / MANIFEST).unlink(missing_ok=True)
                (self.path / _LOCK).unlink(missing_ok=True)
                if self._made:
                    self.path.rmdir()
        _unlock(self._lock)
        self._lock = None


def _locked(file: IO[str]) -> bool:
    """Lock a file as long as it is open. The system gives the lock back when the process ends, however it ends."""
    import fcntl

    for last in (False, False, True):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if last:
                return False
            time.sleep(0.05)  # `is_held` may be looking
        except OSError:  # a file system without locks
            break
        else:
            break
    return True


def _unlock(file: IO[str]) -> None:
    """Closing alone would leave the lock to a process that was forked meanwhile and has not come to its exec."""
    import fcntl

    with contextlib.suppress(OSError):
        fcntl.flock(file, fcntl.LOCK_UN)
    file.close()


def is_held(path: str | os.PathLike[str]) -> bool:
    """Whether a process is at work in a run's folder."""
    try:
        with open(Path(path) / _LOCK, "rb") as file:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _plain(value: Mapping[str, Any]) -> Any:
    """As it comes back from run.json."""
    return json.loads(json.dumps(value))


def _differences(before: Any, now: Any, name: str = "") -> Iterator[str]:
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for key in dict.fromkeys((*before, *now)):
            yield from _differences(before.get(key), now.get(key), str(key).replace("_", "-"))
    elif before != now:
        yield f"{name} was {_short(before)}, is {_short(now)}"


def _short(value: Any) -> str:
    if value is None:
        return "not given"
    text = ", ".join(map(str, value)) if isinstance(value, Sequence) and not isinstance(value, str) else str(value)
    return text if len(text) <= 300 else f"{text[:299]}…"
