"""Pictures in the caller's own memory: the same ones, nothing written beside them, and no memory that does not fit."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from agree import identical

from saccade.engine import render
from saccade.engine.contract import UsageError
from saccade.engine.render import reference

RNG = np.random.default_rng(4)
GUARD = 4096


def guarded(shape: tuple[int, ...]) -> tuple[np.ndarray, Callable[[], bool]]:
    """Memory of a shape between other bytes, at an odd address; and whether these are as they were."""
    size = int(np.prod(shape))
    memory = RNG.integers(0, 256, size + 2 * GUARD + 1, dtype=np.uint8)
    before = memory.copy()
    start = GUARD + 1

    def kept() -> bool:
        same = memory == before
        return bool(same[:start].all() and same[start + size :].all())

    return memory[start : start + size].reshape(shape), kept


def test_the_guard_sees_a_byte_beside_the_picture():
    for beside in (-1, 60):
        out, kept = guarded((4, 5, 3))
        assert kept()
        whole = out.base
        assert isinstance(whole, np.ndarray)
        whole[GUARD + 1 + beside] ^= 1
        assert not kept()


def maps_and_photos(width: int, channels: int = 3) -> tuple[np.ndarray, np.ndarray]:
    maps = np.maximum(RNG.standard_normal((3, 4, 5)), 0).astype(np.float32)
    return maps, RNG.integers(0, 256, (3, 10, width, channels), dtype=np.uint8)


@pytest.mark.parametrize("width", [1, 7, 8, 9, 16, 17, 31, 33, 40, 64])
@pytest.mark.parametrize("opacity", [0.5, 0.25])
@pytest.mark.parametrize("colours", ["gray", "jet"])
def test_overlays_are_the_references(width: int, opacity: float, colours: str):
    maps, photos = maps_and_photos(width)
    out, kept = guarded((3, 10, width, 3))
    assert render.overlay_pictures(maps, photos, colours=colours, opacity=opacity, out=out) is out
    ranges = np.stack([np.zeros(3), maps.max((1, 2))], 1).astype(np.float32)
    index = reference.index_maps(maps, ranges, (10, width))
    identical(out, reference.blend(photos, render.colormap(colours)[index], round(opacity * 256)))
    assert kept()


@pytest.mark.parametrize("size", [(1, 1), (5, 8), (5, 9), (3, 31), (7, 56)])
@pytest.mark.parametrize("gap", [0, 1, 2])
@pytest.mark.parametrize("colours", ["gray", "viridis"])
@pytest.mark.parametrize("count", [1, 5, 6])
def test_tiles_are_the_references(size: tuple[int, int], gap: int, colours: str, count: int):
    maps = RNG.standard_normal((count, *size)).astype(np.float32)
    wanted = reference.tile(maps, None, size, 3, gap, (9, 8, 7), render.colormap(colours))
    out, kept = guarded(wanted.shape)
    assert render.tile(maps, None, size, 3, gap, (9, 8, 7), render.colormap(colours), out=out) is out
    identical(out, wanted)
    assert kept()
    mosaic, kept = guarded(wanted.shape)
    assert render.channel_mosaic(maps, max(size), 3, None, colours, gap, out=mosaic) is mosaic
    identical(mosaic, reference.tile(maps, None, size, 3, gap, (255, 255, 255), render.colormap(colours)))
    assert kept()


@pytest.mark.parametrize("size", [(1, 1), (9, 33), (12, 64)])
def test_indices_are_the_references(size: tuple[int, int]):
    maps, _ = maps_and_photos(1)
    out, kept = guarded((3, *size))
    assert render.index_maps(maps, [(0, 1)] * 3, size, out=out) is out
    identical(out, reference.index_maps(maps, np.array([(0, 1)] * 3, np.float32), size))
    assert kept()


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_resized_photos_are_the_references(channels: int):
    photo = maps_and_photos(40, channels)[1][0]
    out, kept = guarded((7, 17, channels))
    assert render.resize(photo, 7, 17, "bicubic", out=out) is out
    identical(out, reference.resize(photo, 7, 17, "bicubic"))
    assert kept()


def test_a_map_on_the_upright_photo_is_the_same():
    maps, photos = maps_and_photos(33)
    out, kept = guarded(photos[0].shape)
    assert render.overlay_on_photo(maps[0], photos[0], (3.2, 1, 30, 9.5), (0, 2), out=out) is out
    identical(out, render.overlay_on_photo(maps[0], photos[0], (3.2, 1, 30, 9.5), (0, 2)))
    assert kept()


def test_one_memory_serves_picture_after_picture_and_parts_of_it_smaller_batches():
    batch = np.empty((3, 10, 24, 3), np.uint8)
    for _ in range(2):
        maps, photos = maps_and_photos(24)
        identical(render.overlay_pictures(maps, photos, out=batch), render.overlay_pictures(maps, photos))
        identical(render.overlay_pictures(maps[:1], photos[:1], out=batch[1:2])[0], batch[0])


def test_a_tensors_memory_will_do():
    torch = pytest.importorskip("torch")
    maps, photos = maps_and_photos(24)
    out = torch.zeros(3, 10, 24, 3, dtype=torch.uint8)
    made = render.overlay_pictures(maps, photos, out=out)
    identical(out.numpy(), render.overlay_pictures(maps, photos))
    assert np.shares_memory(made, out.numpy())


def test_nothing_to_draw_needs_an_empty_memory():
    none = np.empty((0, 10, 24, 3), np.uint8)
    maps, photos = maps_and_photos(24)
    assert render.overlay_pictures(maps[:0], photos[:0], out=none) is none


MAPS, PHOTOS = maps_and_photos(24)
SHAPE = PHOTOS.shape


def read_only() -> np.ndarray:
    out = np.zeros(SHAPE, np.uint8)
    out.flags.writeable = False
    return out


MEMORY = np.zeros(MAPS.nbytes + PHOTOS.nbytes, np.uint8)
WRONG: list[tuple[Callable[[], Any], str]] = [
    (
        lambda: np.zeros((3, 10, 25, 3), np.uint8),
        r"render: out must be uint8 \[3, 10, 24, 3\], not uint8 \[3, 10, 25, 3\]",
    ),
    (lambda: np.zeros((30, 24, 3), np.uint8), r"give numpy.empty\(\(3, 10, 24, 3\), 'uint8'\)"),
    (lambda: np.zeros(SHAPE, np.int8), "not int8"),
    (lambda: np.zeros(SHAPE, np.float32), "not float32"),
    (lambda: np.zeros((3, 10, 48, 3), np.uint8)[:, :, ::2], "render: out must be C-contiguous"),
    (lambda: np.zeros(SHAPE, np.uint8)[:, ::-1], "C-contiguous"),
    (lambda: np.zeros(SHAPE, np.uint8, order="F"), "C-contiguous"),
    (read_only, "render: out is read-only"),
    (lambda: PHOTOS, "render: out lies in the same memory as photos; give it memory of its own"),
    (lambda: "here", "out must be an array or a tensor, not str"),
]


@pytest.mark.parametrize(("make", "message"), WRONG)
def test_wrong_memory_is_one_line_that_helps(make: Callable[[], Any], message: str):
    out, maps, photos = make(), MAPS.copy(), PHOTOS.copy()
    with pytest.raises(UsageError, match=message) as caught:
        render.overlay_pictures(MAPS, PHOTOS, out=out)
    assert "\n" not in str(caught.value)
    identical(MAPS, maps)
    identical(PHOTOS, photos)
    if isinstance(out, np.ndarray) and out is not PHOTOS:
        assert not out.any()


def test_memory_that_overlaps_in_part():
    maps = MEMORY[: MAPS.nbytes].view(np.float32).reshape(MAPS.shape)
    with pytest.raises(UsageError, match="same memory as maps"):
        render.overlay_pictures(maps, PHOTOS, out=MEMORY[MAPS.nbytes - 1 :][: PHOTOS.nbytes].reshape(SHAPE))
    beside = MEMORY[MAPS.nbytes :].reshape(SHAPE)
    assert render.overlay_pictures(maps, PHOTOS, out=beside) is beside


def test_every_function_looks_at_it():
    wrong = np.zeros((2, 2, 2), np.uint8)
    calls: list[Callable[[], Any]] = [
        lambda: render.tile(MAPS, None, (4, 5), 2, out=wrong),
        lambda: render.channel_mosaic(MAPS, out=wrong),
        lambda: render.index_maps(MAPS, [(0, 1)] * 3, out=wrong),
        lambda: render.resize(PHOTOS[0], 5, 5, out=wrong),
        lambda: render.overlay_on_photo(MAPS[0], PHOTOS[0], (0, 0, 24, 10), (0, 1), out=wrong),
    ]
    for call in calls:
        with pytest.raises(UsageError, match="out must be uint8"):
            call()
    photo = PHOTOS[0].copy()
    with pytest.raises(UsageError, match="resize: out lies in the same memory as the image"):
        render.resize(photo, *photo.shape[:2], out=photo)
    with pytest.raises(UsageError, match="same memory as the photo"):
        render.overlay_on_photo(MAPS[0], photo, (0, 0, 24, 10), (0, 1), out=photo)
    table = np.zeros((5 * 8 * 9, 3), np.uint8)
    with pytest.raises(UsageError, match="same memory as colours"):
        render.tile(MAPS, None, (4, 5), 3, 0, colours=table[:256], out=table[:60].reshape(4, 15, 3))
