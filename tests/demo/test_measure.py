"""The measure, fed right and wrong answers; and the shipped weights, held to what the demo claims of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from saccade.demo import measure, network, train

Masks = npt.NDArray[np.bool_]


@pytest.fixture
def corner() -> Masks:
    """One mask [1, 128, 128]: the upper left quarter."""
    mask = np.zeros((1, 128, 128), np.bool_)
    mask[:, :64, :64] = True
    return mask


def test_mass_in_the_mask_counts_whole(corner: Masks) -> None:
    cam = np.zeros((1, 16, 16), np.float32)
    cam[0, 2, 3] = 5.0
    shares, blank = measure.evidence_share(cam, corner)
    assert shares == pytest.approx([1.0])
    assert blank == 0


def test_mass_in_the_opposite_corner_counts_nothing(corner: Masks) -> None:
    cam = np.zeros((1, 16, 16), np.float32)
    cam[0, 13, 13] = 5.0
    shares, _ = measure.evidence_share(cam, corner)
    assert shares == pytest.approx([0.0], abs=1e-6)


def test_a_uniform_map_gives_the_share_of_the_area(corner: Masks) -> None:
    shares, _ = measure.evidence_share(np.full((1, 16, 16), 0.3, np.float32), corner)
    assert shares == pytest.approx([0.25])


def test_scale_does_not_matter_and_images_do_not_mix(corner: Masks) -> None:
    cams = np.random.default_rng(0).random((3, 16, 16), np.float32)
    scaled = cams * np.array([1, 100, 1e-3], np.float32)[:, None, None]
    masks = np.repeat(corner, 3, axis=0)
    np.testing.assert_allclose(
        measure.evidence_share(cams, masks)[0], measure.evidence_share(scaled, masks)[0], rtol=1e-5
    )


def test_blank_maps_are_left_out_and_counted(corner: Masks) -> None:
    cams = np.zeros((2, 16, 16), np.float32)
    cams[1, 1, 1] = 1.0
    shares, blank = measure.evidence_share(cams, np.repeat(corner, 2, axis=0))
    assert np.isnan(shares[0])
    assert shares[1] == pytest.approx(1.0)
    assert blank == 1


@pytest.mark.parametrize("value", [-1.0, np.nan, np.inf])
def test_maps_that_are_no_evidence_are_refused(corner: Masks, value: float) -> None:
    with pytest.raises(ValueError, match="finite maps"):
        measure.evidence_share(np.full((1, 16, 16), value, np.float32), corner)
    with pytest.raises(ValueError, match="expected maps"):
        measure.evidence_share(np.ones((2, 16, 16), np.float32), corner)


@pytest.mark.parametrize("shape", [(16, 16), (7, 9), (1, 1)])
def test_enlarging_agrees_with_torch(shape: tuple[int, int]) -> None:
    maps = np.random.default_rng(1).random((2, *shape), np.float32)
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(maps)[:, None], (128, 96), mode="bilinear", align_corners=False
    )[:, 0].numpy()
    np.testing.assert_allclose(measure.enlarge_maps(maps, 128, 96), expected, atol=1e-6)


def test_dilation_grows_by_the_stated_pixels() -> None:
    mask = np.zeros((1, 40, 40), np.bool_)
    mask[0, 20, 1] = True
    grown = measure.dilate(mask, 8)
    assert grown[0, 12:29, 0:10].all()
    assert grown.sum() == 17 * 10


def test_grad_cam_here_is_the_cam() -> None:
    """Pooling and one linear layer: the gradient's mean is the head's row ÷ cells."""
    model = network.looks_at_tanks()
    images = np.stack([s.image for s in measure.held_out(3, True, "sun")])
    _, maps = network.eager_grad_cam(model, images, network.TANK)
    with torch.no_grad():
        activations = model.features(network.normalise(torch.from_numpy(images)))
        cam = torch.einsum("nchw,c->nhw", activations, model.head.weight[network.TANK]).relu() / 256
    np.testing.assert_allclose(maps, cam.numpy(), rtol=1e-4, atol=1e-7)


@pytest.fixture(scope="module")
def measured() -> measure.Figures:
    return measure.figures(
        partial(network.eager_grad_cam, network.looks_at_weather()),
        partial(network.eager_grad_cam, network.looks_at_tanks()),
        scenes=32,
    )


def test_network_1_looks_at_the_sky(measured: measure.Figures) -> None:
    assert measured.weather_sky >= 0.80
    assert measured.weather_as_trained >= 0.97
    assert measured.weather_swapped <= 0.1


def test_network_2_looks_at_the_tank(measured: measure.Figures) -> None:
    assert measured.tanks_tank >= 0.50
    assert min(measured.tanks_as_trained, measured.tanks_swapped) >= 0.9


def test_the_masks_are_too_small_to_reach_the_figures_by_chance(measured: measure.Figures) -> None:
    assert measured.sky_area < 0.5
    assert measured.tank_area < 0.2


def test_few_maps_are_blank(measured: measure.Figures) -> None:
    assert measured.blank[0] == 0
    assert measured.blank[1] <= 3


def test_exchanged_networks_fail(measured: measure.Figures) -> None:
    """The figures are the networks', not the scenes': the other way round they miss."""
    exchanged = measure.figures(
        partial(network.eager_grad_cam, network.looks_at_tanks()),
        partial(network.eager_grad_cam, network.looks_at_weather()),
        scenes=8,
    )
    assert exchanged.weather_sky < 0.8
    assert exchanged.tanks_tank < 0.5


def test_shipped_weights_are_small_and_their_record_is_there() -> None:
    files = sorted(network.WEIGHTS.glob("*.safetensors"))
    assert [f.stem for f in files] == ["looks_at_tanks", "looks_at_weather"]
    assert sum(f.stat().st_size for f in files) < 600_000
    record: dict[str, Any] = json.loads((network.WEIGHTS / "training.json").read_text())
    assert record["seed"] == train.SEED
    assert record["held_out"]["weather_sky"] >= 0.8


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Batches this small wait longer for a second thread on a busy machine than it saves them."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
def test_training_is_seeded_and_learns() -> None:
    images, labels = train.paint_collection(train.CONFOUNDED, 32, workers=1)
    assert images.shape == (64, 128, 128, 3)
    assert labels.tolist() == [network.TANK] * 32 + [network.WOODS] * 32
    short = train.Recipe(epochs=4, contrast=0.1, balance=0.05, contrary=0.3)
    first, again = train.train(images, labels, short), train.train(images, labels, short)
    for name, value in first.state_dict().items():
        torch.testing.assert_close(value, again.state_dict()[name])
    learnt = train.train(images, labels, train.Recipe(epochs=40, contrast=0.1, balance=0.0, contrary=0.3))
    logits, _ = network.eager_grad_cam(learnt, images.numpy())
    assert (logits.argmax(1) == labels.numpy()).mean() > 0.9
