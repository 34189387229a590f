from typing import Any

import numpy as np
import PIL
import pytest
from agree import identical
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from saccade.engine import render
from saccade.engine.contract import UsageError
from saccade.engine.render import reference

FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
sides = st.integers(1, 70)

pytestmark = pytest.mark.skipif(
    int(PIL.__version__.partition(".")[0]) < 13, reason="before 13, Pillow went across first, always"
)


def pillow(image: np.ndarray, height: int, width: int, filter: str, box: Any = None) -> np.ndarray:
    channels = image.shape[2]
    picture = Image.fromarray(image[..., 0] if channels == 1 else image)
    return np.asarray(picture.resize((width, height), FILTERS[filter], box)).reshape(height, width, channels)


def noise(height: int, width: int, channels: int) -> np.ndarray:
    return np.random.default_rng(height * width).integers(0, 256, (height, width, channels), dtype=np.uint8)


@settings(deadline=None, max_examples=300)
@given(sides, sides, sides, sides, st.sampled_from([1, 3, 4]), st.sampled_from(["bilinear", "bicubic"]))
@example(5, 5, 5, 5, 4, "bicubic")
@example(5, 7, 5, 9, 4, "bilinear")
@example(1, 1, 60, 60, 3, "bicubic")
def test_resize_is_pillows_to_the_bit(h: int, w: int, height: int, width: int, channels: int, filter: render.Filter):
    image = noise(h, w, channels)
    wanted = pillow(image, height, width, filter)
    identical(render.resize(image, height, width, filter, threads=2), wanted)
    identical(reference.resize(image, height, width, filter), wanted)


@settings(deadline=None, max_examples=300)
@given(st.data(), st.sampled_from(["bilinear", "bicubic"]))
def test_boxes_are_pillows_to_the_bit(data: st.DataObject, filter: render.Filter):
    h, w, height, width = (data.draw(sides) for _ in range(4))
    left, top = data.draw(st.floats(0, w - 0.5)), data.draw(st.floats(0, h - 0.5))
    box = (left, top, data.draw(st.floats(left + 0.25, w)), data.draw(st.floats(top + 0.25, h)))
    image = noise(h, w, data.draw(st.sampled_from([1, 3, 4])))
    wanted = pillow(image, height, width, filter, box)
    identical(render.resize(image, height, width, filter, box), wanted)
    identical(reference.resize(image, height, width, filter, box), wanted)


@pytest.mark.parametrize("filter", ["bilinear", "bicubic"])
@pytest.mark.parametrize("lost_rows", [-1, 0, 1, 20, 21, 39])
def test_the_order_of_the_passes_is_pillows(lost_rows: int, filter: render.Filter):
    """Down first from 21 rows lost against 10 columns, and from 1 row where columns are gained."""
    # Black and white alone: what overshoots is clipped between the passes, so that their order shows.
    picture = (noise(40, 60, 3) > 127).astype(np.uint8) * 255
    for lost_columns in (-20, -1, 0, 10, 30):
        size = (40 - lost_rows, 60 - lost_columns)
        wanted = pillow(picture, *size, filter)
        identical(render.resize(picture, *size, filter), wanted)
        identical(reference.resize(picture, *size, filter), wanted)


@pytest.mark.parametrize("size", [(256, 341), (224, 224), (1, 1), (2400, 3100), (1201, 1600)])
@pytest.mark.parametrize("filter", ["bilinear", "bicubic"])
def test_photo_sizes(size: tuple[int, int], filter: render.Filter):
    image = noise(1201, 1600, 3)
    identical(render.resize(image, *size, filter, threads=0), pillow(image, *size, filter))


def test_any_strides_and_tensors():
    torch = pytest.importorskip("torch")
    planes = torch.from_numpy(noise(3, 40 * 50, 1).reshape(3, 40, 50))
    image = planes.permute(1, 2, 0)
    identical(render.resize(image, 17, 19), pillow(image.numpy().copy(), 17, 19, "bilinear"))
    flipped = image.numpy()[::-1, ::2]
    identical(render.resize(flipped, 17, 19), pillow(flipped.copy(), 17, 19, "bilinear"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"height": 0}, "resize: the new size must be at least 1x1 pixels, not 4x0"),
        ({"image": np.zeros((5, 5), np.uint8)}, r"resize: the image must be uint8 \[H, W, C\], not uint8 \[5, 5\]"),
        ({"image": np.zeros((5, 5, 2), np.uint8)}, "1, 3 or 4 channels, not 2"),
        ({"image": np.zeros((0, 5, 3), np.uint8)}, "empty"),
        ({"image": np.zeros((5, 5, 3), np.float32)}, "uint8"),
        ({"filter": "lanczos"}, "bilinear or bicubic, not 'lanczos'"),
        ({"box": (0, 0, 6, 5)}, "must lie in the 5x5 picture"),
        ({"box": (2, 0, 2, 5)}, "left < right"),
        ({"box": (float("nan"), 0, 2, 5)}, "must lie"),
    ],
)
def test_errors(arguments: dict[str, Any], message: str):
    good: dict[str, Any] = {"image": np.zeros((5, 5, 3), np.uint8), "height": 4, "width": 4}
    with pytest.raises(UsageError, match=message):
        render.resize(**{**good, **arguments})
