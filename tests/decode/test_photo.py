from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from saccade.engine.contract import Preprocessing
from saccade.engine.decode import photo as photo_module
from saccade.engine.decode import read_upright, read_view

CROP = Preprocessing(56, 56, 3, "crop", 64)


def torchvision_view(image: Image.Image, p: Preprocessing) -> npt.NDArray[np.uint8]:
    """What torchvision's preset gives of an upright PIL image: uint8 [H, W, C]."""
    transforms = pytest.importorskip("torchvision.transforms")
    interpolation = transforms.InterpolationMode(p.interpolation)
    image = image.convert("L" if p.channels == 1 else "RGB")
    if p.resize == "stretch":
        image = transforms.Resize((p.height, p.width), interpolation)(image)
    else:
        image = transforms.Resize(p.shorter, interpolation)(image)
        image = transforms.CenterCrop((p.height, p.width))(image)
    return np.asarray(image).reshape(p.height, p.width, p.channels)


def difference(one: npt.NDArray[np.uint8], other: npt.NDArray[np.uint8]) -> float:
    """Mean absolute difference in grey levels."""
    assert one.shape == other.shape
    return float(np.abs(one.astype(int) - other.astype(int)).mean())


def test_the_comparison_sees_a_shift(scene: npt.NDArray[np.uint8]) -> None:
    assert difference(scene, scene) == 0
    assert difference(scene, np.roll(scene, 1, axis=1)) > 2
    with pytest.raises(AssertionError):
        difference(scene, scene[:1])


PRESETS = [
    CROP,
    Preprocessing(56, 56, 3, "crop", 64, "bicubic"),
    Preprocessing(57, 40, 3, "crop", 61),
    Preprocessing(56, 56, 1, "crop", 64),
    Preprocessing(40, 70, 3, "stretch"),
    Preprocessing(40, 70, 1, "stretch", None, "bicubic"),
    Preprocessing(90, 131, 3, "stretch"),
    Preprocessing(80, 201, 3, "crop", 77),  # larger than the scaled photo: padded
    Preprocessing(120, 121, 3, "crop", 60),
]


@pytest.mark.parametrize("preprocessing", PRESETS, ids=str)
@pytest.mark.parametrize("turned", [False, True])
def test_exact_is_torchvision(
    tmp_path: Path, scene: npt.NDArray[np.uint8], preprocessing: Preprocessing, turned: bool
) -> None:
    image = Image.fromarray(np.ascontiguousarray(scene.swapaxes(0, 1)) if turned else scene)
    image.save(tmp_path / "a.jpg")
    image.save(tmp_path / "a.png")
    for path in (tmp_path / "a.jpg", tmp_path / "a.png"):
        expected = torchvision_view(Image.open(path), preprocessing)
        view, size, _, _ = read_view(path, preprocessing, "exact")
        assert size == image.size
        assert view.dtype == np.uint8
        np.testing.assert_array_equal(view, expected)
        fast, fast_size, _, _ = read_view(path, preprocessing, "fast")
        assert fast_size == image.size
        assert difference(fast, expected) < 0.6


@settings(max_examples=60, deadline=None)
@given(
    width=st.integers(1, 90),
    height=st.integers(1, 90),
    crop_width=st.integers(1, 60),
    crop_height=st.integers(1, 60),
    shorter=st.integers(1, 60),
)
def test_exact_is_torchvision_for_any_size(
    tmp_path_factory: pytest.TempPathFactory, width: int, height: int, crop_width: int, crop_height: int, shorter: int
) -> None:
    pixels = np.random.default_rng(width).integers(0, 256, (height, width, 3), np.uint8)
    path = tmp_path_factory.mktemp("any") / "a.png"
    Image.fromarray(pixels).save(path)
    p = Preprocessing(crop_height, crop_width, 3, "crop", shorter)
    view, _, rectangle, _ = read_view(path, p, "exact")
    np.testing.assert_array_equal(view, torchvision_view(Image.fromarray(pixels), p))
    fast, _, fast_rectangle, _ = read_view(path, p)
    # The same filter over the same pixels, but Pillow decides by the sizes which way it goes first, and rounds after
    # each way: half a level twice, in either order.
    assert np.abs(fast.astype(int) - view).max() <= 2
    assert fast_rectangle == rectangle


def test_the_view_is_where_the_crop_lies(tmp_path: Path) -> None:
    Image.new("RGB", (400, 300), "white").save(tmp_path / "a.png")
    _, size, view, _ = read_view(tmp_path / "a.png", Preprocessing(112, 112, 3, "crop", 150))
    assert size == (400, 300)
    assert view == (88.0, 38.0, 312.0, 262.0)
    _, _, view, _ = read_view(tmp_path / "a.png", Preprocessing(10, 20, 3, "stretch"))
    assert view == (0.0, 0.0, 400.0, 300.0)
    padded, _, view, _ = read_view(tmp_path / "a.png", Preprocessing(30, 60, 3, "crop", 30))
    assert view == (-100.0, 0.0, 500.0, 300.0)
    assert (padded[:, :10] == 0).all()
    assert (padded[:, 10:50] == 255).all()
    assert (padded[:, 50:] == 0).all()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("extension", ["jpg", "png", "webp", "tiff"])
def test_exif_orientation(tmp_path: Path, scene: npt.NDArray[np.uint8], orientation: int, extension: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a.{extension}"
    # Odd sizes, and large enough for libjpeg to reduce by two: its last column and row are half empty.
    large = np.asarray(Image.fromarray(scene).resize((333, 251), Image.Resampling.BICUBIC))
    Image.fromarray(large).save(path, exif=exif)
    plain = Image.open(path)
    if extension == "tiff":
        plain.load()  # Pillow turns it
        expected = plain
    else:
        expected = ImageOps.exif_transpose(plain)
    assert expected.size == ((251, 333) if orientation >= 5 else (333, 251))
    np.testing.assert_array_equal(read_upright(path), np.asarray(expected.convert("RGB")))
    for p in (CROP, Preprocessing(50, 70, 3, "stretch")):
        wanted = torchvision_view(expected, p)
        exact, size, _, _ = read_view(path, p, "exact")
        np.testing.assert_array_equal(exact, wanted)
        assert size == expected.size
        fast, size, _, _ = read_view(path, p, "fast")
        assert size == expected.size
        assert difference(fast, wanted) < 1.2
        assert difference(fast, wanted) < difference(np.roll(wanted, 1, axis=1), wanted) / 4


def test_a_reduced_jpeg_is_not_shifted(tmp_path: Path) -> None:
    """257 / 4 is rounded up to 65 by libjpeg; taken for the whole picture, that would shrink it by a hundredth."""
    ramp = np.broadcast_to((np.arange(257) * 255 // 256).astype(np.uint8)[:, None], (257, 257, 3))
    for orientation, turned in ((1, ramp), (2, ramp[:, ::-1]), (8, np.rot90(ramp)), (6, np.rot90(ramp, -1))):
        exif = Image.Exif()
        exif[0x0112] = orientation
        Image.fromarray(ramp).save(tmp_path / "a.jpg", exif=exif, quality=100)
        p = Preprocessing(30, 30, 3, "stretch")
        view = read_view(tmp_path / "a.jpg", p).image
        off = view.astype(int) - torchvision_view(Image.fromarray(turned), p)
        assert np.abs(off).max() <= 2
        assert abs(off.mean()) < 0.5


@pytest.mark.data
def test_fast_is_close_to_exact_on_real_photos(shared_photos: list[Path]) -> None:
    p = Preprocessing(224, 224, 3, "crop", 256)
    differences = [difference(read_view(s, p)[0], read_view(s, p, "exact")[0]) for s in shared_photos]
    assert len(differences) > 5
    assert max(differences) < 0.6
    assert np.mean(differences) < 0.1


def test_fast_decodes_a_large_jpeg_at_a_reduced_scale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("RGB", (1600, 1200), "red").save(tmp_path / "a.jpg")
    sizes = []
    monkeypatch.setattr(photo_module, "_turned", lambda image, _: sizes.append(image.size) or image)
    read_view(tmp_path / "a.jpg", CROP)
    read_view(tmp_path / "a.jpg", CROP, "exact")
    assert sizes == [(200, 150), (1600, 1200)]


@pytest.mark.filterwarnings("ignore:Palette images:UserWarning")
def test_colours_convert_as_torchvisions_loader_does(tmp_path: Path, scene: npt.NDArray[np.uint8]) -> None:
    alpha = np.random.default_rng(1).integers(0, 256, scene.shape[:2], np.uint8)
    rgb = Image.fromarray(scene)
    rgba = rgb.copy()
    rgba.putalpha(Image.fromarray(alpha))
    palette = rgb.quantize(64)
    palette.info["transparency"] = bytes(range(64))
    rgba.save(tmp_path / "rgba.png")
    rgba.save(tmp_path / "rgba.webp", lossless=True)
    rgba.convert("LA").save(tmp_path / "la.png")
    palette.save(tmp_path / "palette.png", transparency=bytes(range(64)))
    palette.save(tmp_path / "palette.gif", transparency=3)
    rgb.convert("1").save(tmp_path / "bits.png")
    rgb.convert("CMYK").save(tmp_path / "cmyk.jpg")
    rgb.convert("CMYK").save(tmp_path / "cmyk.tiff")
    rgb.convert("L").save(tmp_path / "grey.jpg")
    rgb.convert("L").save(tmp_path / "grey.pgm")
    rgb.save(tmp_path / "colour.ppm")
    rgb.save(tmp_path / "colour.bmp")
    paths = sorted(tmp_path.iterdir())
    assert len(paths) == 12
    for path in paths:
        with Image.open(path) as image:
            expected = np.asarray(image.convert("RGB"))
        np.testing.assert_array_equal(read_upright(path), expected, err_msg=path.name)
        for p in (CROP, Preprocessing(56, 56, 1, "crop", 64)):
            assert read_view(path, p)[0].shape == (56, 56, p.channels)


def test_sixteen_bit_greys_are_scaled_not_clipped(tmp_path: Path) -> None:
    values = np.linspace(0, 65535, 64 * 64).reshape(64, 64).round()
    expected = values / 257
    Image.fromarray(values.astype(np.uint16)).save(tmp_path / "a.png")
    Image.fromarray(values.astype(np.uint16)).save(tmp_path / "a.tiff")
    Image.fromarray(values.astype(np.uint16)).save(tmp_path / "a.pgm")
    Image.fromarray(values.astype(np.int32)).save(tmp_path / "i.tiff")
    Image.fromarray((values / 65535).astype(np.float32)).save(tmp_path / "f.tiff")
    Image.fromarray((values * 1000 - 5e6).astype(np.float32)).save(tmp_path / "wide.tiff")
    for path in sorted(tmp_path.iterdir()):
        upright = read_upright(path)
        assert np.abs(upright[:, :, 0] - expected).max() <= 1, path.name
        assert (upright == upright[:, :, :1]).all()
        grey = read_view(path, Preprocessing(64, 64, 1, "stretch"), "exact")[0]
        np.testing.assert_array_equal(grey[:, :, 0], upright[:, :, 0])


def test_floats_that_are_not_numbers_are_black(tmp_path: Path) -> None:
    values = np.array([[0, 0.5], [np.nan, np.inf]], np.float32)
    Image.fromarray(values).save(tmp_path / "f.tiff")
    assert read_upright(tmp_path / "f.tiff")[:, :, 0].tolist() == [[0, 128], [0, 0]]


def test_animations_give_their_first_frame(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (20, 10), colour) for colour in ("red", "blue")]
    for name in ("a.gif", "a.tiff", "a.webp"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], duration=50)
        assert read_upright(tmp_path / name)[5, 5, 0] > 200


@pytest.mark.parametrize("size", [(1, 1), (1, 30000), (30000, 1), (2, 5000)])
@pytest.mark.parametrize("mode", ["fast", "exact"])
@pytest.mark.parametrize("extension", ["png", "jpg"])
def test_extreme_shapes_take_little_memory(
    tmp_path: Path, size: tuple[int, int], mode: photo_module.Mode, extension: str
) -> None:
    path = tmp_path / f"a.{extension}"
    Image.new("RGB", size, (200, 100, 50)).save(path)
    view, seen, _, _ = read_view(path, Preprocessing(224, 224, 3, "crop", 256), mode)
    assert seen == size
    assert np.abs(view.astype(int) - (200, 100, 50)).max() <= 3
