"""Photos for the decode tests, made on the spot; the shared ones where they are there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"


@pytest.fixture
def shared_photos() -> list[Path]:
    photos = sorted((SHARED / "photos").glob("*/*.jp*g"))
    if not photos:
        pytest.skip("needs the shared photos")
    return photos


@pytest.fixture
def scene() -> npt.NDArray[np.uint8]:
    """uint8 [90, 131, 3], smooth in one half and rough in the other, different at every edge and corner."""
    rng = np.random.default_rng(7)
    y, x = np.mgrid[0:90, 0:131]
    colours = np.stack([x * 255 // 130, y * 255 // 89, (x * 3 + y * 5) % 256], axis=-1)
    colours[:, 70:] = colours[:, 70:] // 2 + rng.integers(0, 128, (90, 61, 3))
    return colours.astype(np.uint8)


@pytest.fixture
def folder(tmp_path: Path, scene: npt.NDArray[np.uint8]) -> Path:
    """Two classes with three photos each, and what is no photo beside them."""
    for i in range(6):
        path = tmp_path / "set" / ("cat", "dog")[i % 2] / f"{i}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.roll(scene, 9 * i, axis=1)).save(path, quality=92)
    (tmp_path / "set" / "notes.txt").write_text("no photo")
    (tmp_path / "set" / "cat" / ".hidden.jpg").write_bytes(b"no photo")
    return tmp_path / "set"
