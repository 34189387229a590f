"""What crosses the doors between rooms: the types, the errors, the program file's container, the atomic write.

Importing it loads the standard library alone, so that `saccade --help` answers at once.
"""

from .agreement import Agreement, agree
from .atomic import replacing
from .batch import ATTRIBUTES, Batch, Maps, Record
from .errors import PhotoError, SaccadeError, UsageError
from .reading import read_spec
from .spec import SCHEMA, MapSpec, ModelOptions, Preprocessing, Spec

__all__ = [
    "ATTRIBUTES",
    "SCHEMA",
    "Agreement",
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
    "agree",
    "read_spec",
    "replacing",
]
