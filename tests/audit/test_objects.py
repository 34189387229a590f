"""Masks and boxes on a map's grid, against counting by hand, and files that are none."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from saccade.audit.objects import Objects, area, evidence_inside, pointing
from saccade.engine.contract import PhotoError, SaccadeError, UsageError

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"
HEADER = "path,box_left,box_top,box_right,box_bottom\n"
FINE = 40

Floats = npt.NDArray[np.float32]
View = tuple[float, float, float, float]


def brute(inside: Callable[[float, float], bool], view: tuple[float, ...], shape: tuple[int, int]) -> Floats:
    """How much of each cell is object, by asking at `FINE`² points of it."""
    left, top, right, bottom = view
    found = np.zeros(shape, np.float32)
    for row in range(shape[0]):
        for column in range(shape[1]):
            ys = top + (bottom - top) * (row + (np.arange(FINE) + 0.5) / FINE) / shape[0]
            xs = left + (right - left) * (column + (np.arange(FINE) + 0.5) / FINE) / shape[1]
            found[row, column] = np.mean([[inside(x, y) for x in xs] for y in ys])
    return found


def agrees(found: Floats, expected: Floats) -> bool:
    """A straight border through a cell is off by a row of points at most, and there may be some of them."""
    return found.shape == expected.shape and bool(np.abs(found - expected).max() < 4 / FINE)


def test_the_comparison_sees_a_shift() -> None:
    mask = brute(lambda x, y: x < 3, (0, 0, 10, 10), (4, 4))
    assert agrees(mask, mask)
    assert not agrees(mask, np.roll(mask, 1, axis=1))
    assert not agrees(mask, brute(lambda x, y: x < 3.5, (0, 0, 10, 10), (4, 4)))


def of_boxes(tmp_path: Path, *boxes: tuple[float, ...]) -> Objects:
    file = tmp_path / "boxes.csv"
    file.write_text(HEADER + "".join(f"a.jpg,{','.join(map(str, box))}\n" for box in boxes))
    return Objects.from_boxes(file, ["a.jpg"])


def of_mask(tmp_path: Path, mask: npt.NDArray[Any]) -> Objects:
    Image.fromarray(mask).save(tmp_path / "a.png")
    return Objects.from_masks(tmp_path)


VIEWS = [
    (0.0, 0.0, 20.0, 12.0),  # all of it
    (3.25, 1.5, 14.75, 11.0),  # a crop
    (-4.0, -3.5, 24.0, 15.5),  # letterboxed on every side
    (0.0, -4.0, 20.0, 16.0),
    (30.0, 0.0, 40.0, 12.0),  # beside the photo
]


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("shape", [(7, 7), (3, 5), (1, 1)])
def test_a_mask_against_counting(tmp_path: Path, view: View, shape: tuple[int, int]) -> None:
    pixels = np.random.default_rng(1).random((12, 20)) < 0.4
    found = of_mask(tmp_path, (pixels * 255).astype(np.uint8)).mask("a.jpg", view, (20, 12), shape)
    assert found is not None
    assert found.dtype == np.float32

    def inside(x: float, y: float) -> bool:
        return 0 <= x < 20 and 0 <= y < 12 and bool(pixels[int(y), int(x)])

    assert agrees(found, brute(inside, view, shape))


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("shape", [(7, 7), (3, 5), (1, 1)])
def test_boxes_against_counting(tmp_path: Path, view: View, shape: tuple[int, int]) -> None:
    boxes = [(1.5, 2.25, 9.0, 7.0), (6.0, 5.0, 12.5, 11.0), (2.0, 3.0, 4.0, 4.0), (-9.0, 10.0, 2.0, 30.0)]
    found = of_boxes(tmp_path, *boxes).mask("a.jpg", view, (20, 12), shape)
    assert found is not None

    def inside(x: float, y: float) -> bool:
        return 0 <= x < 20 and 0 <= y < 12 and any(b[0] <= x < b[2] and b[1] <= y < b[3] for b in boxes)

    assert agrees(found, brute(inside, view, shape))


def test_areas_are_exact(tmp_path: Path) -> None:
    objects = of_boxes(tmp_path, (10, 20, 60, 80), (50, 20, 70, 80))
    found = objects.mask("a.jpg", (0.0, 0.0, 100.0, 100.0), (100, 100), (7, 7))
    assert found is not None
    assert area(found[None])[0] == pytest.approx(0.36, abs=1e-7)
    columns = np.clip(np.arange(1, 8) * 100 / 7, 10, 70) - np.clip(np.arange(7) * 100 / 7, 10, 70)
    np.testing.assert_allclose(found[3], columns * 7 / 100, rtol=1e-6)
    whole = objects.mask("a.jpg", (20.0, 30.0, 40.0, 50.0), (100, 100), (28, 28))
    np.testing.assert_array_equal(whole, np.ones((28, 28)))


def test_a_box_and_its_mask_are_the_same(tmp_path: Path) -> None:
    pixels = np.zeros((333, 500), np.uint8)
    pixels[37:190, 61:402] = 1
    view = (75.5, 0.0, 424.5, 333.0)
    one = of_mask(tmp_path, pixels).mask("a.jpg", view, (500, 333), (28, 28))
    other = of_boxes(tmp_path, (61, 37, 402, 190)).mask("a.jpg", view, (500, 333), (28, 28))
    assert one is not None
    assert other is not None
    np.testing.assert_allclose(one, other, atol=1e-6)
    assert 0 < area(one[None])[0] < 1


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_turned_photo_has_a_turned_mask(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Flipped, turned or in a crop: the mask's shares go along."""
    height, width = data.draw(st.integers(1, 12)), data.draw(st.integers(1, 12))
    pixels = np.random.default_rng(data.draw(st.integers(0, 99))).integers(0, 2, (height, width)).astype(np.uint8)
    left, right = sorted(data.draw(st.lists(st.floats(-3, 15), min_size=2, max_size=2)))
    top, bottom = left / 2 - 1, right / 2 + 1
    folder = tmp_path_factory.mktemp("masks")
    plain = of_mask(folder, pixels).mask("a.jpg", (left, top, right + 1, bottom), (width, height), (3, 4))
    flipped = of_mask(folder, pixels[:, ::-1].copy())
    flipped = flipped.mask("a.jpg", (width - right - 1, top, width - left, bottom), (width, height), (3, 4))
    turned = of_mask(folder, pixels.T.copy()).mask("a.jpg", (top, left, bottom, right + 1), (height, width), (4, 3))
    assert plain is not None
    assert flipped is not None
    assert turned is not None
    np.testing.assert_allclose(flipped, plain[:, ::-1], atol=1e-5)
    np.testing.assert_allclose(turned, plain.T, atol=1e-5)


def test_large_masks_are_summed_in_bands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.random.default_rng(5).integers(0, 2, (50, 40)).astype(np.uint8)
    whole = of_mask(tmp_path, pixels).mask("a.jpg", (1.5, 2.5, 38.0, 49.0), (40, 50), (7, 7))
    assert whole is not None
    for band in (1, 120, 40 * 49):
        monkeypatch.setattr("saccade.audit.objects._BAND", band)
        parts = of_mask(tmp_path, pixels).mask("a.jpg", (1.5, 2.5, 38.0, 49.0), (40, 50), (7, 7))
        np.testing.assert_allclose(cast(Floats, parts), whole, atol=1e-6)


def test_whatever_is_not_black_is_object(tmp_path: Path) -> None:
    grey = np.array([[0, 1], [128, 255]], np.uint8)
    expected = [[0, 1], [1, 1]]
    colour = np.zeros((2, 2, 3), np.uint8)
    colour[grey > 0] = (0, 0, 3)
    palette = Image.fromarray(grey // 64).convert("P")
    palette.putdata([0, 1, 2, 1])
    palette.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])
    alpha = Image.fromarray(colour).convert("RGBA")
    pictures = {
        "grey": Image.fromarray(grey),
        "deep": Image.fromarray(grey.astype(np.uint16)),
        "bits": Image.fromarray(grey > 0),
        "colour": Image.fromarray(colour),
        "palette": palette,
        "alpha": alpha,
        "grey with alpha": Image.fromarray(grey).convert("LA"),
    }
    for name, picture in pictures.items():
        picture.save(tmp_path / f"{name}.png")
    objects = Objects.from_masks(tmp_path)
    for name in pictures:
        found = objects.mask(f"{name}.jpeg", (0.0, 0.0, 2.0, 2.0), (2, 2), (2, 2))
        assert found is not None
        assert found.tolist() == expected, name


def test_masks_are_found_by_name(tmp_path: Path) -> None:
    for name in ("dog/1_mask.png", "2.v1_mask.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("L", (4, 4), 255).save(tmp_path / name)
    objects = Objects.from_masks(tmp_path, "_mask.png")
    whole = ((0.0, 0.0, 4.0, 4.0), (4, 4), (2, 2))
    assert objects.mask("dog/1.jpg", *whole) is not None
    assert objects.mask("2.v1.tiff", *whole) is not None
    for name in (
        "1.jpg",
        "dog/2.jpg",
        "cat/1.jpg",
        "dog/../2.v1.jpg",
        "../x/1.jpg",
        f"{tmp_path}/dog/1.jpg",
        "",
        "a\0",
    ):
        assert objects.mask(name, *whole) is None
    with pytest.raises(UsageError, match=r"no file that ends in '_seg\.png'"):
        Objects.from_masks(tmp_path, "_seg.png")
    with pytest.raises(UsageError, match="is no folder of masks"):
        Objects.from_masks(tmp_path / "gone")


def png(width: int, height: int) -> bytes:
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = (header, b"IDAT" + zlib.compress(b"\0" * 99))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in chunks
    )


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (png(2**31 - 1, 2**31 - 1), "too large"),
        (png(12_000, 12_000), "has 12000×12000 pixels, its photo 8×6"),
        (b"no picture at all", "is not a JPEG, PNG"),
        (b"", "is empty"),
        (png(8, 6)[:-10], "truncated"),
    ],
)
def test_masks_that_are_none(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(SaccadeError, match=says) as error:
        Objects.from_masks(tmp_path).mask("a.jpg", (0.0, 0.0, 8.0, 6.0), (8, 6), (7, 7))
    assert isinstance(error.value, (UsageError, PhotoError))
    assert "\n" not in str(error.value)


def test_a_mask_of_another_size_or_a_jpeg_is_refused(tmp_path: Path) -> None:
    Image.new("L", (6, 8)).save(tmp_path / "a.png")
    objects = Objects.from_masks(tmp_path)
    with pytest.raises(UsageError, match=r"a\.png has 6×8 pixels, its photo 8×6"):
        objects.mask("a.jpg", (0.0, 0.0, 8.0, 6.0), (8, 6), (7, 7))
    Image.new("L", (8, 6)).save(tmp_path / "a.png", "JPEG")
    with pytest.raises(UsageError, match="save masks as PNG"):
        objects.mask("a.jpg", (0.0, 0.0, 8.0, 6.0), (8, 6), (7, 7))


@pytest.mark.parametrize("view", [(0, 0, 0, 5), (5, 0, 0, 5), (0, 0, float("nan"), 5), (0, 0, float("inf"), 5)])
def test_a_view_that_is_no_rectangle(tmp_path: Path, view: View) -> None:
    with pytest.raises(SaccadeError, match=r"no rectangle as the view of 'a\.jpg'"):
        of_boxes(tmp_path, (0, 0, 1, 1)).mask("a.jpg", view, (8, 6), (7, 7))


def test_a_box_outside_of_its_photo_is_refused_and_one_that_reaches_out_is_cut(tmp_path: Path) -> None:
    objects = of_boxes(tmp_path, (-5, -5, 50, 3))
    found = objects.mask("a.jpg", (0.0, 0.0, 8.0, 6.0), (8, 6), (2, 1))
    np.testing.assert_allclose(cast(Floats, found), [[1], [0]], atol=1e-7)
    with pytest.raises(UsageError, match=r"the box \(9, 1, 12, 2\) of 'a.jpg' in .* lies outside of the photo of 8×6"):
        of_boxes(tmp_path, (0, 0, 1, 1), (9, 1, 12, 2)).mask("a.jpg", (0.0, 0.0, 8.0, 6.0), (8, 6), (7, 7))
    flat = of_boxes(tmp_path, (2, 2, 2, 5)).mask("a.jpg", (0.0, 0.0, 8.0, 6.0), (8, 6), (7, 7))
    np.testing.assert_array_equal(cast(Floats, flat), np.zeros((7, 7)))


def test_evidence_inside_and_pointing() -> None:
    maps = np.zeros((7, 2, 2), np.float32)
    masks = np.zeros((7, 2, 2), np.float32)
    maps[:5] = [[4, 1], [-9, 0]]
    masks[0] = [[1, 0], [0, 0]]
    masks[1] = [[0.5, 0], [1, 1]]
    masks[2] = [[0, 1], [0, 0]]
    masks[4] = np.nan  # 3 has no object in view, 4 no mask, 5 no evidence
    masks[5] = 1
    maps[6], masks[6] = 1, [[1, 1], [1, 0]]
    inside, hits = evidence_inside(maps, masks), pointing(maps, masks)
    nan = float("nan")
    assert inside.tolist() == pytest.approx([0.8, 0.4, 0.2, nan, nan, nan, 0.75], nan_ok=True)
    assert hits.tolist() == pytest.approx([1, 1, 0, nan, nan, nan, 0.75], nan_ok=True)
    assert area(masks).tolist() == pytest.approx([0.25, 0.625, 0.25, 0, nan, 1, 0.75], nan_ok=True)
    assert inside.dtype == hits.dtype == area(masks).dtype == np.float32


@pytest.mark.parametrize("scale", [1e-44, 1e-30, 1.0, 3e38])
def test_the_share_does_not_depend_on_the_maps_magnitude(scale: float) -> None:
    maps = np.array([[[1, 0.5], [0, 0.5]]], np.float32) * np.float32(scale)
    masks = np.array([[[1, 0], [0, 0]]], np.float32)
    assert evidence_inside(maps, masks)[0] == pytest.approx(0.5, rel=0.1)
    assert pointing(maps, masks).tolist() == [1]


def test_maps_of_errors_have_no_answer() -> None:
    nothing = np.full((1, 3, 3), np.nan, np.float32)
    some = np.ones((1, 3, 3), np.float32)
    assert np.isnan(evidence_inside(nothing, some)).all()
    assert np.isnan(pointing(nothing, some)).all()
    assert len(evidence_inside(some[:0], some[:0])) == len(pointing(some[:0], some[:0])) == 0


def test_shapes_that_differ_are_refused() -> None:
    with pytest.raises(ValueError, match="maps are"):
        evidence_inside(np.ones((1, 3, 3), np.float32), np.ones((1, 2, 3), np.float32))
    with pytest.raises(ValueError, match="maps are"):
        pointing(np.ones((3, 3), np.float32), np.ones((3, 3), np.float32))


@pytest.mark.data
def test_the_shared_tumours() -> None:
    folder = SHARED / "mri"
    photos = [p for p in sorted(folder.glob("*.png")) if not p.stem.endswith("_mask")]
    if not photos:
        pytest.skip("needs the shared MRI slices")
    objects = Objects.from_masks(folder, "_mask.png")
    for photo in photos[:20]:
        found = objects.mask(photo.name, (0.0, 0.0, 256.0, 256.0), (256, 256), (8, 8))
        assert found is not None
        pixels = np.asarray(Image.open(photo.with_name(f"{photo.stem}_mask.png"))) != 0
        pixels = pixels.reshape(256, 256, -1).any(axis=2)
        np.testing.assert_allclose(found, pixels.reshape(8, 32, 8, 32).mean(axis=(1, 3)), atol=1e-6)
