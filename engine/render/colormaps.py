"""The colour tables: one copy, compiled into the extension from csrc/cpu, read here through it."""

from __future__ import annotations

from functools import cache
from typing import Literal

import numpy as np
import numpy.typing as npt

from saccade import _native

ColormapName = Literal["gray", "inferno", "jet", "turbo", "viridis"]


def colormap(name: ColormapName | str) -> npt.NDArray[np.uint8]:
    """The table of `name`, uint8 [256, 3]: red, green, blue for each index; read-only.

    viridis and inferno rise evenly in lightness, so they also read in grey and by colour-blind eyes; turbo and jet do
    not, and are here because many papers show them.

    Raises:
        UsageError: there is no colormap of that name.
    """
    return _table(name)


@cache
def _table(name: str) -> npt.NDArray[np.uint8]:
    return np.frombuffer(_native.colormap(name), np.uint8).reshape(256, 3)


def colormap_names() -> tuple[str, ...]:
    """The names that `colormap` knows, sorted."""
    return tuple(_native.colormap_names())
