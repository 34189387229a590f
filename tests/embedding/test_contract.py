"""The C++ reader of program files says what Python's says: the same fields, and of files that were changed the same
verdict, also where the hash was made to fit again and only the container and the fields are left to judge.
"""

from __future__ import annotations

import copy
import hashlib
import json
import os
import random
import re
import shutil
import struct
import subprocess
import unicodedata
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from readers import SPECS, Files, Read, differences, sealed, write_body

from saccade.engine.contract import SaccadeError, Spec
from saccade.engine.contract import program_file as module
from saccade.engine.contract.program_file import Format, append_contract

ROOT = Path(__file__).resolve().parents[2]
COMPILER = os.environ.get("CXX") or shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
pytestmark = pytest.mark.skipif(not COMPILER, reason="no C++ compiler")

SPEC = SPECS["class"]
each_spec = pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)


@pytest.fixture(scope="session")
def read(tmp_path_factory: pytest.TempPathFactory) -> Read:
    """What the C++ reader finds in files: the fields of `Contract`, or `error` and `status`."""
    program = tmp_path_factory.mktemp("reader") / "contract_lines"
    sources = [*sorted((ROOT / "csrc" / "contract").glob("*.cpp")), ROOT / "tests" / "cpp" / "contract_lines.cpp"]
    words = [
        str(COMPILER),
        "-std=c++17",
        "-O1",
        f"-I{ROOT / 'csrc' / 'include'}",
        *map(str, sources),
        "-o",
        str(program),
    ]
    subprocess.run(words, check=True)

    def run(paths: Iterable[Path]) -> list[dict[str, Any]]:
        names = "".join(f"{path}\n" for path in paths)
        done = subprocess.run([program], input=names, capture_output=True, text=True, check=True)
        return [json.loads(line) for line in done.stdout.splitlines()]

    return run


@pytest.fixture
def files(tmp_path: Path) -> Files:
    (tmp_path / "files").mkdir()
    return Files(tmp_path / "files")


def test_compiled_programs(read: Read, compiled: dict[str, Path], files: Files):
    paths = [compiled[kind] for kind in get_args(Format)]
    assert differences(read, paths) == ([], 3)
    first = read(paths[:1])[0]
    assert {"json", "maps", "classes"} < first.keys()
    for key in first:  # the comparison is no yes-man
        found, taken = differences(lambda _, key=key: [first | {key: "wrong"}], paths[:1])
        assert (len(found), taken) == (1, 1), key
    assert len(differences(lambda _: [{"error": "", "status": 2}], paths[:1])[0]) == 1
    assert len(differences(lambda _: [first], [files.add(b"")])[0]) == 1


@pytest.mark.parametrize("kind", get_args(Format))
@each_spec
def test_every_kind_of_contract(read: Read, files: Files, kind: Format, spec: Spec):
    path = write_body(files.add(b""), kind)
    append_contract(path, kind, spec)
    assert differences(read, files.paths) == ([], 1)


@pytest.mark.parametrize("kind", get_args(Format))
def test_compiled_programs_that_were_cut_or_changed(read: Read, compiled: dict[str, Path], files: Files, kind: Format):
    whole = compiled[kind].read_bytes()
    places = random.Random(kind)
    for _ in range(20 if len(whole) > 10**6 else 100):
        files.add(whole[: places.randrange(len(whole))])
        changed = bytearray(whole)
        # as often near the end, where a zip's directory and ONNX's metadata lie
        at = places.randrange(len(whole)) if places.random() < 0.5 else len(whole) - 1 - places.randrange(4000)
        changed[at] ^= places.randrange(1, 256)
        files.add(bytes(changed))
    files.add(whole + b"\0")
    assert differences(read, files.paths) == ([], 0)


def places_of(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The places of a JSON value, as the keys that lead there."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    yield path
    for key, part in inner:
        yield from places_of(part, (*path, key))


VALUES = (
    *(
        None,
        True,
        False,
        0,
        1,
        2,
        -1,
        64,
        65,
        16384,
        16385,
        2**20,
        2**24,
        2**24 + 1,
        2**63,
        -(10**400),
        10**299,
        10**301,
    ),
    *(0.5, -0.0, 1.0, 1e300, 1e-320, float("nan"), float("inf")),
    *("", "x", "grad_cam", "logits", "a\nb", "é", "\u202e", "\ud800", "y" * 1001, "é" * 1000, "é" * 201),
    *("class", "unit", "float16", "float32", "uint8", "cam", "gradient", "ascent", "stretch", "bilinear"),
    *([], {}, [0.0], [1, 2], [1, 2, 3], [2.0, 1.0], [[]], {"a": 1}, {"grad_cam": [0, 1]}, {"": ""}, ["a", "b", "c"]),
)


@each_spec
def test_any_value_in_any_field(read: Read, files: Files, spec: Spec):
    raw = json.loads(spec.to_json())

    def change(place: tuple[Any, ...], edit: Callable[[Any, Any], None]):
        changed = copy.deepcopy(raw)
        inside = changed
        for key in place[:-1]:
            inside = inside[key]
        edit(inside, place[-1])
        files.add(sealed(changed), ".".join(map(str, place)).replace("/", "_"))

    deep = spec.maps[0].kind == "ascent" or spec is SPEC  # elsewhere only what the contract itself has
    for place in (p for p in places_of(raw) if p and p != ("hash",) and (deep or len(p) == 1)):
        for value in VALUES:
            change(place, lambda inside, key, value=value: inside.__setitem__(key, value))
        change(place, lambda inside, key: inside.__delitem__(key))
        if isinstance(place[-1], str):
            change(place, lambda inside, _: inside.__setitem__("new", 1))
    found, taken = differences(read, files.paths)
    assert found == []
    assert len(files.paths) > (1500 if deep else 800)
    assert 30 < taken < len(files.paths) / 2


def test_several_fields_at_once(read: Read, files: Files):
    """Fields that depend on each other, drawn from values that are right somewhere."""
    draw = random.Random(1)
    bases = [json.loads(s.to_json()) for s in SPECS.values()]
    for _ in range(1500):
        raw = copy.deepcopy(draw.choice(bases))
        for key in draw.sample(sorted(raw.keys() - {"hash", "schema"}), draw.randrange(1, 4)):
            raw[key] = copy.deepcopy(draw.choice(bases)[key])
        files.add(sealed(raw))
    found, taken = differences(read, files.paths)
    assert found == []
    assert 50 < taken < 1450


def test_numbers_as_python_writes_them(read: Read, files: Files):
    draw = random.Random(2)
    floats = [struct.unpack("<d", draw.randbytes(8))[0] for _ in range(3000)]
    floats += [draw.uniform(-1, 1) * 10 ** draw.randrange(-12, 20) for _ in range(3000)]
    floats += [float(f"{draw.randrange(1, 1000)}e{draw.randrange(-330, 309)}") for _ in range(1000)]
    floats = [f for f in floats if abs(f) < float("inf")]
    raw = json.loads(SPEC.to_json())
    files.add(sealed(raw | {"proof": {"floats": floats, "whole": [draw.getrandbits(200) for _ in range(50)]}}))
    assert differences(read, files.paths) == ([], 1)
    for text in ("1.50", "1E5", "1e5", "-0", "01", "1.", ".5", "+1", "1e999", "1e-999", "9" * 4300, "9" * 4301, "1e16"):
        files.add(sealed(SPEC.to_json().replace("1e-12", text)))
    for f in draw.sample(floats, 300):  # one digit more says the same number, or another one
        digits, e, exponent = repr(f).partition("e")
        files.add(sealed(SPEC.to_json().replace("1e-12", digits + draw.choice("0159") + e + exponent)))
    found, taken = differences(read, files.paths)
    assert found == []
    assert 0 < taken < 200


def test_the_same_said_in_another_text(read: Read, files: Files):
    text = SPEC.to_json()
    files.add(sealed(text))
    raw = json.loads(text)
    for other in (
        json.dumps(raw, sort_keys=True),
        json.dumps(raw, sort_keys=True, ensure_ascii=False, indent=1),
        json.dumps(raw, sort_keys=True, ensure_ascii=False, separators=(",", ":")),
        json.dumps(dict(reversed(raw.items())), ensure_ascii=False),
        text + " ",
        "\ufeff" + text,
        text.replace('"model"', '"model": "first", "model"'),
        text.replace("tiny", "t\\u0069ny"),
        text.replace("tiny", "ti\\/ny"),
        text.replace("tiny", "ti\tny"),
        text.replace("\\u001f", "\\u001F"),
        text.replace("\\u001f", "\x1f"),
        text.replace("\\n", "\\u000a"),
        text.replace("cat", "\x7f"),
        text.replace("🙂", "\\ud83d\\ude42"),
        text.replace("🙂", "\ud83d"),
        text.replace("[1, 3]", "[" * 13 + "]" * 13),
        text.replace("[1, 3]", "[" * 14 + "]" * 14),
        text.replace("[1, 3]", "[" * 15 + "]" * 15),
        text.replace("[1, 3]", '"' + "[" * 40 + '"'),
        text.replace("[1, 3]", "NaN"),
        text.replace("[1, 3]", '{"b": 1, "a": 2}'),
        text.replace("[1, 3]", '{"a": 1, "a": 2}'),
        text.replace("[1, 3]", '{"": 1, "\\\\": 2, "a": 3, "é": 4, "\uffff": 5, "🙂": 6}'),
        text.replace("[1, 3]", '{"🙂": 6, "\uffff": 5}'),
        text.replace("[1, 3]", '{"[": 1, "\\\\": 2, "]": 3}'),
        text.replace("[1, 3]", '{"!": 1, "\\"": 2, "#": 3}'),
    ):
        files.add(sealed(other))
    found, taken = differences(read, files.paths)
    assert found == []
    assert taken == 7
    draw = random.Random(3)
    data = text.encode()
    for _ in range(1000):  # a hash that fits, whatever came of the text
        changed = bytearray(data)
        for _ in range(draw.randrange(1, 3)):
            changed[draw.randrange(len(data))] = draw.choice(b' ",:[]{}\\01289-+.eEnutf\n\x80\xc3\xbc')
        files.add(sealed(bytes(changed)))
    found, taken = differences(read, files.paths)
    assert found == []
    assert taken > 20


def test_names_of_every_kind_of_character(read: Read, files: Files):
    """What Python's str.isprintable says, but for code points that Unicode 14 to 16 have not assigned."""
    points = [chr(p) for p in range(0x110000) if not 0xD800 <= p < 0xE000]
    shown = [c for c in points if c.isprintable()]
    maps = [
        {
            "name": f"m{i}",
            "method": "".join(shown[i * 2000 :][:1000]),
            "layer": "".join(shown[i * 2000 + 1000 :][:1000]),
        }
        | {"kind": "cam", "shape": [1, 1], "rank": 1}
        for i in range(-(-len(shown) // 2000))
    ]
    raw = json.loads(SPEC.to_json()) | {"calibration": None}
    for start in range(0, len(maps), 64):
        files.add(sealed(raw | {"maps": maps[start : start + 64]}))
    number = len(files.paths)
    hidden = [c for c in points if unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp", "Zs") and c != " "]
    hidden += [chr(p) for p in (0xE000, 0xF8FF, 0xFDD0, 0xFDEF, 0xFFFE, 0xFFFF, 0x1FFFE, 0xF0000, 0x10FFFD, 0x10FFFF)]
    assert len(shown) > 100_000
    assert len(hidden) > 200
    for c in hidden:
        files.add(sealed(raw | {"model": f"a{c}b"}))
    assert differences(read, files.paths) == ([], number)


def ends(whole: bytes) -> Iterator[bytes]:
    """An archive with the ends that there are: as it is, with a comment, as ZIP64, which torch writes."""
    directory, end = whole[:-22], whole[-22:]
    yield whole
    yield whole[:-2] + b"\x05\0hello"
    yield whole[:-2] + b"\x09\0PK\x05\x06hello"
    numbers = struct.unpack("<2Q", struct.pack("<2I2I", *(n for i in struct.unpack("<2I", end[12:20]) for n in (i, 0))))
    record = struct.pack("<4sQ2H2I4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 4, 4, *numbers)
    locator = struct.pack("<4sIQI", b"PK\x06\x07", 0, len(directory), 1)
    yield directory + record + locator + end[:12] + b"\xff" * 8 + end[20:]


def resealed(path: Path):
    """Make the hash and both checksums of an archive fit, if it can still be read as far as that."""
    try:
        with open(path, "rb") as file:
            _, spans = module._contract_spans(file, path)
    except SaccadeError:
        return
    content = bytearray(path.read_bytes())
    if not spans:
        return
    text = bytes(content[slice(*spans[0])])
    value = re.search(rb'"hash": "([^"]*)"', text)
    if value is None or len(value[1]) != module._HASH_LENGTH:
        return
    plain = text[: value.start(1)] + text[value.end(1) :]
    hashes = module._hash_around(memoryview(bytes(content)), sorted(spans)) + hashlib.sha256(plain).hexdigest()
    text = text[: value.start(1)] + hashes.encode() + text[value.end(1) :]
    for (start, end), part in zip(spans, (text, *[struct.pack("<I", zlib.crc32(text))] * 2), strict=True):
        content[start:end] = part
    path.write_bytes(content)


@pytest.mark.parametrize("kind", ["torchscript", "aotinductor"])
def test_archives_of_which_only_the_hash_is_right(read: Read, files: Files, kind: Format):
    append_contract(write_body(files.add(b""), kind), kind, SPEC)
    whole = files.paths[0].read_bytes()
    for variant in ends(whole):
        resealed(files.add(variant))
    assert differences(read, files.paths) == ([], 4)  # an end inside of a comment is none
    draw = random.Random(kind)
    for variant in ends(whole):
        text = variant.index(b"{")
        header, directory = text - 60, variant.index(b"PK\x01\x02")
        for at in (*range(header, text), *range(directory, len(variant))):
            changed = bytearray(variant)
            changed[at] = draw.choice([changed[at] ^ 1, changed[at] ^ 0x80, 0, 1, 0xFF])
            resealed(files.add(bytes(changed)))
        for _ in range(200):
            changed = bytearray(variant)
            at = draw.randrange(directory, len(variant) - 4)
            changed[at : at + 4] = struct.pack("<I", draw.choice([0, 1, 2**16, 2**31, 2**32 - 1, len(variant)]))
            resealed(files.add(bytes(changed)))
    found, taken = differences(read, files.paths)
    assert found == []
    assert 200 < taken < len(files.paths) - 200


def test_messages_of_which_only_the_hash_is_right(read: Read, files: Files):
    append_contract(write_body(files.add(b""), "onnx"), "onnx", SPEC)
    assert differences(read, files.paths) == ([], 1)
    draw = random.Random(5)
    text = SPEC.to_json().encode()

    def add(before: bytes, after: bytes):
        hashes = hashlib.sha256(before + after).hexdigest() + hashlib.sha256(text).hexdigest()
        own = text.replace(b'"hash": ""', b'"hash": "sha256:' + hashes.encode() + b'"')
        files.add(before + module._field(14, module._field(1, b"saccade") + module._field(2, own)) + after)

    def any_field() -> bytes:
        number = draw.choice([0, 1, 2, 7, 14, 14, 20, 64, 65, 2**29, 2**61 + 14])
        wire = draw.choice([0, 0, 1, 2, 2, 2, 3, 5, 7])
        entry = module._field(1, draw.choice([b"key", b"saccade", b""])) + module._field(2, b"x")
        payload = {0: bytes([draw.randrange(256)]), 1: b"8 bytes.", 5: b"four"}.get(wire, b"")
        if wire == 2:
            content = draw.choice([b"", b"some", entry, entry + b"\x08\x01", b"\x0a"])
            payload = module._encode(len(content) + draw.choice([0, 0, 0, 0, 1, 2**63])) + content
        return module._encode(number << 3 | wire) + payload

    for _ in range(1500):
        add(b"\x08\x0a" + b"".join(any_field() for _ in range(draw.randrange(2))), any_field())
    for tail in (b"\xff" * 9 + b"\x01", b"\xff" * 9 + b"\x7f", b"\x80" * 9 + b"\x00", b"\x80" * 10 + b"\x00", b"\x80"):
        add(b"\x08" + tail, b"")
        add(b"\x08\x0a\x12" + tail, b"")
        add(b"\x08\x0a", b"\xf2" + tail[:8] + b"\x82\x01\x30")
        add(b"\x08\x0a", b"\x08" + tail)
    found, taken = differences(read, files.paths)
    assert found == []
    assert 200 < taken < 1300
