"""From suspicion to proof: images are changed and go through the network once more.

Every trial has its control. What a change takes from the other classes' images is, in the control, taken from the
class's own: the picture is disturbed in the same way, and only what tells the classes apart differs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from ..engine import execute
from ..engine.contract import softmax
from .findings import Example, Interval, Trial

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

_RESAMPLES = 2000
_EXAMPLES = 4


class Network:
    """The program, asked for probabilities; it counts what went through.

    Attributes:
        passes: images that went through it.
    """

    def __init__(self, runner: execute.Runner, batch_size: int) -> None:
        self._runner, self._batch = runner, batch_size
        self.passes = 0

    def __call__(self, images: Pixels) -> Floats:
        """Probabilities of uint8 images [N, H, W, C]: float32 [N, K], the predicted class is the greatest."""
        parts = [self._runner.run(images[i : i + self._batch]).logits for i in range(0, len(images), self._batch)]
        self.passes += len(images)
        if not parts:
            return np.zeros((0, self._runner.spec.num_outputs), np.float32)
        logits = np.concatenate(parts)
        if not self._runner.spec.softmax:
            return logits  # the network's own probabilities, or what it has instead
        return softmax(logits)


@dataclass(frozen=True)
class Group:
    """Images that the network has seen.

    Attributes:
        rows: int [N], their places in the evidence.
        images: uint8 [N, H, W, C].
        said: float32 [N, K], their probabilities.
    """

    rows: npt.NDArray[np.intp]
    images: Pixels = field(repr=False)
    said: Floats = field(repr=False)

    def __len__(self) -> int:
        return len(self.rows)

    def part(self, which: slice | npt.NDArray[np.intp]) -> Group:
        """Some of the images."""
        return Group(self.rows[which], self.images[which], self.said[which])


@dataclass(frozen=True)
class Outcome:
    """What one change did, image by image.

    Attributes:
        flipped: bool [N], the prediction went where the trial wants it: away from the class, or to it.
        change: float32 [N], of the class's probability.
        after: float32 [N, K].
        images: uint8 [N, H, W, C], as changed.
    """

    flipped: npt.NDArray[np.bool_]
    change: Floats
    after: Floats = field(repr=False)
    images: Pixels = field(repr=False)


NOTHING = Outcome(
    np.zeros(0, bool), np.zeros(0, np.float32), np.zeros((0, 0), np.float32), np.zeros((0, 0, 0, 0), np.uint8)
)
"""Of no images."""


def outcome(network: Network, group: Group, changed: Pixels, index: int, leaves: bool) -> Outcome:
    """Ask the network about changed images.

    Args:
        group: the images as they were.
        index: the class at stake.
        leaves: count predictions that leave the class, else those that come to it.
    """
    after = group.said.copy()
    new = np.flatnonzero((changed != group.images).any(axis=(1, 2, 3)))  # what is equal needs no second look
    after[new] = network(changed[new])
    before, now = group.said.argmax(axis=1) == index, after.argmax(axis=1) == index
    flipped = before & ~now if leaves else ~before & now
    return Outcome(flipped, after[:, index] - group.said[:, index], after, changed)


def trial(
    group: Group,
    index: int,
    kind: Literal["replace", "transplant", "shift", "shift-in"],
    how: tuple[str, Outcome],
    control: tuple[str, Outcome | None],
    names: Sequence[str],
    rng: np.random.Generator,
    examples: int = _EXAMPLES,
) -> Trial:
    """A change beside its control, on the same images, in numbers.

    Args:
        group: the images as they were.
        index: the class at stake.
        kind: see `findings.Trial`.
        how, control: what was done, in words, and what came of it; a control is None where the change did so little
            that none was needed.
        names: the classes'.
        rng: of the bootstrap.
        examples: how many to keep.
    """
    treated, sham = how[1], control[1] or NOTHING
    # Those that flipped first, and of them the clearest.
    towards = treated.change if kind in ("replace", "shift") else -treated.change
    order = np.lexsort((towards, ~treated.flipped))[:examples]
    shown = tuple(
        Example(
            int(group.rows[i]),
            names[int(group.said[i].argmax())],
            names[int(treated.after[i].argmax())],
            float(group.said[i, index]),
            float(treated.after[i, index]),
            group.images[i].copy(),  # not all of the images with it
            treated.images[i].copy(),
        )
        for i in order
    )
    return Trial(
        how[0],
        kind,
        interval(treated.flipped, rng),
        interval(treated.change, rng),
        control[0],
        interval(sham.flipped, rng),
        interval(sham.change, rng),
        shown,
    )


def interval(values: npt.NDArray[np.generic], rng: np.random.Generator) -> Interval:
    """A mean with its 95 % percentile bootstrap interval (Efron 1979) over images.

    Where all values are equal, resampling says nothing: a share of 0 or 1 gets the rule of three's bound instead
    (Hanley & Lippman-Hand 1983: 3 ÷ n).
    """
    numbers = values.astype(np.float64)
    if not len(numbers):
        return Interval(float("nan"), float("nan"), float("nan"), 0)
    mean = float(numbers.mean())
    if values.dtype == bool and mean in (0.0, 1.0):
        room = min(1.0, 3 / len(numbers))
        return Interval(mean, max(0.0, mean - room), min(1.0, mean + room), len(numbers))
    means = numbers[rng.integers(0, len(numbers), (_RESAMPLES, len(numbers)))].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return Interval(mean, float(low), float(high), len(numbers))


def effect_interval(trials: Sequence[Trial]) -> tuple[float, float, float]:
    """The mean over trials of flips beyond the control's, with a 95 % interval by error propagation.

    The trials' own intervals are taken as normal and independent; they are of the same images, in part.

    Returns:
        value, low, high; zeros without trials.
    """
    if not trials:
        return 0.0, 0.0, 0.0
    value = float(np.mean([t.effect for t in trials]))
    squares = [((i.high - i.low) / 2) ** 2 for t in trials for i in (t.flips, t.control_flips) if np.isfinite(i.value)]
    half = float(np.sqrt(np.sum(squares))) / len(trials)
    return value, value - half, value + half


def donors(count: int, among: int, rng: np.random.Generator, others: bool) -> npt.NDArray[np.intp]:
    """For each of `count` images the number of its donor, of `among`; not itself where they are the same images."""
    if others:
        return rng.integers(0, among, count)
    # Along one random circle: nobody is its own donor.
    order = rng.permutation(count)
    found = np.empty(count, np.intp)
    found[order] = np.roll(order, 1)
    return found
