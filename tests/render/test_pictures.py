from typing import Any

import numpy as np
import pytest
from agree import identical

from saccade.engine import render
from saccade.engine.contract import UsageError
from saccade.engine.render import reference

VIRIDIS = render.colormap("viridis")
RNG = np.random.default_rng(0)
PHOTOS = RNG.integers(0, 256, (3, 32, 48, 3), dtype=np.uint8)
CAMS = np.maximum(RNG.standard_normal((3, 4, 5)), 0).astype(np.float32)


def test_overlay_pictures_are_blended_over_their_own_photos():
    got = render.overlay_pictures(CAMS, PHOTOS, opacity=0.25)
    for i in range(3):
        ranges = np.array([[0, CAMS[i].max()]], np.float32)
        colour = VIRIDIS[reference.index_maps(CAMS[i : i + 1], ranges, (32, 48))[0]]
        identical(got[i], reference.blend(PHOTOS[i], colour, 64))


def test_a_map_without_positive_evidence_stays_blank():
    maps = CAMS.copy()
    maps[1] = 0
    maps[2] = -maps[2] - 1
    got = render.overlay_pictures(maps, PHOTOS, opacity=1.0)
    assert (got[1:] == VIRIDIS[0]).all()
    assert len(np.unique(got[0].reshape(-1, 3), axis=0)) > 100


def test_scales():
    maps = CAMS * np.array([1, 10, 100], np.float32)[:, None, None]
    tops = maps.max((1, 2))
    assert render.display_ranges(maps, "image").tolist() == [[0, t] for t in tops]
    assert render.display_ranges(maps, "batch").tolist() == [[0, tops.max()]] * 3
    assert render.display_ranges(maps, "calibrated", (0.5, 4)).tolist() == [[0.5, 4]] * 3
    assert (render.display_ranges(-maps, kind="activations")[:, 0] == -tops).all()
    saliency = np.arange(101, dtype=np.float32).reshape(1, 1, 101)
    assert render.display_ranges(saliency, kind="gradient").tolist() == [[0, 99]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"scale": "calibrated"}, "needs calibrated="),
        ({"scale": "calibrated", "calibrated": (2, 1)}, "low < high"),
        ({"scale": "photo"}, "image, batch or calibrated, not 'photo'"),
        ({"kind": "cams"}, "cam, gradient, signed, activations, ascent, not 'cams'"),
        ({"opacity": 128}, r"opacity must be 0 .* to 1"),
        ({"colours": "rainbow"}, "choose one of"),
        ({"maps": CAMS[:2]}, "2 maps came with 3 photos|one row for each map"),
    ],
)
def test_wrong_requests(arguments: dict[str, Any], message: str):
    with pytest.raises(UsageError, match=message):
        render.overlay_pictures(**{"maps": CAMS, "photos": PHOTOS, **arguments})


def test_mosaic_shows_each_channel_between_its_own_limits():
    maps = RNG.standard_normal((70, 14, 14)).astype(np.float32)
    mosaic = render.channel_mosaic(maps)
    assert mosaic.shape == (8 * 72 + 2, 8 * 72 + 2, 3)  # 64 channels of 5 × 14 = 70 pixels, 2 between them
    first = mosaic[2:72:5, 2:72:5, 0]
    ranges = render.value_ranges(maps[:1, None])[:, 0]
    identical(first, reference.index_maps(maps[:1], ranges)[0])
    assert render.channel_mosaic(maps, size=20, columns=35, limit=None, gap=0).shape == (40, 700, 3)
    assert render.channel_mosaic(maps[:, :7], size=28, columns=1, limit=2).shape == (2 * 16 + 2, 32, 3)
    with pytest.raises(UsageError, match="at least one channel"):
        render.channel_mosaic(maps[:0])


def test_on_photo_the_map_covers_exactly_what_the_network_saw():
    photo = PHOTOS[0]
    got = render.overlay_on_photo(CAMS[0], photo, (8.0, 0.0, 40.0, 32.0), (0, 2), opacity=0.5)
    colour = VIRIDIS[reference.index_maps(CAMS[:1], np.array([[0, 2]], np.float32), (32, 32))[0]]
    identical(got[:, 8:40], reference.blend(photo[:, 8:40], colour, 128))
    outside = np.delete(got, np.s_[8:40], axis=1)
    assert (outside == outside[..., :1]).all()  # grey
    assert outside.min() >= 127  # and pale


def test_on_photo_with_a_fractional_view():
    got = render.overlay_on_photo(CAMS[0], PHOTOS[0], (7.6, 3.2, 30.4, 20.5), (0, 2), opacity=1.0)
    # Pixels whose centres lie in the view: columns 8 (centre 8.5) … 29, rows 3 (3.5) … 19, and 20.5 no more.
    box = (7.6 - 8, 3.2 - 3, 30.4 - 8, 20.5 - 3)
    index = reference.index_maps(CAMS[:1], np.array([[0, 2]], np.float32), (17, 22), box=box)[0]
    identical(got[3:20, 8:30], VIRIDIS[index])
    grey = (got == got[..., :1]).all(-1)
    assert grey[:3].all()
    assert grey[20:].all()
    assert not grey[3:20, 8:30].any()


def test_on_photo_with_a_view_beyond_it():
    got = render.overlay_on_photo(CAMS[0], PHOTOS[0], (-10, -10, 60, 60), (0, 2))
    assert got.shape == PHOTOS[0].shape
    for view in ((50, 0, 60, 10), (5, 5, 5, 9), (float("nan"), 0, 1, 1)):
        with pytest.raises(UsageError, match="holds no pixel"):
            render.overlay_on_photo(CAMS[0], PHOTOS[0], view, (0, 2))
