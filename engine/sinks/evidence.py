"""Writing evidence: one row per photo, in numbered Parquet shards that are whole or absent."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

import pyarrow as pa
import pyarrow.parquet as pq

from ..contract import Batch, Maps, SaccadeError, Spec, replacing
from .columns import Keep, evidence_rows, evidence_schema

MAX_SHARDS = 100_000
"""Their names have five digits, so that they sort."""
_SHARD = re.compile(r"shard-(\d{5})\.parquet")
_FLUSH_BYTES = 64 * 2**20  # with keep="full" a shard may have gigabytes: it goes to disk in groups of rows


class EvidenceWriter:
    """Write one shard of a run's evidence, FOLDER/evidence/shard-00000.parquet, whole or not at all.

    Use it in a `with` block: on leaving it the shard is completed, synced and gets its name; where the block is left
    by an error, nothing stays.

    Args:
        folder: the run's folder; made where it is missing.
        spec: the program's contract.
        keep: "small" stores CAMs as they are, gradient maps averaged to 28×28, and activations as each channel's mean
            and maximum; "full" stores gradient maps at their own size, and activations as well.
        shard: its number.
        further: the manifest's further columns, name → Arrow type.

    Raises:
        UsageError: two columns would have the same name.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        spec: Spec,
        keep: Keep = "small",
        shard: int = 0,
        further: Mapping[str, pa.DataType] | None = None,
    ) -> None:
        self.path = shard_path(folder, shard)
        self.rows = 0
        """How many rows have been appended."""
        self.failed = 0
        """How many of them are errors."""
        self._spec = spec
        self._keep: Keep = keep
        self._schema = evidence_schema(spec, keep, further)
        self._pending: list[pa.RecordBatch] = []
        self._pending_bytes = 0
        self._failed = False
        self._open = contextlib.ExitStack()
        self._shard: pq.ParquetWriter | None = None

    def __enter__(self) -> EvidenceWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            self.discard()

    def write(self, batch: Batch, maps: Maps | None) -> None:
        """Append a row for each record of `batch`, errors included.

        Args:
            batch: consecutive photos, in the manifest's order over all calls.
            maps: what the program gave for the records without an error; None where there are none.

        Raises:
            SaccadeError: the file cannot be written, now or earlier.
            ValueError: `maps` is not of as many photos as were decoded.
        """
        self._check()
        self._failed = True  # if the next line raises, rows are missing
        rows = evidence_rows(batch, maps, self._spec, self._keep, self._schema)
        self._failed = False
        self._pending.append(rows)
        self._pending_bytes += rows.nbytes
        self.rows += rows.num_rows
        self.failed += rows.num_rows - rows.column(self._schema.get_field_index("error")).null_count
        if self._pending_bytes >= _FLUSH_BYTES:
            self._flush()

    def close(self) -> None:
        """Complete the shard: the last rows, the footer, sync, rename. Without a row there is no file.

        Raises:
            SaccadeError: the file cannot be written.
        """
        self._check()
        if self._pending:
            self._flush()
        self._shard = None
        try:
            self._open.close()
        except BaseException:
            self._failed = True
            raise

    def discard(self) -> None:
        """Leave nothing of it."""
        self._pending, self._shard, self._failed = [], None, True
        with contextlib.suppress(SaccadeError, _Discarded):
            self._open.__exit__(_Discarded, _Discarded(), None)

    def _check(self) -> None:
        if self._failed:
            raise SaccadeError(f"evidence: an earlier write to {self.path} failed, rows are missing; run it again")

    def _flush(self) -> None:
        """Append the pending rows to the open file, which has a temporary name."""
        pending, self._pending, self._pending_bytes = self._pending, [], 0
        try:
            if self._shard is None:
                file = self._open.enter_context(replacing(self.path))
                self._shard = self._open.enter_context(pq.ParquetWriter(file, self._schema, compression="zstd"))
            self._shard.write_table(pa.Table.from_batches(pending, self._schema))
        except BaseException:
            self._shard, self._failed = None, True
            self._open.__exit__(*sys.exc_info())  # removes the temporary file, and words the error
            raise


class _Discarded(Exception):  # noqa: N818 - no error: what `replacing` is left by, so that it removes its file
    pass


def shard_path(folder: str | os.PathLike[str], shard: int) -> Path:
    """FOLDER/evidence/shard-00000.parquet, for shards below `MAX_SHARDS`."""
    return Path(folder) / "evidence" / f"shard-{shard:05d}.parquet"


def finished_shards(folder: str | os.PathLike[str]) -> set[int]:
    """The numbers of the shards that are there; each that has its name is whole."""
    try:
        names = [entry.name for entry in os.scandir(Path(folder) / "evidence")]
    except FileNotFoundError:
        return set()
    except OSError as error:
        raise SaccadeError(f"evidence: cannot read {folder}: {error.strerror}; check its permissions") from None
    return {int(found[1]) for name in names if (found := _SHARD.fullmatch(name))}


def count_rows(folder: str | os.PathLike[str], shard: int) -> tuple[int, int]:
    """A shard's rows, and how many of them are errors.

    Raises:
        SaccadeError: it is damaged.
    """
    path = shard_path(folder, shard)
    try:
        with pq.ParquetFile(path) as file:
            errors = file.read(["error"])["error"]
    except (OSError, pa.ArrowException, KeyError) as error:
        reason = str(error).splitlines()[0][:200]
        raise SaccadeError(f"evidence: cannot read {path}: {reason}; remove it, and it is made again") from None
    return len(errors), len(errors) - errors.null_count
