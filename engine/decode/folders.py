"""Photos in folders, for globs, and single files: the walk, in the order of their sorted paths, folder by folder."""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from ..contract import UsageError
from .entry import EXTENSIONS, Photo, Source
from .opening import reason_of
from .patience import patiently

Entries = Callable[[str], list[str]]
"""The names in a folder that is given by its relative path, those of folders with a `/` after them."""

WILD = re.compile(r"[*?\[]")


def folder(root: str) -> Source:
    """The photos of a folder, at any depth; their first sub-folders are their labels."""
    return Source(
        lambda: as_photos(root, walk(local_entries(root))),
        os.path.abspath(root),
        f"decode: no photos in {root} (looked for {' '.join(sorted(EXTENSIONS))} at any depth, then for tar shards); "
        "name another folder, or a file itself",
        distinct=True,
    )


def single(path: str) -> Source:
    """One file, whatever its name ends in."""
    root, name = os.path.split(path)
    return Source(lambda: as_photos(root, [name]), os.path.abspath(root), f"decode: no photo in {path}; name another")


def glob(pattern: str) -> Source:
    """The photos whose paths fit a pattern; names are relative to its part without wildcards."""
    root, wild = split_pattern(pattern)
    return Source(
        lambda: as_photos(root, matching(root, wild, is_photo)),
        os.path.abspath(root),
        f"decode: no photos match {pattern!r}; check the pattern (quoted, so that ** reaches saccade)",
        distinct=True,
    )


def split_pattern(pattern: str) -> tuple[str, Sequence[str]]:
    """A pattern's folder, and its parts from the first wildcard on."""
    parts = Path(pattern).parts
    fixed = next(i for i, part in enumerate(parts) if WILD.search(part))
    return str(Path(*parts[:fixed])) if fixed else "", parts[fixed:]


def matching(root: str, wild: Sequence[str], wanted: Callable[[str], bool]) -> Iterator[str]:
    """Relative paths under a folder that fit a pattern, sorted."""
    # Not glob.glob: its `**` follows links that lead in a circle.
    if os.path.isdir(root or "."):
        depth = None if "**" in wild else len(wild)
        yield from (p for p in walk(local_entries(root), depth, wanted) if matches(p.split("/"), wild))


def as_photos(root: str, found: Sequence[str] | Iterator[str]) -> Iterator[Photo]:
    """Photos of relative paths, labelled by their first folder."""
    absolute = os.path.abspath(root)
    for relative in found:
        first, _, rest = relative.partition("/")
        yield Photo(os.path.join(absolute, relative), relative, first if rest else None)


def is_photo(name: str) -> bool:
    """Whether a file's name ends as a photo's does."""
    return os.path.splitext(name)[1].lower() in EXTENSIONS


def walk(entries: Entries, depth: int | None = None, wanted: Callable[[str], bool] = is_photo) -> Iterator[str]:
    """Relative paths of the wanted files, as if sorted, down to `depth` levels of files.

    A `/` after a folder's name puts its files where they belong among the others, so that one folder's names are held
    at a time and not all the paths.
    """

    def sorted_entries(relative: str) -> Iterator[str]:
        return iter(sorted(n for n in entries(relative) if not n.startswith(".") and (n.endswith("/") or wanted(n))))

    levels = [("", sorted_entries(""))]
    while levels:
        here, names = levels[-1]
        name = next(names, None)
        if name is None:
            levels.pop()
        elif not name.endswith("/"):
            yield here + name
        elif depth is None or len(levels) < depth:
            levels.append((here + name, sorted_entries(here + name)))


def local_entries(root: str) -> Entries:
    """The entries of folders on this machine; a folder that is reached twice, through a link, is empty then."""
    seen: set[tuple[int, int]] = set()

    def entries(relative: str) -> list[str]:
        here = os.path.join(root, relative) or "."
        try:
            status = patiently(lambda: os.stat(here), here)
            if (status.st_dev, status.st_ino) in seen:  # symlinks may lead in a circle
                return []
            seen.add((status.st_dev, status.st_ino))
            return patiently(lambda: _names(here), here)
        except OSError as error:
            raise UsageError(
                f"decode: cannot read the folder {here}: {reason_of(error)}; change its permissions, or leave it out"
            ) from None

    return entries


def _names(here: str) -> list[str]:
    with os.scandir(here) as found:
        return [entry.name + "/" * _is_folder(entry) for entry in found]


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def matches(parts: Sequence[str], wild: Sequence[str]) -> bool:
    """Whether a path fits a pattern, both in parts; `**` stands for any number of them."""
    if not wild:
        return not parts
    if wild[0] == "**":
        return any(matches(parts[i:], wild[1:]) for i in range(len(parts) + 1))
    return bool(parts) and fnmatch.fnmatchcase(parts[0], wild[0]) and matches(parts[1:], wild[1:])
