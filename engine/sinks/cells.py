"""What the contact sheet shows, kept shard by shard until it is drawn: FOLDER/.sheet/shard-00000.npz."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..contract import SaccadeError, replacing

Cells = tuple[list[dict[str, Any]], npt.NDArray[np.uint8], dict[str, npt.NDArray[np.float32]]]


def write_cells(
    folder: str | os.PathLike[str],
    shard: int,
    captions: Sequence[Mapping[str, Any]],
    images: Sequence[npt.NDArray[np.uint8]],
    maps: Mapping[str, Sequence[npt.NDArray[np.float32]]],
) -> None:
    """Keep a shard's photos of the sheet, whole or not at all; that there are none is kept too.

    Args:
        folder: the run's folder.
        shard: its number.
        captions: N of what JSON can say.
        images: N of uint8 [H, W, C], what the network saw.
        maps: map name → N of float32 […].

    Raises:
        SaccadeError: they cannot be written.
    """
    arrays = {"captions": np.array(json.dumps(captions))}
    if captions:
        arrays["images"] = np.stack(images)
        arrays |= {f"map_{name}": np.stack(values) for name, values in maps.items()}
    with replacing(_place(folder) / f"shard-{shard:05d}.npz") as path, open(path, "wb") as file:
        np.savez(file, **arrays)  # pyright: ignore[reportArgumentType]


def read_cells(folder: str | os.PathLike[str], shards: Iterable[int]) -> Iterator[Cells]:
    """What `write_cells` kept of these shards: captions, images uint8 [N, H, W, C], maps float32 [N, …].

    Raises:
        SaccadeError: a shard has not kept them, or they are damaged.
    """
    for shard in shards:
        path = _place(folder) / f"shard-{shard:05d}.npz"
        try:
            if not path.is_file():
                raise FileNotFoundError("there is none")
            with np.load(path, allow_pickle=False) as found:
                captions = json.loads(str(found["captions"]))
                maps = {name.removeprefix("map_"): found[name] for name in found.files if name.startswith("map_")}
                cells = captions, found["images"] if captions else np.empty((0, 0, 0, 0), np.uint8), maps
        except Exception as error:  # zip, zlib, numpy and json raise a dozen types for damage
            reason = (str(error) or repr(error)).splitlines()[0][:200]
            raise SaccadeError(f"sheet: cannot read {path}: {reason}; make it with saccade sheet") from None
        if captions:
            yield cells


def remove_cells(folder: str | os.PathLike[str]) -> None:
    """Once the sheet is drawn."""
    shutil.rmtree(_place(folder), ignore_errors=True)


def _place(folder: str | os.PathLike[str]) -> Path:
    return Path(folder) / ".sheet"
