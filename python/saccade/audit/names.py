"""What an image's name may give away: its folders and the words in the file's name.

A data set that was put together from several sources keeps their traces there: `night/IMG_0031.jpg`.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

_PARTS = {
    "folder": r"^(?s:(?P<part>.*))/",
    "first folder": r"^(?P<part>[^/]*)/",
    "file name's first word": r"(?:^|/)[^\pL/]*(?P<part>\pL+)[^/]*\.[^./]*$",
    "file name's last word": r"(?P<part>\pL+)[^\pL/]*\.[^./]*$",
    "file name's ending": r"\.(?P<part>[^./]*)$",
}


def name_parts(names: pa.ChunkedArray) -> dict[str, pa.ChunkedArray]:
    """Parts of N names such as `night/front/IMG_0031_a.jpg`.

    Args:
        names: texts, with `/` between folders.

    Returns:
        N dictionary-encoded texts each, null where a name has no such part: folder (night/front), first folder (night;
        only where that is not always the whole folder), file name's first word (IMG: letters, up to a digit or a
        mark), file name's last word (a; only where that is not always the first), file name's ending (jpg).
    """
    # Of the distinct folders and words there are few, of the names as many as images: so by number at once.
    parts = {key: _extracted(names, pattern).dictionary_encode() for key, pattern in _PARTS.items()}
    for key, whole in (("first folder", "folder"), ("file name's last word", "file name's first word")):
        if parts[key].cast(pa.string()).equals(parts[whole].cast(pa.string())):
            del parts[key]
    return parts


def _extracted(names: pa.ChunkedArray, pattern: str) -> pa.ChunkedArray:
    found = pc.call_function("extract_regex", [names], pc.ExtractRegexOptions(pattern))
    return pc.call_function("struct_field", [found], pc.StructFieldOptions([0]))


class WithNameParts(Mapping[str, pa.ChunkedArray]):
    """Columns by name, and after them those of `name_parts`, which are made when they are first asked for.

    Args:
        given: columns; one that is called as a part of the name hides that.
        names: the images' names, N texts.
    """

    def __init__(self, given: Mapping[str, pa.ChunkedArray], names: pa.ChunkedArray) -> None:
        self._given = given
        self._names = names

    @functools.cached_property
    def _all(self) -> dict[str, pa.ChunkedArray]:
        return {**self._given, **{k: v for k, v in name_parts(self._names).items() if k not in self._given}}

    def take(self, rows: npt.NDArray[np.integer]) -> WithNameParts:
        """Some rows of all of them."""
        return WithNameParts({k: v.take(rows) for k, v in self._given.items()}, self._names.take(rows))

    def __getitem__(self, key: str) -> pa.ChunkedArray:
        return self._given[key] if key in self._given else self._all[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)
