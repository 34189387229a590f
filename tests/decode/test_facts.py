"""What a photo's file says of itself, and what files say that lie."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.TiffImagePlugin import IFDRational

from saccade.engine.contract import FACTS, Preprocessing
from saccade.engine.decode import read_view
from saccade.engine.decode.facts import TEXT, file_facts, jpeg_quality
from saccade.engine.decode.opening import opened

# Pillow warns of garbage by text; the tests begin without the filter of decode.opening.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

P = Preprocessing(16, 16, 3, "stretch")
KINDS = ("JPEG", "PNG", "WEBP", "TIFF")
SAID = {
    "exif_make": "Acme",
    "exif_model": "Camera é 1",
    "exif_software": "darkroom 2.0",
    "exif_orientation": 6,
    "exif_exposure": 1 / 250,
    "exif_iso": 400,
    "exif_focal_length": 35.5,
    "exif_hour": 21,
}


def encoded(kind: str, exif: Image.Exif | bytes = b"", **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (40, 30), "white").save(buffer, kind, **({"exif": exif} if exif else {}), **options)
    return buffer.getvalue()


def facts_of(content: bytes) -> dict[str, Any]:
    return read_view(content, P).facts


def written(order: str, *fields: tuple[int, int, int, bytes], further: bytes = b"") -> bytes:
    """EXIF by hand: (tag, type, length, 4 bytes of value or offset) in the first directory, `further` behind it."""
    head = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(f"{order}I", 8)
    entries = b"".join(struct.pack(f"{order}HHI4s", *field) for field in fields)
    return b"Exif\0\0" + head + struct.pack(f"{order}H", len(fields)) + entries + bytes(4) + further


@pytest.fixture
def exif() -> Image.Exif:
    found = Image.Exif()
    found[0x010F], found[0x0131], found[0x0112] = "Acme", "darkroom 2.0", 6
    found[0x0110] = "Camera é 1".encode()
    inner = found.get_ifd(0x8769)
    inner[0x829A], inner[0x8827], inner[0x920A] = IFDRational(1, 250), 400, 35.5  # a fraction and, by Pillow, a double
    inner[0x9003] = "2021:07:03 21:05:59"
    found[0x8769] = 0  # a TIFF is written with the inner directory where its key is there
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_camera_wrote(exif: Image.Exif, kind: str) -> None:
    found = facts_of(encoded(kind, exif))
    assert tuple(found) == tuple(FACTS)
    assert found["format"] == kind
    assert {name: found[name] for name in SAID} == pytest.approx(SAID)


@pytest.mark.parametrize("kind", [*KINDS, "GIF", "BMP", "PPM"])
def test_what_a_file_does_not_say_is_none(kind: str) -> None:
    found = facts_of(encoded(kind))
    assert found.pop("format") == kind
    assert found.pop("jpeg_quality") == (75 if kind == "JPEG" else None)
    assert set(found.values()) == {None}


@pytest.mark.parametrize("order", ["<", ">"])
def test_both_orders_of_bytes_and_values_in_place(order: str) -> None:
    data = written(
        order, (0x010F, 2, 4, b"Acme"), (0x0112, 3, 1, struct.pack(f"{order}HH", 3, 0)), (0x8827, 4, 1, b"\0\0\0\0")
    )
    found = facts_of(encoded("JPEG", data))
    assert (found["exif_make"], found["exif_orientation"], found["exif_iso"]) == ("Acme", 3, None)


def test_a_pngs_exif_behind_its_pixels(exif: Image.Exif) -> None:
    whole = encoded("PNG", exif)
    begin = whole.index(b"eXIf") - 4
    end = begin + 12 + struct.unpack(">I", whole[begin : begin + 4])[0]
    place = whole.index(b"IEND") - 4
    found = facts_of(whole[:begin] + whole[end:place] + whole[begin:end] + whole[place:])
    assert found["exif_model"] == SAID["exif_model"]


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (b"x" * 5000, "x" * TEXT),
        ("é".encode() * 200, "é" * TEXT),
        ("🙂".encode() * 200, "🙂" * TEXT),
        (b"Photo \xae", "Photo ®"),
        (b"  Acme  \0\0 hidden", "Acme"),
        (b"        ", None),
        (b"two\nlines", None),
        (b"\x1b[2Jgone", None),
        ("\u202egnp.exe".encode(), None),
    ],
)
def test_texts(said: bytes, shown: str | None) -> None:
    exif = written("<", (0x0131, 2, len(said), struct.pack("<I", 26)), further=said)
    assert facts_of(encoded("PNG", exif))["exif_software"] == shown


@pytest.mark.parametrize(
    ("tag", "kind", "value", "name"),
    [
        (0x829A, 5, struct.pack("<II", 1, 0), "exif_exposure"),
        (0x829A, 5, struct.pack("<II", 0, 7), "exif_exposure"),
        (0x829A, 5, struct.pack("<II", 2**32 - 1, 1), "exif_exposure"),
        (0x829A, 5, b"\1\0\0", "exif_exposure"),
        (0x829A, 10, struct.pack("<ii", -1, 2), "exif_exposure"),
        (0x829A, 12, struct.pack("<d", float("nan")), "exif_exposure"),
        (0x829A, 12, struct.pack("<d", float("inf")), "exif_exposure"),
        (0x920A, 2, b"35 mm is a text", "exif_focal_length"),
        (0x8827, 4, struct.pack("<I", 2**32 - 1), "exif_iso"),
        (0x8827, 5, struct.pack("<II", 800, 2), "exif_iso"),
        (0x0112, 3, struct.pack("<H", 9), "exif_orientation"),
        (0x9003, 2, b"2021:07:03 24:00:00\0", "exif_hour"),
        (0x9003, 2, b"0000:00:00   :  :  \0", "exif_hour"),
        (0x9003, 2, b"yesterday", "exif_hour"),
        (0x9003, 3, struct.pack("<H", 12), "exif_hour"),
    ],
)
def test_values_that_make_no_sense_are_none(tag: int, kind: int, value: bytes, name: str) -> None:
    length = len(value) if kind == 2 else 1
    place = value.ljust(4, b"\0") if len(value) < 3 or (kind == 4) else struct.pack("<I", 26)
    found = facts_of(encoded("PNG", written("<", (tag, kind, length, place), further=value)))
    assert found[name] is None
    assert found["format"] == "PNG"


def test_a_directory_that_names_itself_and_overlapping_fields_cost_nothing() -> None:
    """65,535 fields that each claim the whole file: read by their claims, that is gigabytes."""
    filler = bytes(4 * 2**20)
    fields = [(tag, 2, 2**32 - 1, struct.pack("<I", 8)) for tag in range(1, 65_535)]
    exif = written("<", (0x8769, 4, 1, struct.pack("<I", 8)), *fields, further=filler)
    asked: list[int] = []

    class Counted(bytes):
        def __getitem__(self, part: Any) -> Any:
            asked.append(len(taken := super().__getitem__(part)))
            return taken

    with opened(encoded("PNG")) as photo:
        photo.info["exif"] = Counted(exif.removeprefix(b"Exif\0\0"))
        found = file_facts(photo)
    assert found["format"] == "PNG"
    assert sum(asked) < 30_000


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_damage_gives_facts_of_their_types_and_no_error(data: st.DataObject) -> None:
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "Acme", 1
    exif.get_ifd(0x8769)[0x829A] = 0.5
    exif.get_ifd(0x8769)[0x9003] = "2021:07:03 21:05:59"
    content = bytearray(exif.tobytes())
    for place in data.draw(st.lists(st.integers(6, len(content) - 1), min_size=1, max_size=12)):
        content[place] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.integers(7, len(content)))]
    found = facts_of(encoded(data.draw(st.sampled_from(["JPEG", "PNG", "WEBP"])), bytes(content)))
    types = {"string": str, "int32": int, "float": float}
    assert all(value is None or isinstance(value, types[FACTS[name]]) for name, value in found.items())


@pytest.mark.parametrize("quality", range(1, 101))
def test_the_quality_is_what_libjpeg_was_told(quality: int) -> None:
    assert facts_of(encoded("JPEG", quality=quality))["jpeg_quality"] == quality


def test_the_quality_of_other_tables_is_the_nearest() -> None:
    with Image.open(io.BytesIO(encoded("JPEG", quality=60))) as photo:
        table = np.array(photo.quantization[0])  # pyright: ignore[reportAttributeAccessIssue]
    assert jpeg_quality(table) == 60
    assert jpeg_quality(table + np.eye(8, dtype=int).ravel()) == 60
    assert jpeg_quality(np.full(64, 65_535)) == 1
    assert jpeg_quality(np.zeros(64)) == 100
    assert jpeg_quality(table[:63]) is None


def test_the_first_components_table_is_asked() -> None:
    tables = [[90] * 64, [2] * 64]
    coarse = facts_of(encoded("JPEG", qtables=tables))["jpeg_quality"]
    fine = facts_of(encoded("JPEG", qtables=tables[::-1]))["jpeg_quality"]
    assert coarse < 50 < 95 < fine


def test_facts_do_not_depend_on_the_way_of_reading(tmp_path: Path, scene: npt.NDArray[np.uint8]) -> None:
    path = tmp_path / "a.jpg"
    Image.fromarray(scene).resize((800, 600)).save(path, quality=83)
    ways = [read_view(path, P), read_view(path, P, "exact"), read_view(path.read_bytes(), P, name="a")]
    assert [way.facts for way in ways] == [ways[0].facts] * 3
    assert ways[0].facts["jpeg_quality"] == 83
