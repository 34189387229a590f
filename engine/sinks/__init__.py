"""Maps and pixels to files: evidence as Parquet and questions to it, the run's own file, pictures."""

from .cells import read_cells, remove_cells, write_cells
from .columns import evidence_schema, is_further
from .evidence import MAX_SHARDS, EvidenceWriter, count_rows, finished_shards
from .pictures import overlay_path, write_picture
from .query import EvidenceSlices, every_row, iterate_evidence, read_evidence, restore_map, shape_of
from .run_file import append_shard, read_run, read_shards, write_run
from .sql import query_evidence
from .statistics import STATISTICS, area_average, channel_statistics, map_statistics

__all__ = [
    "MAX_SHARDS",
    "STATISTICS",
    "EvidenceSlices",
    "EvidenceWriter",
    "append_shard",
    "area_average",
    "channel_statistics",
    "count_rows",
    "every_row",
    "evidence_schema",
    "finished_shards",
    "is_further",
    "iterate_evidence",
    "map_statistics",
    "overlay_path",
    "query_evidence",
    "read_cells",
    "read_evidence",
    "read_run",
    "read_shards",
    "remove_cells",
    "restore_map",
    "shape_of",
    "write_cells",
    "write_picture",
    "write_run",
]
