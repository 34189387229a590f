"""Reading a `.pt2` exported program from someone else.

`torch.export.load` trusts its file: it unpickles what the file says is to be unpickled, evaluates the expressions of
its shapes, looks operators up by any dotted name below `torch`, imports modules named in its tree specs, and loads
native code that lies beside the model. So the archive is read here first, everything in it is held against what an
exported network of pictures has, and torch is given a copy of exactly the entries that were checked.
"""

from __future__ import annotations

import io
import json
import re
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch.export import ExportedProgram

from ..contract import UsageError

_ENTRY = re.compile(
    r"byteorder|archive_format|archive_version|\.data/(version|serialization_id)|extra/[^/]+|models/[^/]+\.json"
    r"|data/(weights|constants|sample_inputs)/[^/]+"
)
_OPERATOR = re.compile(
    r"torch\.ops\.(aten|prims|torchvision)\.(?!__)\w+\.[A-Za-z]\w*|torch\.ops\.aten\.__(and|or|xor)__\.[A-Za-z]+"
    r"|torch\.ops\.higher_order\.[a-z]\w*|torch\.(sym_\w+|_check)|math\.(ceil|floor|trunc)"
    r"|_operator\.(getitem|add|sub|mul|floordiv|truediv|mod|neg|pow|eq|ne|lt|le|gt|ge|and_|or_|not_)"
)
_PAYLOAD = re.compile(r"(weight|tensor)_\d+")
_TOKEN = re.compile(r"'\w{1,60}'|\"\w{1,60}\"|[A-Za-z_]\w*|\d{1,18}|[\s()\[\],.=+\-*/<>!%]")
_NAMES = frozenset(
    "Symbol Integer Rational Add Mul Pow Mod PythonMod FloorDiv CleanDiv CeilDiv ModularIndexing Max Min Where And Or "
    "Not Eq Ne Lt Le Gt Ge Equality Unequality StrictLessThan LessThan StrictGreaterThan GreaterThan IntTrueDiv "
    "TruncToInt CeilToInt FloorToInt oo int_oo true false True False positive nonnegative integer real "
    "L size stride storage_offset and or not max min".split()
)
_SYMBOL = re.compile(r"[a-z]{1,2}\d+")
_MAX_JSON = 256 * 2**20


def load_exported(path: Path) -> ExportedProgram:
    """Load an exported program without running anything that its author put into the file.

    Raises:
        UsageError: no such file, not an exported program, or one with more in it than a network.
    """
    if not path.is_file():
        raise UsageError(f"model {path}: there is no such file; expected an exported program (torch.export.save)")
    try:
        checked = _checked_copy(path)
    except (zipfile.BadZipFile, NotImplementedError, EOFError, ValueError, OSError, RecursionError) as error:
        raise UsageError(
            f"model {path}: not an exported program, or a damaged one ({_line(error)}); "
            "expected one of torch.export.save"
        ) from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.export.load(checked)
    except Exception as error:
        raise UsageError(
            f"model {path}: torch.export cannot load it ({_line(error)}); "
            f"export it again with torch {torch.__version__}"
        ) from None


def _checked_copy(path: Path) -> io.BytesIO:
    def refuse(what: str) -> UsageError:
        return UsageError(f"model {path}: {what}; it is not loaded, export the plain network again with torch.export")

    copy = io.BytesIO()
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(copy, "w", zipfile.ZIP_STORED) as out:
        entries = archive.infolist()
        root = entries[0].filename.partition("/")[0] if entries else ""
        if len({e.filename.casefold() for e in entries}) != len(entries):  # torch's reader looks up without case
            raise refuse("it has two entries of one name")
        if sum(e.file_size for e in entries) > path.stat().st_size or any(e.compress_type for e in entries):
            raise refuse("it has packed entries, which torch.export.save does not write")
        for entry in entries:
            folder, _, name = entry.filename.partition("/")
            if folder != root or not _ENTRY.fullmatch(name):
                raise refuse(f"it holds {entry.filename[:80]!r}, which no exported network has")
            data = archive.read(entry)
            if name.endswith(".json"):
                if len(data) > _MAX_JSON:
                    raise refuse(f"{entry.filename} has {len(data):,} bytes")
                if (found := _unsafe(json.loads(data))) is not None:
                    raise refuse(f"{entry.filename} has {found}")
            elif name.endswith(".pt") and not _plain_tensors(data):
                raise refuse(f"{entry.filename} is a pickle of more than tensors")
            out.writestr(entry.filename, data)
    copy.seek(0)
    return copy


def _unsafe(tree: Any) -> str | None:
    """What of a JSON tree torch would run, import or unpickle; None where there is nothing."""
    for key, value in _leaves(tree):
        if key == "use_pickle" and value:
            return "a pickled tensor"
        if not isinstance(value, str):
            continue
        if key == "path_name" and not _PAYLOAD.fullmatch(value):
            return f"an object {value[:60]!r}"
        if key in ("target", "as_operator") and not _OPERATOR.fullmatch(value):
            return f"an operator {value[:60]!r}"
        if key in ("expr_str", "guards_code") and not _plain_expression(value):
            return f"an expression {value[:60]!r}"
        if key != "stack_trace" and any(s in value for s in ("__enum__", "default_factory", "\\u")):
            return f"a tree with an import, {value[:60]!r}"
    return None


def _leaves(tree: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """(the key that it stands under, the value) of everything in a JSON tree that is no table and no list."""
    if isinstance(tree, dict):
        for name, value in tree.items():
            yield "", name
            yield from _leaves(value, name)
    elif isinstance(tree, list):
        for value in tree:
            yield from _leaves(value, key)
    else:
        yield key, tree


def _plain_expression(text: str) -> bool:
    tokens = _TOKEN.findall(text)
    names = (t for t in tokens if t[0].isalpha() or t[0] == "_")
    arithmetic = "**" not in text and all(n in _NAMES or _SYMBOL.fullmatch(n) for n in names)
    return len(text) <= 2000 and "".join(tokens) == text and arithmetic


def _plain_tensors(data: bytes) -> bool:
    try:
        torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception:
        return False
    return True


def _line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__
