"""The audit's page: one HTML file that opens without a server and asks nobody for anything."""

from .page import write
from .rows import rows_wanted

__all__ = ["rows_wanted", "write"]
