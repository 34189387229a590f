"""Places: found, named, and told from objects that move about."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from saccade.audit import places
from saccade.audit.places import GRID, Place

Pixels = npt.NDArray[np.uint8]


def part(rows: slice, columns: slice) -> npt.NDArray[np.float32]:
    where = np.zeros((GRID, GRID), np.float32)
    where[rows, columns] = 1
    return where


@pytest.mark.parametrize(
    ("rows", "columns", "name"),
    [
        (slice(0, 4), slice(0, 4), "the upper left corner"),
        (slice(12, 16), slice(11, 16), "the lower right corner"),
        (slice(0, 6), slice(0, 16), "the upper part"),
        (slice(11, 16), slice(0, 16), "the lower part"),
        (slice(0, 16), slice(0, 5), "the left side"),
        (slice(6, 10), slice(6, 10), "the middle"),
        (slice(0, 16), slice(0, 16), "most of the picture"),
        (slice(2, 6), slice(2, 6), "a spot in the upper left"),
        (slice(11, 14), slice(6, 10), "a spot in the lower middle"),
        (slice(6, 10), slice(11, 14), "a spot on the right"),
        (slice(9, 16), slice(0, 9), "the lower left part"),
    ],
)
def test_places_have_names(rows: slice, columns: slice, name: str):
    assert places.describe(part(rows, columns)) == name


def test_plain_places_are_what_they_are_called():
    found = {p.name: p for p in places.plain_places()}
    assert len(found) == 9
    assert found["the border"].area == 1 - (12 / 16) ** 2
    assert found["the upper part"].where[:5].all()
    assert not found["the upper part"].where[5:].any()
    assert not any(places.central(p) for p in found.values())


def test_the_middle_is_central():
    assert places.central(Place("", part(slice(5, 11), slice(5, 11))))
    assert not places.central(Place("", part(slice(0, 4), slice(5, 11))))


def test_a_map_points_at_its_strongest_cells():
    mean = np.full((7, 7), 0.01, np.float32)
    mean[:2, :2] = 1
    place = places.place_of_map(mean)
    assert place is not None
    assert place.name == "the upper left corner"
    assert places.overlap(place.where, part(slice(0, 4), slice(0, 4))) > 0.6
    assert places.place_of_map(np.zeros((7, 7), np.float32)) is None
    assert places.place_of_map(np.ones((7, 7), np.float32)) is None  # everywhere is no place


def evidence(maps: npt.NDArray[np.float32], place: Place) -> npt.NDArray[np.float64]:
    """Brute force: each map's cells painted on a fine grid."""
    found = []
    for m in maps:
        fine = np.kron(np.maximum(m, 0), np.ones((GRID, GRID)))
        where = np.kron(place.where, np.ones(m.shape))
        found.append((fine * where).sum() / fine.sum() if fine.sum() > 0 else np.nan)
    return np.array(found)


@pytest.mark.parametrize("shape", [(7, 7), (16, 16), (5, 9), (28, 28)])
def test_evidence_in_a_place_is_counted_by_area(shape: tuple[int, int]):
    maps = np.random.default_rng(0).normal(size=(5, *shape)).astype(np.float32)
    maps[3] = -1
    all_places = places.plain_places()
    found = places.evidence_in(maps, all_places)
    assert found.shape == (5, 9)
    assert np.isnan(found[3]).all()
    tolerance = 1e-6 if max(shape) <= GRID else 0.05  # finer maps are averaged first
    for column, place in zip(found.T, all_places, strict=True):
        np.testing.assert_allclose(column, evidence(maps, place), atol=tolerance)


def differs(own: Pixels, others: Pixels, relative: bool = False) -> npt.NDArray[np.float32]:
    cells = [places.cells_of(images) for images in (own, others)]
    return places.content_difference(*(map(places.relative, cells) if relative else cells))


def woods(count: int, seed: int) -> Pixels:
    return np.random.default_rng(seed).integers(60, 160, (count, 64, 64, 3)).astype(np.uint8)


def test_a_stamp_in_the_corner_is_content_of_a_place():
    own, others = woods(40, 0), woods(40, 1)
    own[:, 2:14, 50:62] = (250, 240, 20)
    found = places.places_of_content(differs(own, others))
    assert found
    assert found[0].name == "the upper right corner"
    difference = differs(own, others)
    assert difference[1:3, 13:15].min() > 3
    assert difference[8:, :8].max() < 0.8


def test_a_thing_that_moves_about_is_content_of_no_place():
    own, others = woods(60, 0), woods(60, 1)
    rng = np.random.default_rng(2)
    for image in own:
        y, x = rng.integers(0, 48, 2)
        image[y : y + 16, x : x + 16] = (250, 240, 20)
    found = places.places_of_content(differs(own, others))
    assert all(places.central(place) for place in found)  # at most where it is most often
    assert differs(own, others).mean() < 0.3


def test_classes_that_differ_everywhere_differ_in_no_place():
    assert places.places_of_content(differs(woods(30, 0) // 4, woods(30, 1))) == []


def test_a_blur_or_a_cast_of_the_whole_image_is_no_content_of_a_place():
    own, others = woods(40, 0), woods(40, 1)
    own[:, 32:] = 110  # the lower half has no texture in either
    others[:, 32:] = 110
    soft = (own * 0.5 + 55).astype(np.uint8)  # half the contrast: it shows in the upper half
    plain, relative = (differs(soft, others, relative=r) for r in (False, True))
    assert plain[:7].mean() > 2
    assert relative[:7].mean() < plain[:7].mean() / 2
    stamped = own.copy()
    stamped[:, 2:14, 50:62] = (250, 240, 20)
    assert differs(stamped, others, relative=True)[1:3, 13:15].min() > 3


def test_of_a_place_the_part_that_differs_is_taken():
    difference = np.zeros((GRID, GRID), np.float32)
    difference[0] = 2
    found = places.part(places.plain_places()[0], difference)
    assert found is not None
    assert found.where.sum() == GRID
    assert places.fit(found, difference) == 1
    assert places.part(Place("", part(slice(8, 12), slice(0, 4))), difference) is None


def test_few_images_of_the_same_kind_do_not_differ():
    differences = [differs(woods(8, seed), woods(8, 100 + seed)).mean() for seed in range(10)]
    assert max(differences) < 0.35


def test_one_image_says_nothing_of_a_class():
    assert not differs(woods(1, 0), woods(5, 1)).any()


def test_pictures_smaller_than_the_grid_have_places_too():
    own, others = woods(30, 0)[:, :12, :10], woods(30, 1)[:, :12, :10]
    own[:, :3, :3] = 255
    assert differs(own, others)[0, 0] > 3


@pytest.mark.parametrize("place", places.plain_places(), ids=lambda p: p.name)
def test_elsewhere_is_as_large_and_not_there(place: Place):
    other = places.elsewhere(place)
    if place.name == "the border":
        assert other is None  # there is no room
        return
    assert other is not None
    assert other.where.sum() == place.where.sum()
    assert places.overlap(place.where, other.where) < 0.1
    assert other.where.any(axis=1).sum() == place.where.any(axis=1).sum()  # in one piece


def test_the_same_place_twice_is_one():
    a, b, c = (Place("", part(slice(0, n), slice(0, 16))) for n in (5, 6, 9))
    assert places.distinct([a, b, c]) == [a, c]
    assert places.overlap(a.where, a.where) == 1
    assert places.overlap(a.where, 1 - a.where) == 0
