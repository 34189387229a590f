"""Deep dream: the score grows, whatever the picture's size; options and programs that do not fit are refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import saccade
from saccade.engine import ascent
from saccade.engine.contract import UsageError


@pytest.fixture(scope="module")
def program(network: Any) -> saccade.Program:
    return saccade.compile(network, "ascent", to="torchscript", input_size=32)


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    return np.random.default_rng(3).integers(60, 200, (45, 70, 3)).astype(np.uint8)


def scores(network: Any, picture: np.ndarray) -> np.ndarray:
    """The logits of the picture's middle, by the network itself."""
    import torch

    middle = picture[6:38, 19:51].astype(np.float32) / 255
    with torch.no_grad():
        return network(torch.from_numpy(middle).permute(2, 0, 1)[None])[0].numpy()


@pytest.mark.parametrize("target", [0, 1])
def test_the_score_of_the_target_grows(network: Any, program: saccade.Program, picture: np.ndarray, target: int):
    dreamt = saccade.dream(program, picture, target, steps=6, octaves=2)
    assert dreamt.shape == picture.shape
    assert dreamt.dtype == np.uint8
    assert scores(network, dreamt)[target] > scores(network, picture)[target]


def test_the_same_seed_gives_the_same_picture(program: saccade.Program, picture: np.ndarray):
    one, same, other = (saccade.dream(program, picture, 0, steps=3, octaves=1, seed=s) for s in (1, 1, 2))
    assert (one == same).all()
    assert (one != other).any()


def test_the_tiles_cover_a_picture_and_give_its_own_gradient(program: saccade.Program):
    """A picture of two tiles side by side: each half is the tile's own gradient."""
    halves = [ascent.noise(program.spec, seed).astype(np.float32) for seed in (1, 2)]
    alone = [program.runner.run(h[None], 0).maps["ascent"][0] for h in halves]
    together = ascent._tiled_gradient(program.runner, np.concatenate(halves, axis=1), 0)
    assert np.abs(together - np.concatenate(alone, axis=1)).max() <= 1e-3 * np.abs(together).max()
    assert ascent._starts(70, 32) == [0, 32, 38]
    assert ascent._starts(32, 32) == [0]


def test_progress_is_told(program: saccade.Program, picture: np.ndarray):
    seen: list[tuple[int, int]] = []
    how = ascent.Ascent(steps=2, octaves=2)
    ascent.ascend(program.runner, picture, 0, how, lambda done, steps: seen.append((done, steps)))
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "steps=0: expected 1 or more"),
        ({"octave_scale": 1}, "octave_scale=1: expected above 1"),
        ({"step_size": 0}, "step_size=0"),
        ({"stepp": 1}, "there is no option 'stepp'"),
    ],
)
def test_options_out_of_range(program: saccade.Program, picture: np.ndarray, options: dict, message: str):
    with pytest.raises(UsageError, match=message):
        saccade.dream(program, picture, 0, **options)


def test_what_cannot_be_dreamt_of(network: Any, program: saccade.Program, picture: np.ndarray):
    with pytest.raises(UsageError, match="expected at least the network's input, 32x32"):
        saccade.dream(program, picture[:20])
    with pytest.raises(UsageError, match="expected a picture uint8"):
        saccade.dream(program, picture.astype(np.float32))  # pyright: ignore[reportArgumentType]
    with pytest.raises(UsageError, match="compile it with the method ascent"):
        saccade.dream(saccade.compile(network, "saliency", to="torchscript", input_size=32), picture)
    with pytest.raises(UsageError, match="ascent takes float32 pixels and makes a program of its own"):
        saccade.compile(network, "ascent", "saliency", input_size=32)
    with pytest.raises(UsageError, match=r"expected images float32 \[N, 32, 32, 3\], got uint8"):
        program(picture[None, :32, :32])
