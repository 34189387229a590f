"""From what a person names to photos with names and labels: which kind of source a word is, and the list of all."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from ..contract import UsageError
from . import datasets_on_disk, folders, tables, tars, urls
from .entry import Photo, Source, conformed, merged
from .labels import Labels

BRACES = re.compile(r"\{([0-9]{1,12}\.\.[0-9]{1,12}|[^{},]*(?:,[^{},]*)+)\}")
_SHARDS = 100_000


def list_photos(sources: Sequence[str], labels: str | None = None) -> list[Photo]:
    """List the photos of `sources`, in their order, each source's sorted by name.

    Args:
        sources: each is one of
            a folder (searched recursively; hidden files and folders are skipped); one that holds no photos but `.tar`
            shards stands for those, one that `datasets.save_to_disk` left for its rows;
            a glob (`*`, `?`, `[…]`, and `**` for any depth), of photos, or of what follows if it ends as they do;
            a single photo, whatever its name ends in;
            `.csv`, `.tsv`, `.parquet` with a column `path` or `url`, relative to the file's folder: the photos that it
            names, with their `label` and its further columns;
            `.parquet` with a column of pictures: its rows;
            `.tar`, `.tar.gz`, `.tgz`, `.tar.bz2`, `.tar.xz`, `.tar.zst`: WebDataset samples, labelled by their `.cls`;
            a URL that fsspec knows, of any of these.
            `{000..123}` and `{a,b}` are expanded. A photo that is named twice counts once. Broken links are listed, so
            that they get a row with their error; a folder that is linked into itself is searched once.
        labels: a CSV file with the columns path and label, further ones ignored. A path is relative to the file's
            folder or to the source's, or the bare name of exactly one photo. With it, folders are no labels; a
            photo that it does not name has none.

    Returns:
        The manifest. Without `labels`, the label of a photo in a folder is its first sub-folder, as in torchvision's
        ImageFolder.

    Raises:
        UsageError: no photo, a missing or damaged source, a folder that may not be read, a labels file that does not
            fit, or a package that is not installed.
        SourceError: a source went away while it was listed.
    """
    return list(Listing(sources, labels))


class Listing:
    """The photos of `list_photos`, one after the other.

    Attributes:
        further: the types of their further columns.
    """

    def __init__(self, sources: Sequence[str], labels: str | None = None) -> None:
        if not sources:
            raise UsageError("decode: no photos were named; name a folder, a glob or a file")
        self._sources = [source for word in sources for source in find(word)]
        self.further = merged([source.further for source in self._sources])
        self._labels = Labels(labels, self._photos()) if labels is not None else None

    def __iter__(self) -> Iterator[Photo]:
        photos = self._photos()
        return photos if self._labels is None else self._labels.label(photos)

    def _photos(self) -> Iterator[Photo]:
        # What was seen is remembered only where something can come twice, and then as hashes: 100 bytes for a photo.
        several = len(self._sources) > 1
        containers: set[str] = set()
        paths: set[bytes] = set()
        names: dict[bytes, int] = {}
        for source in self._sources:
            if source.container is not None:
                if source.container in containers:
                    continue
                containers.add(source.container)
            changed = {n: k for n, k in self.further.items() if source.further.get(n, k) != k}
            count = 0
            for photo in source.photos():
                count += 1
                if several or not source.distinct:
                    if source.container is None:
                        path = _hash(photo.path)
                        if path in paths:
                            continue
                        paths.add(path)
                    name = _unique(photo.name, source.base, names)
                    if name != photo.name:
                        photo = replace(photo, name=name)
                if changed:
                    further = {n: conformed(v, self.further[n]) for n, v in photo.further.items()}
                    photo = replace(photo, further=further)
                yield photo
            if not count:
                raise UsageError(source.nothing)


def find(word: str) -> list[Source]:
    """What a word names.

    Raises:
        UsageError: nothing, or something that is damaged.
    """
    word = urls.without_file_scheme(word)
    if "::" in word and not os.path.lexists(word):
        word = urls.absolute(word)
    if not urls.is_url(word) or os.path.lexists(word):
        if os.path.isdir(word):
            return _folder(word)
        if os.path.lexists(word):
            return [_holder(word) or folders.single(word)]
    if BRACES.search(word):
        return [source for one in expanded(word) for source in find(one)]
    holds = tars.is_tar(urls.ending_of(word)) or tables.is_table(urls.ending_of(word))
    wild = folders.WILD.search(word)
    if urls.is_url(word):
        if not holds:
            return _remote(word)
        files = urls.files_in(word, _holds_photos) if wild else []
        return [_required(_holder(file)) for file in files or [word]]
    if wild and holds:
        root, parts = folders.split_pattern(word)
        files = [os.path.join(root, name) for name in folders.matching(root, parts, _holds_photos)]
        if not files:
            raise UsageError(folders.glob(word).nothing)
        return [_required(_holder(file)) for file in files]
    if wild:
        return [folders.glob(word)]
    raise UsageError(f"decode: {word!r} does not exist; name a folder, a glob or a file")


def _folder(word: str) -> list[Source]:
    if datasets_on_disk.is_dataset(word):
        return datasets_on_disk.sources(word)
    entries = folders.local_entries
    if next(folders.walk(entries(word)), None) is None:
        shards = folders.walk(entries(word), wanted=tars.is_tar)
        if found := [tars.source(os.path.join(word, name)) for name in shards]:
            return found
    return [folders.folder(word)]


def _remote(word: str) -> list[Source]:
    source = urls.source(word)
    if not folders.WILD.search(word) and next(source.photos(), None) is None:
        return [tars.source(file) for file in urls.files_in(word, tars.is_tar)] or [source]
    return [source]


def _holder(path: str) -> Source | None:
    """The source that one file is, if it holds photos or names them."""
    ending = urls.ending_of(path)
    if tars.is_tar(ending):
        return tars.source(path)
    return tables.source(path) if tables.is_table(ending) else None


def _holds_photos(name: str) -> bool:
    return tars.is_tar(name) or tables.is_table(name)


def _required(source: Source | None) -> Source:
    assert source is not None
    return source


def expanded(word: str) -> list[str]:
    """The words that `{000..123}` and `{a,b}` in one stand for.

    Raises:
        UsageError: they are too many.
    """
    words, found = [""], False
    while match := BRACES.search(word):
        before, inside, word = word[: match.start()], match[1], word[match.end() :]
        first, dots, last = inside.partition("..")
        if dots:
            width = len(first) if first.startswith("0") or last.startswith("0") else 0
            count = int(last) - int(first) + 1
            parts = (f"{n:0{width}}" for n in range(int(first), int(last) + 1))
        else:
            parts, count = iter(inside.split(",")), inside.count(",") + 1
        if not 0 < count * len(words) <= _SHARDS:
            raise UsageError(f"decode: {{{inside[:40]}}} stands for {max(count, 0):,} files; expected 1 to {_SHARDS:,}")
        ends = list(parts)
        words, found = [w + before + end for w in words for end in ends], True
    return [w + word for w in words] if found else [word]


def _unique(name: str, base: str, taken: dict[bytes, int]) -> str:
    """`name`, after its source's folder where another source has the same, numbered where that is not enough."""
    base = os.path.basename(base) or "root"
    first, candidate = _hash(name), name
    number = taken.get(first, 0)  # how often it was given another name: a manifest may repeat it a thousand times
    while (mark := _hash(candidate)) in taken:
        number += 1
        candidate = f"{base}/{name}" if number == 1 else f"{base}-{number}/{name}"
    taken[first] = number
    taken.setdefault(mark, 0)
    return candidate


def _hash(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
