from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from saccade.engine.contract import SaccadeError, UsageError
from saccade.engine.sinks import overlay_path, write_picture

PIXELS = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)


def test_png_keeps_every_byte_and_jpeg_is_smaller_at_lower_quality(tmp_path: Path) -> None:
    write_picture(tmp_path / "new" / "a.PNG", PIXELS)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "new" / "a.PNG")), PIXELS)
    for quality in (30, 95):
        write_picture(tmp_path / f"{quality}.jpg", PIXELS, quality)
    assert Image.open(tmp_path / "95.jpg").format == "JPEG"
    assert os.path.getsize(tmp_path / "30.jpg") < os.path.getsize(tmp_path / "95.jpg")


@pytest.mark.parametrize("name", ["a", "a.gif", "a.jpg.txt"])
def test_other_endings_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match=r"\.jpg or \.png"):
        write_picture(tmp_path / name, PIXELS)
    assert list(tmp_path.iterdir()) == []


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_picture(tmp_path / "a.png", PIXELS)

    def fail(self: Image.Image, path: Path, *_: object) -> None:
        Path(path).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(SaccadeError, match="No space left") as error:
        write_picture(tmp_path / "a.png", PIXELS[::-1].copy())
    assert str(error.value).isprintable()
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "a.png")), PIXELS)


def test_ordinary_names_stay_readable(tmp_path: Path) -> None:
    for name in ("1.jpg", "cat/1.jpg", "cat/deep/ä photo (2).JPEG", "..a/b..", "_x/1.png", "cat/_"):
        assert overlay_path(tmp_path, name, "grad_cam") == tmp_path / "overlays" / f"{name}.grad_cam.jpg"


HOSTILE = [
    "",
    ".",
    "..",
    "../a.jpg",
    "a/../../b.jpg",
    "/etc/passwd",
    "//a",
    "a//b",
    "a/",
    "./a",
    "a\\..\\b",
    "C:\\a",
    "a\0b",
    "a\nb",
    "x" * 300,
    "é" * 150,
    "/".join("ab" for _ in range(2000)),
    "caf\udce9.jpg",
    "\ud800",
    "_/a",
    "_",
    "a.jpg.grad_cam.jpg/b",
]


def in_overlays(folder: Path, path: Path) -> bool:
    return Path(os.path.normpath(path)) == path and path.is_relative_to(folder / "overlays")


def test_the_check_sees_an_escape(tmp_path: Path) -> None:
    assert in_overlays(tmp_path, tmp_path / "overlays" / "a")
    assert not in_overlays(tmp_path, tmp_path / "overlays" / ".." / "a")
    assert not in_overlays(tmp_path, Path("/etc/passwd"))


@pytest.mark.parametrize("name", HOSTILE, ids=lambda n: ascii(n)[:20])
def test_hostile_names_stay_inside_and_can_be_written(tmp_path: Path, name: str) -> None:
    path = overlay_path(tmp_path, name, "grad_cam")
    assert in_overlays(tmp_path, path)
    assert path.parent == tmp_path / "overlays" / "_"
    write_picture(path, PIXELS)
    assert path.is_file()


def test_hostile_names_stay_distinct(tmp_path: Path) -> None:
    plain = ["a", "a.jpg", "a.grad_cam", "a.grad_cam.jpg", "b/a", "b/a.jpg", "A"]
    paths = [overlay_path(tmp_path, n, m) for n in (*HOSTILE, *plain) for m in ("grad_cam", "saliency")]
    assert len(set(paths)) == len(paths)
    digest = overlay_path(tmp_path, "..", "grad_cam").name.removesuffix(".grad_cam.jpg")
    assert overlay_path(tmp_path, f"_/{digest}", "grad_cam") != overlay_path(tmp_path, "..", "grad_cam")


@given(
    st.text(st.sampled_from("a./\\_\0é\udce9"), max_size=12), st.text(st.sampled_from("a./\\_\0é\udce9"), max_size=12)
)
def test_any_two_names(one: str, other: str) -> None:
    folder = Path("/run")
    paths = overlay_path(folder, one, "cam"), overlay_path(folder, other, "cam")
    assert all(in_overlays(folder, p) for p in paths)
    assert (paths[0] == paths[1]) == (one == other)
    assert paths[0] not in paths[1].parents, "one overlay would be another's folder"


@pytest.mark.parametrize("map_name", ["", "../x", "a/b", "a.b", "grad cam"])
def test_a_map_with_a_hostile_name_is_refused(tmp_path: Path, map_name: str) -> None:
    with pytest.raises(UsageError):
        overlay_path(tmp_path, "a.jpg", map_name)
