"""The whole check on the demo's networks, with its masks and methods whose answer is known; verdicts and sentences."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torch import nn

from saccade.audit.findings import Interval
from saccade.audit.objects import Objects
from saccade.check.checking import check
from saccade.check.redrawing import State
from saccade.check.results import Check, Located, MethodFindings, Order, Redrawn
from saccade.check.subject import Subject
from saccade.check.telling import sentence, table
from saccade.demo.measure import HELD_OUT
from saccade.demo.scenes import paint
from saccade.engine import decode
from saccade.engine.compiler import METHODS, Model, load_model, wrap_module
from saccade.engine.compiler.methods import Cut, Method
from saccade.engine.contract import ModelOptions

SCENES = 12


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Woods with a tank, in sun and under clouds, and the tanks' masks."""
    photos, masks = tmp_path_factory.mktemp("photos"), tmp_path_factory.mktemp("masks")
    for i in range(SCENES):
        scene = paint(HELD_OUT + i, True, ("sun", "clouds")[i % 2])
        Image.fromarray(scene.image).save(photos / f"{i:02}.png")
        Image.fromarray(scene.tank).save(masks / f"{i:02}.png")
    return photos, masks


def demo(name: str) -> Model:
    options = ModelOptions(input_size=(128, 128), mean=(0.5,) * 3, std=(0.25,) * 3, classes=("tank", "woods"))
    return load_model(f"saccade.demo.network:{name}", "pretrained", options)


def of_the_picture(cut: Cut):  # looks like an explanation, and asks the network nothing
    return cut.activation.abs().amax(dim=1)


@pytest.fixture(scope="module")
def found(scenes: tuple[Path, Path]) -> Check:
    """The network that looks at tanks, with a method of each kind and one that does not look at the network."""
    photos, masks = scenes
    known = dict(METHODS)
    METHODS["picture"] = Method(of_the_picture, "gradient", "input", "", backward=False, asks=False)
    try:
        return check(
            demo("looks_at_tanks"),
            ["grad-cam", "input-x-gradient", "eigen-cam", "picture"],
            decode.list_photos([str(photos)]),
            objects=Objects.from_masks(masks),
        )
    finally:
        METHODS.clear()
        METHODS.update(known)


def of(found: Check, method: str) -> MethodFindings:
    return next(m for m in found.methods if m.method == method)


def test_a_method_that_does_not_look_at_the_network_is_named(found: Check):
    picture = of(found, "picture")
    assert picture.depends == "no"
    for step in picture.redrawn:
        assert (step.rank.value, step.rank_absolute.value, step.ssim.value) == pytest.approx((1, 1, 1))
    assert sentence(picture, found).startswith("picture hardly depends on what the network has learnt: with ")


def test_grad_cam_depends_on_the_network_finds_the_tank_and_removes_the_class(found: Check):
    cam = of(found, "grad-cam")
    assert cam.depends == "yes"
    assert cam.half.rank.value < 0.3
    assert 0 <= cam.order.deletion.value < found.random.deletion.value
    assert cam.over_random.deletion.low > 0
    assert cam.over_random.insertion.low > 0
    assert cam.located is not None
    assert found.located_centre is not None
    assert cam.located.pointing.value > 0.8 > found.located_centre.pointing.value
    assert cam.located.inside.value > 3 * found.located_centre.inside.value
    assert sentence(cam, found).startswith("grad-cam depends on what the network has learnt: with ")
    assert "its order removes the class and brings it back faster than chance" in sentence(cam, found)


def test_redrawing_the_head_changes_no_map_that_asks_for_no_class(found: Check):
    eigen, cam = of(found, "eigen-cam"), of(found, "grad-cam")
    assert eigen.redrawn[0].depth == 1
    assert eigen.redrawn[0].layer == "head"
    assert eigen.redrawn[0].rank.value == pytest.approx(1)
    assert eigen.redrawn[-1].rank.value < 0.9
    assert cam.redrawn[0].rank.value < 0.9


def test_signs_count_in_one_correlation_and_not_in_the_other(found: Check):
    signed, unsigned = of(found, "input-x-gradient").redrawn[0], of(found, "grad-cam").redrawn[0]
    assert signed.rank.value != pytest.approx(signed.rank_absolute.value, abs=0.01)
    assert unsigned.rank.value == pytest.approx(unsigned.rank_absolute.value)


def test_the_json_is_plain_and_whole(found: Check):
    told = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert (told["schema"], told["photos"], told["failed"], told["layers"]) == (1, SCENES, 0, 6)
    assert told["methods"][0]["depends"] == "yes"
    assert told["methods"][0]["sentence"] == sentence(found.methods[0], found)
    assert told["methods"][0]["redrawn"][2]["rank"]["images"] == SCENES - told["methods"][0]["blank"]
    assert table(found).row_count == len(found.methods) + 2


def test_the_same_photos_give_the_same_numbers_and_without_masks_nothing_is_pointed_at(scenes: tuple[Path, Path]):
    photos = decode.list_photos([str(scenes[0])])
    first, again = (check(demo("looks_at_weather"), ["grad-cam"], photos, limit=3) for _ in range(2))
    assert replace(first, seconds=0).to_json() == replace(again, seconds=0).to_json()
    assert first.photos == 3
    assert first.methods[0].located is first.located_centre is None
    assert first.methods[0].depends == "open"
    assert first.notes == ("With fewer than 10 photos (3) there are numbers and no verdicts.",)
    assert "with fewer than 10 photos (3) its order is not judged" in sentence(first.methods[0], first)


@pytest.fixture
def twelve(tmp_path: Path) -> list[decode.Photo]:
    for i in range(12):
        Image.fromarray(np.random.default_rng(i).integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(
            tmp_path / f"{i:02}.png"
        )
    return decode.list_photos([str(tmp_path)])


@pytest.mark.parametrize("blank", ["the redrawn network's", "the network's own"])
def test_blank_maps_are_left_out_and_said(
    twelve: list[decode.Photo], network: nn.Module, monkeypatch: pytest.MonkeyPatch, blank: str
):
    explain = Subject.explain

    def explained(self: Subject, images: np.ndarray, classes: np.ndarray, state: State | None = None):
        found = explain(self, images, classes, state)
        dead = (state is not None) == (blank == "the redrawn network's")
        return {name: 0 * values if dead else values for name, values in found.items()}

    monkeypatch.setattr(Subject, "explain", explained)
    monkeypatch.setattr(Subject, "probabilities", lambda _, images: np.full((len(images), 3), 1 / 3, np.float32))
    found = check(wrap_module(network, "tiny", ModelOptions(input_size=(32, 32))), ["saliency"], twelve)
    (saliency,) = found.methods
    assert saliency.half.rank_absolute.images == 0
    assert saliency.depends == "open"
    assert found.random.deletion.value == pytest.approx(1 / 3)  # the area under a probability that stays
    json.dumps(found.to_json(), allow_nan=False)
    if blank == "the network's own":
        assert (saliency.blank, saliency.others.images) == (12, 0)
        assert sentence(saliency, found) == "saliency gives blank maps on all photos, so there is nothing to check."
    else:
        assert (saliency.blank, saliency.half.blank) == (0, 1)
        assert "nor the contrary: with 2 of 4 layers drawn anew its maps are blank; its order" in sentence(
            saliency, found
        )
        assert (saliency.order.insertion.value, saliency.over_random.insertion.value) == pytest.approx((1 / 3, 0))
        assert "removes the class and brings it back no faster than chance" in sentence(saliency, found)


# ---- verdicts -------------------------------------------------------------------------------------------------------


def around(value: float, room: float = 0.02, images: int = 40) -> Interval:
    return Interval(value, value - room, value + room, images)


NOTHING = Interval(np.nan, np.nan, np.nan, 0)


def method(half: Interval, others: Interval = NOTHING, **more: Order) -> MethodFindings:
    steps = [Redrawn(d, f"layer{d}", half, half, half, 0.0) for d in (1, 7, 14, 20, 26)]
    gain = Order(around(0.1), around(0.1))
    how = {"order": Order(around(0.1), around(0.7)), "over_random": gain, "over_centre": gain, **more}
    return MethodFindings("m", "input", 0, others, tuple(steps), located=None, **how)


@pytest.mark.parametrize(
    ("half", "others", "expected"),
    [
        (around(0.1), around(0.1), "yes"),
        (around(0.9), around(0.1), "no"),
        (around(0.33), around(0.1), "partly"),  # 0.325 is the limit
        (around(0.33, 0.3), around(0.1), "open"),
        (around(0.4), around(0.1), "no"),
        (around(0.5), around(0.7), "yes"),  # maps of different photos are more alike
        (around(0.95), around(1.0), "no"),  # the same map for every photo and every network
        (around(0.1), around(-0.5), "yes"),
        (around(0.1, images=9), around(0.1), "open"),
        (around(0.2), NOTHING, "yes"),
        (NOTHING, around(0.1), "open"),
    ],
)
def test_whether_a_method_depends_on_the_network(half: Interval, others: Interval, expected: str):
    found = method(half, others)
    assert found.half.depth == 14
    assert found.depends == expected


@pytest.mark.parametrize(
    ("deletion", "insertion", "expected"),
    [
        (0.1, 0.1, "its order removes the class and brings it back faster than chance (deletion 0.10 against 0.30"),
        (0.1, 0.0, "its order removes the class faster than chance and brings it back no faster than chance"),
        (-0.1, 0.1, "its order removes the class slower than chance and brings it back faster than chance"),
        (-0.1, -0.1, "its order removes the class and brings it back slower than chance"),
    ],
)
def test_what_is_said_of_an_order(found: Check, deletion: float, insertion: float, expected: str):
    checked = replace(found, random=Order(around(0.3), around(0.5)), located_centre=None)
    gain = Order(around(deletion), around(insertion))
    assert expected in sentence(method(around(0.1), over_random=gain), checked)


def test_what_is_said_of_the_centre_and_of_objects(found: Check):
    worse, mixed = Order(around(-0.1), around(0.0)), Order(around(0.1), around(0.0))
    for over_centre, expected in ((worse, "neither"), (mixed, "one"), (Order(around(0.1), around(0.1)), "both")):
        said = sentence(method(around(0.1), over_centre=over_centre), replace(found, located_centre=None))
        assert "and beats the order from the centre outwards (" in said
        assert said.endswith(f") in {expected}.")
    pointing = replace(method(around(0.1)), located=Located(around(0.9), around(0.5)))
    assert "its maximum lies on the object in 90% of 40 photos" in sentence(pointing, found)
