from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image, ImageFilter

from saccade.engine.contract import ATTRIBUTES
from saccade.engine.decode import attributes

KNOWN = [
    ((0, 0, 0), (0, 0, 0, 0, 0)),
    ((255, 255, 255), (1, 0, 1, 1, 1)),
    ((255, 0, 0), (76 / 255, 1, 1, 0, 0)),
    ((100, 50, 50), (65 / 255, 0.5, 100 / 255, 50 / 255, 50 / 255)),
]


@pytest.mark.parametrize(("colour", "expected"), KNOWN)
def test_flat_colours(colour: tuple[int, int, int], expected: tuple[float, ...]) -> None:
    found = attributes(np.full((10, 12, 3), colour, np.uint8))
    assert [found[k] for k in ("brightness", "saturation", "red", "green", "blue")] == pytest.approx(expected)
    assert [found[f"border_{k}"] for k in ("red", "green", "blue")] == pytest.approx(expected[2:])
    assert [found["contrast"], found["border_contrast"]] == pytest.approx([0, 0], abs=1e-9)
    assert (found["sharpness"], found["noise"]) == (0, 0)


def test_contrast_and_sharpness_of_a_chessboard() -> None:
    board = (np.indices((16, 16)).sum(axis=0) % 2 * 255).astype(np.uint8)[..., None]
    found = attributes(board)
    assert found["brightness"] == pytest.approx(0.5)
    assert found["contrast"] == pytest.approx(0.5)
    assert found["sharpness"] == pytest.approx(16)  # the Laplacian is ±4 everywhere


def test_against_the_definitions(scene: npt.NDArray[np.uint8]) -> None:
    found = attributes(scene)
    luma = np.asarray(Image.fromarray(scene).convert("L")) / 255
    assert found["brightness"] == pytest.approx(luma.mean())
    assert found["contrast"] == pytest.approx(luma.std())
    assert [found[k] for k in ("red", "green", "blue")] == pytest.approx(scene.mean(axis=(0, 1)) / 255)
    high, low = scene[::2, ::2].max(axis=2).astype(float), scene[::2, ::2].min(axis=2)
    assert found["saturation"] == pytest.approx(((high - low) / np.maximum(high, 1)).mean(), rel=1e-5)


def test_blur_lowers_sharpness(scene: npt.NDArray[np.uint8]) -> None:
    blurred = np.asarray(Image.fromarray(scene).filter(ImageFilter.GaussianBlur(2)))
    assert attributes(blurred)["sharpness"] < attributes(scene)["sharpness"] / 10


def ring(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """The outer sixteenth, by a mask: [pixels, C] in 0..1."""
    height, width, _ = image.shape
    y, x = max(1, height // 16), max(1, width // 16)
    outside = np.ones((height, width), bool)
    outside[y : height - y, x : width - x] = False
    return image[outside] / 255


@pytest.mark.parametrize("shape", [(90, 131), (16, 40), (31, 2), (3, 3), (1, 9), (1, 1)])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_border_against_a_mask(scene: npt.NDArray[np.uint8], shape: tuple[int, int], channels: int) -> None:
    image = np.ascontiguousarray(scene[: shape[0], -shape[1] :, :channels])
    found = attributes(image)
    expected = np.broadcast_to(ring(image).mean(axis=0), 3)
    assert [found[f"border_{k}"] for k in ("red", "green", "blue")] == pytest.approx(expected)
    grey = image if channels == 1 else np.asarray(Image.fromarray(image).convert("L"))[..., None]
    assert found["border_contrast"] == pytest.approx(ring(grey).std(), abs=1e-9)


def test_a_drawn_frame_is_seen_whatever_it_frames(scene: npt.NDArray[np.uint8]) -> None:
    framed = scene.copy()
    framed[:5] = framed[-5:] = framed[:, :8] = framed[:, -8:] = (200, 30, 10)
    found = attributes(framed)
    assert [found[f"border_{k}"] * 255 for k in ("red", "green", "blue")] == pytest.approx([200, 30, 10])
    assert found["border_contrast"] == pytest.approx(0, abs=1e-9)
    assert attributes(scene)["border_contrast"] > 0.1


def brute_noise(luma: npt.NDArray[np.float64]) -> float:
    """The median magnitude of Immerkær's mask, with loops; of values that are not rounded."""
    mask = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]])
    height, width = luma.shape
    found = [abs((luma[y : y + 3, x : x + 3] * mask).sum()) for y in range(height - 2) for x in range(width - 2)]
    return float(np.median(found)) / 6 / 0.6745


@pytest.mark.parametrize("sigma", [2.0, 5.0, 20.0])
def test_noise_is_its_standard_deviation(sigma: float) -> None:
    rng = np.random.default_rng(3)
    y, x = np.mgrid[0:200, 0:200]
    clean = 100 + 40 * np.sin(x / 30) + 30 * np.cos(y / 20)
    clean[60:120, 60:120] += 40  # edges, and an object
    noisy = clean + rng.normal(0, sigma, clean.shape)
    found = attributes(np.rint(noisy.clip(0, 255)).astype(np.uint8)[..., None])["noise"]
    assert found * 255 == pytest.approx(sigma, rel=0.05)
    assert found * 255 == pytest.approx(brute_noise(noisy), rel=0.05)
    assert attributes(np.rint(clean).astype(np.uint8)[..., None])["noise"] * 255 < 0.5


def test_noise_takes_no_notice_of_texture_in_a_third_and_sees_it_everywhere() -> None:
    rng = np.random.default_rng(4)
    image = np.full((90, 90, 1), 128, np.uint8)
    image[:, :30] = rng.integers(0, 256, (90, 30, 1))
    assert attributes(image)["noise"] == 0
    assert attributes(rng.integers(0, 256, (90, 90, 1), np.uint8))["noise"] == pytest.approx(0.289, rel=0.1)


@settings(deadline=None)
@given(arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 3]))))
def test_finite_and_in_range_for_any_image(image: npt.NDArray[np.uint8]) -> None:
    found = attributes(image)
    assert tuple(found) == ATTRIBUTES
    assert all(isinstance(v, float) and math.isfinite(v) for v in found.values())
    assert all(-1e-9 <= found[k] <= 1 + 1e-9 for k in found if k != "sharpness")
    assert found["contrast"] <= 0.5 + 1e-9
    assert 0 <= found["sharpness"] <= 16
