"""WebDataset's tar shards, plain and compressed. Nothing is extracted to disk, and no claim of a header believed."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator
from typing import IO, Any, cast

from ..contract import PhotoError, UsageError
from . import urls
from .entry import EXTENSIONS, Photo, Source, safe_name
from .opening import MAX_HELD, on_one_line, reason_of
from .patience import resumed, transient

COMPRESSED = {".tar.gz": "gz", ".tgz": "gz", ".tar.bz2": "bz2", ".tar.xz": "xz", ".tar.zst": "zst"}
ENDINGS = (".tar", *COMPRESSED)

_HEADER = 2**20
"""Bytes of one member's headers, long names and further attributes among them; tar's own have 512."""
_LABEL = 4096
_MEMORY = 2**28
"""Bytes for what a compressed tar's stream refers back to."""


def is_tar(path: str) -> bool:
    """Whether a file's name ends as a tar's does."""
    return path.lower().endswith(ENDINGS)


def is_compressed(path: str) -> bool:
    """Whether a tar can only be read from its beginning."""
    return not urls.ending_of(path).lower().endswith(".tar")


def source(path: str) -> Source:
    """The photos of one shard: of each sample the first picture, labelled by what its `.cls` says."""
    path = path if urls.is_url(path) else os.path.abspath(path)
    return Source(
        lambda: resumed(lambda: _listed(path), path),
        posixpath.dirname(urls.ending_of(path)),
        f"decode: no photos in {on_one_line(path)} (looked for {' '.join(sorted(EXTENSIONS))}); name another tar",
        container=path,
    )


def read_member(photo: Photo) -> bytes:
    """A member of an uncompressed tar, by its place: any thread may ask, in any order.

    Raises:
        PhotoError: the tar has become shorter, or the member is too large.
        OSError: the tar cannot be read.
    """
    if photo.offset is None or photo.length is None:
        raise PhotoError(f"decode: {on_one_line(photo.place)} has no place in it; list the photos again")
    if photo.length > MAX_HELD:
        raise PhotoError(too_large(photo.place, photo.length))
    if urls.is_url(photo.path):
        data = urls.fetch_part(photo.path, photo.offset, photo.length)
    else:
        with open(photo.path, "rb", buffering=0) as file:
            file.seek(photo.offset)
            data = urls.read_at_most(file, photo.length)
    if len(data) != photo.length:
        raise PhotoError(truncated(photo.place, len(data), photo.length))
    return data


def read_photos(path: str, begin: int = 0) -> Iterator[tuple[int, str, bytes | str]]:
    """A compressed tar's pictures from its beginning on: (place among the members, name, bytes or what is wrong).

    Raises:
        OSError and others: it cannot be read, or not further.
    """
    with _Tar(path) as tar:
        for position, member in tar:
            if not _is_picture(member):
                continue
            if member.size > MAX_HELD:
                yield position, member.name, too_large(f"{member.name} in {path}", member.size)
                continue
            data = tar.content(member.size)
            short = len(data) != member.size
            problem = truncated(f"{member.name} in {path}", len(data), member.size)
            yield position, member.name, problem if short else data


def too_large(place: str, size: int) -> str:
    """The line for a photo that would take too much memory."""
    return f"decode: {on_one_line(place)} is too large ({size:,} bytes; at most {MAX_HELD:,}); make it smaller"


def truncated(place: str, found: int, expected: int) -> str:
    """The line for a photo of which a part is missing."""
    return f"decode: {on_one_line(place)} is truncated ({found:,} bytes of {expected:,}); copy it again"


def _listed(path: str) -> Iterator[Photo]:
    compressed = is_compressed(path)
    stem = _stem(posixpath.basename(urls.ending_of(path)))

    def photo() -> Photo:
        assert image is not None
        position, member = image
        offset = position if compressed else member.offset_data
        name = safe_name(f"{stem}/{member.name}")
        return Photo(path, name, label, member.name, offset, member.size)

    key: str | None = None
    image: tuple[int, Any] | None = None
    label: str | None = None
    try:
        with _Tar(path) as tar:
            for position, member in tar:
                folder, name = posixpath.split(member.name)
                if not _is_file(member) or name.startswith("."):
                    continue
                base, _, extension = name.partition(".")
                if posixpath.join(folder, base) != key:
                    if image is not None:
                        yield photo()
                    key, image, label = posixpath.join(folder, base), None, None
                if image is None and _is_picture(member):
                    image = position, member
                elif extension.lower() == "cls":
                    if member.size > _LABEL:
                        raise ValueError(f"{member.name} has {member.size:,} bytes, which is no label")
                    label = tar.content(member.size).decode().strip() or None
            if image is not None:
                yield photo()
    except UsageError:
        raise
    except Exception as error:  # tarfile's, the decompressors', ValueError of numbers, RecursionError of long names
        if transient(error) is not None:
            raise
        what = "cannot be read" if isinstance(error, OSError) and error.errno else "is no tar file, or a damaged one"
        raise UsageError(f"decode: {on_one_line(path)} {what}: {reason_of(error)}; copy it again") from error


def _is_file(member: Any) -> bool:
    # No links, devices and sparse files: tarfile counts the last among the regular ones.
    return member.isreg() and member.sparse is None


def _is_picture(member: Any) -> bool:
    name = posixpath.basename(member.name)
    return _is_file(member) and not name.startswith(".") and posixpath.splitext(name)[1].lower() in EXTENSIONS


def _stem(name: str) -> str:
    ending = next((e for e in ENDINGS if name.lower().endswith(e)), "")
    return name[: len(name) - len(ending)] or name


class _Tar:
    """Members of a tar, in order, with their content while they are the last one that came."""

    def __init__(self, path: str) -> None:
        self._files: list[Any] = []
        try:
            raw = urls.open_file(path)
            self._files.append(raw)
            self._forward = _Forward(self._decompressed(raw, path))
        except BaseException:
            self.__exit__()
            raise

    def _decompressed(self, raw: IO[bytes], path: str) -> Any:
        import bz2
        import gzip

        ending = urls.ending_of(path).lower()
        kind = next((kind for end, kind in COMPRESSED.items() if ending.endswith(end)), None)
        if kind == "gz":
            self._files.append(gzip.GzipFile(fileobj=raw))
        elif kind == "bz2":
            self._files.append(bz2.BZ2File(raw))
        elif kind == "xz":
            return _Xz(raw)
        elif kind == "zst":
            import pyarrow as pa

            self._files.append(pa.CompressedInputStream(pa.PythonFile(raw, "r"), "zstd"))
        return self._files[-1]

    def __enter__(self) -> _Tar:
        return self

    def __exit__(self, *_: object) -> None:
        for file in reversed(self._files):
            file.close()

    def __iter__(self) -> Iterator[tuple[int, Any]]:
        import tarfile

        self._forward.allow(_HEADER)
        tar: Any = tarfile.TarFile(fileobj=cast(IO[bytes], self._forward))
        position = 0
        while (member := tar.next()) is not None:
            tar.members.clear()  # else it keeps every header, a kilobyte each
            yield position, member
            position += 1
            self._forward.allow(_HEADER)
        # tarfile ends in silence at what is no header.
        if len(self._forward.last) < 512 or self._forward.last.strip(b"\0"):
            raise ValueError(f"there is no member and no end mark at byte {self._forward.tell():,}")

    def content(self, size: int) -> bytes:
        """The first bytes of the member that came last."""
        return self._forward.take(size)


class _Forward:
    """The file that tarfile reads headers from: it goes forward alone, and gives no more than was allowed.

    A header claims sizes, of long names and sparse maps, which tarfile asks its file for at once.
    """

    def __init__(self, file: Any) -> None:
        self._file = file
        self._at = 0
        self._left = 0
        self.last = b""

    def allow(self, size: int) -> None:
        """Let so many bytes be read until the next call."""
        self._left = size

    def tell(self) -> int:
        return self._at

    def read(self, size: int) -> bytes:
        if not 0 <= size <= self._left:
            raise ValueError(f"a header at byte {self._at:,} claims more than {_HEADER:,} bytes")
        self._left -= size
        self.last = self.take(size)
        return self.last

    def seek(self, to: int) -> None:
        if to < self._at:
            raise ValueError(f"a header at byte {self._at:,} has a size below 0")
        # Decompressors read what lies between; fsspec's stream says that it seeks, and then refuses.
        if self._file.seekable() and type(self._file).__name__ != "HTTPStreamFile":
            self._file.seek(to)
            self._at = to
        while self._at < to and self.take(min(to - self._at, 2**20)):
            pass

    def take(self, size: int) -> bytes:
        """Read without asking what is allowed; fewer bytes only at the end."""
        data = urls.read_at_most(self._file, size)
        self._at += len(data)
        return data


class _Xz:
    """lzma.LZMAFile with a limit to the memory that a stream may claim."""

    def __init__(self, raw: IO[bytes]) -> None:
        import lzma

        self._raw = raw
        self._new = lambda: lzma.LZMADecompressor(memlimit=_MEMORY)
        self._decompressor = self._new()

    def seekable(self) -> bool:
        return False

    def read(self, size: int) -> bytes:
        while True:
            if self._decompressor.eof:
                rest = self._decompressor.unused_data.lstrip(b"\0") or self._raw.read(2**16).lstrip(b"\0")
                if not rest:
                    return b""
                self._decompressor = self._new()
                given = rest
            else:
                given = self._raw.read(2**16) if self._decompressor.needs_input else b""
                if not given and self._decompressor.needs_input:
                    raise EOFError("it ends before the end of the compressed stream")
            if data := self._decompressor.decompress(given, size):
                return data
