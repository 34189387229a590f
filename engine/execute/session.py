"""What a runtime has to offer; each has a file `NAME_session.py` with `open_session`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt


class Session(Protocol):
    """What a runtime has to offer."""

    def __call__(self, inputs: Mapping[str, npt.NDArray[Any]]) -> Sequence[npt.NDArray[np.float32]]:
        """The program's outputs, in its order; `inputs` are in the program's order too."""
        ...
