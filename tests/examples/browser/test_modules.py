"""The page's modules, each held to what does the same in Python."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from examples.browser import write_colormaps
from saccade.engine import decode, render
from saccade.engine.contract import Preprocessing
from saccade.engine.render.colormaps import colormap, colormap_names

U8 = npt.NDArray[np.uint8]
Call = Callable[..., Any]


def assert_within(found: U8, wanted: U8, most: int) -> None:
    assert found.shape == wanted.shape
    worst = np.abs(found.astype(int) - wanted).max()
    assert worst <= most, f"differs by {worst} levels"


def test_the_comparison_refuses_what_is_wrong() -> None:
    photo = np.full((2, 2, 3), 7, np.uint8)
    assert_within(photo, photo + np.uint8(1), 1)
    with pytest.raises(AssertionError, match="2 levels"):
        assert_within(photo, photo + np.uint8(2), 1)
    with pytest.raises(AssertionError):
        assert_within(photo[:1], photo, 255)


# ---- photo to input, map to picture -------------------------------------------------------------------------------

PREPARE = """
  const { prepare } = await import("/prepare.js");
  const rgba = new Uint8ClampedArray(width * height * 4).fill(255);
  from64(rgb).forEach((value, i) => { rgba[Math.floor(i / 3) * 4 + (i % 3)] = value; });
  const { pixels, view } = prepare(rgba, width, height, preprocessing);
  return [to64(pixels), view];
"""


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("channels", [1, 3])
def test_photos_are_prepared_as_pillow_does(
    laboratory: Any, call: Call, unpacked: Call, interpolation: Any, channels: int
) -> None:
    rng = np.random.default_rng(channels)
    sizes = [(64, 64), (31, 17), (17, 31), (200, 90), (63, 300), (640, 480), (64, 500), (1, 40), (57, 57), (500, 3)]
    differ = 0
    for width, height in sizes:
        photo = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        data = BytesIO()
        Image.fromarray(photo).save(data, "PNG")
        for resize, shorter, size in (("crop", 64, (56, 56)), ("crop", 40, (48, 31)), ("stretch", None, (64, 33))):
            how = Preprocessing(*size, channels, resize, shorter, interpolation)  # pyright: ignore[reportArgumentType]
            wanted = decode.read_view(data.getvalue(), how, "exact")
            given = {"width": width, "height": height, "preprocessing": how.__dict__}
            found, view = call(laboratory, PREPARE, rgb=photo, **given)
            pixels = unpacked(found).reshape(wanted.image.shape)
            assert_within(pixels, wanted.image, 1)
            differ += int((pixels != wanted.image).sum())
            assert [view[side] for side in ("left", "top", "right", "bottom")] == pytest.approx(wanted.rectangle)
    assert differ == 0


def test_colormaps_are_the_projects(laboratory: Any, call: Call, unpacked: Call) -> None:
    assert write_colormaps.TARGET.read_text() == write_colormaps.text(), "run examples/browser/write_colormaps.py"
    script = "return Object.entries((await import('/colormaps.js')).COLORMAPS).map(([k, v]) => [k, to64(v)]);"
    found = {name: unpacked(text).reshape(256, 3) for name, text in call(laboratory, script)}
    assert set(found) == set(colormap_names())
    for name, table in found.items():
        np.testing.assert_array_equal(table, colormap(name))


OVERLAY = """
  const { blend, displayRange, faded, indexMap, seenPart } = await import("/render.js");
  const { COLORMAPS } = await import("/colormaps.js");
  const values = new Float32Array(from64(map).buffer);
  const range = displayRange(values, kind);
  const part = seenPart(width, height, view);
  const photo = new Uint8ClampedArray(from64(rgba));
  const picture = faded(photo, width, part);
  const indices = indexMap(values, shape, range, part.width, part.height, part.box);
  blend(picture, width, part, indices, COLORMAPS.viridis, 0.55, 0);
  return [range, to64(picture)];
"""


@pytest.mark.parametrize("kind", ["cam", "gradient", "signed"])
def test_pictures_are_the_projects(laboratory: Any, call: Call, unpacked: Call, kind: Any) -> None:
    rng = np.random.default_rng(3)
    for scale in (1.0, 1e-20, 1e-38, 0.0):
        values = (rng.random((7, 9), np.float32) * scale).astype(np.float32)
        values -= np.float32(0.4 * scale) if kind == "signed" else 0
        values[2, 3] = np.nan
        photo = rng.integers(0, 256, (90, 130, 3), dtype=np.uint8)
        rgba = np.dstack([photo, np.full((90, 130, 1), 255, np.uint8)])
        view = (12.3, -4.5, 101.7, 85.2)
        limits = render.display_ranges(values[None], kind=kind)[0]
        wanted = render.overlay_on_photo(values, photo, view, (limits[0], limits[1]), opacity=0.55)
        box = dict(zip(("left", "top", "right", "bottom"), view, strict=True))
        given = {"width": 130, "height": 90, "kind": kind, "shape": [7, 9], "view": box}
        found, picture = call(laboratory, OVERLAY, map=values, rgba=rgba, **given)
        assert found == pytest.approx([float(limits[0]), float(limits[1])], rel=1e-7, abs=0)
        assert_within(unpacked(picture).reshape(90, 130, 4)[..., :3], wanted, 0)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_photos_are_upright_and_as_large_as_their_header_says(
    laboratory: Any, call: Call, unpacked: Call, orientation: int
) -> None:
    data = BytesIO()
    exif = Image.Exif()
    exif[0x0112] = orientation
    corners = np.zeros((40, 60, 3), np.uint8)
    corners[:20, :30] = 250
    corners[20:, 30:] = (250, 0, 0)
    Image.fromarray(corners).save(data, "JPEG", quality=95, exif=exif)
    script = """
      const { decode, headerSize, pixelsOf } = await import("/photo.js");
      const bitmap = await decode(new Blob([from64(data)]), "it");
      const size = headerSize(from64(data), "it");
      return [size.width, size.height, bitmap.width, bitmap.height, to64(pixelsOf(bitmap))];
    """
    wanted = decode.read_upright(data.getvalue()).astype(int)
    *sizes, pixels = call(laboratory, script, data=data.getvalue())
    height, width = wanted.shape[:2]
    assert sizes == [60, 40, width, height]
    assert np.abs(unpacked(pixels).reshape(height, width, 4)[..., :3] - wanted).mean() < 1


@pytest.mark.parametrize("kind", ["PNG", "GIF", "BMP", "WEBP", "lossless", "alpha", "progressive"])
def test_headers(laboratory: Any, call: Call, kind: str) -> None:
    data = BytesIO()
    name, more = {
        "lossless": ("WEBP", {"lossless": True}),
        "alpha": ("WEBP", {"exif": b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0"}),
        "progressive": ("JPEG", {"progressive": True}),
    }.get(kind, (kind, {}))
    Image.fromarray(np.zeros((123, 457, 3), np.uint8)).save(data, name, **more)
    script = "const { headerSize } = await import('/photo.js'); return headerSize(from64(data), 'it');"
    assert call(laboratory, script, data=data.getvalue()) == {"width": 457, "height": 123}
    assert call(laboratory, script, data=data.getvalue()[: 9 if kind == "GIF" else 17]) is None


# ---- programs that are none ---------------------------------------------------------------------------------------

READ = """
  const { readContract } = await import("/contract.js");
  const bytes = from64(program);
  const outcomes = [];
  for (const [end, at] of changes) {
    const changed = bytes.slice(0, end);
    if (at >= 0) changed[at] ^= 0x10;
    try {
      outcomes.push((await readContract(changed, "it")).model);
    } catch (error) {
      outcomes.push(`${error.constructor.name} ${error.message}`);
    }
  }
  return outcomes;
"""


def test_contract(laboratory: Any, call: Call, program: Path) -> None:
    data = program.read_bytes()
    assert call(laboratory, READ, program=data, changes=[[len(data), -1]]) == ["Sequential"]


def test_cut_and_changed_programs_are_refused_in_one_line(laboratory: Any, call: Call, program: Path) -> None:
    data = program.read_bytes()
    rng = np.random.default_rng(1)
    lengths = [0, 1, 2, 7, *rng.integers(8, len(data), 150).tolist(), len(data) - 1]
    places = [*range(40), *rng.integers(0, len(data), 300).tolist(), *range(len(data) - 40, len(data))]
    changes = [[length, -1] for length in lengths] + [[len(data), place] for place in places]
    found = call(laboratory, READ, program=data, changes=changes)
    assert len(found) == len(changes)
    for said in found:
        assert said.startswith("PageError load: "), said
        assert "\n" not in said
        assert "it " in said


def test_hostile_lengths_are_refused(laboratory: Any, call: Call) -> None:
    huge = b"\x72" + b"\xff" * 9 + b"\x01"  # metadata_props of 2^64 - 1 bytes
    endless = b"\x72" + b"\xff" * 12
    many = b"\x08\x00" * 100_001
    deep = b"\x7a\x00"
    said = [call(laboratory, READ, program=p, changes=[[len(p), -1]])[0] for p in (huge, endless, many, deep)]
    assert "cut short" in said[0]
    assert "no ONNX file" in said[1]
    assert "no ONNX file" in said[2]
    assert "no saccade contract" in said[3]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"schema": 2}, "schema 2"),
        ({"shorter": None}, "shorter"),
        ({"channels": 2}, "channels"),
        ({"num_outputs": 4}, "classes must be"),
        ({"target": "outputs"}, "explain a class"),
        ({"maps": ()}, "maps must have"),
    ],
)
def test_contracts_that_the_page_cannot_follow(
    laboratory: Any, call: Call, reworded: Callable[..., Path], changes: dict[str, Any], words: str
) -> None:
    data = reworded(**changes).read_bytes()
    said = call(laboratory, READ, program=data, changes=[[len(data), -1]])[0]
    assert said.startswith("PageError load: ")
    assert words in said
