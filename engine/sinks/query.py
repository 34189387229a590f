"""Questions to a run's evidence, in SQL expressions over its columns."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from ..contract import SaccadeError, UsageError
from .statistics import STATISTICS

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


def read_evidence(
    folder: str | os.PathLike[str],
    where: str | None = None,
    order_by: str | None = None,
    limit: int | None = None,
    columns: Sequence[str] | None = None,
) -> pa.Table:
    """Read rows of a run's evidence.

    Args:
        folder: the run's folder.
        where: an SQL condition over the columns, `prediction = 'cat' and border_mass > 0.5`. Statistics of the run's
            first map go by their bare names as well.
        order_by: SQL terms such as `confidence desc, name`; ties, and everything by default, in the manifest's order.
        limit: at most so many rows.
        columns: which columns, in this order; by default all.

    Returns:
        The rows. Maps are lists of float32 to be multiplied by their scale, which `restore_map` does; the program's
        contract is in the schema's metadata under `saccade`.

    Raises:
        UsageError: an expression or a column that the evidence does not have; the line names those that it has.
        SaccadeError: the folder holds no evidence, or a shard is damaged.
    """
    import duckdb  # a tenth of a second that a run need not wait for

    shards = _shards(folder)
    schema = _schema(shards[0])
    wanted = list(dict.fromkeys(columns or schema.names))
    if unknown := [name for name in wanted if name not in schema.names]:
        raise UsageError(f"evidence: there is no column {unknown[0]!r}; there are {', '.join(schema.names)}")
    if limit is not None and limit < 0:
        raise UsageError(f"evidence: limit must be 0 or more; got {limit}")
    with _locked(Path(shards[0]).parent) as connection:
        try:
            rows = connection.read_parquet(shards, file_row_number=True, filename=True)
            rows = rows.project(", ".join(["*", *_short_names(schema)]))
            # Relations parse these strings as expressions: a second statement in them is an error, not an act.
            if where is not None:
                rows = rows.filter(where)
            place = "filename, file_row_number"
            rows = rows.order(f"{order_by}\n, {place}" if order_by else place)
            if limit is not None:
                rows = rows.limit(limit)
            table = rows.project(", ".join(_quoted(name) for name in wanted)).to_arrow_table()
        except duckdb.Error as error:
            for shard in shards:  # is it the question, or the files?
                _schema(shard)
            if isinstance(error, duckdb.IOException):
                raise SaccadeError(f"evidence: cannot read {folder}: {_first_line(error)}; run it again") from None
            asked = " ".join(f"{k} {v!r}" for k, v in (("where", where), ("order by", order_by)) if v is not None)
            raise UsageError(
                f"evidence: {asked or 'the evidence'} does not work: {_first_line(error)}; "
                f"columns: {', '.join((*STATISTICS, *schema.names))}"
            ) from None
    fields = [field.with_metadata(schema.field(field.name).metadata) for field in table.schema]
    return pa.Table.from_arrays(table.columns, schema=pa.schema(fields, metadata=schema.metadata))


def restore_map(table: pa.Table, name: str, row: int | None = None) -> npt.NDArray[np.float32]:
    """A map's values, or another array column's (`features`), in their own shape and scale.

    Args:
        table: from `read_evidence`, with the columns NAME and NAME_scale.
        name: the column.
        row: one row of the table, or None for all.

    Returns:
        float32 [N, …], or […] for one row; NaN where the row has an error.

    Raises:
        UsageError: the table has no such map.
    """
    names = table.schema.names
    fields = {field.name: field for field in table.schema if field.metadata and b"shape" in field.metadata}
    if name not in fields or f"{name}_scale" not in names:
        raise UsageError(
            f"evidence: the table has no map {name!r} with its scale; it has {', '.join(fields) or 'none'}"
        )
    shape = tuple(json.loads(fields[name].metadata[b"shape"]))
    part = table if row is None else table.slice(range(table.num_rows)[row], 1)
    scale = part[f"{name}_scale"].to_numpy().astype(np.float32)
    maps = np.full((part.num_rows, *shape), np.nan, np.float32)
    begin = 0
    for lists in part[name].chunks:  # chunk by chunk: all of them in one may exceed a list's 2^31 values
        there = lists.is_valid().to_numpy(zero_copy_only=False)
        rows = begin + np.flatnonzero(there)
        values = lists.flatten().to_numpy(zero_copy_only=False).astype(np.float32).reshape(len(rows), *shape)
        maps[rows] = values * scale[rows].reshape(-1, *(1 for _ in shape))
        begin += len(lists)
    return maps if row is None else maps[0]


def _shards(folder: str | os.PathLike[str]) -> list[str]:
    shards = sorted(str(path) for path in (Path(folder).absolute() / "evidence").glob("shard-*.parquet"))
    if not shards:
        raise UsageError(f"evidence: {folder} holds no evidence; name the folder of a run (saccade run … --out FOLDER)")
    return shards


def _schema(shard: str) -> pa.Schema:
    try:
        return pq.read_schema(shard)
    except (OSError, pa.ArrowException) as error:
        raise SaccadeError(f"evidence: cannot read {shard}: {_first_line(error)}; remove it, or run again") from None


def _locked(evidence: Path) -> DuckDBPyConnection:
    """A connection that reads files of this folder and nothing else: a condition may come from somebody else."""
    import duckdb

    connection = duckdb.connect(":memory:")
    connection.execute("SET allowed_directories = [?]", [f"{evidence}{os.sep}"])
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    return connection


def _short_names(schema: pa.Schema) -> list[str]:
    """The first map's statistics under their bare names, where no column has that name."""
    spread = next((name for name in schema.names if name.endswith("_spread")), None)
    if spread is None:
        return []
    first = spread.removesuffix("_spread")
    free = (statistic for statistic in STATISTICS if statistic not in schema.names)
    return [f"{_quoted(f'{first}_{statistic}')} AS {_quoted(statistic)}" for statistic in free]


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:300]
