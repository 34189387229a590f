"""What crosses the doors between rooms: the types, the errors, the program file's container, the atomic write.

Importing it loads the standard library alone, so that `saccade --help` answers at once.
"""

from .atomic import replacing
from .errors import PhotoError, SaccadeError, UsageError
from .types import ATTRIBUTES, SCHEMA, Batch, Maps, MapSpec, ModelOptions, Preprocessing, Record, Spec

__all__ = [
    "ATTRIBUTES",
    "SCHEMA",
    "Batch",
    "MapSpec",
    "Maps",
    "ModelOptions",
    "PhotoError",
    "Preprocessing",
    "Record",
    "SaccadeError",
    "Spec",
    "UsageError",
    "replacing",
]
