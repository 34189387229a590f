"""Questions to a run's evidence, in SQL expressions over its columns."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from ..contract import SaccadeError, UsageError
from .statistics import STATISTICS

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection, DuckDBPyRelation

_MAX_MAP = 2**28  # values of a map; what a column claims is allocated
_READ_BYTES = 32 * 2**20  # what `EvidenceSlices` holds of the evidence, about, and at least one group of rows


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
    shards = shards_of(folder)
    schema = read_schema(shards[0])
    wanted = _wanted(schema, columns)
    with _asked(folder, shards, schema, where, order_by, limit) as rows:
        table = rows.project(", ".join(_quoted(name) for name in wanted)).to_arrow_table()
    fields = [field.with_metadata(schema.field(field.name).metadata) for field in table.schema]
    return pa.Table.from_arrays(table.columns, schema=pa.schema(fields, metadata=schema.metadata))


def iterate_evidence(
    folder: str | os.PathLike[str],
    where: str | None = None,
    order_by: str | None = None,
    limit: int | None = None,
    columns: Sequence[str] | None = None,
    rows: int = 256,
) -> EvidenceSlices:
    """Find rows of a run's evidence as `read_evidence` does, and read them a few at a time.

    Args:
        folder, where, order_by, limit, columns: see `read_evidence`.
        rows: so many rows at a time.

    Returns:
        The rows in tables of `rows`, the last of fewer; as often as it is iterated. Its `len` is the number of rows.
        Maps are lists of float16, else the tables are those of `read_evidence`. Memory does not grow with the run,
        save by the 16 bytes that say where a row is.

    Raises:
        UsageError, SaccadeError: see `read_evidence`; that a shard is damaged may only show while it is read.
    """
    if rows < 1:
        raise ValueError(f"rows must be 1 or more; got {rows}")
    shards = shards_of(folder)
    schema = read_schema(shards[0])
    wanted = _wanted(schema, columns)
    # Only where they are: a sort of the whole rows would hold all the maps.
    with _asked(folder, shards, schema, where, order_by, limit) as found:
        places = found.project("filename, file_row_number").to_arrow_table()
    number = {shard: i for i, shard in enumerate(shards)}
    files = np.fromiter((number[name.as_py()] for name in places["filename"]), np.int64, places.num_rows)
    chosen = pa.schema([schema.field(name) for name in wanted], metadata=schema.metadata)
    return EvidenceSlices(tuple(shards), files, places["file_row_number"].to_numpy(), chosen, rows)


def every_row(folder: str | os.PathLike[str], columns: Sequence[str] | None = None, rows: int = 256) -> EvidenceSlices:
    """All rows of a run's evidence, as `iterate_evidence` gives them without a condition, and found faster.

    Nothing but the shards' footers is read for it: 0.3 s for 1,000 shards.

    Raises:
        UsageError, SaccadeError: see `read_evidence`.
    """
    if rows < 1:
        raise ValueError(f"rows must be 1 or more; got {rows}")
    shards = shards_of(folder)
    schema = read_schema(shards[0])
    counts = []
    for shard in shards:
        with _readable(shard) as file:
            counts.append(file.metadata.num_rows)
    files = np.repeat(np.arange(len(shards)), counts)
    places = np.arange(len(files)) - np.repeat(np.cumsum(counts) - counts, counts)
    chosen = pa.schema([schema.field(name) for name in _wanted(schema, columns)], metadata=schema.metadata)
    return EvidenceSlices(tuple(shards), files, places, chosen, rows)


@dataclass(frozen=True)
class EvidenceSlices:
    """Rows of the evidence, a few at a time; see `iterate_evidence`."""

    shards: tuple[str, ...]
    files: npt.NDArray[np.int64]
    places: npt.NDArray[np.int64]
    schema: pa.Schema
    rows: int

    def __len__(self) -> int:
        return len(self.files)

    def of(self, columns: Sequence[str], rows: int) -> EvidenceSlices:
        """Other columns of the same rows, `rows` at a time.

        Raises:
            UsageError: there is no such column.
        """
        schema = read_schema(self.shards[0])
        fields = [schema.field(name) for name in _wanted(schema, columns)]
        return dataclasses.replace(self, schema=pa.schema(fields, metadata=schema.metadata), rows=rows)

    def take(self, rows: Sequence[int] | npt.NDArray[np.integer]) -> pa.Table:
        """Some of the rows, by their number from 0, in the order in which they are named.

        Raises:
            IndexError: there is no such row.
            SaccadeError: a shard is damaged.
        """
        wanted = np.asarray(rows, np.int64)
        if not len(wanted):
            return self.schema.empty_table()
        return self._read(self.files[wanted], self.places[wanted])

    def __iter__(self) -> Iterator[pa.Table]:
        first = 0
        while first < len(self):
            # In another order than the manifest's every shard may hold some of the next rows: many at once, then.
            count = min(self._affordable(), len(self) - first)
            part = self._read(self.files[first : first + count], self.places[first : first + count])
            for begin in range(0, count, self.rows):
                yield part.slice(begin, self.rows)
            first += count

    def _affordable(self) -> int:
        """How many rows to hold, a multiple of `rows`."""
        # Of some shards: one may hold nothing but errors.
        some = {self.shards[i * (len(self.shards) - 1) // 4] for i in range(5)}
        return min(self._affordable_of(shard) for shard in some)

    def _affordable_of(self, path: str) -> int:
        with _readable(path) as shard:
            about = shard.metadata
            size = 0
            for group in (about.row_group(i) for i in range(about.num_row_groups)):
                leaves = (group.column(i) for i in range(group.num_columns))
                size += sum(
                    c.total_uncompressed_size for c in leaves if c.path_in_schema.split(".")[0] in self.schema.names
                )
            each = max(1, size // max(1, about.num_rows))
        return max(1, _READ_BYTES // each // self.rows) * self.rows

    def _read(self, files: npt.NDArray[np.int64], places: npt.NDArray[np.int64]) -> pa.Table:
        """The rows in their order; of each shard only the groups of rows that hold some of them."""
        found: list[pa.Table] = []
        order: list[npt.NDArray[np.intp]] = []
        for file in np.unique(files):
            here = np.flatnonzero(files == file)
            with _readable(self.shards[file]) as shard:
                begin = 0
                for group in range(shard.num_row_groups):
                    end = begin + shard.metadata.row_group(group).num_rows
                    inside = here[(places[here] >= begin) & (places[here] < end)]
                    if len(inside):
                        # A shard has a thousand rows or so: threads cost more than they give.
                        table = shard.read_row_group(group, self.schema.names, use_threads=False)
                        rows = places[inside] - begin
                        whole = len(rows) == table.num_rows and bool((np.diff(rows) == 1).all())
                        found.append((table if whole else table.take(rows)).select(self.schema.names))
                        order.append(inside)
                    begin = end
        try:
            table = pa.concat_tables(found)
        except pa.ArrowException as error:
            raise SaccadeError(f"evidence: its shards differ ({first_line(error)}); run it again") from None
        order_of_all = np.concatenate(order)
        return table if bool((np.diff(order_of_all) > 0).all()) else table.take(np.argsort(order_of_all))


@contextlib.contextmanager
def _readable(shard: str) -> Iterator[pq.ParquetFile]:
    try:
        with pq.ParquetFile(shard) as file:
            yield file
    except (OSError, pa.ArrowException) as error:
        raise SaccadeError(f"evidence: cannot read {shard}: {first_line(error)}; remove it, or run again") from None


@contextlib.contextmanager
def _asked(
    folder: str | os.PathLike[str],
    shards: list[str],
    schema: pa.Schema,
    where: str | None,
    order_by: str | None,
    limit: int | None,
) -> Iterator[DuckDBPyRelation]:
    """The rows that are asked for, to be read within the block; what goes wrong in it becomes one line."""
    import duckdb  # a tenth of a second that a run need not wait for

    if limit is not None and limit < 0:
        raise UsageError(f"evidence: limit must be 0 or more; got {limit}")
    with locked(Path(shards[0]).parent) as connection:
        try:
            rows = connection.read_parquet(shards, file_row_number=True, filename=True)
            rows = rows.project(", ".join(["*", *short_names(schema)]))
            # Relations parse these strings as expressions: a second statement in them is an error, not an act.
            if where is not None:
                rows = rows.filter(where)
            place = "filename, file_row_number"
            rows = rows.order(f"{order_by}\n, {place}" if order_by else place)
            yield rows if limit is None else rows.limit(limit)
        except duckdb.Error as error:
            for shard in shards:  # is it the question, or the files?
                read_schema(shard)
            if isinstance(error, duckdb.IOException):
                raise SaccadeError(f"evidence: cannot read {folder}: {first_line(error)}; run it again") from None
            asked = " ".join(f"{k} {v!r}" for k, v in (("where", where), ("order by", order_by)) if v is not None)
            raise UsageError(
                f"evidence: {asked or 'the evidence'} does not work: {first_line(error)}; "
                f"columns: {', '.join((*STATISTICS, *schema.names))}"
            ) from None


def _wanted(schema: pa.Schema, columns: Sequence[str] | None) -> list[str]:
    wanted = list(dict.fromkeys(columns or schema.names))
    if unknown := [name for name in wanted if name not in schema.names]:
        raise UsageError(f"evidence: there is no column {unknown[0]!r}; there are {', '.join(schema.names)}")
    return wanted


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
    shape = shape_of(fields[name])
    size = math.prod(shape)
    part = table if row is None else table.slice(range(table.num_rows)[row], 1)
    scale = part[f"{name}_scale"].to_numpy().astype(np.float32)
    maps = np.full((part.num_rows, *shape), np.nan, np.float32)
    begin = 0
    for lists in part[name].chunks:  # chunk by chunk: all of them in one may exceed a list's 2^31 values
        there = lists.is_valid().to_numpy(zero_copy_only=False)
        rows = begin + np.flatnonzero(there)
        values = lists.flatten().to_numpy(zero_copy_only=False).astype(np.float32)
        if len(values) != len(rows) * size:
            raise SaccadeError(f"evidence: {name} is not of the shape {list(shape)} that its column says; run it again")
        values = values.reshape(len(rows), *shape)
        maps[rows] = values * scale[rows].reshape(-1, *(1 for _ in shape))
        begin += len(lists)
    return maps if row is None else maps[0]


def shape_of(field: pa.Field) -> tuple[int, ...]:
    """The shape of a map (or of `features`), as its column in the evidence says.

    Raises:
        SaccadeError: the column has none.
    """
    try:
        shape = json.loads((field.metadata or {})[b"shape"])
        if not all(type(n) is int and n > 0 for n in shape) or math.prod(shape) > _MAX_MAP:
            raise ValueError
    except (KeyError, ValueError, TypeError, RecursionError):
        raise SaccadeError(f"evidence: the column {field.name} has no shape of a map; run it again") from None
    return tuple(shape)


def shards_of(folder: str | os.PathLike[str]) -> list[str]:
    shards = sorted(str(path) for path in (Path(folder).absolute() / "evidence").glob("shard-*.parquet"))
    if not shards:
        raise UsageError(f"evidence: {folder} holds no evidence; name the folder of a run (saccade run … --out FOLDER)")
    return shards


def read_schema(shard: str) -> pa.Schema:
    try:
        return pq.read_schema(shard)
    except (OSError, pa.ArrowException) as error:
        raise SaccadeError(f"evidence: cannot read {shard}: {first_line(error)}; remove it, or run again") from None


def locked(evidence: Path) -> DuckDBPyConnection:
    """A connection that reads files of this folder and nothing else: a condition may come from somebody else."""
    import duckdb

    connection = duckdb.connect(":memory:")
    connection.execute("SET allowed_directories = [?]", [f"{evidence}{os.sep}"])
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    return connection


def short_names(schema: pa.Schema) -> list[str]:
    """The first map's statistics under their bare names, where no column has that name."""
    spread = next((name for name in schema.names if name.endswith("_spread")), None)
    if spread is None:
        return []
    first = spread.removesuffix("_spread")
    free = (statistic for statistic in STATISTICS if statistic not in schema.names)
    return [f"{_quoted(f'{first}_{statistic}')} AS {_quoted(statistic)}" for statistic in free]


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:300]
