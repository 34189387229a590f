from typing import Any

import numpy as np
import pytest
from agree import identical
from hypothesis import given, settings
from hypothesis import strategies as st

from saccade.engine import render
from saccade.engine.contract import UsageError
from saccade.engine.render import reference

VIRIDIS = render.colormap("viridis")


def scene(seed: int, n: int, source: tuple[int, int], size: tuple[int, int], channels: int):
    rng = np.random.default_rng(seed)
    maps = rng.standard_normal((n, *source)).astype(np.float32)
    photos = rng.integers(0, 256, (n, *size, channels), dtype=np.uint8)
    places = np.stack([rng.integers(0, 30, n), rng.integers(0, 30, n)], 1)
    canvas = rng.integers(0, 256, (size[0] + 30, size[1] + 30, 3), dtype=np.uint8)
    return canvas, maps, render.value_ranges(maps[:, None])[:, 0], photos, places


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 99),
    n=st.integers(0, 4),
    source=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    size=st.tuples(st.integers(1, 50), st.integers(1, 50)),
    channels=st.sampled_from([0, 1, 3]),
    opacity=st.integers(0, 256),
    boxed=st.booleans(),
    threads=st.integers(0, 3),
)
def test_overlay_is_the_references(
    seed: int, n: int, source: Any, size: Any, channels: int, opacity: int, boxed: bool, threads: int
):
    canvas, maps, ranges, photos, places = scene(seed, n, source, size, channels or 3)
    boxes = np.tile([-3.5, 2.25, size[1] - 0.5, size[0] + 7.0], (n, 1)) if boxed else None
    wanted = canvas.copy()
    shown = photos if channels else None
    render.overlay(canvas, maps, ranges, shown, size, places, VIRIDIS, opacity, boxes=boxes, threads=threads)
    reference.overlay(wanted, maps, ranges, shown, size, places, VIRIDIS, opacity, boxes=boxes)
    identical(canvas, wanted)


def test_strides_of_any_kind():
    rng = np.random.default_rng(0)
    maps = rng.standard_normal((6, 5, 8)).astype(np.float32).transpose(0, 2, 1)[::-2]
    photos = rng.integers(0, 256, (3, 3, 40, 20), dtype=np.uint8).transpose(0, 2, 3, 1)[:, ::-1]
    canvas = np.zeros((200, 60, 3), np.uint8)
    crop, wanted = canvas[10:150, 5:55], canvas[10:150, 5:55].copy()
    ranges = render.value_ranges(maps[:, None])[:, 0]
    places = np.array([(0, 0), (20, 50), (30, 100)])
    render.overlay(crop, maps, ranges, photos, (40, 20), places)
    reference.overlay(wanted, maps, ranges, photos, (40, 20), places, VIRIDIS)
    identical(crop, wanted)
    assert not canvas[:10].any()
    assert not canvas[:, 55:].any()


def test_torch_tensors_are_shared_not_copied():
    torch = pytest.importorskip("torch")
    canvas = torch.zeros(8, 8, 3, dtype=torch.uint8)
    maps = torch.arange(8, dtype=torch.float32).reshape(2, 2, 2)
    photos = torch.full((2, 4, 4, 1), 90, dtype=torch.uint8)
    ranges = torch.tensor([[0.0, 3.0], [4.0, 7.0]])
    render.overlay(canvas, maps, ranges, photos, (4, 4), torch.tensor([[0, 0], [4, 4]]))
    wanted = np.zeros((8, 8, 3), np.uint8)
    places = np.array([(0, 0), (4, 4)])
    reference.overlay(wanted, maps.numpy(), ranges.numpy(), photos.numpy(), (4, 4), places, VIRIDIS)
    identical(canvas.numpy(), wanted)


def test_buffers_are_accepted():
    values = memoryview(np.arange(4, dtype=np.float32).tobytes()).cast("f", [1, 2, 2])
    assert render.index_maps(values, [(0, 3)]).tolist() == [[[0, 85], [170, 255]]]


@pytest.mark.parametrize("count", [0, 1, 5, 12])
@pytest.mark.parametrize("sampling", ["nearest", "bilinear"])
def test_tile_is_the_references(count: int, sampling: render.Sampling):
    maps = np.random.default_rng(1).standard_normal((count, 4, 6)).astype(np.float32)
    ranges = render.value_ranges(maps[:, None])[:, 0]
    gray = render.colormap("gray")
    got = render.tile(maps, ranges, (9, 14), 4, 3, (10, 200, 30), sampling=sampling)
    identical(got, reference.tile(maps, ranges, (9, 14), 4, 3, (10, 200, 30), gray, sampling))
    identical(render.tile(maps, None, (9, 14), 4, 3, (10, 200, 30), sampling=sampling), got)


class OnGpu:
    def __dlpack_device__(self):
        return (2, 0)

    def __dlpack__(self, **_: Any):
        raise AssertionError("must not be asked for its memory")


MAPS = np.zeros((2, 3, 3), np.float32)
GOOD: dict[str, Any] = {
    "canvas": np.zeros((480, 640, 3), np.uint8),
    "maps": MAPS,
    "ranges": np.zeros((2, 2), np.float32),
    "photos": np.zeros((2, 224, 224, 3), np.uint8),
    "size": (224, 224),
    "places": [(0, 0), (224, 224)],
}
READ_ONLY = np.zeros((480, 640, 3), np.uint8)
READ_ONLY.flags.writeable = False

WRONG: list[tuple[dict[str, Any], str]] = [
    (
        {"places": [(0, 0), (500, 20)]},
        r"render: places\[1\] = \(500, 20\) puts a 224x224 picture outside a 640x480 canvas; ",
    ),
    ({"places": [(0, 0), (-1, 20)]}, r"places\[1\]"),
    ({"places": [(0, 0)]}, r"places must be \[2, 2\], one row for each map, not \[1, 2\]"),
    ({"places": [(0, 0), (0.5, 0)]}, "whole pixels"),
    ({"places": "here"}, "places must be"),
    ({"ranges": np.zeros((3, 2), np.float32)}, r"ranges must be \[2, 2\]"),
    ({"maps": MAPS.astype(np.float64)}, r"maps must be float32 \[N, h, w\], not float64 .*astype"),
    ({"maps": MAPS.astype(">f4")}, "maps must be float32"),
    ({"maps": MAPS[0]}, r"not float32 \[3, 3\]; add or take away an axis"),
    ({"maps": MAPS[:, :0]}, "maps must have values"),
    ({"maps": [[1.0]]}, "must be an array or a tensor, not list"),
    ({"maps": OnGpu()}, r"not on a GPU; call \.cpu\(\)"),
    ({"photos": np.zeros((2, 224, 224, 3), np.float32)}, r"photos must be uint8 .*0\.\.255"),
    ({"photos": np.zeros((1, 224, 224, 3), np.uint8)}, "2 maps came with 1 photos"),
    ({"photos": np.zeros((2, 220, 224, 3), np.uint8)}, "resize the photos first"),
    ({"photos": np.zeros((2, 224, 224, 4), np.uint8)}, "1 or 3 channels, not 4"),
    ({"canvas": np.zeros((480, 640, 1), np.uint8)}, "canvas must be RGB"),
    ({"canvas": READ_ONLY}, "read-only"),
    ({"canvas": np.zeros((3, 480, 640), np.uint8).transpose(1, 2, 0)}, "side by side"),
    ({"size": (0, 224)}, "at least 1x1"),
    ({"opacity": 300}, "opacity must be 0 to 256, not 300"),
    ({"colours": np.zeros((255, 3), np.uint8)}, r"\[256, 3\]"),
    ({"sampling": "cubic"}, "bilinear or nearest, not 'cubic'"),
    ({"boxes": [(0, 0, 1, 1), (5, 5, 5, 9)]}, r"boxes\[1\]"),
    ({"threads": -1}, "threads must be 0"),
]


@pytest.mark.parametrize(("change", "message"), WRONG)
def test_errors_are_one_line_that_helps(change: dict[str, Any], message: str):
    with pytest.raises(UsageError, match=message) as caught:
        render.overlay(**{**GOOD, **change})
    assert "\n" not in str(caught.value)
    assert not GOOD["canvas"].any()


def test_a_tensor_that_needs_gradients_says_so():
    torch = pytest.importorskip("torch")
    with pytest.raises(UsageError, match="detached"):
        render.index_maps(torch.zeros(1, 2, 2, requires_grad=True), [(0, 1)])


def test_grid_errors():
    with pytest.raises(UsageError, match="at least 1 column"):
        render.tile(MAPS, GOOD["ranges"], (4, 4), 0)
    with pytest.raises(UsageError, match="gap"):
        render.tile(MAPS, GOOD["ranges"], (4, 4), 2, gap=-1)
    with pytest.raises(UsageError, match="background"):
        render.tile(MAPS, GOOD["ranges"], (4, 4), 2, background=(0, 0, 256))


def test_colormaps():
    assert render.colormap_names() == ("gray", "inferno", "jet", "turbo", "viridis")
    ends = {name: render.colormap(name)[[0, 255]].tolist() for name in render.colormap_names()}
    assert ends["gray"] == [[0, 0, 0], [255, 255, 255]]
    assert ends["jet"] == [[0, 0, 128], [128, 0, 0]]
    assert ends["viridis"] == [[68, 1, 84], [253, 231, 37]]
    assert not VIRIDIS.flags.writeable
    with pytest.raises(UsageError, match="choose one of gray, inferno"):
        render.colormap("rainbow")


def test_jet_is_its_formula():
    x = np.arange(256)[:, None] / 255
    levels = np.clip(1.5 - np.abs(4 * x - np.array([3, 2, 1])), 0, 1)
    identical(render.colormap("jet"), np.floor(levels * 255 + 0.5).astype(np.uint8))


@pytest.mark.parametrize("name", ["viridis", "inferno", "turbo"])
def test_tables_are_the_published_ones(name: str):
    matplotlib = pytest.importorskip("matplotlib")
    published = np.array([matplotlib.colormaps[name](i)[:3] for i in range(256)])
    identical(render.colormap(name), np.floor(published * 255 + 0.5).astype(np.uint8))


def test_a_photo_may_be_drawn_on_in_place():
    random = np.random.default_rng(12)
    photo = random.integers(0, 256, (40, 50, 3), np.uint8)
    maps, ranges = random.random((1, 5, 6), np.float32), np.array([[0, 1]], np.float32)
    expected = photo.copy()
    render.overlay(expected, maps, ranges, photo[None].copy(), (40, 50), [(0, 0)])
    render.overlay(photo, maps, ranges, photo[None], (40, 50), [(0, 0)])
    np.testing.assert_array_equal(photo, expected)
