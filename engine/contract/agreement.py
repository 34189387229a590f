"""How near a program's answers are to better ones: what a narrower precision or another runtime costs."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .batch import Maps
from .errors import SaccadeError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

MIN_RANK_CORRELATION = 0.95
MAX_CHANGED = 0.02


@dataclass(frozen=True)
class Agreement:
    """Answers beside better ones, over some images.

    Attributes:
        images: how many.
        changed: the share of images whose predicted class differs, 0..1.
        rank_correlation: map name → the median over images of Spearman's rank correlation of the map's places, -1..1.
        max_error: map name → the median over images of the largest difference, relative to the map's own maximum.
        finite: whether every value is a number; 16 bits overflow beyond 65504.
    """

    images: int
    changed: float
    rank_correlation: Mapping[str, float]
    max_error: Mapping[str, float]
    finite: bool

    def check(
        self,
        what: str,
        advice: str,
        force: bool | None = None,
        predictions: bool = True,
        ranks: float = MIN_RANK_CORRELATION,
    ) -> None:
        """Refuse what disagrees.

        Args:
            what: what was tried, for the message.
            advice: what else to do.
            force: accept all but what is no number; None where nobody can ask for that.
            predictions: whether changed predictions count; of drawn pictures a network is sure of none.
            ranks: the smallest rank correlation that is accepted.

        Raises:
            SaccadeError: a bound is exceeded.
        """
        if not self.finite:
            raise SaccadeError(f"{what} gives values that are no numbers ({self.images} images); {advice}")
        if force:
            return
        low = {name: value for name, value in self.rank_correlation.items() if not value >= ranks}
        if low:
            name, value = next(iter(low.items()))
            reason = f"changes {name}: rank correlation {value:.3f}, expected at least {ranks}"
        elif predictions and self.changed > MAX_CHANGED:
            reason = f"changes {self.changed:.1%} of the predictions, expected at most {MAX_CHANGED:.0%}"
        else:
            return
        hint = "" if force is None else ", or --force"
        raise SaccadeError(f"{what} {reason} ({self.images} images); {advice}{hint}")

    def describe(self) -> str:
        """One line for people."""
        maps = ", ".join(
            f"{name} rank correlation {rank:.4f}, off by {self.max_error[name]:.1e} of its maximum"
            for name, rank in self.rank_correlation.items()
        )
        return f"{self.changed:.1%} of {self.images} predictions change; {maps}"

    def to_json(self) -> dict[str, Any]:
        """As plain values, rounded to what they tell."""
        table = dataclasses.asdict(self)
        for name in ("rank_correlation", "max_error"):
            table[name] = {k: float(f"{v:.4g}") for k, v in table[name].items()}
        return table


def agree(got: Sequence[Maps], expected: Sequence[Maps], classes: bool = True) -> Agreement:
    """Compare answers, batch by batch, with better ones for the same images and targets.

    Args:
        classes: whether the network predicts classes; a regression's largest output says nothing.
    """
    import numpy as np

    changed, ranks, errors, finite = [], {}, {}, True
    for a, b in zip(got, expected, strict=True):
        finite = finite and bool(np.isfinite(a.logits).all() and np.isfinite(b.logits).all())
        different = a.logits.argmax(axis=1) != b.logits.argmax(axis=1)
        changed.append(classes * different.reshape(len(different), -1).mean(axis=1))
        for name, better in b.maps.items():
            values = a.maps[name]
            finite = finite and bool(np.isfinite(values).all() and np.isfinite(better).all())
            pairs = zip(values.reshape(len(values), -1), better.reshape(len(better), -1), strict=True)
            for x, y in pairs:
                ranks.setdefault(name, []).append(spearman(x, y))
                errors.setdefault(name, []).append(np.abs(x - y).max() / max(np.abs(y).max(), 1e-30))
    return Agreement(
        sum(map(len, changed)),
        float(np.concatenate(changed).mean()),
        {name: float(np.median(v)) for name, v in ranks.items()},
        {name: float(np.median(v)) for name, v in errors.items()},
        finite,
    )


def spearman(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> float:
    """Spearman's rank correlation of two arrays, ties sharing their mean rank; of two constant ones 1, of one 0."""
    import numpy as np

    x, y = (_ranks(v.ravel()) for v in (a, b))
    x, y = x - x.mean(), y - y.mean()
    norm = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / norm if norm else float(not x.any() and not y.any())


def _ranks(values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    import numpy as np

    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[place].astype(np.float64)
