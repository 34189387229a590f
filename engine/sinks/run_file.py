"""run.json: what was run on what, beside the evidence; and shards.jsonl, a line for each finished shard."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ..contract import SaccadeError, UsageError, replacing
from ..contract.reading import check_depth

RUN_SCHEMA = 2
"""The version of run.json that this release writes and the newest that it reads."""

_MAX_LINE = 2**16
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


def append_shard(folder: str | os.PathLike[str], line: dict[str, Any]) -> None:
    """Append a line to FOLDER/shards.jsonl: what a shard holds and how long it took.

    The shard's own file is what counts. A line that is missing or torn, since the run was killed between the two, is
    found by `read_shards`' caller and made again from the shard.

    Raises:
        SaccadeError: it cannot be written.
    """
    path = Path(folder) / "shards.jsonl"
    try:
        # Not through a link, which may lead to somebody's file.
        where = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        with open(where, "a", encoding="utf-8") as file:
            file.write("\n" + json.dumps(line, allow_nan=False))  # first, so that a torn line before it is over
    except OSError as error:
        raise SaccadeError(f"write: cannot write {path}: {error.strerror}; free some space, and run again") from error


def read_shards(folder: str | os.PathLike[str]) -> dict[int, dict[str, Any]]:
    """The lines of FOLDER/shards.jsonl by their shard; lines that are no such are left out."""
    found: dict[int, dict[str, Any]] = {}
    if not (Path(folder) / "shards.jsonl").is_file():
        return found
    try:
        with open(Path(folder) / "shards.jsonl", encoding="utf-8", errors="replace") as file:
            while text := file.readline(_MAX_LINE):
                try:
                    line = json.loads(text)
                    numbers = [line["shard"], line["photos"], line["failed"]]
                    seconds = [float(v) for v in line.get("seconds", {}).values()]
                except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
                    continue
                if all(type(n) is int and 0 <= n < 2**40 for n in numbers) and all(0 <= s < 1e12 for s in seconds):
                    found[line["shard"]] = line
    except OSError:
        pass
    return found


def read_run(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """Read FOLDER/run.json as `write_run` was given it, and `schema`.

    Raises:
        UsageError: the folder is no run.
        SaccadeError: its run.json is damaged, or of another version.
    """
    path = Path(folder) / "run.json"
    try:
        if path.exists() and not path.is_file():  # opening a named pipe would wait for ever
            raise SaccadeError(f"run: {path} is no ordinary file; name another folder")
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
        raise SaccadeError(f"run: {path} is damaged ({reason}); run it anew, with --restart") from None
    schema = info.get("schema") if isinstance(info, dict) else None
    if schema != RUN_SCHEMA or isinstance(schema, bool):
        raise SaccadeError(
            f"run: {path} has schema {str(schema)[:40]}, this saccade reads schema {RUN_SCHEMA}; run it anew, with "
            "--restart, or install the version that made it"
        )
    return info
