"""run.json: what was run on what, beside the evidence."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ..contract import SaccadeError, UsageError, replacing
from ..contract.reading import check_depth

RUN_SCHEMA = 1
"""The version of run.json that this release writes and the newest that it reads."""

_MAX_BYTES = 64 * 2**20  # a run.json from somebody else is read whole


def write_run(folder: str | os.PathLike[str], info: dict[str, Any]) -> None:
    """Write FOLDER/run.json, whole or not at all.

    Args:
        folder: the run's folder; made where it is missing.
        info: what JSON can say, finite numbers only; the key `schema` is this function's.

    Raises:
        SaccadeError: it cannot be written.
        ValueError, TypeError: `info` is not JSON.
    """
    text = json.dumps({**info, "schema": RUN_SCHEMA}, indent=2, ensure_ascii=False, allow_nan=False)
    with replacing(Path(folder) / "run.json") as path:
        path.write_text(text + "\n", encoding="utf-8", errors="backslashreplace")


def read_run(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """Read FOLDER/run.json as `write_run` was given it, and `schema`.

    Raises:
        UsageError: the folder is no run.
        SaccadeError: its run.json is damaged, or of another version.
    """
    path = Path(folder) / "run.json"
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise SaccadeError(f"run: {path} is no run's file, it has over {_MAX_BYTES:,} bytes; name another folder")
        text = path.read_text(encoding="utf-8")
        check_depth(text)
        info = json.loads(text)
    except (FileNotFoundError, NotADirectoryError):
        raise UsageError(f"run: {folder} is not the folder of a run, it has no run.json; name another folder") from None
    except OSError as error:
        raise SaccadeError(f"run: cannot read {path}: {error.strerror}; check its permissions") from None
    except (ValueError, RecursionError) as error:
        reason = str(error).splitlines()[0][:100]
        raise SaccadeError(f"run: {path} is damaged ({reason}); run it again") from None
    schema = info.get("schema") if isinstance(info, dict) else None
    if schema != RUN_SCHEMA or isinstance(schema, bool):
        raise SaccadeError(
            f"run: {path} has schema {str(schema)[:40]}, this saccade reads schema {RUN_SCHEMA}; run it again, or "
            "install the version that made it"
        )
    return info
