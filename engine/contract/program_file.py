"""The program file: one file of the runtime's own kind with the contract in its own metadata, under the key `saccade`.

ONNX keeps it in `metadata_props`, TorchScript in an extra file. In both it is the last thing in the file, appended to
what the runtime's own library wrote, and read here without that library: nothing of a file from someone else is
parsed by a framework before its sizes, its hash and its contract's schema have been checked.
"""

from __future__ import annotations

import dataclasses
import hashlib
import mmap
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from .errors import SaccadeError, UsageError
from .types import Spec

Format = Literal["onnx", "torchscript"]

KEY = "saccade"
MAX_CONTRACT = 16 * 2**20
"""Bytes of the longest contract that is read: a thousand times a usual one."""
_MAX_ENTRIES = 100_000
_MAX_PACKED = 64 * 2**20
_METADATA_PROPS = 14  # the number of ModelProto's field, of onnx.proto

Span = tuple[int, int]


def append_contract(path: str | os.PathLike[str], kind: Format, spec: Spec) -> Spec:
    """Append a contract to a file that the runtime's own library has just written.

    Returns:
        The contract as written: with the hash of everything in the file.
    """
    path = Path(path)
    body = _onnx(path)[1] if kind == "onnx" else _torchscript(path)[1]
    spec = dataclasses.replace(spec, hash=body + _text_hash(spec))
    text = spec.to_json().encode()
    if kind == "onnx":
        entry = _field(1, KEY.encode()) + _field(2, text)
        with open(path, "ab") as file:
            file.write(_field(_METADATA_PROPS, entry))
    else:
        with zipfile.ZipFile(path, "a", zipfile.ZIP_STORED) as archive:
            root = archive.namelist()[0].partition("/")[0]
            moment = zipfile.ZipInfo(f"{root}/extra/{KEY}", date_time=(1980, 1, 1, 0, 0, 0))  # same bytes every time
            archive.writestr(moment, text)
    return spec


def read_contract(path: str | os.PathLike[str]) -> tuple[Format, Spec]:
    """Check a program file and read its contract.

    Returns:
        The file's kind and its contract.

    Raises:
        UsageError: there is no such file.
        SaccadeError: it is no program, is damaged or cut, or has a foreign schema.
    """
    path = Path(path)
    try:
        with open(path, "rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise UsageError(f"load: cannot open program {path}: {error.strerror}") from None
    kind: Format = "torchscript" if magic == b"PK\x03\x04" else "onnx"
    if not magic:
        raise SaccadeError(f"load: {path} is empty (0 bytes); compile the program again")
    text, body = _onnx(path) if kind == "onnx" else _torchscript(path)
    if text is None:
        raise UsageError(
            f"load: {path} carries no saccade contract; it is a model, not a program, or not a whole file "
            "(see: saccade compile --help)"
        )
    try:
        spec = Spec.from_json(text.decode("utf-8"))
    except UnicodeDecodeError:
        raise SaccadeError(f"load: the contract of {path} is not UTF-8; compile the program again") from None
    except SaccadeError as error:
        raise SaccadeError(f"load: {path}: {str(error).removeprefix('load: ')}") from None
    if spec.hash != body + _text_hash(spec):
        raise SaccadeError(
            f"load: {path} is damaged or was changed: its bytes no longer have the hash in its contract; "
            "copy or compile it again"
        )
    return kind, spec


def _text_hash(spec: Spec) -> str:
    return hashlib.sha256(dataclasses.replace(spec, hash="").to_json().encode()).hexdigest()


# ---- ONNX: a protobuf message, read by its outermost fields alone ------------------------------------------------


def _onnx(path: Path) -> tuple[bytes | None, str]:
    """(the contract's bytes or None, the hash of every other byte)."""
    digest, contract = hashlib.sha256(), None
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        view = memoryview(data)
        try:
            for number, whole, payload in _fields(view, path, known=True):
                if number == _METADATA_PROPS and (text := _entry(view[slice(*payload)], path)) is not None:
                    if contract is not None:
                        raise SaccadeError(f"load: {path} has two contracts; compile the program again")
                    contract = text
                else:
                    for start in range(*whole, 2**24):
                        digest.update(view[start : min(start + 2**24, whole[1])])
        finally:
            view.release()
    return contract, "sha256:" + digest.hexdigest()


def _entry(view: memoryview, path: Path) -> bytes | None:
    """The value of a StringStringEntryProto whose key is ours."""
    if len(view) > MAX_CONTRACT:
        raise SaccadeError(f"load: {path} has {len(view):,} bytes of metadata; expected at most {MAX_CONTRACT:,}")
    found = {number: bytes(view[slice(*payload)]) for number, _, payload in _fields(view, path, known=False)}
    return found.get(2, b"") if found.get(1) == KEY.encode() else None


def _fields(view: memoryview, path: Path, known: bool) -> Iterator[tuple[int, Span, Span]]:
    """(field number, span of the whole field, span of its payload) of a protobuf message."""
    at, end = 0, len(view)
    while at < end:
        start = at
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
        if known and not 1 <= number <= 64:
            raise _no_program(path)
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
    return SaccadeError(f"load: {path} is no ONNX and no TorchScript file; expected one made by `saccade compile`")


def _field(number: int, payload: bytes) -> bytes:
    return _encode(number << 3 | 2) + _encode(len(payload)) + payload


def _encode(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


# ---- TorchScript: a zip archive -----------------------------------------------------------------


def _torchscript(path: Path) -> tuple[bytes | None, str]:
    """(the contract's bytes or None, the hash of every other entry's name and bytes)."""
    digest, contract = hashlib.sha256(), None
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            size = path.stat().st_size
            names = {e.filename for e in entries}
            if len(entries) > _MAX_ENTRIES or len(names) != len(entries):
                raise SaccadeError(f"load: {path} has too many or repeated entries; expected a TorchScript archive")
            # torch stores tensors as they are and packs only its code: what may unpack is bounded apart.
            packed = sum(e.file_size for e in entries if e.compress_type != zipfile.ZIP_STORED)
            if sum(e.compress_size for e in entries) > size or packed > _MAX_PACKED:
                raise SaccadeError(f"load: {path} unpacks to more than a TorchScript archive does; it is not loaded")
            for entry in sorted(entries, key=lambda e: e.filename):
                with archive.open(entry) as file:
                    if entry.filename.partition("/")[2] == f"extra/{KEY}":
                        if entry.file_size > MAX_CONTRACT:
                            raise SaccadeError(f"load: {path} has a contract of {entry.file_size:,} bytes")
                        contract = file.read()
                        continue
                    digest.update(f"{entry.filename}\0{entry.file_size}\0".encode())
                    while chunk := file.read(2**24):
                        digest.update(chunk)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, ValueError, OSError) as error:
        raise SaccadeError(f"load: {path} is cut short or damaged ({error}); copy or compile it again") from None
    return contract, "sha256:" + digest.hexdigest()
