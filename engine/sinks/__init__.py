"""Maps and pixels to files: evidence as Parquet and questions to it, the run's own file, pictures."""

from .evidence import EvidenceWriter
from .pictures import overlay_path, write_picture
from .query import read_evidence, restore_map
from .run_file import read_run, write_run
from .statistics import STATISTICS, area_average, channel_statistics, map_statistics

__all__ = [
    "STATISTICS",
    "EvidenceWriter",
    "area_average",
    "channel_statistics",
    "map_statistics",
    "overlay_path",
    "read_evidence",
    "read_run",
    "restore_map",
    "write_picture",
    "write_run",
]
