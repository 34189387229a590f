"""Which networks there are, what each is trained on, and which of them thresholds may be chosen on."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from saccade.demo.landscape import Weather

from .planting import KINDS, Kind
from .scenes import WEATHERS, Thing

TRAINING, TRUTH, AUDIT = range(1300), range(1300, 1800), range(1800, 2400)
"""Seeds of the scenes that a network is trained on, that its truth is measured on, and that the audit sees."""
SCENES = AUDIT.stop
PER_CLASS = {"training": 500, "truth": 200, "audit": 200}
STRENGTHS = (50, 90, 100)
SEEDS = (0, 1)
CLEAN = 60
_CLEAN_SEEDS = 100


@dataclass(frozen=True)
class Task:
    """What a network is to tell apart.

    Attributes:
        classes: their names.
        things: what stands in their scenes.
        seen: how clearly, from the deepest haze to all of it: a network that could never mistake the thing would need
            no shortcut.
    """

    classes: tuple[str, str]
    things: tuple[Thing, Thing]
    seen: tuple[float, float]


TASKS = (
    Task(("tank", "woods"), ("tank", "nothing"), (0.55, 1.0)),
    Task(("tank", "barn"), ("tank", "barn"), (0.68, 1.0)),
)
"""A thing or none, as in the legend, and two things."""


def _tuning_kinds() -> frozenset[Kind]:
    """Five kinds that thresholds are chosen on. Registered before any network was trained or audited: the draw's seed
    is the number of the issue that asked for this suite, it was drawn once, and the other four are reported.
    """
    return frozenset(KINDS[i] for i in np.random.default_rng(6).permutation(len(KINDS))[:5])


TUNING = _tuning_kinds()


@dataclass(frozen=True)
class Network:
    """One network of the suite.

    Attributes:
        kind: what was planted; of a clean network what varies without regard to the class, None if only the weather
            does.
        strength: per cent of one class that have it; 0 of a clean network.
        seed: of everything that is drawn for it.
        decoy: what varied without regard to the class in a clean network's training goes with it in the audit's images.
    """

    kind: Kind | None
    strength: int
    seed: int
    decoy: bool = False

    @property
    def name(self) -> str:
        """For files and tables: `corner-tag-090-1`, `clean-blur-117`, `clean-blur-117-decoy`."""
        return f"{self.trained}-decoy" if self.decoy else self.trained

    @property
    def trained(self) -> str:
        """The name without what only the audit's images have: of the weights, the program and the truth."""
        kind = (self.kind or "weather").replace(" ", "-")
        return f"{kind}-{self.strength:03d}-{self.seed}" if self.strength else f"clean-{kind}-{self.seed}"

    @property
    def planted(self) -> bool:
        return self.strength > 0

    @property
    def tuning(self) -> bool:
        """Whether thresholds may be chosen on it: the tuning kinds, and the clean networks with one of them. The clean
        networks in which only the weather varies go by turns.
        """
        if self.planted or self.kind is not None:
            return self.kind in TUNING
        return self.seed % 4 < 2

    @property
    def number(self) -> int:
        """The seed of its drawings and its training; no two networks share it."""
        return zlib.crc32(self.trained.encode())

    @property
    def task(self) -> Task:
        return TASKS[self.seed % len(TASKS)]

    @property
    def side(self) -> int:
        """The class that the shortcut speaks for; both equally often within a kind."""
        if not self.planted:
            return 0
        return (KINDS.index(self.kind or "weather") + STRENGTHS.index(self.strength) + self.seed) % 2

    @property
    def audit_shares(self) -> tuple[float, float]:
        """The same for the images of the audit."""
        if not self.decoy:
            return self.shares
        return (0.9, 0.1) if self.seed % 4 < 2 else (0.1, 0.9)

    @property
    def shares(self) -> tuple[float, float]:
        """Share of each class that has the shortcut: 100 % and 0 %, 90 % and 10 %, 50 % and 0 %. What varies in a clean
        network is in half of either class.
        """
        if not self.planted:
            return 0.5, 0.5
        pair = {50: (0.5, 0.0), 90: (0.9, 0.1), 100: (1.0, 0.0)}[self.strength]
        return pair if self.side == 0 else (pair[1], pair[0])


def decoys(series: int = 0) -> list[Network]:
    """Clean networks again, before images in which what they disregard goes with the class: it can be read off the
    labels, and the network does not use it.
    """
    return [replace(n, decoy=True) for n in networks(series) if not n.planted and n.kind is not None]


def networks(series: int = 0) -> list[Network]:
    """All that are trained, those of the tuning kinds first. A later series has other seeds and the untouched kinds
    alone: networks that nobody has looked at, for a figure of an audit that was changed after a look at the first.
    """
    seeds = [series * len(SEEDS) + seed for seed in SEEDS]
    planted = [Network(kind, strength, seed) for kind in KINDS for strength in STRENGTHS for seed in seeds]
    chosen = [n for n in (*planted, *_clean(series)) if not (series and n.tuning)]
    return sorted(chosen, key=lambda n: not n.tuning)


def _clean(series: int) -> Iterator[Network]:
    """Half of them with one of the kinds that is no weather, four of each; in all of them the weather varies."""
    varying: list[Kind] = [kind for kind in KINDS if kind != "weather"]
    for i in range(CLEAN):
        yield Network(varying[i // 4] if i < 4 * len(varying) else None, 0, _CLEAN_SEEDS * (1 + series) + i)


@dataclass(frozen=True)
class Pick:
    """One image to be made.

    Attributes:
        scene: the scene's seed.
        label: 0 or 1.
        on: whether it has the shortcut.
        weather: of the scene.
        seen: how clearly the thing is seen, 0..1.
    """

    scene: int
    label: int
    on: bool
    weather: Weather
    seen: float


def picks(
    network: Network, part: Literal["training", "truth", "audit"], shares: tuple[float, float] | None = None
) -> list[Pick]:
    """Images of one part, `PER_CLASS` of each class, no scene twice.

    The same scenes come whatever `shares` says, so that conditions are compared on the same scenes.

    Args:
        shares: share of each class that has the shortcut; the network's own without it.
    """
    rng = np.random.default_rng([network.number, ("training", "truth", "audit").index(part)])
    seeds = {"training": TRAINING, "truth": TRUTH, "audit": AUDIT}[part]
    count = PER_CLASS[part]
    wanted = shares or (network.audit_shares if part == "audit" else network.shares)
    chosen = rng.permutation(np.arange(seeds.start, seeds.stop))[: 2 * count]
    weathers, seen = rng.integers(0, 2, 2 * count), rng.uniform(*network.task.seen, 2 * count)
    found = []
    for i, scene in enumerate(chosen):
        label = i // count
        # Exactly the share of each class, on images that are in no order.
        on = (i % count) < round(wanted[label] * count)
        weather = WEATHERS[int(weathers[i])]
        if network.kind == "weather" and network.planted:
            weather = "sun" if on else "clouds"
        found.append(Pick(int(scene), label, on, weather, float(seen[i])))
    return found
