"""What may be a shortcut, and how each is changed: places of the picture and attributes of the whole image."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from . import interventions, patterns, places
from .dependence import cliffs_delta
from .places import Place
from .proof import Group

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

Change = Callable[[Group, Group, bool], Pixels]

SAME_PLACE = 0.5
"""Share of a class's images that have most of their evidence in a place, from which it counts as looked at."""
LIFT = 1.5
"""How much more evidence than area a place has, to count as looked at."""
CONTRAST = 1.5
"""How much more classes differ in a place than in the rest of the picture; else it is no matter of a place."""
RECURRING = 0.1
"""Excess of correlations from which a thing looks the same each time; chosen likewise. Stamps have 0.2 and more, tanks
0.03."""
DELTA = 0.15
"""Cliff's delta, a small one (Romano et al. 2006), from which classes differ in an attribute."""


@dataclass(frozen=True)
class Candidate:
    """Something that the network may use for a class.

    Attributes:
        kind, name, share, why, measures, where, rows: as `findings.Suspect` has them.
        index: the class.
        prior: 0..1, how much speaks for trying it before others.
        words: what is done, by kind of trial: "replace" or "shift", and "transplant" or "shift-in"; `{others}` and
            `{own}` are the classes' images.
        differs: of a place, `places.content_difference`.
        controls: what is done as a control, likewise.
        change: (images, donors, inward) → changed images; donors are of the other side, `inward` where the images are
            the others'.
        control: the same with donors of their own side.
    """

    kind: Literal["place", "attribute", "pattern", "outside"]
    name: str
    index: int
    share: float
    prior: float
    why: str
    measures: Mapping[str, float]
    words: tuple[str, str]
    controls: tuple[str, str]
    change: Change = field(repr=False)
    control: Change = field(repr=False)
    where: Floats | None = field(default=None, repr=False)
    rows: tuple[int, ...] = ()
    differs: Floats | None = field(default=None, repr=False)


def place_candidates(
    index: int,
    own: Group,
    others: Group,
    maps: Floats,
    mean_maps: list[Floats],
) -> list[Candidate]:
    """Places that a class's evidence lies in, or where its images differ from the others' in the same way.

    A place in the middle is none: that is where the thing itself usually is. Masks tell it apart. A difference that the
    whole image has, as a blur or a cast, is none of a place either.

    Args:
        index: the class.
        own, others: images predicted as the class, and as others.
        maps: float32 [N, h, w] of images predicted as the class.
        mean_maps: of the class and of its strategies, each float32 [h, w]; of two classes both's.
    """
    pointed = [place for m in mean_maps if (place := places.place_of_map(m)) is not None]
    cells = [places.cells_of(group.images) for group in (own, others)]
    differs = places.content_difference(*cells)
    relative = places.content_difference(*map(places.relative, cells))
    shown = places.places_of_content(differs)
    # Only the part of a place in which the classes differ: the rest may hold the thing itself.
    parts = [places.part(p, differs) for p in [*shown, *pointed, *places.plain_places()] if not places.central(p)]
    known = places.distinct([p for p in parts if p is not None])
    if not known:
        return []
    shares = places.evidence_in(maps, known)
    found = []
    for place, held in zip(known, shares.T, strict=True):
        held = held[np.isfinite(held)]
        inside = float((held > 0.5).mean()) if len(held) else 0.0
        lift = float(held.mean()) / place.area if len(held) else 0.0
        within = place.where > 0.5
        content, rest = float(differs[within].mean()), float(differs[~within].mean())
        of_its_own = float(relative[within].mean()) >= places.CONTENT
        if of_its_own and content >= max(places.CONTENT, CONTRAST * rest):
            looked_at = inside >= SAME_PLACE and lift >= LIFT
            measures = {
                "evidence_inside": inside,
                "lift": lift,
                "content_d": content,
                "content_elsewhere": rest,
                "fit": places.fit(place, differs),
                "area": place.area,
            }
            found.append(_place(index, place, measures, differs, looked_at, own.images.shape[1:3]))
    return found


def _place(
    index: int,
    place: Place,
    measures: Mapping[str, float],
    differs: Floats,
    looked_at: bool,
    size: tuple[int, int],
) -> Candidate:
    inside, lift, content = (measures[key] for key in ("evidence_inside", "lift", "content_d"))
    why = f"the classes' images differ there in the same way in all of them (Cohen's d {content:.1f})"
    if looked_at:
        why = f"{inside:.0%} of the maps have most of their evidence there, {lift:.1f} times its area's share; {why}"
    prior = max(inside * min(lift / 3, 1) if looked_at else 0.0, min(content, 1) * measures["fit"])
    return Candidate(
        "place",
        place.name,
        index,
        inside,
        prior,
        why,
        measures,
        where=place.where,
        differs=differs,
        **_swap(place, size),
    )


def confined(candidate: Candidate, where: Floats, size: tuple[int, int]) -> Candidate:
    """A place's candidate for a part of the place.

    Args:
        where: float32 [GRID, GRID].
        size: of the images, (height, width).
    """
    place = Place(places.describe(where), where)
    measures = {key: value for key, value in candidate.measures.items() if key not in ("evidence_inside", "lift")}
    if candidate.differs is not None:
        measures |= {"fit": places.fit(place, candidate.differs), "area": place.area}
    return replace(candidate, name=place.name, where=where, measures=measures, **_swap(place, size))


def _swap(place: Place, size: tuple[int, int]) -> dict[str, Any]:
    weights = interventions.feathered(place.where, *size)

    def change(images: Group, donors: Group, inward: bool) -> Pixels:
        del inward
        return interventions.mixed(images.images, donors.images, weights)

    return {
        "words": (f"{place.name} replaced by that of {{others}}", f"{place.name} of {{own}} put into {{others}}"),
        "controls": ("replaced by that of other {own}", "that of other such images put into them"),
        "change": change,
        "control": change,
    }


def attribute_candidates(index: int, own: Group, others: Group, quality: Mapping[int, float]) -> list[Candidate]:
    """Attributes of the whole image in which a class's images differ from the others'.

    Args:
        index: the class.
        own, others: images predicted as the class, and as others.
        quality: row → JPEG quality, of photos that have one.
    """
    mine, theirs = interventions.measured(own.images), interventions.measured(others.images)
    found = []
    for name, shift in interventions.SHIFTS.items():
        a, b = _values(name, mine), _values(name, theirs)
        deltas = [cliffs_delta(x, y) for x, y in zip(a, b, strict=True)]
        most = int(np.abs(deltas).argmax())
        delta = deltas[most]
        if abs(delta) >= DELTA:
            medians = (float(np.median(a[most])), float(np.median(b[most])))
            found.append(_attribute(index, name, delta, medians, _shifted(shift)))
    found.append(_texture(index, own, others))
    a, b = (np.array([quality.get(int(r), np.nan) for r in g.rows]) for g in (own, others))
    if np.isfinite(a).mean() > 0.5 and np.isfinite(b).mean() > 0.5:
        delta = cliffs_delta(a[np.isfinite(a)], b[np.isfinite(b)])
        if abs(delta) >= DELTA:
            medians = (float(np.nanmedian(a)), float(np.nanmedian(b)))

            def compress(images: Group, donors: Group, inward: bool) -> Pixels:
                del inward
                now, wanted = (np.array([quality.get(int(r), np.nan) for r in g.rows]) for g in (images, donors))
                return interventions.compressed(images.images, np.where(wanted < now, wanted, np.nan))

            found.append(_attribute(index, "JPEG quality", delta, medians, compress))
    return found


def _attribute(
    index: int,
    name: str,
    delta: float,
    medians: tuple[float, float],
    change: Change,
) -> Candidate:
    more = "more" if delta > 0 else "less"
    return Candidate(
        "attribute",
        name,
        index,
        1.0,
        abs(delta),
        f"images of the class have {more} of it than others (median {medians[0]:.3g} against {medians[1]:.3g}, "
        f"Cliff's delta {delta:+.2f})",
        {"cliffs_delta": delta, "median": medians[0], "median_of_others": medians[1]},
        (f"{name} set to that of {{others}}", f"{name} of {{others}} set to that of {{own}}"),
        (f"{name} set to that of other {{own}}", f"{name} set to that of other such images"),
        change,
        change,
    )


def _shifted(shift: Callable[[Pixels, Pixels], Pixels]) -> Change:
    def change(images: Group, donors: Group, inward: bool) -> Pixels:
        del inward
        return shift(images.images, donors.images)

    return change


def _texture(index: int, own: Group, others: Group) -> Candidate:
    """Whether the classes differ in it is seen by trying: a spectrum is thousands of numbers."""
    mine, theirs = (interventions.mean_amplitudes(g.images) for g in (own, others))

    def change(images: Group, donors: Group, inward: bool) -> Pixels:
        del donors
        return interventions.shift_texture(images.images, *((theirs, mine) if inward else (mine, theirs)))

    def control(images: Group, donors: Group, inward: bool) -> Pixels:
        return change(images, donors, not inward)

    ratio = np.log(np.maximum(mine, 1e-3) / np.maximum(theirs, 1e-3))
    apart = float(np.sqrt(np.mean(ratio**2)))
    return Candidate(
        "attribute",
        "texture",
        index,
        1.0,
        min(1.0, 0.2 + apart),
        f"patterns that repeat: the classes' mean spectra differ by a factor of {np.exp(apart):.2f} (RMS)",
        {"spectra_rms_log_ratio": apart},
        ("texture (the mean amplitude spectrum) set to that of {others}", "texture of {others} set to that of {own}"),
        ("texture shifted as far the other way", "theirs shifted as far the other way"),
        change,
        control,
    )


def pattern_candidates(index: int, own: Group, others: Group, maps: Floats) -> list[Candidate]:
    """A thing that looks the same in a class's images, wherever it is, and that the network looks at; or none.

    Args:
        index: the class.
        own, others: images predicted as the class, and as others.
        maps: float32 [N, h, w] of `own`.
    """
    pattern = patterns.find_pattern(own.images, others.images, maps)
    if pattern is None or pattern.excess < RECURRING:
        return []
    side, size = patterns.side_of(pattern), pattern.size
    _, has = patterns.locate(pattern, own.images)

    def change(images: Group, donors: Group, inward: bool) -> Pixels:
        """Taken away: filled from the surroundings. Given: put where the donor has it."""
        if not inward:
            corners, there = patterns.locate(pattern, images.images)
            return interventions.inpainted(images.images, patterns.windows(corners, side, size) * there[:, None, None])
        corners, there = patterns.locate(pattern, donors.images)
        weights = patterns.windows(corners, side, size) * there[:, None, None]
        return interventions.mixed(images.images, donors.images, weights)

    def control(images: Group, donors: Group, inward: bool) -> Pixels:
        """As large a part of the image filled, or of another such image put into it, elsewhere."""
        corners, there = patterns.locate(pattern, images.images)
        weights = patterns.windows(patterns.elsewhere(corners, side, size, index), side, size)
        if inward:
            return interventions.mixed(images.images, donors.images, weights)
        return interventions.inpainted(images.images, weights * there[:, None, None])

    return [
        Candidate(
            "pattern",
            "a thing that looks the same each time",
            index,
            pattern.recurs,
            min(1.0, 0.5 + pattern.excess),
            f"what the network looks at most in one image is found again in {pattern.recurs:.0%} of the others of the "
            f"class, and in {patterns.RARE:.0%} of other images (correlations lie {pattern.excess:.2f} higher)",
            {"recurs": pattern.recurs, "excess": pattern.excess},
            ("it is taken away and filled from its surroundings", "it is put into {others}"),
            ("as large a part elsewhere, filled", "as large a part of other such images put into them"),
            change,
            control,
            rows=tuple(own.rows[has].tolist()),
        )
    ]


def outside_candidates(
    index: int,
    own: Group,
    others: Group,
    masks: Callable[[npt.NDArray[np.intp], tuple[int, int]], Floats],
    inside: Floats,
    pointing: Floats,
) -> list[Candidate]:
    """Everything that is not the object: one candidate, or none where too few objects are known.

    Args:
        index: the class.
        own, others: images predicted as the class, and as others.
        masks: (rows, (height, width)) → float32 [n, height, width], 1 within the object, NaN where it is not known.
        inside, pointing: of the class's images: share of the evidence in the object, whether its maximum is there.
    """
    size = own.images.shape[1:3]
    known = {int(row): mask for g in (own, others) for row, mask in zip(g.rows, masks(g.rows, size), strict=True)}
    there = [np.mean([np.isfinite(known[int(row)]).all() for row in g.rows]) for g in (own, others)]
    if min(there) <= 0.5 or not np.isfinite(inside).any():
        return []

    def background(images: Group, donors: Group, inward: bool) -> Pixels:
        """The donor's picture without its own object, with the image's object on it."""
        del inward
        ours, theirs = (np.stack([known[int(row)] for row in g.rows]) for g in (images, donors))
        # Where nobody said where the object is, it may be anywhere: the image stays as it is, and no donor gives it.
        both = np.asarray(np.isfinite(ours + theirs).all(axis=(1, 2)), np.float32)
        empty = interventions.inpainted(donors.images, _grown(np.nan_to_num(theirs)))
        weights = (1 - _grown(np.nan_to_num(ours))) * both[:, None, None]
        return interventions.mixed(images.images, empty, weights)

    outside = float(1 - np.nanmean(inside))
    return [
        Candidate(
            "outside",
            "the background",
            index,
            outside,
            outside,
            f"{outside:.0%} of the evidence lies outside of the object, and the map's maximum in "
            f"{1 - np.nanmean(pointing):.0%} of the images",
            {"inside": 1 - outside, "pointing": float(np.nanmean(pointing))},
            (
                "all but the object replaced by that of {others}",
                "all but the object of {others} replaced by that of {own}",
            ),
            ("replaced by that of other {own}", "replaced by that of other such images"),
            background,
            background,
        )
    ]


def _grown(masks: Floats) -> Floats:
    """Masks with a margin of a fortieth of the picture, soft at the edge."""
    margin = max(1, min(masks.shape[1:3]) // 40)
    grown = ndimage.maximum_filter(masks, (1, 2 * margin + 1, 2 * margin + 1))
    return ndimage.gaussian_filter(grown, (0, margin / 2, margin / 2), mode="nearest").astype(np.float32)


def same(one: Candidate, other: Candidate) -> bool:
    """Whether two classes' candidates are one thing."""
    if one.kind == "pattern":
        return False  # each class may have its own
    if one.where is None or other.where is None:
        return one.where is other.where and one.kind == other.kind and one.name == other.name
    return places.overlap(one.where, other.where) >= places.SAME


def _values(name: str, measured: Mapping[str, Floats]) -> list[npt.NDArray[Any]]:
    """The numbers that say how much of an attribute images have."""
    if name == "colour cast":
        grey = (measured["red"] + measured["green"] + measured["blue"]) / 3
        return [measured[c] - grey for c in ("red", "green", "blue")]
    if name == "sharpness":
        return [measured["sharpness"] / np.maximum(measured["contrast"], 1e-3) ** 2]
    return [measured[name]]
