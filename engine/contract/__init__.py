"""What crosses the doors between rooms: the types, the errors, the program file's container, the atomic write.

Importing it loads the standard library alone, so that `saccade --help` answers at once.
"""

from .agreement import Agreement, agree
from .atomic import replacing
from .batch import ATTRIBUTES, FACTS, Batch, Fact, Maps, Record
from .errors import PhotoError, SaccadeError, SourceError, UsageError
from .reading import read_spec
from .spec import SCHEMA, MapSpec, ModelOptions, Preprocessing, Spec, softmax

__all__ = [
    "ATTRIBUTES",
    "FACTS",
    "SCHEMA",
    "Agreement",
    "Batch",
    "Fact",
    "MapSpec",
    "Maps",
    "ModelOptions",
    "PhotoError",
    "Preprocessing",
    "Record",
    "SaccadeError",
    "SourceError",
    "Spec",
    "UsageError",
    "agree",
    "read_spec",
    "replacing",
    "softmax",
]
