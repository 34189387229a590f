"""What a runtime has to offer; each has a file `NAME_session.py` with `open_session`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from ..contract import SaccadeError, Spec


class Session(Protocol):
    """What a runtime has to offer."""

    def __call__(self, inputs: Mapping[str, npt.NDArray[Any]]) -> Sequence[npt.NDArray[np.float32]]:
        """The program's outputs, in its order; `inputs` are in the program's order too."""
        ...


@runtime_checkable
class DeviceSession(Session, Protocol):
    """A runtime that takes torch's tensors where they lie."""

    def on_device(self, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> None:
        """Run, and put what comes out into the tensors `outputs`, float32 and contiguous; all of them on the session's
        device. When it returns, the work is queued on torch's current stream or done.
        """
        ...


def check_names(path: Path, spec: Spec, inputs: set[str], outputs: set[str]) -> list[str]:
    """The outputs that a program of this contract gives, in its order.

    Raises:
        SaccadeError: the file has other inputs, or lacks an output.
    """
    names = ["logits", *(m.name for m in spec.maps), *(["features"] if spec.features else [])]
    expected = {"images", "target"} | ({"region"} if spec.target == "region" else set())
    if missing := [n for n in names if n not in outputs] or inputs ^ expected:
        raise SaccadeError(f"load: {path} lacks {sorted(missing)} that its contract names; compile it again")
    return names
