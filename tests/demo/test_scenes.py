"""The painter: the same seed gives the same bytes, and its masks say what the picture shows."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from saccade.demo.landscape import Weather
from saccade.demo.scenes import SIZE, paint, write_set

SEEDS = range(40, 48)


@pytest.mark.parametrize("tank", [True, False])
@pytest.mark.parametrize("weather", ["sun", "clouds"])
def test_same_seed_same_bytes(tank: bool, weather: Weather) -> None:
    once, again = paint(7, tank, weather), paint(7, tank, weather)
    assert once.image.dtype == np.uint8
    assert once.image.shape == (SIZE, SIZE, 3)
    assert once.sky.dtype == once.tank.dtype == np.bool_
    assert once.sky.shape == once.tank.shape == (SIZE, SIZE)
    for name in ("image", "sky", "tank"):
        np.testing.assert_array_equal(getattr(once, name), getattr(again, name))
    assert (paint(8, tank, weather).image != once.image).mean() > 0.5


def test_same_bytes_in_another_process_whatever_was_painted_before() -> None:
    program = "import sys; from saccade.demo.scenes import paint; sys.stdout.buffer.write(paint(7, True, 'sun').image)"
    environment = {"PYTHONPATH": str(Path(sys.modules["saccade.demo"].__path__[0]).parents[1]), "PYTHONHASHSEED": "3"}
    paint(3, False, "clouds")
    fresh = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, check=True).stdout
    assert fresh == paint(7, True, "sun").image.tobytes()


def test_painting_needs_no_torch() -> None:
    program = "import sys, saccade.demo.scenes, saccade.demo.measure; print('torch' in sys.modules)"
    environment = {"PYTHONPATH": str(Path(sys.modules["saccade.demo"].__path__[0]).parents[1])}
    told = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, check=True, text=True)
    assert told.stdout.strip() == "False"


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("weather", ["sun", "clouds"])
def test_masks_are_consistent(seed: int, weather: Weather) -> None:
    with_tank, without = paint(seed, True, weather), paint(seed, False, weather)
    assert not without.tank.any()
    assert not (with_tank.tank & with_tank.sky).any()
    assert 0.1 < with_tank.sky.mean() < 0.55
    assert not with_tank.sky[int(0.55 * SIZE) :].any(), "sky below the horizon"
    assert with_tank.sky[:4].mean() > 0.4, "the top of the frame is mostly sky"
    columns = np.flatnonzero(with_tank.tank.any(0))
    rows = np.flatnonzero(with_tank.tank.any(1))
    assert 80 < with_tank.tank.sum() < 1200
    assert 14 < columns[-1] - columns[0] < 75
    assert rows[0] > 0.35 * SIZE


@pytest.mark.parametrize("seed", SEEDS)
def test_only_the_tank_differs(seed: int) -> None:
    with_tank, without = paint(seed, True, "clouds"), paint(seed, False, "clouds")
    changed = np.abs(with_tank.image.astype(int) - without.image).max(2) > 6
    assert changed[with_tank.tank].mean() > 0.6
    rows, columns = np.nonzero(with_tank.tank)
    nearby = np.zeros_like(changed)
    nearby[rows.min() - 8 : rows.max() + 9, max(columns.min() - 12, 0) : columns.max() + 13] = True
    assert not changed[~nearby].any(), "the tank changed something far from it"


def test_weather_changes_the_sky_most() -> None:
    sky, ground = [], []
    for seed in SEEDS:
        sun, clouds = paint(seed, False, "sun"), paint(seed, False, "clouds")
        np.testing.assert_array_equal(sun.sky, clouds.sky)
        # Blue against red, relative to brightness: the colour of the light, not its strength.
        blue = [(s.image[..., 2].astype(float) - s.image[..., 0]) / (s.image.mean(2) + 1) for s in (sun, clouds)]
        sky.append(abs(blue[0][sun.sky].mean() - blue[1][sun.sky].mean()))
        ground.append(abs(blue[0][~sun.sky].mean() - blue[1][~sun.sky].mean()))
    assert np.mean(sky) > 2 * np.mean(ground)


def test_a_larger_painting_is_the_same_wood() -> None:
    small, large = paint(5, True, "sun"), paint(5, True, "sun", size=2 * SIZE)
    assert large.image.shape == (2 * SIZE, 2 * SIZE, 3)
    halved = np.asarray(Image.fromarray(large.image).resize((SIZE, SIZE), Image.Resampling.BOX)).astype(int)
    assert np.abs(halved - small.image).mean() < 14
    assert (large.sky[::2, ::2] == small.sky).mean() > 0.96


def test_write_set_names_files_by_label(tmp_path: Path) -> None:
    written = write_set(tmp_path, [(3, True, "sun"), (4, False, "clouds")])
    assert [p.relative_to(tmp_path).as_posix() for p in written] == [
        "tank/tank-sun-00003.png",
        "woods/woods-clouds-00004.png",
    ]
    np.testing.assert_array_equal(np.asarray(Image.open(written[0])), paint(3, True, "sun").image)
