"""Compiled programs in onnxruntime-web: the maps and predictions of the same bytes and of the same photos."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

import saccade

SHARED = Path(__file__).resolve().parents[4] / "shared" / "data"
U8 = npt.NDArray[np.uint8]
F32 = npt.NDArray[np.float32]
Call = Callable[..., Any]


def assert_equal_maps(found: F32, wanted: F32) -> None:
    """Each map [h, w] within 1e-3 of its own maximum."""
    assert found.shape == wanted.shape
    most = np.abs(wanted).reshape(len(wanted), -1).max(axis=1)
    worst = np.abs(found - wanted).reshape(len(wanted), -1).max(axis=1)
    assert (worst <= 1e-3 * most).all(), f"differs by {(worst / np.maximum(most, 1e-30)).max():.1e} of the maximum"


def assert_close_gradients(found: F32, wanted: F32) -> None:
    """The RMS of the maps' relative L2 errors is at most 0.1, the limit for gradients in docs/program-file.md: each
    jumps where a ReLU or a max pool is at a tie, in eager float32 too.
    """
    assert found.shape == wanted.shape
    error = np.linalg.norm((found - wanted).reshape(len(wanted), -1), axis=1)
    relative = error / np.maximum(np.linalg.norm(wanted.reshape(len(wanted), -1), axis=1), 1e-30)
    rms = np.sqrt((relative**2).mean())
    assert rms <= 0.1, f"RMS of the relative errors {rms:.2g}"


def test_the_comparisons_refuse_what_is_wrong() -> None:
    maps = np.random.default_rng(0).random((3, 5, 5), np.float32)
    wrong = maps.copy()
    wrong[1, 2, 2] += 2e-3
    assert_equal_maps(maps, maps)
    assert_close_gradients(wrong, maps)
    for other in (wrong, maps[:2], np.full_like(maps, np.nan), maps.transpose(0, 2, 1), np.zeros_like(maps)):
        with pytest.raises(AssertionError):
            assert_equal_maps(other, maps)
    for other in (maps[:2], np.full_like(maps, np.nan), maps.transpose(0, 2, 1), np.zeros_like(maps)):
        with pytest.raises(AssertionError):
            assert_close_gradients(other, maps)


@pytest.fixture(scope="module")
def squeezenet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trained network with Grad-CAM."""
    weights = SHARED / "weights"
    if not (weights / "squeezenet1_0.safetensors").exists():
        pytest.skip("the shared trained weights are not here")
    path = tmp_path_factory.mktemp("browser") / "squeezenet.onnx"
    classes = (weights / "imagenet_classes.txt").read_text().splitlines()
    weights_file = str(weights / "squeezenet1_0.safetensors")
    saccade.compile("torchvision/squeezenet1_0", "grad-cam", weights=weights_file, classes=classes).save(path)
    return path


def real_photos(count: int) -> list[Path]:
    table = SHARED / "photos" / "imagenet" / "labels.csv"
    if not table.exists():
        pytest.skip("the shared photos are not here")
    with open(table, newline="") as file:
        paths = [table.parent / row["path"] for row in csv.DictReader(file)]
    return paths[:: len(paths) // count][:count]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """40 photos with a square, white, red or grey: JPEGs, PNGs, WebPs and GIFs, wide and tall, smaller and larger."""
    folder = tmp_path_factory.mktemp("drawn")
    rng = np.random.default_rng(5)
    paths = []
    for i in range(40):
        width, height = (int(n) for n in rng.integers(20, 300, 2))
        pixels = rng.integers(0, 80, (height, width, 3), dtype=np.uint8)
        left, top = int(width * 0.3), int(height * 0.3)
        square = pixels[top : top + height // 3, left : left + width // 3]
        square[:] = ((255, 255, 255), (255, 0, 0), (110, 120, 130))[i % 3]
        path = folder / f"{i:02}.{('jpg', 'png', 'webp', 'gif')[i % 4]}"
        Image.fromarray(pixels).save(path, quality=92)
        paths.append(path)
    return paths


def answers(page: Any, photos: list[Path], most: int = 50) -> list[str]:
    """What the page takes photos for, in batches that it holds at once."""
    names = []
    for start in range(0, len(photos), most):
        some = photos[start : start + most]
        page.set_input_files("#photo-files", [str(p) for p in some])
        page.wait_for_selector(f"#progress:text-is('{len(some)} photo{'s' if len(some) > 1 else ''}')", timeout=60_000)
        names += page.locator(".answers label:nth-of-type(1) .name").all_text_contents()
        page.click("#clear")
    return names


RUN = """
  const { Runner } = await import("/runner.js");
  globalThis.runner ??= await Runner.open(new Uint8Array(await (await fetch("/program.onnx")).arrayBuffer()), "it");
  const found = await runner.run(from64(image), target);
  return [to64(found.logits), Object.fromEntries(Object.entries(found.maps).map(([k, v]) => [k, to64(v)]))];
"""


@pytest.fixture
def compare(open_page: Call, call: Call, unpacked: Call) -> Callable[..., None]:
    """`compare(path, images, targets)`: hold the browser's logits and maps of images [N, H, W, C] to Python's."""

    def hold(path: Path, images: U8, targets: npt.NDArray[np.int64]) -> None:
        program = saccade.load(path, device="cpu", runtime="onnxruntime")
        kinds = {m.name: m.kind for m in program.spec.maps if m.kind != "activations"}
        wanted = program(images, targets)
        page = open_page(path)
        found: dict[str, list[F32]] = {name: [] for name in ("logits", *kinds)}
        for image, target in zip(images, targets, strict=True):
            logits, maps = call(page, RUN, image=image, target=int(target))
            assert maps.keys() == kinds.keys()
            for name, text in (("logits", logits), *maps.items()):
                found[name].append(unpacked(text, np.float32))
        np.testing.assert_allclose(np.stack(found["logits"]), wanted.logits, atol=1e-4, rtol=1e-4)
        for name, kind in kinds.items():
            assert wanted[name].max() > 0
            maps = np.stack(found[name]).reshape(wanted[name].shape)
            (assert_close_gradients if kind == "gradient" else assert_equal_maps)(maps, wanted[name])

    return hold


class TestMaps:
    def test_drawn(self, compare: Callable[..., None], compiled: dict[str, Path], drawn: list[Path]) -> None:
        images = saccade.load(compiled["onnx"], device="cpu").view(*drawn[:16])
        compare(compiled["onnx"], images, np.arange(16, dtype=np.int64) % 4 - 1)  # each class, and the predicted one

    @pytest.mark.data
    def test_trained(self, compare: Callable[..., None], squeezenet: Path) -> None:
        images = saccade.load(squeezenet, device="cpu").view(*real_photos(16))
        compare(squeezenet, images, np.where(np.arange(16) % 2, -1, 281))


class TestPredictions:
    def test_drawn(self, open_page: Callable[..., Any], compiled: dict[str, Path], drawn: list[Path]) -> None:
        program = saccade.load(compiled["onnx"], device="cpu")
        wanted = program(program.view(*drawn)).prediction
        assert len(set(wanted)) == 3
        assert answers(open_page(compiled["onnx"]), drawn) == wanted

    @pytest.mark.data
    def test_trained(
        self, open_page: Callable[..., Any], squeezenet: Path, record_property: Callable[[str, object], None]
    ) -> None:
        photos = real_photos(100)
        program = saccade.load(squeezenet, device="cpu", runtime="onnxruntime")
        wanted = program(program.view(*photos)).prediction
        found = answers(open_page(squeezenet), photos)
        share = np.mean([a == b for a, b in zip(found, wanted, strict=True)])
        record_property("same class", float(share))
        print(f"the same class on {share:.1%} of {len(photos)} photos")
        assert len(set(wanted)) > 50
        assert share >= 0.98
