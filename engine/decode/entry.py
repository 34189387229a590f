"""What a listing is made of: the photo, and the source that lists photos."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ..contract import Record, UsageError

EXTENSIONS = frozenset((".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".gif"))
"""What counts as a photo in a folder, for a glob or in a tar, in any case. A file named itself may end in anything."""

Scalar = Literal["int64", "double", "bool", "string"]
"""What a further column of a manifest may hold, as Arrow names it."""


_PLAIN = re.compile(r"[^/.:][^/]*(/[^/.][^/]*)*")


class MissingPackageError(UsageError):
    """A kind of source needs a package that is not installed: no photo of it can be read."""


@dataclass(frozen=True, slots=True)
class Photo:
    """One entry of the manifest.

    Attributes:
        path: where it is, absolute, symlinks kept, or a URL; of a photo in a file of many, that file.
        name: its path relative to the folder that was given, with `/`; unique within the run.
        label: its class as the labels file, the manifest or the first sub-folder says, or None.
        member: its name in the file at `path` that holds many: of a tar's member, `column[row]` of a table; or None.
        offset: where in that file: the byte at which an uncompressed tar's member begins, a compressed one's place
            among the members, a table's row; or None.
        length: bytes of a tar's member, or None.
        further: the manifest's further columns by name: str, int, float, bool or None.
    """

    path: str
    name: str
    label: str | None = None
    member: str | None = None
    offset: int | None = None
    length: int | None = None
    further: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def place(self) -> str:
        """What an error calls it."""
        return self.path if self.member is None else f"{self.member} in {self.path}"


def photo_of(record: Record) -> Photo:
    """Where a photo that was read is, to read it once more."""
    return Photo(record.path, record.name, record.label, record.member, record.offset, record.length)


@dataclass(frozen=True)
class Source:
    """What one word of a person names.

    Attributes:
        photos: lists them, from the beginning at each call; what is wrong may be raised at any of them.
        base: tells its names from another source's, where both have the same.
        nothing: what to say where there are none.
        further: the types of its photos' further columns.
        distinct: no photo comes twice, and no name.
        container: the one file that holds or lists the photos, if so. It is taken once, however often it is named, and
            each of its rows counts.
    """

    photos: Callable[[], Iterator[Photo]]
    base: str
    nothing: str
    further: Mapping[str, Scalar] = field(default_factory=dict)
    distinct: bool = False
    container: str | None = None


def safe_name(path: str) -> str:
    """A name for a photo from a path that somebody else chose: relative, and without a way up."""
    if _PLAIN.fullmatch(path):
        return path
    scheme, found, rest = path.partition("://")
    parts = (rest if found else scheme).split("/")
    return "/".join(part for part in parts if part not in ("", ".", "..")) or "photo"


def merged(kinds: list[Mapping[str, Scalar]]) -> dict[str, Scalar]:
    """One type for each further column of several sources: numbers become double together, all else text."""
    found: dict[str, Scalar] = {}
    for name, kind in (item for one in kinds for item in one.items()):
        known = found.setdefault(name, kind)
        if known != kind:
            found[name] = "double" if {known, kind} == {"int64", "double"} else "string"
    return found


def conformed(value: Any, kind: Scalar) -> Any:
    """A further column's value as its merged type has it."""
    if value is None or kind in ("int64", "bool"):
        return value
    if kind == "double":
        return float(value)
    return value if isinstance(value, str) else str(value)
