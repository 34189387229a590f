"""From what a person names (folders, globs, files) to an ordered list of photos with names and labels."""

from __future__ import annotations

import csv
import fnmatch
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..contract import UsageError

EXTENSIONS = frozenset((".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".gif"))
"""What counts as a photo in a folder or for a glob, in any case. A file that is named itself may end in anything."""


@dataclass(frozen=True)
class Photo:
    """One entry of the manifest.

    Attributes:
        path: where it is, absolute, symlinks kept.
        name: its path relative to the folder that was given, with `/`; unique within the run.
        label: its class as the labels file or the first sub-folder says, or None.
    """

    path: str
    name: str
    label: str | None = None


def list_photos(sources: Sequence[str], labels: str | None = None) -> list[Photo]:
    """List the photos of `sources`, in their order, each source's sorted by name.

    Args:
        sources: folders (searched recursively; hidden files and folders are skipped), globs (`*`, `?`, `[…]`, and `**`
            for any depth) and single files. A photo that is named twice counts once. Broken links are listed, so that
            they get a row with their error; a folder that is linked into itself is searched once.
        labels: a CSV file with the columns path and label, further ones ignored. A path is relative to the file's
            folder or to the source's, or the bare name of exactly one photo. With it, folders are no labels; a
            photo that it does not name has none.

    Returns:
        The manifest. Without `labels`, a photo's label is its first sub-folder, as in torchvision's ImageFolder.

    Raises:
        UsageError: no photo, a missing source, a folder that may not be read, or a labels file that does not fit.
    """
    if not sources:
        raise UsageError("decode: no photos were named; name a folder, a glob or a file")
    photos: dict[str, Photo] = {}
    names: set[str] = set()
    for source in sources:
        root, found = _find(source)
        for relative in found:
            path = os.path.abspath(os.path.join(root, relative))
            if path in photos:
                continue
            name = _unique(relative.replace(os.sep, "/"), root, names)
            names.add(name)
            folder, _, rest = relative.partition(os.sep)
            photos[path] = Photo(path, name, folder if rest else None)
    listed = list(photos.values())
    return listed if labels is None else _labelled(listed, labels)


def _find(source: str) -> tuple[str, list[str]]:
    """The folder that names are relative to, and the sorted relative paths of the photos."""
    if os.path.isdir(source):
        found = sorted(_walk(source))
        if not found:
            raise UsageError(
                f"decode: no photos in {source} (looked for {' '.join(sorted(EXTENSIONS))} at any depth); "
                "name another folder, or a file itself"
            )
        return source, found
    if os.path.lexists(source):
        return os.path.dirname(source), [os.path.basename(source)]
    if re.search(r"[*?\[]", source):
        return _glob(source)
    raise UsageError(f"decode: {source!r} does not exist; name a folder, a glob or a file")


def _walk(folder: str, depth: int | None = None) -> Iterator[str]:
    """Relative paths of the photos under `folder`, unsorted, down to `depth` levels of files."""
    seen: set[tuple[int, int]] = set()
    waiting = [("", 1)]
    while waiting:
        relative, level = waiting.pop()
        here = os.path.join(folder, relative)
        try:
            status = os.stat(here)
            if (status.st_dev, status.st_ino) in seen:  # symlinks may lead in a circle
                continue
            seen.add((status.st_dev, status.st_ino))
            entries = sorted(os.scandir(here), key=lambda entry: entry.name, reverse=True)
        except OSError as error:
            raise UsageError(
                f"decode: cannot read the folder {here}: {error.strerror}; change its permissions, or leave it out"
            ) from None
        for entry in entries:
            if entry.name.startswith("."):
                continue
            path = os.path.join(relative, entry.name)
            if _is_folder(entry):
                if depth is None or level < depth:
                    waiting.append((path, level + 1))
            elif os.path.splitext(entry.name)[1].lower() in EXTENSIONS:
                yield path


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _glob(pattern: str) -> tuple[str, list[str]]:
    # Not glob.glob: its `**` follows links that lead in a circle.
    parts = Path(pattern).parts
    fixed = next(i for i, part in enumerate(parts) if re.search(r"[*?\[]", part))
    root, wild = str(Path(*parts[:fixed])) if fixed else "", parts[fixed:]
    depth = None if "**" in wild else len(wild)
    found = []
    if os.path.isdir(root or "."):
        found = sorted(p for p in _walk(root or ".", depth) if _matches(p.split(os.sep), wild))
    if not found:
        raise UsageError(f"decode: no photos match {pattern!r}; check the pattern (quoted, so that ** reaches saccade)")
    return root, found


def _matches(parts: Sequence[str], wild: Sequence[str]) -> bool:
    if not wild:
        return not parts
    if wild[0] == "**":
        return any(_matches(parts[i:], wild[1:]) for i in range(len(parts) + 1))
    return bool(parts) and fnmatch.fnmatchcase(parts[0], wild[0]) and _matches(parts[1:], wild[1:])


def _unique(name: str, root: str, taken: set[str]) -> str:
    """`name`, after its source's folder where another source has the same, numbered where that is not enough."""
    base = os.path.basename(os.path.abspath(root)) or "root"
    candidate, number = name, 1
    while candidate in taken:
        candidate = f"{base}/{name}" if number == 1 else f"{base}-{number}/{name}"
        number += 1
    return candidate


def _labelled(photos: list[Photo], labels: str) -> list[Photo]:
    rows = _read_labels(labels)
    folder = os.path.dirname(os.path.abspath(labels))
    absolute = {os.path.normpath(os.path.join(folder, path)): label for path, label in rows.items()}
    relative = {os.path.normpath(path).replace(os.sep, "/"): label for path, label in rows.items()}
    bare = [os.path.basename(photo.path) for photo in photos]
    times = Counter(bare)
    labelled, matched = [], 0
    for photo, name in zip(photos, bare, strict=True):
        label = absolute.get(photo.path, relative.get(photo.name))
        if label is None and times[name] == 1:
            label = relative.get(name)
        matched += label is not None
        labelled.append(replace(photo, label=label or None))
    if not matched:
        example = next(iter(rows), "nothing")
        raise UsageError(
            f"decode: {labels} names none of the photos (it names {example!r}, they are like {photos[0].name!r}); "
            "write paths relative to the labels file or to the folder of photos"
        )
    return labelled


def _read_labels(labels: str) -> dict[str, str]:
    """Path → label, as the file has them; a row without a label gives ""."""
    rows: dict[str, str] = {}
    try:
        with open(labels, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            columns = reader.fieldnames or []
            if "path" not in columns or "label" not in columns:
                raise UsageError(
                    f"decode: {labels} has the columns {', '.join(columns)[:200] or '(none)'}; expected path and label "
                    "in its first line"
                )
            for row in reader:
                path, label = row["path"] or "", (row["label"] or "").strip()
                if rows.setdefault(path, label) != label:
                    raise UsageError(
                        f"decode: {labels} line {reader.line_num} labels {path!r} {label!r} after {rows[path]!r}; "
                        "leave one of the two"
                    )
    except OSError as error:
        raise UsageError(f"decode: cannot read the labels file {labels}: {error.strerror}; check its path") from None
    except (csv.Error, UnicodeDecodeError) as error:
        raise UsageError(f"decode: {labels} is not a CSV file in UTF-8 ({error}); save it as one") from None
    return rows
