"""What an audit found: the types that go into `verdicts.json` and the page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Pixels = npt.NDArray[np.uint8]
Verdict = Literal["shortcut", "suspect", "clear"]
"""`shortcut`: the network uses it, shown by changing it. `suspect`: it goes with the prediction, or the network looks
there, and changing it did not show (or could not be tried). `clear`: it was tried and does next to nothing."""


@dataclass(frozen=True)
class Interval:
    """A mean with its 95 % bootstrap interval over images.

    Attributes:
        value, low, high: a share in 0..1, or a change of a probability (of a network's own outputs, where these are
            no logits).
        images: how many it was measured on.
    """

    value: float
    low: float
    high: float
    images: int


@dataclass(frozen=True)
class Example:
    """One image before and after a change.

    Attributes:
        row: its place in the evidence.
        before, after: the predicted classes' names.
        sure_before, sure_after: probability of the class that is at stake, 0..1.
        picture_before, picture_after: uint8 [H, W, C], what the network saw.
    """

    row: int
    before: str
    after: str
    sure_before: float
    sure_after: float
    picture_before: Pixels = field(repr=False)
    picture_after: Pixels = field(repr=False)


@dataclass(frozen=True)
class Trial:
    """One way of changing images, and what the network then said.

    Attributes:
        how: what was done, for people: 'the sky replaced by that of "woods" images'.
        kind: "replace" (a region of the class's own images), "transplant" (into images of other classes), "shift" (an
            attribute of the class's own images to the others' values), "shift-in" (of the others' images to the
            class's values).
        flips: share of the predictions that changed the way a shortcut would change them: away from the class, or to
            it of a transplant and a shift-in.
        change: mean change of the class's probability (negative: away from the class).
        control: what was done as a control: 'the same, as large, elsewhere', 'shifted as far the other way'.
        control_flips, control_change: the same of the control; NaN, of no images, where the change itself did so little
            that none was needed.
        examples: images that flipped first, at most a few.
    """

    how: str
    kind: Literal["replace", "transplant", "shift", "shift-in"]
    flips: Interval
    change: Interval
    control: str
    control_flips: Interval
    control_change: Interval
    examples: tuple[Example, ...] = ()

    @property
    def effect(self) -> float:
        """Flips beyond those of the control."""
        return self.flips.value - (self.control_flips.value if self.control_flips.images else 0.0)


@dataclass(frozen=True)
class Suspect:
    """Something other than the thing itself that the network may use for a class.

    Attributes:
        kind: "place" (the same place in every image), "attribute" (of the whole image), "pattern" (a thing that looks
            the same in each image, wherever it is), "column" (of the manifest, of EXIF, or a part of the path: it
            cannot be seen in the pixels), "outside" (what lies outside of the masks or boxes).
        name: what it is, for people: "the upper left corner", "brightness", "EXIF camera".
        class_name: the class that it speaks for.
        images: images predicted as the class.
        share: share of them that show it, 0..1.
        why: why it is suspected, one sentence.
        measures: the numbers behind `why` by name (effect sizes, p corrected for the number of things tried, lift, …).
        where: float32 [16, 16] in 0..1, the region of the picture; None of what has no place.
        trials: what was tried.
        verdict: the decision over the trials.
        score: 0..1, by which suspects are ordered: how much of the class's predictions hang on it.
        sentence: what one would tell a colleague.
        rows: typical images of it (rows of the evidence).
    """

    kind: Literal["place", "attribute", "pattern", "column", "outside"]
    name: str
    class_name: str
    images: int
    share: float
    why: str
    measures: Mapping[str, float]
    where: Floats | None = field(default=None, repr=False)
    trials: tuple[Trial, ...] = ()
    verdict: Verdict = "suspect"
    score: float = 0.0
    sentence: str = ""
    rows: tuple[int, ...] = ()


@dataclass(frozen=True)
class Strategy:
    """One of the ways in which the network comes to a class: a cluster of its images by what was looked at, and where.

    Attributes:
        number: from 1, the largest first.
        images, share: how many of the images predicted as the class, and their share of them.
        purity: share of its labelled images whose label is the class; None without labels.
        labels: label → number of images, the most frequent first (at most 10).
        mean_map: float32 [h, w]: the mean of the maps, each divided by its sum; zeros where all are blank.
        typical: rows of the images nearest to its centre, the nearest first (at most 24).
        outliers: rows of the images farthest from every centre (at most 8).
        measures: means over its images: border_mass, corner_mass, spread, same_place (mean correlation of a map with
            the mean of the others'), inside (share of the evidence in masks or boxes, where given), pointing (share of
            maps whose maximum lies in them).
        differs: what it differs in from the class's other strategies: attribute → Cohen's d, the largest first.
    """

    number: int
    images: int
    share: float
    purity: float | None
    labels: Mapping[str, int]
    mean_map: Floats = field(repr=False)
    typical: tuple[int, ...]
    outliers: tuple[int, ...]
    measures: Mapping[str, float]
    differs: Mapping[str, float]


@dataclass(frozen=True)
class ClassFindings:
    """What was found of one predicted class.

    Attributes:
        name, index: the class.
        images: images predicted as it.
        labelled: images that have its label.
        recall, precision: shares of its label's images and of its predictions that are right; None without labels.
        blank: images among `images` whose map is blank.
        mean_map: as `Strategy.mean_map`, over all of its images.
        strategies: the largest first; may be empty where there are too few images.
        confusions: (label, number of images, a few rows) of wrong predictions as this class, the most frequent first.
    """

    name: str
    index: int
    images: int
    labelled: int
    recall: float | None
    precision: float | None
    blank: int
    mean_map: Floats = field(repr=False)
    strategies: tuple[Strategy, ...]
    confusions: tuple[tuple[str, int, tuple[int, ...]], ...]


@dataclass(frozen=True)
class Findings:
    """All that an audit found.

    Attributes:
        run: the run's folder, as it was named.
        model, method, layer: what was run.
        images, failed: images of the evidence, and those that could not be read.
        accuracy: share of the labelled images that are predicted right; None without labels.
        suspects: shortcuts first, then by their score; `clear` ones last.
        classes: by the number of images predicted, the most first.
        tried: how many associations were looked at, for which p values are corrected.
        passes: images that went through the network for trials.
        notes: what limits the audit, one sentence each: labels missing, one class only, maps that are blank, ….
        seconds: part of the audit → seconds.
    """

    run: str
    model: str
    method: str
    layer: str
    images: int
    failed: int
    accuracy: float | None
    suspects: tuple[Suspect, ...]
    classes: tuple[ClassFindings, ...]
    tried: int
    passes: int
    notes: tuple[str, ...]
    seconds: Mapping[str, float]

    @property
    def tested(self) -> int:
        """How many of the suspects were tried; where none was, `clear` says nothing."""
        return sum(bool(s.trials) for s in self.suspects)

    @property
    def verdict(self) -> Verdict:
        """The worst of the suspects' verdicts; `clear` without any suspect."""
        found = {s.verdict for s in self.suspects}
        return "shortcut" if "shortcut" in found else "suspect" if "suspect" in found else "clear"
