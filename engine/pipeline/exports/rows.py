"""What the formats share: the rows to export, the photos behind them, and the folder that they go to."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ... import decode
from ...contract import MapSpec, SaccadeError, Spec, UsageError
from ...sinks.query import EvidenceSlices
from ..views import view_of


@dataclass(frozen=True)
class Export:
    """What is to be exported: rows of a run's evidence, and the program's contract.

    Attributes:
        spec: the contract.
        decode: how the run read its photos.
        rows: the evidence.
        where: what was asked for, for the line that says that there is none.
        on_progress: called with (photos done, photos in all).
        storage: what reads the photos.
    """

    spec: Spec
    decode: Literal["fast", "exact"]
    rows: EvidenceSlices
    where: str | None
    on_progress: Callable[[int, int], None]
    storage: decode.Storage = field(default_factory=lambda: decode.Storage(patience=0))

    @property
    def maps(self) -> list[MapSpec]:
        """The maps that lie on the photo and are in the evidence: all but activations."""
        return [m for m in self.spec.maps if m.kind != "activations" and m.name in self.rows.schema.names]

    def views(self, rows: list[dict[str, Any]]) -> npt.NDArray[np.uint8]:
        """The photos of some rows as the network saw them, uint8 [N, H, W, C]; grey where a photo has gone."""
        with ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="saccade-export") as pool:
            return np.stack(list(pool.map(self._view, rows)))

    def _view(self, row: dict[str, Any]) -> npt.NDArray[np.uint8]:
        return view_of(row, self.storage, self.spec.preprocessing, self.decode)[0]

    def none_found(self) -> UsageError:
        """The line to say where no row matches."""
        return UsageError(f"export: no photo matches {self.where or 'anything'}; loosen --where")


@contextlib.contextmanager
def new_folder(out: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary folder beside `out`; on success give it that name, on any error remove it.

    Raises:
        UsageError: `out` is there already.
        SaccadeError: it cannot be made or written, or the disk is full.
    """
    final = Path(os.path.abspath(out))
    temporary = final.with_name(f".{final.name[:40]}-{os.urandom(6).hex()}.part")
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        temporary.mkdir()
        yield temporary
        if os.path.lexists(final):  # made by somebody else meanwhile
            raise UsageError(f"export: {out} is there already; name a new folder, or remove it")
        os.rename(temporary, final)
    except OSError as error:
        raise SaccadeError(
            f"export: cannot write {out}: {error.strerror or error}; free some space, or choose a folder that you may "
            "write to"
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
