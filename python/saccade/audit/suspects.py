"""Every candidate is tried on few images, and what stays suspicious on others; then comes the verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from . import interventions, places
from .candidates import SAME_PLACE, Candidate, confined
from .findings import Suspect, Trial, Verdict
from .places import Place
from .proof import Group, Network, donors, effect_interval, outcome, trial

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

SHORTCUT = 0.15
"""Flips beyond the control's, mean of both directions, from which the network is said to use something. Chosen on five
kinds of benchmarks/shortcuts, reported on the four others."""
SUSPECT = 0.08
"""From here on it is suspected, and tried on more images."""

_FEW = 24  # images of each side in the first trial; the second has the rest
_SHOWN = 12  # images of a suspect
_FILLED = 32  # images of those that are blurred and filled: it only adds to what the second trial shows


@dataclass(frozen=True)
class Sides:
    """A class's images and the others', cut into those of the first trials and those of the second.

    Attributes:
        index: the class.
        name: its name.
        others_name: what the others are called.
        images: predicted as the class, in the whole run.
        first, second: (own, others).
    """

    index: int
    name: str
    others_name: str
    images: int
    first: tuple[Group, Group]
    second: tuple[Group, Group]


def cut(index: int, name: str, others_name: str, images: int, own: Group, others: Group) -> Sides:
    """The first trials' images are not the second's, where there are enough: what was chosen for its effect on some
    images is measured on others.
    """

    def halves(group: Group) -> tuple[Group, Group]:
        few = min(_FEW, len(group) // 3) if len(group) >= 9 else 0
        first, second = (slice(few), slice(few, None)) if few else (slice(None), slice(None))
        return group.part(first), group.part(second)

    (own1, own2), (others1, others2) = halves(own), halves(others)
    return Sides(index, name, others_name, images, (own1, others1), (own2, others2))


def try_all(
    network: Network,
    proposed: Sequence[tuple[Sides, Candidate]],
    names: Sequence[str],
    limit: int,
    seed: int,
    two_classes: bool,
) -> tuple[list[Suspect], int]:
    """Try candidates: those with the greatest `prior` first, and what has an effect once more, on other images.

    Args:
        network: what is asked; counts its passes.
        proposed: candidates, each with its class's images.
        names: the classes'.
        limit: passes that may be spent.
        seed: of the donors and the bootstrap.
        two_classes: what takes from the one class gives to the other, so that a thing is found once for both.

    Returns:
        The suspects, `clear` ones too; and how many candidates were not tried, for want of passes.
    """
    end = network.passes + limit
    ordered = sorted(proposed, key=lambda pair: -pair[1].prior)
    tried: list[tuple[float, Sides, Candidate, tuple[Trial, ...]]] = []
    for place, (sides, candidate) in enumerate(ordered):
        cost = 2 * sum(map(len, sides.first))  # with its controls
        if tried and network.passes + cost > end - limit // 3:  # the rest is for the second trials
            break
        trials = both_ways(network, sides, sides.first, candidate, names, seed + place)
        tried.append((effect_interval(trials)[0], sides, candidate, trials))
    # Of places that overlap, all with the effect, the one that fits what differs comes first, of the others the rest.
    tried.sort(key=lambda item: -item[0] * item[2].measures.get("fit", 1.0))
    found: list[Suspect] = []
    for place, (effect, sides, candidate, trials) in enumerate(tried):
        if effect >= SUSPECT / 2 and network.passes < end:
            known = (f for f in found if f.verdict == "shortcut" and (two_classes or f.class_name == sides.name))
            rest = _beyond(candidate, [f.where for f in known if f.where is not None], sides)
            if rest is None:
                continue  # it was the same place, or a part of it
            candidate = rest
            trials = both_ways(network, sides, sides.second, candidate, names, seed + 1000 + place)
            if candidate.where is not None and effect_interval(trials)[0] >= SUSPECT:
                trials += _filled(network, sides, candidate, names, seed + 2000 + place)
            found.append(judged(candidate, sides, trials, SHORTCUT))
        else:  # what was chosen for its effect is not judged by it
            found.append(judged(candidate, sides, trials, 2.0))
    return found, len(ordered) - len(tried)


def _beyond(candidate: Candidate, explained: Sequence[Floats], sides: Sides) -> Candidate | None:
    """What is left of a place beyond those that did more; None if that is less than half of it."""
    if candidate.where is None:
        return candidate
    left = candidate.where * np.prod([1 - w for w in explained], axis=0) if explained else candidate.where
    if left.sum() < 0.5 * candidate.where.sum():
        return None
    return candidate if (left == candidate.where).all() else confined(candidate, left, sides.first[0].images.shape[1:3])


def both_ways(
    network: Network,
    sides: Sides,
    images: tuple[Group, Group],
    candidate: Candidate,
    names: Sequence[str],
    seed: int,
) -> tuple[Trial, ...]:
    """Taken from the class's images, and given to the others; with controls where that did anything."""
    rng = np.random.default_rng(seed)
    treated, givers = [], []
    for inward, (group, other) in enumerate((images, images[::-1])):
        donor = other.part(donors(len(group), len(other), rng, True))
        changed = candidate.change(group, donor, bool(inward))
        treated.append(outcome(network, group, changed, sides.index, leaves=not inward))
        givers.append(donors(len(group), len(group), rng, False))
    needed = float(np.mean([t.flipped.mean() for t in treated])) >= SUSPECT / 2
    found = []
    for inward, group in enumerate(images):
        if candidate.kind == "attribute" and (treated[inward].images == group.images).all():
            continue  # it cannot be set: a JPEG's quality cannot be raised
        sham = None
        if needed:
            changed = candidate.control(group, group.part(givers[inward]), bool(inward))
            sham = outcome(network, group, changed, sides.index, leaves=not inward)
        words = [
            text.format(own=f"“{sides.name}” images", others=sides.others_name)
            for text in (candidate.words[inward], candidate.controls[inward])
        ]
        kind = _KINDS[candidate.kind == "attribute"][inward]
        found.append(trial(group, sides.index, kind, (words[0], treated[inward]), (words[1], sham), names, rng))
    return tuple(found)


_KINDS: tuple[tuple[Literal["replace"], Literal["transplant"]], tuple[Literal["shift"], Literal["shift-in"]]] = (
    ("replace", "transplant"),
    ("shift", "shift-in"),
)


def _filled(network: Network, sides: Sides, candidate: Candidate, names: Sequence[str], seed: int) -> tuple[Trial, ...]:
    """The place blurred, and filled from its surroundings; the control is as large a place elsewhere."""
    assert candidate.where is not None
    rng = np.random.default_rng(seed)
    own = sides.second[0]
    own = own.part(slice(min(len(own), _FILLED)))
    size = own.images.shape[1:3]
    other = places.elsewhere(Place(candidate.name, candidate.where))
    if other is None:
        return ()
    places_ = [interventions.feathered(where, *size) for where in (candidate.where, other.where)]
    found = []
    for how, fill in (("blurred", _blur), ("filled from its surroundings", interventions.inpainted)):
        here, there = (outcome(network, own, fill(own.images, w), sides.index, True) for w in places_)
        words = (f"{candidate.name} {how}", f"{other.name}, as large, {how}")
        found.append(trial(own, sides.index, "replace", (words[0], here), (words[1], there), names, rng, 0))
    return tuple(found)


def _blur(images: Pixels, weights: Floats) -> Pixels:
    return interventions.mixed(images, interventions.blurred(images), weights)


def judged(candidate: Candidate, sides: Sides, trials: tuple[Trial, ...], least: float) -> Suspect:
    """The verdict over a candidate's trials, and the sentence; `least` is the score from which it is a shortcut."""
    effect, low, high = effect_interval(trials[:2])
    verdict: Verdict = "clear"
    # An object that is often in a place makes flips there as well: they count as far as the place is where the
    # classes' images differ.
    score = float(np.clip(effect * candidate.measures.get("fit", 1.0), 0, 1))
    # Whatever damages an image takes it from its class; only what speaks for the class brings others to it.
    both = candidate.kind != "attribute" or all(t.effect > 0 for t in trials[:2])
    if score >= least and low > 0 and both:
        verdict = "shortcut"
    elif score >= SUSPECT:
        verdict = "suspect"
    suspect = Suspect(
        candidate.kind,
        candidate.name,
        sides.name,
        sides.images,
        candidate.share,
        candidate.why,
        {**candidate.measures, "effect": effect, "effect_low": low, "effect_high": high},
        candidate.where,
        trials,
        verdict,
        score,
        rows=(candidate.rows or tuple(sides.second[0].rows.tolist()))[:_SHOWN],
    )
    return replace(suspect, sentence=sentence(suspect, sides.others_name))


def sentence(suspect: Suspect, others: str) -> str:
    """What one would tell a colleague."""
    own = f"“{suspect.class_name}” images"
    if suspect.kind == "place" and suspect.measures.get("evidence_inside", 0.0) >= SAME_PLACE:
        begin = f"In {suspect.share:.0%} of {own} most of the evidence lies in {suspect.name}"
    elif suspect.kind == "place":
        begin = f"{own} show something of their own in {suspect.name}"
    elif suspect.kind == "pattern":
        begin = f"What the network looks at in some {own} is found again in {suspect.share:.0%} of them: {suspect.name}"
    elif suspect.kind == "outside":
        begin = f"{suspect.share:.0%} of the evidence in {own} lies outside of the object"
    else:
        begin = f"{own} differ from others in their {suspect.name}"
    away, here = _DONE[suspect.kind]
    parts = []
    for t in suspect.trials[:2]:
        words = away if t.kind in ("replace", "shift") else here
        control = f" (control: {t.control_flips.value:.0%})" if t.control_flips.images else ""
        result = "flips {:.0%} of them" if words == away else f"makes {{:.0%}} of those “{suspect.class_name}”"
        parts.append(f"{words.format(others=others)} {result.format(t.flips.value)}{control}")
    said = f"{begin}; {', and '.join(parts)}." if parts else f"{begin}; that could not be tried."
    if suspect.verdict == "suspect":
        said += " That does not show that the network relies on it."
    elif suspect.verdict == "clear":
        said += (
            " But that is not where the classes' images differ: it may be the thing itself."
            if suspect.measures.get("effect", 0.0) >= SUSPECT
            else " That shows no reliance on it."
        )
    return said


_DONE = {
    "place": ("replacing it by that of {others}", "putting it into {others}"),
    "attribute": ("setting it to that of {others}", "giving it to {others}"),
    "pattern": ("taking it away", "putting it into {others}"),
    "outside": ("replacing the rest by that of {others}", "putting the rest of them behind the objects of {others}"),
}
"""What was done, in the middle of a sentence: to the class's images, to the others'."""
