"""Photos for the decode tests, made on the spot; the shared ones where they are there."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from saccade.engine.contract import Preprocessing, Record
from saccade.engine.decode import Decoder, batches_of, list_photos, read_view, write_manifest

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


Through = Callable[..., tuple[list[Record], list[npt.NDArray[np.uint8]]]]


@pytest.fixture
def through(tmp_path: Path) -> Through:
    """List sources, straight and through a manifest, decode them with 1 and 4 threads, and see that all that agrees."""

    def run(*sources: str | Path, batch: int = 4) -> tuple[list[Record], list[npt.NDArray[np.uint8]]]:
        words = [str(source) for source in sources]
        photos = list_photos(words)
        manifest = write_manifest(tmp_path / "manifest.arrow", words)
        assert list(manifest) == photos
        p = Preprocessing(24, 24, 3, "stretch")
        runs = []
        for threads, listed in ((1, photos), (4, manifest), (4, photos)):
            with Decoder(batches_of(listed, batch), p, "exact", threads) as decoder:
                batches = list(decoder)
            records = [r for b in batches for r in b.records]
            runs.append((records, [image for b in batches for image in b.images]))
        for other in runs[1:]:
            assert other[0] == runs[0][0]
            np.testing.assert_array_equal(other[1], runs[0][1])
        assert [r.index for r in runs[0][0]] == list(range(len(photos)))
        return runs[0]

    return run


@pytest.fixture
def pictures(scene: npt.NDArray[np.uint8]) -> list[bytes]:
    """Twelve different JPEG files."""
    found = []
    for i in range(12):
        file = io.BytesIO()
        Image.fromarray(np.roll(scene, 11 * i, axis=1)).save(file, "JPEG", quality=92)
        found.append(file.getvalue())
    return found


@pytest.fixture
def expected(pictures: list[bytes]) -> list[npt.NDArray[np.uint8]]:
    """What `through` has to find in them."""
    return [read_view(picture, Preprocessing(24, 24, 3, "stretch"), "exact")[0] for picture in pictures]
