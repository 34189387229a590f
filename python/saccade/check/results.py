"""What a check found: the types that go into its JSON, its table and its sentences."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ..audit.findings import Interval

SCHEMA = 1
"""The version of the JSON file."""

FEW = 10
"""Photos below which intervals are themselves uncertain, and no verdict is given."""

Answer = Literal["yes", "partly", "no", "open"]
"""Whether maps depend on the network. partly: with half of the layers drawn anew they keep more than chance, and not
clearly so little or so much that it is the one or the other. open: too few photos, or too uneven ones, to say."""


@dataclass(frozen=True)
class Redrawn:
    """A method's maps beside those of the network with its upper layers drawn anew.

    Attributes:
        depth: how many layers, counted from the logits.
        layer: the lowest of them.
        rank: Spearman's rank correlation of the maps' values.
        rank_absolute: the same of their magnitudes; equal to `rank` for maps without a sign.
        ssim: their structural similarity.
        blank: share of the photos whose map of the redrawn network is blank; they are left out of the other three.
    """

    depth: int
    layer: str
    rank: Interval
    rank_absolute: Interval
    ssim: Interval
    blank: float


@dataclass(frozen=True)
class Order:
    """What an order of a picture's parts does to the class's probability.

    Attributes:
        deletion: area under the probability while parts are removed, the first ones first; low is good.
        insertion: the same while they come back into the blurred picture; high is good.
    """

    deletion: Interval
    insertion: Interval


@dataclass(frozen=True)
class Located:
    """How maps lie to masks or boxes.

    Attributes:
        pointing: share of the maps whose maximum lies on the object (Zhang et al. 2016).
        inside: share of the positive evidence within it.
    """

    pointing: Interval
    inside: Interval


@dataclass(frozen=True)
class MethodFindings:
    """What was found of one method.

    Attributes:
        method, layer: what was checked.
        blank: photos on which its map is blank; they are left out of everything.
        others: rank correlation (of magnitudes) of the network's maps of different photos: what maps of this method
            have in common whatever they are about.
        redrawn: the cascade, from the last layer alone to all of them.
        order: of the map.
        over_random, over_centre: how much lower the deletion's area is than that of random order and of the order from
            the centre outwards, and how much higher the insertion's, photo by photo; above 0 is good.
        located: where masks or boxes were given.
    """

    method: str
    layer: str
    blank: int
    others: Interval
    redrawn: tuple[Redrawn, ...]
    order: Order
    over_random: Order
    over_centre: Order
    located: Located | None

    @property
    def half(self) -> Redrawn:
        """The first step of the cascade with at least half of the layers drawn anew."""
        return next(r for r in self.redrawn if 2 * r.depth >= self.redrawn[-1].depth)

    @property
    def limit(self) -> float:
        """The rank correlation above which maps with half of the layers drawn anew count as unchanged: a quarter of
        the way from what maps of different photos have in common to 1, at most 0.9 (docs/check.md says what methods of
        known behaviour have).
        """
        chance = max(self.others.value, 0.0) if math.isfinite(self.others.value) else 0.0
        return min(0.9, chance + (1 - chance) / 4)

    @property
    def depends(self) -> Answer:
        """Whether the maps depend on what the upper half of the network has learnt."""
        found = self.half.rank_absolute
        if found.images < FEW:
            return "open"
        if found.high < self.limit:
            return "yes"
        if found.low > self.limit:
            return "no"
        return "partly" if found.low > self.others.high else "open"


@dataclass(frozen=True)
class Check:
    """All that was found.

    Attributes:
        model: the network.
        photos, failed: photos that were asked for, and those of them that could not be read.
        layers: how many layers have weights.
        confidence: the probability of the predicted class, which is what is explained, on whole photos.
        random, centre: what orders that know nothing of the network do.
        located_centre: the picture's middle as a map, and the object's share of the picture as what a uniform map has
            inside; where masks or boxes were given.
        methods: one for each method.
        notes: what limits the check, one sentence each.
        seconds: how long it took.
    """

    model: str
    photos: int
    failed: int
    layers: int
    confidence: Interval
    random: Order
    centre: Order
    located_centre: Located | None
    methods: tuple[MethodFindings, ...]
    notes: tuple[str, ...]
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """As plain values; numbers are rounded to five digits, and null where nothing could be measured."""
        from .telling import sentence

        table = dataclasses.asdict(self)
        for found, row in zip(self.methods, table["methods"], strict=True):
            row |= {"depends": found.depends, "limit": found.limit, "sentence": sentence(found, self)}
        return {"schema": SCHEMA, **_plain(table)}


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.5g}") if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, list | tuple) else value
