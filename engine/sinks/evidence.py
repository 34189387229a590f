"""Writing evidence: one row per photo, in numbered Parquet shards that are whole or absent."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from types import TracebackType

import pyarrow as pa
import pyarrow.parquet as pq

from ..contract import Batch, Maps, SaccadeError, Spec, UsageError, replacing
from .columns import Keep, evidence_rows, evidence_schema

_FLUSH_BYTES = 64 * 2**20  # with keep="full" a shard may have gigabytes: it goes to disk in groups of rows


class EvidenceWriter:
    """Append a run's batches to FOLDER/evidence/shard-00000.parquet, shard-00001.parquet, ….

    Row i of the manifest is in shard i // shard_size. A shard gets its name once it is complete and synced. Use it in
    a `with` block: on leaving it, however that happens, the rows so far become the last shard.

    Args:
        folder: the run's folder; made where it is missing.
        spec: the program's contract.
        keep: "small" stores CAMs as they are, gradient maps averaged to 28×28, and activations as each channel's mean
            and maximum; "full" stores gradient maps at their own size, and activations as well.
        shard_size: rows in a shard, save the last.

    Raises:
        UsageError: the folder holds evidence already; rows of two runs would mix.
    """

    def __init__(
        self, folder: str | os.PathLike[str], spec: Spec, keep: Keep = "small", shard_size: int = 1024
    ) -> None:
        if shard_size < 1:
            raise ValueError(f"shard_size must be 1 or more; got {shard_size}")
        self.folder = Path(folder) / "evidence"
        if next(self.folder.glob("shard-*.parquet"), None):
            raise UsageError(f"evidence: {self.folder} holds evidence already; choose another folder, or remove it")
        self.rows = 0
        """How many rows have been appended."""
        self._spec = spec
        self._keep: Keep = keep
        self._shard_size = shard_size
        self._schema = evidence_schema(spec, keep)
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
        # Where a full disk ended the run, closing fails as well: the first error is the one to tell.
        with contextlib.suppress(SaccadeError) if error else contextlib.nullcontext():
            self.close()

    def write(self, batch: Batch, maps: Maps | None) -> None:
        """Append a row for each record of `batch`, errors included.

        Args:
            batch: consecutive photos, in the manifest's order over all calls.
            maps: what the program gave for the records without an error; None where there are none.

        Raises:
            SaccadeError: the file cannot be written, now or earlier. Shards that were complete stay; the rows of the
                open one are lost.
            ValueError: `maps` is not of as many photos as were decoded.
        """
        if self._failed:
            raise SaccadeError(f"evidence: an earlier write to {self.folder} failed, rows are missing; run it again")
        rows = evidence_rows(batch, maps, self._spec, self._keep, self._schema)
        while rows.num_rows:
            part = rows.slice(0, self._shard_size - self.rows % self._shard_size)
            rows = rows.slice(part.num_rows)
            self._pending.append(part)
            self._pending_bytes += part.nbytes
            self.rows += part.num_rows
            if self.rows % self._shard_size == 0:
                self._finish()
            elif self._pending_bytes >= _FLUSH_BYTES:
                self._flush()

    def close(self) -> None:
        """Write the rows since the last complete shard as the last one; it may be called again.

        Raises:
            SaccadeError: the file cannot be written.
        """
        if self._pending or self._shard:
            self._finish()

    def _flush(self) -> None:
        """Append the pending rows to the open shard, which has a temporary name."""
        pending, self._pending, self._pending_bytes = self._pending, [], 0
        try:
            if self._shard is None:
                number = (self.rows - 1) // self._shard_size
                file = self._open.enter_context(replacing(self.folder / f"shard-{number:05d}.parquet"))
                self._shard = self._open.enter_context(pq.ParquetWriter(file, self._schema, compression="zstd"))
            self._shard.write_table(pa.Table.from_batches(pending, self._schema))
        except BaseException:
            self._shard, self._failed = None, True
            self._open.__exit__(*sys.exc_info())  # removes the temporary file, and words the error
            raise

    def _finish(self) -> None:
        """Complete the open shard: the last rows, the footer, sync, rename."""
        if self._pending:
            self._flush()
        self._shard = None
        try:
            self._open.close()
        except BaseException:
            self._failed = True
            raise
