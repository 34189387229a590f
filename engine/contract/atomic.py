"""Writing a file so that its final name never shows half of it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from .errors import SaccadeError


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success sync it and rename it over `path`, on any error remove it.

    Raises:
        SaccadeError: the folder cannot be made or written, or the disk is full.
    """
    final = Path(path)
    temporary = final.with_name(f".{final.stem[:40]}-{os.urandom(6).hex()}.part{final.suffix}")
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        # With the permissions of any new file, as the umask says; asking for the umask itself would set it for a
        # moment, for all threads.
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        yield temporary
        with open(temporary, "rb") as written:
            os.fsync(written.fileno())
        os.replace(temporary, final)
    except OSError as error:
        reason = error.strerror or error
        raise SaccadeError(
            f"write: cannot write {final}: {reason}; free some space, or choose a folder that you may write to"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
