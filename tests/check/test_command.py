"""`saccade check` on the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

Say = Callable[..., Any]
SIZE = ("--input-size", "32")


def test_a_table_sentences_and_a_file_and_a_photo_that_cannot_be_read(
    saccade_says: Say, tiny: str, photos: Path, tmp_path: Path
):
    (photos / "bright" / "broken.png").write_bytes(b"\x89PNG broken")
    out = tmp_path / "deep" / "check.json"
    methods = ("-m", "grad-cam", "-m", "eigen-cam")
    said = saccade_says("check", tiny, photos, *SIZE, *methods, "-o", out)
    assert (said.code, said.err) == (3, "")
    lines = said.out.splitlines()
    assert lines[0].split()[:2] == ["depends", "redrawn"]
    assert [line.split()[0] for line in lines[1:5]] == ["grad-cam", "eigen-cam", "random", "centre"]
    assert lines[5].startswith("grad-cam was not shown to depend")  # 7 photos are too few for a verdict
    assert "1 of 8 photos could not be read and are left out." in lines
    told = json.loads(out.read_text())
    assert (told["photos"], told["failed"]) == (8, 1)
    assert [m["method"] for m in told["methods"]] == ["grad-cam", "eigen-cam"]
    assert told["random"]["deletion"]["images"] == 7
    assert told["located_centre"] is None


def test_one_photo_with_a_box(saccade_says: Say, tiny: str, photos: Path, tmp_path: Path):
    photo = photos / "bright" / "0.png"
    (tmp_path / "boxes.csv").write_text("name,box_left,box_top,box_right,box_bottom\n0.png,0,0,96,64\n")
    out = tmp_path / "check.json"
    said = saccade_says("check", tiny, photo, *SIZE, "--boxes", tmp_path / "boxes.csv", "-o", out)
    assert (said.code, said.err) == (0, "")
    told = json.loads(out.read_text())
    assert told["notes"] == ["With fewer than 10 photos (1) there are numbers and no verdicts."]
    assert told["methods"][0]["others"] == {"value": None, "low": None, "high": None, "images": 0}
    assert told["methods"][0]["located"]["pointing"]["value"] == 1  # the box is the whole photo
    assert told["located_centre"]["inside"]["value"] == 1


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("-m", "activations"), "check: activations gives no map of where the evidence lies; choose others"),
        (("-m", "ascent"), "check: ascent gives no map"),
        (("-m", "grad-camm"), "compile: method 'grad-camm' is not known; expected one of grad-cam"),
        (("--layer", "nowhere"), "compile: layer 'nowhere' is not in tinynet"),
        (("--masks", "a", "--boxes", "b"), "--masks and --boxes are both given; give one of them"),
        (("--masks", "nowhere"), "audit: nowhere is no folder of masks"),
    ],
)
def test_what_cannot_be_checked_is_refused_in_one_line(
    saccade_says: Say, tiny: str, photos: Path, tmp_path: Path, words: tuple[str, ...], complaint: str
):
    said = saccade_says("check", tiny, photos, *SIZE, *words, "-o", tmp_path / "out.json")
    assert said.code == 2
    assert said.complaint.startswith(complaint)
    assert not (tmp_path / "out.json").exists()


@pytest.mark.parametrize(
    ("end", "output"),
    [
        ("nn.Linear(6, 1)", "['N', 1])"),
        ("nn.Linear(6, 2), nn.Sigmoid()", "['N', 2], behind a sigmoid, softmax or tanh)"),
        ("nn.Unflatten(1, (6, 1, 1))", "['N', 6, 1, 1])"),
    ],
)
def test_a_regression_and_a_segmentation_are_refused_in_one_line(
    saccade_says: Say, tiny: str, photos: Path, tmp_path: Path, end: str, output: str
):
    source = (tmp_path / "tinynet.py").read_text()
    source += f"\n\ndef build():\n    from torch import nn\n    return nn.Sequential(*build_network()[:-1], {end})\n"
    (tmp_path / "tinynet.py").write_text(source)
    said = saccade_says("check", "tinynet:build", photos, *SIZE, "-o", tmp_path / "out.json")
    assert said.code == 2
    assert said.complaint.startswith(f"check: tinynet:build is no classifier that gives logits (its output is {output}")


def test_photos_none_of_which_can_be_read(saccade_says: Say, tiny: str, tmp_path: Path):
    for i in range(2):
        (tmp_path / f"{i}.png").write_bytes(b"nothing")
    said = saccade_says("check", tiny, tmp_path / "0.png", tmp_path / "1.png", *SIZE, "-o", tmp_path / "out.json")
    assert said.code == 1
    assert said.complaint == "check: none of 2 photos could be read; give a folder of photos"


def test_a_mask_of_another_size_is_one_line(saccade_says: Say, tiny: str, photos: Path, tmp_path: Path):
    (tmp_path / "masks" / "bright").mkdir(parents=True)
    Image.fromarray(np.ones((8, 8), np.uint8)).save(tmp_path / "masks" / "bright" / "0.png")
    said = saccade_says("check", tiny, photos, *SIZE, "--masks", tmp_path / "masks", "-o", tmp_path / "out.json")
    assert said.code == 2
    assert "has 8×8 pixels, its photo 96×64" in said.complaint
