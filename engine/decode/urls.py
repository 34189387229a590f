"""Photos behind URLs, through fsspec: single ones, folders and globs, and the files that hold many."""

from __future__ import annotations

import contextlib
import os
import posixpath
import re
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import IO, TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from ..contract import PhotoError, UsageError
from .entry import MissingPackageError, Photo, Source, safe_name
from .folders import WILD, Entries, is_photo, matches, walk
from .opening import MAX_HELD, on_one_line, reason_of
from .patience import patiently, transient

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

_URL = re.compile(r"[a-z][a-z0-9+.-]+(://|::)")
_TIMEOUT = 30
"""Seconds in which a web server has to answer, and to go on with its answer."""
_PIECE = 2**20
_ARCHIVES = 4
_kept = threading.local()


def is_url(word: str) -> bool:
    """Whether a word names something that fsspec finds."""
    return _URL.match(word) is not None


def absolute(word: str) -> str:
    """What a word names, from whatever folder it is said: a path, or the file of this machine at a URL's end."""
    if not is_url(word):
        return os.path.abspath(word)
    chain, chained, last = word.rpartition("::")
    return word if not chained or "://" in last else f"{chain}::{os.path.abspath(last)}"


def without_file_scheme(word: str) -> str:
    """The path on this machine where a URL says no more than that."""
    scheme, _, path = word.partition("://")
    return path if scheme in ("file", "local") and "::" not in word else word


def ending_of(word: str) -> str:
    """The path in a URL that tells by its ending what is there; of a chain the first one, of a file itself."""
    if not is_url(word):
        return word
    head = word.partition("::")[0]
    return urlsplit(head).path if head.startswith(("http://", "https://")) else head


def root_of(url: str) -> str:
    """What goes away as a whole: the server, or the file at the chain's end."""
    last = url.rpartition("::")[2]
    parts = urlsplit(last) if is_url(last) else None
    return f"{parts.scheme}://{parts.netloc}" if parts else last


def sibling(url: str, relative: str) -> str:
    """The URL of a path that is relative to the folder of a file's URL."""
    head, chained, rest = url.partition("::")
    if head.startswith(("http://", "https://")):
        head = head.partition("?")[0].partition("#")[0]
    scheme, slashes, path = head.partition("://")
    return f"{scheme}{slashes}{posixpath.normpath(posixpath.join(posixpath.dirname(path), relative))}{chained}{rest}"


def filesystem(url: str) -> tuple[AbstractFileSystem, str]:
    """The file system of a URL, and the path in it; each thread has its own.

    Raises:
        MissingPackageError: it needs one.
        UsageError: there is no such kind.
    """
    head, chained, rest = url.partition("::")
    if not chained:
        return _connected(url)  # fsspec keeps it
    # Archives it does not keep, and opening one means to read all its names.
    kept: OrderedDict[tuple[str, ...], AbstractFileSystem] = _kept.__dict__.setdefault("of", OrderedDict())
    key = (head.partition("://")[0], rest, *_state(rest))
    fs = kept.pop(key, None)
    if fs is None:
        fs, _ = _connected(url)
    kept[key] = fs
    if len(kept) > _ARCHIVES:
        kept.popitem(last=False)
    return fs, str(fs._strip_protocol(head))


def _state(path: str) -> tuple[str, ...]:
    try:
        status = os.stat(path.removeprefix("file://"))
    except (OSError, ValueError):
        return ()
    return str(status.st_size), str(status.st_mtime_ns)


def _connected(url: str) -> tuple[AbstractFileSystem, str]:
    from fsspec.core import url_to_fs

    options: dict[str, Any] = {}
    for scheme in ("http", "https"):
        if f"{scheme}://" in url:
            try:
                from aiohttp import ClientTimeout
            except ImportError:
                raise MissingPackageError(_missing(url, "aiohttp")) from None
            timeout = ClientTimeout(total=None, sock_connect=_TIMEOUT, sock_read=_TIMEOUT)
            options[scheme] = {"client_kwargs": {"timeout": timeout}}
    try:
        fs, path = url_to_fs(url, **options)
    except ImportError as error:
        found = re.search(r"[Ii]nstall (?:the )?[\"'`]?([\w.-]+)", str(error))
        raise MissingPackageError(_missing(url, found[1] if found else str(error.name or "its package"))) from None
    except (ValueError, TypeError) as error:
        raise UsageError(f"decode: {on_one_line(url)} is no URL that fsspec knows: {reason_of(error)}") from None
    except Exception as error:
        if transient(error) is not None:
            raise
        raise UsageError(f"decode: {on_one_line(url)} cannot be opened: {reason_of(error)}; check it") from error
    return fs, str(path)


def _missing(url: str, package: str) -> str:
    return f"decode: {on_one_line(url)} needs a package that is not here; pip install {package}"


def fetch(url: str) -> bytes:
    """All bytes of a file.

    Raises:
        PhotoError: they are too many.
        Exception: fsspec's own.
    """
    fs, path = filesystem(url)
    if _is_web(fs):
        # One request, and no more of the answer than is wanted: `size` spares the question for it.
        with fs.open(path, "rb", block_size=0, size=1) as file:
            data = read_at_most(file, MAX_HELD + 1)
    else:
        data = cast(bytes, fs.cat_file(path, start=0, end=MAX_HELD + 1))
    if len(data) > MAX_HELD:
        raise PhotoError(f"decode: {on_one_line(url)} is too large (above {MAX_HELD:,} bytes); make it smaller")
    return data


def fetch_part(url: str, offset: int, length: int) -> bytes:
    """The bytes of a file from `offset` on; fewer where it is shorter."""
    fs, path = filesystem(url)
    if not _is_web(fs):
        return cast(bytes, fs.cat_file(path, start=offset, end=offset + length))
    # A size that is large enough spares the question for it; a server without ranges is refused, not downloaded.
    with fs.open(path, "rb", block_size=_PIECE, cache_type="none", size=offset + length) as file:
        file.seek(offset)
        return read_at_most(file, length)


def open_file(path: str) -> IO[bytes]:
    """Open a file or a URL, for reading from its beginning."""
    if not is_url(path):
        return open(path, "rb")
    fs, inner = filesystem(path)
    file = cast(Any, fs.open(inner, "rb"))
    with contextlib.suppress(AttributeError):
        file.saccade_keeps = fs  # an archive closes itself, and with it this, when nothing refers to it
    return file


def local_copy(url: str) -> IO[bytes]:
    """A file's bytes in a temporary one without a name, copied anew if its source goes away meanwhile."""

    def copy() -> IO[bytes]:
        file = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
        try:
            with open_file(url) as remote:
                while piece := remote.read(_PIECE):
                    file.write(piece)
        except BaseException:
            file.close()
            raise
        file.seek(0)
        return file

    return patiently(copy, url)


def read_at_most(file: Any, limit: int) -> bytes:
    """Up to `limit` bytes, taken as they come: what a header claims is not made room for."""
    pieces, left = [], limit
    while left and (piece := file.read(min(left, _PIECE))):
        pieces.append(piece)
        left -= len(piece)
    return b"".join(pieces)


def _is_web(fs: AbstractFileSystem) -> bool:
    return "https" in ((fs.protocol,) if isinstance(fs.protocol, str) else fs.protocol)


def source(url: str) -> Source:
    """The photos of a URL: a single one, a folder's, or those that fit a glob.

    Raises:
        UsageError: there is nothing, or it cannot be listed.
    """
    fs, path = filesystem(url)
    if _is_web(fs):
        if url.endswith("/") or "*" in url:
            raise UsageError(
                f"decode: {on_one_line(url)}: the web has no folders that could be listed; name a photo, or a CSV or "
                "Parquet manifest with a column url"
            )
        parts = urlsplit(path)
        return Source(
            lambda: iter([_photo(fs, url, path, parts.netloc + parts.path)]),
            path,
            f"decode: no photo at {on_one_line(url)}",
        )
    if WILD.search(path):
        parts = path.split("/")
        fixed = next(i for i, part in enumerate(parts) if WILD.search(part))
        root, wild = "/".join(parts[:fixed]), parts[fixed:]
        return Source(
            lambda: _listed(fs, url, root, wild),
            root,
            f"decode: no photos match {on_one_line(url)}; check the pattern",
            distinct=True,
        )
    if patiently(lambda: fs.isdir(path), url):
        return Source(
            lambda: _listed(fs, url, path, None),
            path,
            f"decode: no photos in {on_one_line(url)}, nor tar shards; name another folder, or a file itself",
            distinct=True,
        )
    if not patiently(lambda: fs.exists(path), url):
        raise UsageError(f"decode: {on_one_line(url)} does not exist; name a folder, a glob or a file")
    return Source(
        lambda: iter([_photo(fs, url, path, posixpath.basename(path))]),
        posixpath.dirname(path),
        f"decode: no photo at {on_one_line(url)}",
    )


def files_in(url: str, wanted: Any) -> list[str]:
    """The URLs of the wanted files in a folder, or of those that fit a glob, sorted; none where that is no folder."""
    fs, path = filesystem(url)
    if _is_web(fs):
        return []
    wild: Sequence[str] | None = None
    root = path
    if WILD.search(path):
        parts = path.split("/")
        fixed = next(i for i, part in enumerate(parts) if WILD.search(part))
        root, wild = "/".join(parts[:fixed]), parts[fixed:]
    elif not patiently(lambda: fs.isdir(path), url):
        return []
    return [_full(fs, url, f"{root}/{name}" if root else name) for name in _names(fs, url, root, wild, wanted)]


def _listed(fs: AbstractFileSystem, url: str, root: str, wild: Sequence[str] | None) -> Iterator[Photo]:
    for name in _names(fs, url, root, wild, is_photo):
        first, _, rest = name.partition("/")
        yield _photo(fs, url, f"{root.rstrip('/')}/{name}" if root else name, name, first if rest else None)


def _names(fs: AbstractFileSystem, url: str, root: str, wild: Sequence[str] | None, wanted: Any) -> Iterator[str]:
    depth = None if wild is None or "**" in wild else len(wild)
    names = walk(_entries(fs, url, root), depth, wanted)
    return names if wild is None else (name for name in names if matches(name.split("/"), wild))


def _entries(fs: AbstractFileSystem, url: str, root: str) -> Entries:
    def entries(relative: str) -> list[str]:
        here = "/".join(part for part in (root.rstrip("/"), relative.rstrip("/")) if part) or root
        try:
            found = patiently(lambda: fs.ls(here, detail=True), url)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise UsageError(f"decode: cannot list {on_one_line(url)}: {reason_of(error)}") from None
        names = []
        for entry in found:
            name = str(entry["name"]).rstrip("/")
            if name.strip("/") != here.strip("/"):  # object stores list the folder in itself
                names.append(posixpath.basename(name) + "/" * (entry["type"] == "directory"))
        # What this folder has is known; object stores keep it for the next question, a kilobyte for each file.
        fs.invalidate_cache(here)
        return [name for name in names if name not in ("", "/")]

    return entries


def _photo(fs: AbstractFileSystem, url: str, path: str, name: str, label: str | None = None) -> Photo:
    return Photo(_full(fs, url, path), safe_name(name), label)


def _full(fs: AbstractFileSystem, url: str, path: str) -> str:
    """The URL of a path in a file system, with the rest of the chain that it came with."""
    _, chained, rest = url.partition("::")
    return f"{fs.unstrip_protocol(path)}{chained}{rest}"
