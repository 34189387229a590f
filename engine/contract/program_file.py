"""The program file: one file of the runtime's own kind with the contract in its own metadata, under the key `saccade`.

ONNX keeps it in `metadata_props`, the archives of TorchScript and AOTInductor in an extra file. It is appended to what
the runtime's own library wrote, and read here without that library: nothing of a file from someone else is parsed by a
framework before its sizes, its hash and its contract's schema have been checked.

The hash is over all bytes of the file but the contract's own, whose text must be the very one that `Spec.to_json` would
write: a single changed byte anywhere is found.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import mmap
import os
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from .errors import SaccadeError, UsageError
from .reading import read_spec
from .spec import Spec

Format = Literal["onnx", "torchscript", "aotinductor"]

KEY = "saccade"
MAX_CONTRACT = 16 * 2**20
"""Bytes of the longest contract that is read: a thousand times a usual one."""
_MAX_FIELDS = 100_000
_MAX_DIRECTORY = 8 * 2**20
_MAX_PACKED = 64 * 2**20
_HASH_LENGTH = len("sha256:") + 2 * 64
_METADATA_PROPS = 14  # the number of ModelProto's field, of onnx.proto

Span = tuple[int, int]
Contract = tuple[Format, Spec]
"""What `read_contract` finds: it reads the whole file, so one who has it hands it on."""


def append_contract(path: str | os.PathLike[str], kind: Format, spec: Spec) -> Spec:
    """Append a contract to a file that the runtime's own library has just written.

    Returns:
        The contract as written: with the hash of everything in the file.
    """
    path = Path(path)
    if kind == "onnx":
        spec = dataclasses.replace(spec, hash=_onnx(path)[1] + _text_hash(spec))
        entry = _field(1, KEY.encode()) + _field(2, spec.to_json().encode())
        with open(path, "ab") as file:
            file.write(_field(_METADATA_PROPS, entry))
        return spec
    # In a zip the contract's length is in the directory, which is hashed: it goes in with a hash of the right length.
    text = dataclasses.replace(spec, hash="0" * _HASH_LENGTH).to_json().encode()
    with zipfile.ZipFile(path, "a", zipfile.ZIP_STORED) as archive:
        root = archive.namelist()[0].partition("/")[0]
        moment = zipfile.ZipInfo(f"{root}/extra/{KEY}", date_time=(1980, 1, 1, 0, 0, 0))  # same bytes every time
        archive.writestr(moment, text)
    spec = dataclasses.replace(spec, hash=_archive(path)[2] + _text_hash(spec))
    text = spec.to_json().encode()
    with open(path, "r+b") as file:
        _, spans = _contract_spans(file, path)
        for (start, _), part in zip(spans, (text, *[struct.pack("<I", zlib.crc32(text))] * 2), strict=True):
            file.seek(start)
            file.write(part)
    return spec


def read_contract(path: str | os.PathLike[str]) -> Contract:
    """Check a program file and read its contract.

    Returns:
        The file's kind and its contract.

    Raises:
        UsageError: there is no such file.
        SaccadeError: it is no program, is damaged or cut, or has a foreign schema.
    """
    path = Path(path)
    try:
        if path.exists() and not path.is_file():  # opening a named pipe would wait for ever
            raise UsageError(f"load: {path} is no ordinary file; expected a program that `saccade compile` made")
        with open(path, "rb") as file:
            magic = file.read(4)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = error.strerror if isinstance(error, OSError) else error
        raise UsageError(f"load: cannot open program {path}: {reason}") from None
    if not magic:
        raise SaccadeError(f"load: {path} is empty (0 bytes); compile the program again")
    kind, text, body = _archive(path) if magic == b"PK\x03\x04" else ("onnx", *_onnx(path))
    if text is None:
        raise UsageError(
            f"load: {path} carries no saccade contract; it is a model, not a program, or not a whole file "
            "(see: saccade compile --help)"
        )
    try:
        spec = read_spec(text.decode("utf-8"))
    except UnicodeDecodeError:
        raise SaccadeError(f"load: the contract of {path} is not UTF-8; compile the program again") from None
    except SaccadeError as error:
        raise SaccadeError(f"load: {path}: {str(error).removeprefix('load: ')}") from None
    if spec.hash != body + _text_hash(spec) or spec.to_json().encode() != text:
        raise SaccadeError(
            f"load: {path} is damaged or was changed: its bytes no longer have the hash in its contract; "
            "copy or compile it again"
        )
    return kind, spec


def is_program(path: str | os.PathLike[str]) -> bool:
    """Whether a `.pt2` file is a program, be it a damaged one; an exported model may have the same ending."""
    try:
        if not Path(path).is_file():
            return False
        with open(path, "rb") as file:
            if file.read(4) != b"PK\x03\x04":
                return False
            kind, spans = _contract_spans(file, Path(path))
            return kind == "aotinductor" or bool(spans)
    except SaccadeError:  # cut or damaged: a program's error tells more than a model's
        return Path(path).suffix == ".pt2"
    except (OSError, ValueError):
        return False


def _text_hash(spec: Spec) -> str:
    return hashlib.sha256(dataclasses.replace(spec, hash="").to_json().encode()).hexdigest()


def _hash_around(view: memoryview, spans: Sequence[Span]) -> str:
    """The hash of all bytes that are in none of `spans`, which are in order."""
    digest, at = hashlib.sha256(), 0
    for start, end in (*spans, (len(view), len(view))):
        digest.update(view[at:start])
        at = end
    return "sha256:" + digest.hexdigest()


# ---- ONNX: a protobuf message, read by its outermost fields alone ------------------------------------------------


def _onnx(path: Path) -> tuple[bytes | None, str]:
    """(the contract's bytes or None, the hash of every byte outside of its field)."""
    contract, spans = None, []
    with (
        open(path, "rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data,
        memoryview(data) as view,
    ):
        for number, whole, payload in _fields(view, path, _MAX_FIELDS):
            if not 1 <= number <= 64:
                raise _no_program(path)
            if number == _METADATA_PROPS and (text := _entry(view, payload, path)) is not None:
                if contract is not None:
                    raise SaccadeError(f"load: {path} has two contracts; compile the program again")
                contract, spans = text, [whole]
        return contract, _hash_around(view, spans)


def _entry(view: memoryview, span: Span, path: Path) -> bytes | None:
    """The value of a StringStringEntryProto whose key is ours."""
    if span[1] - span[0] > MAX_CONTRACT:
        raise SaccadeError(
            f"load: {path} has {span[1] - span[0]:,} bytes of metadata; expected at most {MAX_CONTRACT:,}"
        )
    with view[slice(*span)] as entry:
        found = {number: bytes(entry[slice(*payload)]) for number, _, payload in _fields(entry, path, 16)}
    return found.get(2, b"") if found.get(1) == KEY.encode() else None


def _fields(view: memoryview, path: Path, most: int) -> Iterator[tuple[int, Span, Span]]:
    """(field number, span of the whole field, span of its payload) of a protobuf message with at most `most` fields."""
    at, end, count = 0, len(view), 0
    while at < end:
        start = at
        if (count := count + 1) > most:
            raise _no_program(path)
        tag, at = _varint(view, at, path)
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            payload = at
            _, at = _varint(view, at, path)
        elif wire in (1, 5):
            payload, at = at, at + (8 if wire == 1 else 4)
        elif wire == 2:
            length, payload = _varint(view, at, path)
            at = payload + length
        else:
            raise _no_program(path)
        if at > end:
            raise SaccadeError(f"load: {path} is cut short (a field ends at byte {at:,} of {end:,}); copy it again")
        yield number, (start, at), (payload, at)


def _varint(view: memoryview, at: int, path: Path) -> tuple[int, int]:
    value = 0
    for shift in range(0, 64, 7):
        if at >= len(view):
            raise SaccadeError(f"load: {path} is cut short after {len(view):,} bytes; copy or compile it again")
        byte = view[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise _no_program(path)


def _no_program(path: Path) -> SaccadeError:
    return SaccadeError(f"load: {path} is no ONNX file and no archive of torch; expected one made by `saccade compile`")


def _field(number: int, payload: bytes) -> bytes:
    return _encode(number << 3 | 2) + _encode(len(payload)) + payload


def _encode(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


# ---- TorchScript and AOTInductor: a zip archive -----------------------------------------------------------------


class _Cautious(io.BufferedReader):
    """A file of which no more is read at once than a zip's directory may have."""

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(_MAX_DIRECTORY + 1 if size is None or size < 0 else min(size, _MAX_DIRECTORY + 1))
        if len(data) > _MAX_DIRECTORY:
            raise zipfile.BadZipFile("its directory is too long")
        return data


def _archive(path: Path) -> tuple[Format, bytes | None, str]:
    """(the kind, the contract's bytes or None, the hash of every byte but those and their two checksums)."""
    with open(path, "rb") as file:
        kind, spans = _contract_spans(file, path)
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data, memoryview(data) as view:
            text, *sums = (bytes(view[slice(*span)]) for span in spans) if spans else (None,)
            if text is not None and sums != [struct.pack("<I", zlib.crc32(text))] * 2:
                raise SaccadeError(f"load: the contract of {path} is damaged; copy or compile it again")
            return kind, text, _hash_around(view, sorted(spans))


def _contract_spans(file: io.BufferedIOBase, path: Path) -> tuple[Format, list[Span]]:
    """The archive's kind, and where it has the contract's text and its checksum, before it and in the directory."""
    try:
        with _Cautious(io.FileIO(file.fileno(), closefd=False)) as cautious, zipfile.ZipFile(cautious) as archive:
            entries = archive.infolist()
            size = os.fstat(file.fileno()).st_size
            if len({e.filename for e in entries}) != len(entries):
                raise SaccadeError(f"load: {path} has repeated entries; expected an archive of torch")
            # torch stores tensors as they are and packs only its code: what may unpack is bounded apart.
            packed = sum(e.file_size for e in entries if e.compress_type != zipfile.ZIP_STORED)
            stored = all(e.compress_type != zipfile.ZIP_STORED or e.file_size == e.compress_size for e in entries)
            if sum(e.compress_size for e in entries) > size or packed > _MAX_PACKED or not stored:
                raise SaccadeError(f"load: {path} unpacks to more than an archive of torch does; it is not loaded")
            native = any(e.filename.partition("/")[2].startswith("data/aotinductor/") for e in entries)
            kind: Format = "aotinductor" if native else "torchscript"
            own = [i for i, e in enumerate(entries) if e.filename.partition("/")[2] == f"extra/{KEY}"]
            if not own:
                return kind, []
            entry = entries[own[0]]
            if len(own) > 1:
                raise SaccadeError(f"load: {path} has two contracts; compile the program again")
            if entry.file_size > MAX_CONTRACT or entry.compress_type != zipfile.ZIP_STORED:
                raise SaccadeError(
                    f"load: {path} has a contract of {entry.file_size:,} bytes; expected fewer, unpacked"
                )
            record = archive.start_dir
            for _ in range(own[0]):
                cautious.seek(record + 28)
                record += 46 + sum(struct.unpack("<3H", cautious.read(6)))
            cautious.seek(entry.header_offset + 26)
            text = entry.header_offset + 30 + sum(struct.unpack("<2H", cautious.read(4)))
            spans = [(text, text + entry.file_size)]
            spans += [(at, at + 4) for at in (entry.header_offset + 14, record + 16)]
            if any(end > size for _, end in spans):
                raise zipfile.BadZipFile("an entry lies outside of it")
            return kind, spans
    except SaccadeError:
        raise
    except Exception as error:  # of damaged archives zipfile raises half a dozen types
        reason = " ".join(str(error).split())[:200]
        raise SaccadeError(f"load: {path} is cut short or damaged ({reason}); copy or compile it again") from None
