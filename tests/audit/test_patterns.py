"""Things that look the same in each image: found, located, and told from things that do not."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from scipy import ndimage

from saccade.audit import patterns
from saccade.audit.candidates import RECURRING

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Corners = list[tuple[int, int]]
SIGN = (np.kron(np.random.default_rng(4).integers(0, 2, (5, 5, 1)), np.ones((2, 2, 3))) * 255).astype(np.float32)


def scenes(count: int, seed: int, size: int = 64) -> Pixels:
    noise = np.random.default_rng(seed).normal(size=(count, size, size, 3))
    return np.clip(ndimage.gaussian_filter(noise, (0, 1.5, 1.5, 0)) * 150 + 120, 0, 255).astype(np.uint8)


def corners(count: int, seed: int = 1, size: int = 64) -> Corners:
    return [(int(y), int(x)) for y, x in np.random.default_rng(seed).integers(0, size - 10, (count, 2))]


def signed(images: Pixels, where: Corners, opacity: float = 0.7) -> Pixels:
    values = images.astype(np.float32)
    for image, (y, x) in zip(values, where, strict=True):
        image[y : y + 10, x : x + 10] += opacity * (SIGN - image[y : y + 10, x : x + 10])
    return values.astype(np.uint8)


def different(images: Pixels, where: Corners) -> Pixels:
    """A thing that is another one in each image."""
    images = images.copy()
    for i, (image, (y, x)) in enumerate(zip(images, where, strict=True)):
        drawn = np.kron(np.random.default_rng(50 + i).integers(0, 2, (5, 5, 3)), np.ones((2, 2, 1))) * 255
        image[y : y + 10, x : x + 10] = drawn
    return images


def looking_at(where: Corners, size: int = 64, cells: int = 8) -> Floats:
    """Maps with their maximum on a thing of 10 pixels."""
    maps = np.zeros((len(where), cells, cells), np.float32)
    for m, (y, x) in zip(maps, where, strict=True):
        m[(y + 5) * cells // size, (x + 5) * cells // size] = 1
    return maps


@pytest.mark.parametrize("share", [1.0, 0.5])
def test_a_sign_is_found_again(share: float):
    where = corners(30)
    own = scenes(30, 0)
    many = round(30 * share)
    own[:many] = signed(own[:many], where[:many])
    found = patterns.find_pattern(own, scenes(30, 9), looking_at(where))
    assert found is not None
    assert found.excess > RECURRING
    assert found.recurs == pytest.approx(share, abs=0.15)
    placed, there = patterns.locate(found, own)
    assert there[:many].mean() > 0.9
    assert there[many:].mean() <= 0.2 if many < 30 else True
    side = patterns.side_of(found)
    assert side == 24
    inside = [
        y <= b and b + 10 <= y + side and x <= a and a + 10 <= x + side
        for (y, x), (b, a) in zip(placed, where, strict=True)
    ]
    assert np.mean(inside[:many]) > 0.7


def test_a_thing_that_differs_each_time_is_no_pattern():
    where = corners(30)
    found = patterns.find_pattern(different(scenes(30, 0), where), scenes(30, 9), looking_at(where))
    assert found is None or found.excess < RECURRING / 2


def test_a_sign_in_both_classes_is_no_pattern_of_one():
    where = corners(30)
    others = signed(scenes(30, 9), corners(30, 2))
    found = patterns.find_pattern(signed(scenes(30, 0), where), others, looking_at(where))
    assert found is None or found.excess < RECURRING / 2


def test_large_pictures_are_looked_at_in_smaller_ones():
    where = corners(12, size=64)
    small = signed(scenes(12, 0), where, 1.0)
    large = small.repeat(4, axis=1).repeat(4, axis=2)
    found = patterns.find_pattern(large, scenes(12, 9).repeat(4, axis=1).repeat(4, axis=2), looking_at(where))
    assert found is not None
    assert found.excess > RECURRING
    assert found.size == (256, 256)
    assert patterns.side_of(found) == 96
    placed, there = patterns.locate(found, large)
    assert there.mean() > 0.9
    middle = placed + patterns.side_of(found) / 2
    off = np.abs(middle - (np.array(where) + 5) * 4).max(axis=1)
    assert np.median(off) < 24


@pytest.mark.parametrize("case", ["flat", "blank", "few", "grey"])
def test_what_has_no_pattern_says_so(case: str):
    own, others, maps = scenes(10, 0), scenes(10, 9), looking_at(corners(10))
    if case == "flat":
        own, others = np.full_like(own, 7), np.full_like(others, 9)
    elif case == "blank":
        maps[:] = 0
    elif case == "few":
        own, maps = own[:3], maps[:3]
    else:
        own, others = own[..., :1], others[..., :1]
    found = patterns.find_pattern(own, others, maps)
    assert found is None or found.excess < RECURRING
    if case in ("blank", "few"):
        assert found is None


def test_elsewhere_does_not_touch_where_there_is_room():
    where = np.array([[0, 0], [40, 40], [20, 20]])
    other = patterns.elsewhere(where, 16, (64, 64), 0)
    assert (np.abs(other - where).max(axis=1) >= 16).all()
    assert other.min() >= 0
    assert other.max() <= 48
    masks = patterns.windows(other, 16, (64, 64))
    np.testing.assert_allclose(masks.mean(axis=(1, 2)), 1 / 16, rtol=0.05)
