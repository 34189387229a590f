"""A question to a run's evidence in SQL of one's own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from ..contract import SaccadeError, UsageError
from .query import first_line, locked, read_schema, shards_of, short_names

_ROWS = 10_000


def query_evidence(folder: str | os.PathLike[str], question: str) -> pa.RecordBatchReader:
    """Ask a run's evidence.

    Args:
        folder: the run's folder.
        question: one SELECT of DuckDB's SQL over the table `evidence`, which has the columns of docs/evidence.md;
            statistics of the run's first map go by their bare names as well.

    Returns:
        The answer, a few thousand rows at a time.

    Raises:
        UsageError: it is no single SELECT, or does not work; the line says why.
        SaccadeError: the folder holds no evidence, or a shard is damaged.
    """
    import duckdb  # a tenth of a second that a run need not wait for

    shards = shards_of(folder)
    schema = read_schema(shards[0])
    connection = locked(Path(shards[0]).parent)

    def wrong(error: duckdb.Error) -> SaccadeError:
        if isinstance(error, duckdb.IOException):
            return SaccadeError(f"query: cannot read {folder}: {first_line(error)}; repeat the run's command")
        return UsageError(f"query: {first_line(error)}; the table is evidence, its columns: {', '.join(schema.names)}")

    try:
        rows = connection.read_parquet(shards)  # in the manifest's order: DuckDB keeps that of what it scans
        rows.project(", ".join(["*", *short_names(schema)])).create_view("evidence")
        statements = connection.extract_statements(question)
        if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
            raise UsageError("query: expected one SELECT, such as: SELECT label, count(*) FROM evidence GROUP BY label")
        reader = connection.sql(question).to_arrow_reader(_ROWS)
    except duckdb.Error as error:
        raise wrong(error) from None

    def batches() -> Iterator[pa.RecordBatch]:
        with connection:
            try:
                yield from reader
            except (duckdb.Error, pa.ArrowException, OSError) as error:
                raise SaccadeError(f"query: {first_line(error)}") from None

    return pa.RecordBatchReader.from_batches(reader.schema, batches())
