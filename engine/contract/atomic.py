"""Writing a file so that its final name never shows half of it."""

from __future__ import annotations

import contextlib
import os
import tempfile
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
    temporary: Path | None = None
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{final.stem[:40]}-", suffix=f".part{final.suffix}", dir=final.parent)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        with open(temporary, "rb") as written:
            os.fsync(written.fileno())
        os.chmod(temporary, 0o666 & ~_umask())  # mkstemp makes 0600; a result is an ordinary file
        os.replace(temporary, final)
        temporary = None
    except OSError as error:
        reason = error.strerror or error
        raise SaccadeError(
            f"write: cannot write {final}: {reason}; free some space, or choose a folder that you may write to"
        ) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
