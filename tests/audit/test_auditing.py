"""The audit of runs whose answer is known: a network that looks at bright things, and what is bright in its photos."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from saccade.audit import Findings, audit
from saccade.engine import decode, execute, pipeline
from saccade.engine.contract import UsageError

Pixels = npt.NDArray[np.uint8]
Audited = Callable[..., tuple[Findings, Path]]


def dark(count: int, seed: int = 0) -> Pixels:
    """Photos that the network calls "neither"."""
    return np.random.default_rng(seed).integers(10, 60, (count, 32, 32, 3)).astype(np.uint8)


def with_square(images: Pixels, places: list[tuple[int, int]]) -> Pixels:
    """Photos that the network calls "bright"."""
    images = images.copy()
    for image, (y, x) in zip(images, places, strict=True):
        image[y : y + 12, x : x + 12] = 255
    return images


def anywhere(count: int) -> list[tuple[int, int]]:
    return [(int(y), int(x)) for y, x in np.random.default_rng(9).integers(0, 21, (count, 2))]


@pytest.fixture
def audited(program: Path, tmp_path: Path) -> Audited:
    """`audited({"bright": images, …})`: what an audit says of a run over them, and its folder."""

    def run(groups: dict[str, Pixels], **how: object) -> tuple[Findings, Path]:
        for label, images in groups.items():
            (tmp_path / "photos" / label).mkdir(parents=True, exist_ok=True)
            for i, image in enumerate(images):
                Image.fromarray(image).save(tmp_path / "photos" / label / f"{i:03}.png")
        runner = execute.load(program)
        with pipeline.RunFolder(tmp_path / "out") as folder:
            pipeline.run(runner, decode.list_photos([str(tmp_path / "photos")]), folder, pipeline.RunOptions())
        return audit(tmp_path / "out", out=tmp_path / "audit", **how), tmp_path  # pyright: ignore[reportArgumentType]

    return run


def test_what_is_always_in_the_corner_is_a_shortcut(audited: Audited):
    found, folder = audited({"bright": with_square(dark(40), [(0, 0)] * 40), "neither": dark(40, 1)})
    first = found.suspects[0]
    assert (found.verdict, first.verdict, first.kind) == ("shortcut", "shortcut", "place")
    assert first.class_name == "bright"
    assert "upper left" in first.name
    assert first.where is not None
    assert first.where[:4, :4].mean() > 0.8
    assert first.where[8:, 8:].sum() == 0
    away, here = first.trials[:2]
    assert (away.kind, here.kind) == ("replace", "transplant")
    assert away.flips.value > 0.95
    assert here.flips.value > 0.95
    assert away.control_flips.value == here.control_flips.value == 0
    assert first.share > 0.9
    assert f"In {first.share:.0%} of “bright” images most of the evidence lies in {first.name}" in first.sentence
    assert first.trials[0].examples[0].before == "bright"
    assert first.trials[0].examples[0].after == "neither"
    assert sum(s.verdict == "shortcut" and s.kind == "place" for s in found.suspects) == 1  # and not its parts again
    said = json.loads((folder / "audit" / "verdicts.json").read_text())
    assert said["verdict"] == "shortcut"
    assert said["suspects"][0]["sentence"] == first.sentence
    assert said["suspects"][0]["trials"][0]["examples"][0]["name"].startswith("bright/")
    assert f"of the evidence lies in {first.name}" in (folder / "audit" / "report.html").read_text(encoding="utf-8")


def test_the_thing_itself_is_no_shortcut(audited: Audited):
    found, _ = audited({"bright": with_square(dark(60), anywhere(60)), "neither": dark(60, 1)})
    assert [s.name for s in found.suspects if s.kind == "place" and s.verdict != "clear"] == []


def test_a_brightness_that_goes_with_the_class_is_a_shortcut(audited: Audited):
    light = (dark(40).astype(int) + 150).astype(np.uint8)
    found, _ = audited({"bright": light, "neither": dark(40, 1)})
    shortcuts = {s.name: s for s in found.suspects if s.verdict == "shortcut"}
    assert "brightness" in shortcuts
    assert shortcuts["brightness"].trials[0].flips.value > 0.95
    assert shortcuts["brightness"].trials[0].control_flips.value < 0.1


def test_the_same_seed_finds_the_same(audited: Audited):
    groups = {"bright": with_square(dark(30), [(0, 0)] * 30), "neither": dark(30, 1)}
    first, folder = audited(groups)
    again = audit(folder / "out")
    assert [(s.name, s.score, s.verdict) for s in again.suspects] == [
        (s.name, s.score, s.verdict) for s in first.suspects
    ]


def test_masks_tell_the_object_from_what_is_beside_it(audited: Audited, tmp_path: Path):
    """The object is a dim square; what the network looks at is the bright one beside it."""
    places = [(y, x) for y, x in anywhere(40)]
    images = with_square(dark(40), places)
    for folder in ("bright", "neither"):
        (tmp_path / "masks" / folder).mkdir(parents=True)
    for i in range(40):
        mask = np.zeros((32, 32), np.uint8)
        y, x = (places[i][0] + 16) % 32, (places[i][1] + 16) % 32
        mask[y : y + 8, x : x + 8] = 255
        Image.fromarray(mask).save(tmp_path / "masks" / "bright" / f"{i:03}.png")
        Image.fromarray(mask).save(tmp_path / "masks" / "neither" / f"{i:03}.png")
    found, _ = audited({"bright": images, "neither": dark(40, 1)}, masks=tmp_path / "masks")
    outside = next(s for s in found.suspects if s.kind == "outside" and s.class_name == "bright")
    assert outside.verdict == "shortcut"
    assert outside.measures["inside"] < 0.3


@pytest.mark.parametrize("case", ["all alike", "one image", "one of each", "unreadable", "no labels", "few"])
def test_what_says_little_gets_an_honest_page(audited: Audited, tmp_path: Path, case: str):
    groups = {
        "all alike": {"neither": dark(20)},
        "one image": {"neither": dark(1)},
        "one of each": {"bright": with_square(dark(1), [(0, 0)]), "neither": dark(1, 1)},
        "unreadable": {},
        "no labels": {".": np.concatenate([with_square(dark(20), [(0, 0)] * 20), dark(20, 1)])},
        "few": {"bright": with_square(dark(5), [(0, 0)] * 5), "neither": dark(12, 1)},
    }[case]
    if case == "unreadable":
        (tmp_path / "photos").mkdir()
        for i in range(3):
            (tmp_path / "photos" / f"{i}.png").write_bytes(b"no picture")
    found, folder = audited(groups)
    assert found.verdict == ("shortcut" if case == "no labels" else "clear")
    expected = {
        "all alike": "All images are predicted as “neither”",
        "one image": "All images are predicted as “neither”",
        "one of each": "too few for trials",
        "unreadable": "nothing to audit",
        "no labels": "There are no labels",
        "few": "too few for trials",
    }[case]
    assert any(expected in note for note in found.notes), found.notes
    said = json.loads((folder / "audit" / "verdicts.json").read_text())
    assert said["notes"] == list(found.notes)
    page = (folder / "audit" / "report.html").read_text(encoding="utf-8")
    assert page.rstrip().endswith("</html>")


def test_no_passes_no_verdict(audited: Audited):
    found, _ = audited({"bright": with_square(dark(20), [(0, 0)] * 20), "neither": dark(20, 1)}, passes=0)
    assert found.verdict == "clear"
    assert found.passes == 0
    assert any("not tried" in note for note in found.notes)


def test_photos_that_are_gone_are_said(audited: Audited):
    _, folder = audited({"bright": with_square(dark(20), [(0, 0)] * 20), "neither": dark(20, 1)})
    for path in sorted((folder / "photos" / "bright").iterdir())[:5]:
        path.unlink()
    found = audit(folder / "out")
    assert any("5 of the run's photos are not there" in note for note in found.notes)
    assert found.verdict == "shortcut"


def test_another_program_is_refused(audited: Audited, compiled: dict[str, Path]):
    _, folder = audited({"neither": dark(3)})
    with pytest.raises(UsageError, match="is not the program of the run"):
        audit(folder / "out", compiled["torchscript"])
    with pytest.raises(UsageError, match=r"the run's program .* is not there; name it with --program"):
        audit(folder / "out", folder / "none.onnx")
    with pytest.raises(UsageError, match=r"is not the folder of a run|holds no evidence"):
        audit(folder / "photos")
