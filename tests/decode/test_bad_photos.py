from __future__ import annotations

import contextlib
import io
import os
import struct
import subprocess
import sys
import warnings
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from saccade.engine.contract import PhotoError, Preprocessing
from saccade.engine.decode import opening, read_upright, read_view

# Each test begins with pytest's own filters, without those of decode.opening.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

P = Preprocessing(32, 32, 3, "crop", 40)


def refusal(path: Path | str) -> str:
    """The one line with which a photo is refused, the same in all three ways of reading."""
    lines = set()
    for read in (
        lambda: read_upright(path),
        lambda: read_view(path, P),
        lambda: read_view(path, P, "exact"),
    ):
        with pytest.raises(PhotoError) as error:
            read()
        lines.add(str(error.value))
    assert len(lines) == 1
    line = lines.pop()
    assert line.startswith("decode: ")
    assert line.isprintable()
    assert "; " in line, "what to do is missing"
    return line


def encoded(pixels: npt.NDArray[np.uint8], kind: str) -> bytes:
    buffer = io.BytesIO()
    options = {"progressive": True} if kind == "progressive" else {}
    Image.fromarray(pixels).save(buffer, "JPEG" if kind == "progressive" else kind, **options)
    return buffer.getvalue()


def png_header(width: int, height: int) -> bytes:
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = b"IDAT" + zlib.compress(b"\0" * 1000)
    chunks = (struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in (header, data))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def test_the_helper_does_not_take_a_good_photo_for_a_bad_one(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    with pytest.raises(pytest.fail.Exception):
        refusal(tmp_path / "a.png")


@pytest.mark.parametrize("kind", ["JPEG", "progressive", "PNG", "WEBP", "BMP", "TIFF", "PPM", "GIF"])
def test_truncated_anywhere(tmp_path: Path, scene: npt.NDArray[np.uint8], kind: str) -> None:
    """Every prefix is refused in one line; near the very end a decoder may have all pixels, then they are right."""
    whole = encoded(scene, kind)
    path = tmp_path / "photo.jpg"
    path.write_bytes(whole)
    expected = read_upright(path)
    refused = 0
    lengths = sorted({1, 2, 3, 4, 8, 12, 16, 20, 30, *np.linspace(1, len(whole) - 1, 60).astype(int).tolist()})
    for length in lengths:
        path.write_bytes(whole[:length])
        try:
            pixels = read_upright(path)
        except PhotoError:
            assert "photo.jpg" in refusal(path)
            refused += 1
        else:
            np.testing.assert_array_equal(pixels, expected, err_msg=f"{length} of {len(whole)} bytes")
    assert refused >= len(lengths) - 2


def test_a_truncated_photo_is_called_truncated(tmp_path: Path, scene: npt.NDArray[np.uint8]) -> None:
    for kind in ("JPEG", "PNG", "BMP", "PPM", "WEBP"):
        data = encoded(scene, kind)
        path = tmp_path / "a.jpg"
        path.write_bytes(data[: len(data) // 2])
        line = refusal(path)
        assert "truncated" in line
        assert f"{len(data) // 2:,} bytes" in line


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_damage_never_gives_another_error(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    pixels = np.random.default_rng(3).integers(0, 256, (24, 31, 3), np.uint8)
    kind = data.draw(st.sampled_from(["JPEG", "PNG", "WEBP", "BMP", "TIFF", "PPM", "GIF"]))
    content = bytearray(encoded(pixels, kind))
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=8)):
        content[place] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("damage") / "a.jpg"
    path.write_bytes(content)
    for mode in ("fast", "exact"):
        with contextlib.suppress(PhotoError):
            assert read_view(path, P, mode)[0].shape == (32, 32, 3)


@given(st.binary(min_size=1, max_size=200))
def test_any_bytes(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("any") / "a.jpg"
    path.write_bytes(content)
    refusal(path)


def test_each_kind_of_wrong_file_is_told_apart(tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("this is a text file\nand not a photo")
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "broken.jpg").symlink_to("gone.jpg")
    (tmp_path / "loop.jpg").symlink_to("loop.jpg")
    (tmp_path / "folder.jpg").mkdir()
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "vector.jpg").write_text("<svg/>")
    says = {
        "text": "begins with 'this is a '",
        "empty": "is empty (0 bytes)",
        "broken": "broken link to gone.jpg",
        "loop": "symbolic link",
        "folder": "is a folder",
        "pipe": "not an ordinary file",
        "vector": "is not a JPEG",
        "missing": "does not exist",
    }
    for name, words in says.items():
        line = refusal(tmp_path / f"{name}.jpg")
        assert words in line
        assert f"{name}.jpg" in line


def test_names_that_would_break_the_line_are_escaped(tmp_path: Path) -> None:
    assert "a\\nb.jpg" in refusal(tmp_path / "a\nb.jpg")
    assert "\\udcff" in refusal(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.jpg"))
    refusal(str(tmp_path / "a\0b.jpg"))
    refusal(str(tmp_path / ("x" * 5000)))


def test_a_photo_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.png"
    Image.new("RGB", (8, 8)).save(path)

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("builtins.open", refuse)
    assert "Permission denied" in refusal(path)


@pytest.mark.parametrize("size", [(30000, 30000), (2**31 - 1, 2**31 - 1), (13378, 13378)])
def test_a_decompression_bomb_is_refused_from_its_header(tmp_path: Path, size: tuple[int, int]) -> None:
    (tmp_path / "bomb.png").write_bytes(png_header(*size))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        line = refusal(tmp_path / "bomb.png")
    assert "too large" in line
    assert f"{size[0]}×{size[1]}" in line


def test_photos_below_the_limit_cause_no_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("L", (10000, 9000)).save(tmp_path / "large.png", compress_level=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_view(tmp_path / "large.png", P)[1] == (10000, 9000)
    monkeypatch.setattr(opening, "MAX_PIXELS", 10000 * 9000 - 1)
    assert "too large" in refusal(tmp_path / "large.png")


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "BMP", "TIFF", "PPM", "GIF"])
def test_the_limit_holds_for_every_format(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    (tmp_path / "a.jpg").write_bytes(encoded(np.zeros((20, 30, 3), np.uint8), kind))
    monkeypatch.setattr(opening, "MAX_PIXELS", 599)
    assert "30×20" in refusal(tmp_path / "a.jpg")


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    with open(tmp_path / "a.webp", "wb") as file:
        file.write(b"RIFF\0\0\0\0WEBPVP8L")
        file.truncate(opening.MAX_BYTES + 1)  # sparse
    assert "too large" in refusal(tmp_path / "a.webp")


def test_a_png_that_inflates_its_text_is_refused_or_read_without_it(tmp_path: Path) -> None:
    whole = encoded(np.zeros((8, 8, 3), np.uint8), "PNG")
    chunk = b"zTXtx\0\0" + zlib.compress(b"\0" * 2**28, 9)
    chunk = struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    (tmp_path / "a.png").write_bytes(whole[:33] + chunk + whole[33:])
    with contextlib.suppress(PhotoError):
        assert read_upright(tmp_path / "a.png").shape == (8, 8, 3)


@pytest.mark.parametrize("garbage", [b"", b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0" + b"\xff" * 300])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_garbage_in_exif_and_profile_is_tolerated(tmp_path: Path, kind: str, garbage: bytes) -> None:
    path = tmp_path / "a.jpg"
    Image.new("RGB", (40, 30), "white").save(path, kind, exif=garbage, icc_profile=b"garbage" * 9)
    assert read_upright(path).min() > 250
    assert read_view(path, P)[0].shape == (32, 32, 3)


def test_formats_beyond_the_list_are_refused(tmp_path: Path) -> None:
    for kind in ("ICO", "TGA", "PCX", "SGI", "EPS"):
        Image.new("RGB", (32, 32)).save(tmp_path / "a.jpg", kind)
        assert "is not a JPEG" in refusal(tmp_path / "a.jpg")


def test_damaged_metadata_writes_nothing_to_the_terminal(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    Image.new("RGB", (40, 30)).save(path, exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    code = "import sys; from saccade.engine.decode import read_upright; read_upright(sys.argv[1])"
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")
