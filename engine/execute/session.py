"""What a runtime has to offer; each has a file `NAME_session.py` with `open_session`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt


class Session(Protocol):
    """What a runtime has to offer."""

    def __call__(
        self, images: npt.NDArray[np.uint8], target: npt.NDArray[np.int64]
    ) -> Sequence[npt.NDArray[np.float32]]:
        """The program's outputs, in its order."""
        ...
