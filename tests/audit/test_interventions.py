"""Interventions: the attribute arrives, the rest stays."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from scipy import ndimage

from saccade.audit import interventions as change
from saccade.engine import decode

Pixels = npt.NDArray[np.uint8]


def scenes(count: int, seed: int = 0, channels: int = 3, size: int = 64) -> Pixels:
    """Smooth colourful pictures in the middle of the range, with some detail."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(count, size, size, channels))
    layout = ndimage.gaussian_filter(noise, (0, 8, 8, 0)) * 600
    detail = ndimage.gaussian_filter(noise, (0, 1, 1, 0)) * 30
    return np.clip(layout + detail + 120, 30, 220).astype(np.uint8)


def attribute(images: Pixels, name: str) -> npt.NDArray[np.float64]:
    return np.array([decode.attributes(image)[name] for image in images])


def bright(images: Pixels) -> Pixels:
    return (images * 0.5 + 110).astype(np.uint8)


def flat(images: Pixels) -> Pixels:
    return (images * 0.5 + 60).astype(np.uint8)


def grey(images: Pixels) -> Pixels:
    mean = images.mean(axis=3, keepdims=True)
    return (mean + (images - mean) * 0.3).astype(np.uint8)


def noisy(images: Pixels) -> Pixels:
    return np.clip(images + np.random.default_rng(5).normal(0, 12, images.shape), 0, 255).astype(np.uint8)


def reddish(images: Pixels) -> Pixels:
    return np.clip(images + np.array([30, -10, -10]), 0, 255).astype(np.uint8)


def soft(images: Pixels) -> Pixels:
    return ndimage.gaussian_filter(images.astype(float), (0, 1.5, 1.5, 0)).astype(np.uint8)


CASES: dict[str, tuple[Callable[[Pixels], Pixels], str, float]] = {
    "brightness": (bright, "brightness", 0.005),
    "contrast": (flat, "contrast", 0.01),
    "saturation": (grey, "saturation", 0.05),
    "colour cast": (reddish, "red", 0.01),
}


@pytest.mark.parametrize("name", CASES)
def test_a_shift_brings_the_donors_value(name: str):
    made, measure, tolerance = CASES[name]
    images, donors = scenes(6), made(scenes(6, seed=1))
    wanted = attribute(donors, measure)
    if name == "colour cast":  # relative to luma
        wanted = attribute(images, "brightness") + wanted - attribute(donors, "brightness")
    changed = change.SHIFTS[name](images, donors)
    assert changed.dtype == np.uint8
    assert np.abs(attribute(images, measure) - wanted).mean() > 4 * tolerance  # there was something to do
    np.testing.assert_allclose(attribute(changed, measure), wanted, atol=tolerance)


@pytest.mark.parametrize(("softer", "sharper"), [(soft, lambda x: x)])
def test_sharpness_goes_both_ways(softer: Callable[[Pixels], Pixels], sharper: Callable[[Pixels], Pixels]):
    plain, other = scenes(6), scenes(6, seed=1)
    down = change.shift_sharpness(sharper(plain), softer(other))
    up = change.shift_sharpness(softer(plain), sharper(other))
    before, blurred = attribute(plain, "sharpness").mean(), attribute(softer(plain), "sharpness").mean()
    assert blurred < before / 4
    assert attribute(down, "sharpness").mean() < before / 2
    assert attribute(up, "sharpness").mean() > 2 * blurred
    assert np.abs(attribute(down, "brightness") - attribute(plain, "brightness")).max() < 0.02


def test_noise_is_added_and_taken_away():
    plain, loud = scenes(6), noisy(scenes(6, seed=1))
    more, less = change.shift_noise(plain, loud), change.shift_noise(loud, plain)
    assert change._noise(more).mean() == pytest.approx(change._noise(loud).mean(), rel=0.15)
    assert change._noise(less).mean() < change._noise(loud).mean() / 2


def test_noise_is_measured_in_grey_levels():
    flat_noise = np.clip(np.random.default_rng(0).normal(128, 10, (4, 64, 64, 1)), 0, 255).astype(np.uint8)
    assert change._noise(flat_noise) == pytest.approx(10, rel=0.05)


def test_texture_takes_a_pattern_away_and_gives_it():
    plain, other = scenes(40), scenes(40, seed=1)
    stripes = (12 * np.sin(np.arange(64) * 2 * np.pi / 4)).astype(np.int16)[None, None, :, None]
    striped = np.clip(other + stripes, 0, 255).astype(np.uint8)
    with_, without = change.mean_amplitudes(striped), change.mean_amplitudes(plain)

    def strength(images: Pixels) -> float:
        return float(np.abs(np.fft.rfft2(images.mean(axis=3)))[:, 0, 16].mean())

    assert strength(striped) > 10 * strength(plain)
    assert strength(change.shift_texture(striped, with_, without)) < strength(striped) / 3
    assert strength(change.shift_texture(plain, without, with_)) > 3 * strength(plain)


@pytest.mark.parametrize("name", change.SHIFTS)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_shift_to_its_own_value_changes_next_to_nothing(name: str, channels: int):
    images = scenes(4, channels=channels)
    changed = change.SHIFTS[name](images, images)
    assert changed.shape == images.shape
    assert np.abs(changed.astype(int) - images).max() <= 1


@pytest.mark.parametrize("name", change.SHIFTS)
def test_flat_pictures_do_no_harm(name: str):
    black, white = np.zeros((2, 32, 32, 3), np.uint8), np.full((2, 32, 32, 3), 255, np.uint8)
    for images, donors in ((black, white), (white, black), (black, scenes(2, size=32)), (scenes(2, size=32), black)):
        assert change.SHIFTS[name](images, donors).shape == images.shape


def test_compression_is_jpegs_own():
    images = scenes(3)
    changed = change.compressed(images, np.array([5, np.nan, 95]))
    error = np.abs(changed.astype(int) - images).mean(axis=(1, 2, 3))
    assert error[0] > 2 * error[2] > 0
    assert error[1] == 0
    assert change.compressed(scenes(1, channels=1), np.array([5])).shape == (1, 64, 64, 1)


def region(size: int = 64) -> npt.NDArray[np.float32]:
    where = np.zeros((16, 16), np.float32)
    where[4:8, 4:8] = 1
    return change.feathered(where, size, size)


def test_a_region_is_replaced_and_nothing_else():
    images, others = scenes(3), scenes(3, seed=1)
    weights = region()
    changed = change.mixed(images, others, weights)
    assert (changed[:, 20:28, 20:28] == others[:, 20:28, 20:28]).mean() > 0.95
    assert (changed[:, 40:] == images[:, 40:]).all()
    assert weights.min() >= 0
    assert weights.max() <= 1
    np.testing.assert_allclose(weights.mean(), 1 / 16, rtol=0.02)


def test_inpainting_continues_the_surroundings_and_knows_nothing_of_what_was_there():
    ramp = np.broadcast_to(np.linspace(40, 200, 64)[None, None, :, None], (2, 64, 64, 3)).astype(np.uint8)
    marked = ramp.copy()
    marked[:, 17:31, 17:31] = 255
    weights = region()
    filled = change.inpainted(marked, weights)
    assert np.abs(filled[:, 20:28, 20:28].astype(int) - ramp[:, 20:28, 20:28]).max() < 20
    assert (filled[:, 45:] == ramp[:, 45:]).all()
    other = marked.copy()
    other[:, 20:28, 20:28] = 0
    np.testing.assert_array_equal(change.inpainted(other, weights)[:, 20:28, 20:28], filled[:, 20:28, 20:28])


def test_inpainting_everything_is_the_mean():
    images = scenes(2)
    filled = change.inpainted(images, np.ones((64, 64), np.float32))
    assert np.abs(filled - images.mean(axis=(1, 2), keepdims=True)).max() <= 1


def test_blurring_leaves_no_detail():
    blurred = change.blurred(scenes(3))
    assert attribute(blurred, "sharpness").max() < attribute(scenes(3), "sharpness").min() / 10
