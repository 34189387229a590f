"""Labels from a CSV file beside the photos."""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace

from ..contract import UsageError
from .entry import Photo
from .tables import bounded


class Labels:
    """A CSV file with the columns path and label.

    Args:
        path: the file.
        photos: all that will be labelled; they are gone through once, to see which bare names are those of one only.

    Raises:
        UsageError: it cannot be read, or is no such file.
    """

    def __init__(self, path: str, photos: Iterable[Photo]) -> None:
        self._path = path
        self._folder = os.path.dirname(os.path.abspath(path))
        self._rows = _read(path)
        bare = (os.path.basename(p.member or p.path) for p in photos)
        self._times = Counter(name for name in bare if name in self._rows)

    def label(self, photos: Iterable[Photo]) -> Iterator[Photo]:
        """The photos with the file's labels and no others.

        Raises:
            UsageError: when all are through, and it named none of them.
        """
        matched, example = 0, ""
        for photo in photos:
            example = example or photo.name
            label = self._find(photo)
            matched += label is not None
            yield replace(photo, label=label or None)
        if not matched:
            first = next(iter(self._rows), "nothing")
            raise UsageError(
                f"decode: {self._path} names none of the photos (it names {first!r}, they are like {example!r}); "
                "write paths relative to the labels file or to the folder of photos"
            )

    def _find(self, photo: Photo) -> str | None:
        """By its path, by that relative to the labels file, by its name, or by its bare name."""
        rows = self._rows
        if photo.member is None:
            for path in (photo.path, os.path.relpath(photo.path, self._folder)):
                if path in rows:
                    return rows[path]
        if photo.name in rows:
            return rows[photo.name]
        bare = os.path.basename(photo.member or photo.path)
        return rows[bare] if self._times[bare] == 1 else None


def _read(labels: str) -> dict[str, str]:
    """Normal path → label, as the file has them; a row without a label gives ""."""
    rows: dict[str, str] = {}
    known: dict[str, str] = {}  # one text for each label, however many rows it has
    try:
        with open(labels, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(bounded(file))
            columns = reader.fieldnames or []
            if "path" not in columns or "label" not in columns:
                raise UsageError(
                    f"decode: {labels} has the columns {', '.join(columns)[:200] or '(none)'}; expected path and label "
                    "in its first line"
                )
            for row in reader:
                path, label = row["path"] or "", (row["label"] or "").strip()
                label = known.setdefault(label, label)
                if rows.setdefault(os.path.normpath(path), label) != label:
                    raise UsageError(
                        f"decode: {labels} line {reader.line_num} labels {path!r} {label!r} after "
                        f"{rows[os.path.normpath(path)]!r}; leave one of the two"
                    )
    except OSError as error:
        raise UsageError(f"decode: cannot read the labels file {labels}: {error.strerror}; check its path") from None
    except (csv.Error, UnicodeDecodeError) as error:
        raise UsageError(f"decode: {labels} is not a CSV file in UTF-8 ({error}); save it as one") from None
    return rows
