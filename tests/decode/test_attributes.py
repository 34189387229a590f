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
    assert found["contrast"] == pytest.approx(0, abs=1e-9)
    assert found["sharpness"] == 0


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


@settings(deadline=None)
@given(arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 3]))))
def test_finite_and_in_range_for_any_image(image: npt.NDArray[np.uint8]) -> None:
    found = attributes(image)
    assert tuple(found) == ATTRIBUTES
    assert all(isinstance(v, float) and math.isfinite(v) for v in found.values())
    assert all(-1e-9 <= found[k] <= 1 + 1e-9 for k in found if k != "sharpness")
    assert found["contrast"] <= 0.5 + 1e-9
    assert 0 <= found["sharpness"] <= 16
