"""Pixels to picture files, and the place where a photo's overlay goes."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from ..contract import UsageError, replacing


def write_picture(path: str | os.PathLike[str], pixels: npt.NDArray[np.uint8], quality: int = 90) -> None:
    """Write a picture, whole or not at all.

    Args:
        path: ends in .jpg, .jpeg or .png, in any case; its folder is made where it is missing.
        pixels: uint8 [H, W, 3], RGB.
        quality: of a JPEG, 1 to 95.

    Raises:
        UsageError: another ending.
        SaccadeError: it cannot be written.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in (".jpg", ".jpeg", ".png"):
        raise UsageError(f"write: {path} ends in {suffix or 'nothing'}; name it .jpg or .png")
    picture = Image.fromarray(pixels)
    with replacing(path) as temporary:
        if suffix == ".png":
            picture.save(temporary, "PNG")
        else:
            picture.save(temporary, "JPEG", quality=quality)


def overlay_path(folder: str | os.PathLike[str], name: str, map_name: str) -> Path:
    """FOLDER/overlays/NAME.MAP.jpg, for a photo's name from anywhere.

    The path lies in FOLDER/overlays whatever the name says, and differs for names that differ: a name that would
    escape, that a file system would not take or that could stand in the way of another overlay goes to
    FOLDER/overlays/_/SHA256.MAP.jpg.

    Args:
        folder: the run's folder.
        name: the photo's name, `Record.name`.
        map_name: the map's name, `MapSpec.name`.

    Raises:
        UsageError: the map's name is no identifier.
    """
    if not map_name.isidentifier():
        raise UsageError(f"write: {map_name!r} is no map's name; expected one such as grad_cam")
    overlays = Path(folder) / "overlays"
    ending = f".{map_name}.jpg"
    if _is_plain(name, ending):
        return overlays / (name + ending)
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
    return overlays / "_" / (digest + ending)


def _is_plain(name: str, ending: str) -> bool:
    """Whether `name` can be a relative path as it stands."""
    parts = name.split("/")
    return (
        name.isprintable()
        and "\\" not in name
        and parts[0] != "_"
        and not any(part in ("", ".", "..") for part in parts)
        # A folder that is named like an overlay would take the place of one.
        and not any(part.lower().endswith(".jpg") for part in parts[:-1])
        and max(len(part.encode()) for part in parts) + len(ending.encode()) <= 200
        and len(name.encode()) <= 1000
    )
