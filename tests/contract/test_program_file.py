"""Program files: round trips, and files that are damaged, cut, foreign or hostile."""

from __future__ import annotations

import io
import json
import os
import random
import struct
import time
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import onnx
import onnx.helper
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from saccade.engine.contract import MapSpec, Preprocessing, SaccadeError, Spec, UsageError
from saccade.engine.contract import program_file as module
from saccade.engine.contract.program_file import Format, append_contract, read_contract

SPEC = Spec(
    model="tiny",
    weights_hash="sha256:0",
    preprocessing=Preprocessing(4, 4, shorter=4),
    maps=(MapSpec("grad_cam", "grad-cam", "layer", "cam", (2, 2)),),
    features=None,
    num_outputs=2,
    classes=("Wörter", "x"),
)
CONTRACT_ENTRY = "tiny/extra/saccade"
ENDING: dict[Format, str] = {"onnx": "tiny.onnx", "torchscript": "tiny.ts"}


def write_body(path: Path, kind: Format) -> Path:
    """What a runtime's own library writes, in a few hundred bytes."""
    if kind == "onnx":
        value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
        graph = onnx.helper.make_graph([onnx.helper.make_node("Identity", ["x"], ["y"])], "g", [value], [value])
        onnx.save(onnx.helper.make_model(graph), str(path))
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("tiny/data.pkl", b"weights" * 20)
            archive.writestr("tiny/code.py", "def forward(self):\n    pass\n" * 9, zipfile.ZIP_DEFLATED)
            archive.writestr("tiny/version", "3")
    return path


@pytest.fixture(params=["onnx", "torchscript"])
def kind(request: pytest.FixtureRequest) -> Format:
    return request.param


@pytest.fixture
def small(tmp_path: Path, kind: Format) -> Path:
    path = write_body(tmp_path / ENDING[kind], kind)
    append_contract(path, kind, SPEC)
    return path


def refusal(path: Path) -> str:
    """What the reader says of a file that it must refuse, on one line."""
    with pytest.raises(SaccadeError) as found:
        read_contract(path)
    assert str(found.value).startswith("load: ")
    assert "\n" not in str(found.value)
    assert len(str(found.value)) < 700 + len(str(path))
    return str(found.value)


# ---- what it should do --------------------------------------------------------------------------------------------


def test_round_trip(tmp_path: Path, kind: Format):
    path = write_body(tmp_path / ENDING[kind], kind)
    body = path.read_bytes()
    written = append_contract(path, kind, SPEC)
    assert read_contract(path) == (kind, written)
    assert written.hash.startswith("sha256:")
    assert written.model == SPEC.model
    if kind == "onnx":
        assert path.read_bytes().startswith(body)  # nothing of the runtime's own bytes changes
    first = path.read_bytes()
    append_contract(write_body(path, kind), kind, SPEC)
    if kind == "onnx":  # the zip's other entries carry the time
        assert path.read_bytes() == first


def test_the_checker_of_refusals_is_no_yes_man(small: Path):
    with pytest.raises(pytest.fail.Exception):
        refusal(small)


def test_a_compiled_onnx_file_opens_with_its_own_tools(compiled: dict[str, Path]):
    import onnxruntime

    path = compiled["onnx"]
    kind, spec = read_contract(path)
    assert kind == "onnx"
    onnx.checker.check_model(str(path))
    seen = {p.key: p.value for p in onnx.load(path).metadata_props}
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    assert seen["saccade"] == session.get_modelmeta().custom_metadata_map["saccade"] == spec.to_json()
    assert [i.name for i in session.get_inputs()] == ["images", "target"]
    assert [o.name for o in session.get_outputs()] == ["logits", "grad_cam", "saliency", "activations", "features"]


def test_a_compiled_torchscript_file_opens_with_its_own_tools(compiled: dict[str, Path]):
    torch = pytest.importorskip("torch")
    path = compiled["torchscript"]
    kind, spec = read_contract(path)
    extra = {"saccade": ""}
    module = torch.jit.load(str(path), _extra_files=extra)
    text = extra["saccade"]
    assert (text.decode() if isinstance(text, bytes) else text) == spec.to_json()
    assert kind == "torchscript"
    assert len(module(torch.zeros(2, 32, 32, 3, dtype=torch.uint8), torch.tensor([-1, 0]))) == 5
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None


# ---- damage -------------------------------------------------------------------------------------------------------


def test_cut_at_every_length(small: Path):
    whole = small.read_bytes()
    for length in range(len(whole) - 1, -1, -1):
        os.truncate(small, length)
        refusal(small)
    small.write_bytes(whole)
    read_contract(small)


def test_every_byte_changed(small: Path):
    whole = small.read_bytes()
    for i in range(len(whole)):
        for change in (0x01, 0x80, 0x2A):  # 0x2A makes a new line of a space
            with open(small, "r+b") as file:
                file.seek(i)
                file.write(bytes([whole[i] ^ change]))
            refusal(small)
        with open(small, "r+b") as file:
            file.seek(i)
            file.write(whole[i : i + 1])
    read_contract(small)


@pytest.mark.parametrize("kind", ["onnx", "torchscript"])
def test_a_compiled_file_cut_or_changed_anywhere(compiled: dict[str, Path], tmp_path: Path, kind: Format):
    whole = compiled[kind].read_bytes()
    path = tmp_path / ENDING[kind]
    places = random.Random(1)
    for _ in range(300):
        path.write_bytes(whole[: places.randrange(len(whole))])
        refusal(path)
        changed = bytearray(whole)
        changed[places.randrange(len(whole))] ^= places.randrange(1, 256)
        path.write_bytes(changed)
        refusal(path)
    path.write_bytes(whole + b"\0")
    refusal(path)
    path.write_bytes(whole)
    read_contract(path)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    head=st.sampled_from([b"", b"PK\x03\x04", b"\x08\x0a", b"\x72\x0b\x0a\x07saccade\x12"]),
    rest=st.binary(max_size=200),
)
def test_any_bytes(tmp_path: Path, head: bytes, rest: bytes):
    path = tmp_path / "any.onnx"
    path.write_bytes(head + rest)
    refusal(path)


# ---- foreign ------------------------------------------------------------------------------------------------------


def test_a_model_is_no_program(tmp_path: Path, kind: Format):
    path = write_body(tmp_path / ENDING[kind], kind)
    with pytest.raises(UsageError, match=r"carries no saccade contract; it is a model, not a program"):
        read_contract(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", r"is empty \(0 bytes\)"), (b"Dear all,\nplease find attached\n", "no ONNX file and no archive|cut short")],
)
def test_other_files(tmp_path: Path, content: bytes, message: str):
    path = tmp_path / "notes.onnx"
    path.write_bytes(content)
    with pytest.raises(SaccadeError, match=message):
        read_contract(path)


def test_no_file_at_all(tmp_path: Path):
    for path, message in {
        tmp_path: "is no ordinary file",
        tmp_path / "none.onnx": "cannot open program .*none.onnx: No such file",
        tmp_path / "a\0b": "cannot open program",
    }.items():
        with pytest.raises(UsageError, match=message):
            read_contract(path)
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.onnx")
        with pytest.raises(UsageError, match="is no ordinary file"):
            read_contract(tmp_path / "pipe.onnx")


def field(number: int, payload: bytes) -> bytes:
    return module._field(number, payload)


def onnx_with(text: bytes, times: int = 1) -> bytes:
    return field(8, b"\x10\x12") + field(14, field(1, b"saccade") + field(2, text)) * times


def zip_with(*entries: tuple[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", compression) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return data.getvalue()


TEXT = SPEC.to_json().encode()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (onnx_with(TEXT), "does not have|no longer have the hash"),
        (onnx_with(TEXT, 2), "two contracts"),
        (onnx_with(b"\xff\xfe{}"), "not UTF-8"),
        (onnx_with(b"[" * 10**6), "not JSON"),
        (onnx_with(b'{"schema": 999}'), "has schema 999, this saccade reads schema 3"),
        (onnx_with(b""), "not JSON"),
        (onnx_with(TEXT.replace(b"tiny", b"\xed\xa0\x80")), "not UTF-8"),
        (onnx_with(b" " * (module.MAX_CONTRACT + 1)), "bytes of metadata; expected at most"),
        (b"\x72" + b"\xff" * 9 + b"\x01", "cut short|no ONNX"),  # a length of 2^64 - 1
        (b"\x72" + b"\xff" * 20, "no ONNX"),  # a length that never ends
        (b"\x08" + b"\x80" * 20, "no ONNX"),
        (b"\x73\x00", "no ONNX"),  # a group
        (field(14, b"\x00" * 200), "no ONNX"),  # an entry of a hundred fields
        (b"\x08\x00" * 200_000, "no ONNX"),
        (zip_with((CONTRACT_ENTRY, TEXT)), "no longer have the hash"),
        (zip_with((CONTRACT_ENTRY, b"\xff")), "not UTF-8"),
        (zip_with((CONTRACT_ENTRY, TEXT), ("other/extra/saccade", TEXT)), "two contracts"),
        (zip_with((CONTRACT_ENTRY, TEXT), compression=zipfile.ZIP_DEFLATED), "expected fewer, unpacked"),
        (zip_with((CONTRACT_ENTRY, b" " * (module.MAX_CONTRACT + 1))), "expected fewer, unpacked"),
        (zip_with(("a/code", b"\0" * (65 * 2**20)), compression=zipfile.ZIP_DEFLATED), "unpacks to more"),
    ],
    ids=lambda value: value[:30].replace(" ", "_") if isinstance(value, str) else "file",
)
def test_hostile_files(tmp_path: Path, content: bytes, message: str):
    path = tmp_path / "hostile"
    path.write_bytes(content)
    with pytest.raises(SaccadeError, match=message):
        read_contract(path)
    assert "\n" not in refusal(path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_twice(tmp_path: Path):
    path = tmp_path / "twice.ts"
    path.write_bytes(zip_with(("a/data", b"1"), ("a/data", b"2"), (CONTRACT_ENTRY, TEXT)))
    assert "repeated entries" in refusal(path)


def patched(whole: bytes, name: bytes, at: int, value: int) -> bytes:
    """A zip in whose directory the entry `name` has another number at offset `at` of its record."""
    record = whole.rindex(name) - 46
    assert whole[record : record + 4] == b"PK\x01\x02"
    return whole[: record + at] + struct.pack("<I", value) + whole[record + at + 4 :]


@pytest.mark.parametrize("at", [20, 24, 42], ids=["packed size", "size", "place"])
@pytest.mark.parametrize("value", [0, 5, 2**31, 2**32 - 2])
@pytest.mark.parametrize("name", [b"tiny/data.pkl", b"tiny/code.py", CONTRACT_ENTRY.encode()])
def test_entries_that_claim_other_sizes(tmp_path: Path, name: bytes, value: int, at: int):
    path = write_body(tmp_path / "tiny.ts", "torchscript")
    append_contract(path, "torchscript", SPEC)
    whole = path.read_bytes()
    path.write_bytes(patched(whole, name, at, value))
    if path.read_bytes() == whole:
        assert (name, at, value) == (b"tiny/data.pkl", 42, 0)  # the first entry is at 0
    else:
        refusal(path)


def measured(path: Path) -> tuple[float, int]:
    """Seconds, and bytes of memory at most, that refusing a file takes."""
    tracemalloc.start()
    begin = time.perf_counter()
    try:
        refusal(path)
        return time.perf_counter() - begin, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def directory_of_a_million(tmp_path: Path) -> bytes:
    record = struct.pack("<4s6H3I5H2I", b"PK\x01\x02", 20, 20, *[0] * 4, 0, 0, 0, 1, *[0] * 4, 0, 0) + b"a"
    directory = record * 1_000_000
    end = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, len(directory), 4, 0)
    return b"PK\x03\x04" + directory + end


MAKERS: list[Callable[[Path], bytes]] = [
    lambda _: field(14, b"\x08\x00" * 7_000_000),
    lambda _: b"\x08\x00" * 20_000_000,
    lambda _: onnx_with(b"[" * 15_000_000),
    lambda _: onnx_with(json.dumps({"schema": 2, "a" * 10**6: [0] * 10**6}).encode()),
    directory_of_a_million,
]


@pytest.mark.parametrize("make", MAKERS, ids=["fields", "top fields", "nesting", "json", "directory"])
def test_reading_a_hostile_file_takes_bounded_time_and_memory(tmp_path: Path, make: Callable[[Path], bytes]):
    path = tmp_path / "hostile"
    path.write_bytes(make(tmp_path))
    seconds, memory = measured(path)
    assert seconds < 10
    assert memory < 200 * 2**20
