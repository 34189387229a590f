"""Suspects that the pixels may not show: columns of the manifest, EXIF, parts of the path. They cannot be tried."""

from __future__ import annotations

from ..engine.contract import ATTRIBUTES
from ..engine.contract.batch import FACTS
from .associations import Association, Associations
from .findings import Suspect

_SURE = 0.01
"""p, corrected for all that was looked at, from which an association is no chance."""
_CONFOUNDED = 0.5
"""Effect with the label from which something that says nothing of the thing, a camera or a size, may stand for it."""
_OF_THE_FILE = frozenset((*FACTS, *(f"{name} is given" for name in FACTS), "width", "height", "aspect_ratio"))


def column_suspects(found: Associations) -> list[Suspect]:
    """What goes with the prediction beyond the label; and what of the file goes with the label itself.

    Attributes of the pixels are not among them: they are tried. Of each column only the class that it speaks for most.
    """
    suspects: dict[str, Suspect] = {}
    for a in found.found:  # the strongest first
        if a.attribute not in ATTRIBUTES and a.attribute not in suspects and (suspect := _suspect(a)) is not None:
            suspects[a.attribute] = suspect
    return list(suspects.values())


def _suspect(a: Association) -> Suspect | None:
    name = _spoken(a.attribute)
    measure = "Cramér's V" if a.kind == "category" else "Cliff's delta"
    if a.beyond_label is not None and a.p_beyond is not None and a.p_beyond < _SURE and abs(a.beyond_label) >= 0.1:
        score = abs(a.beyond_label)
        sentence = (
            f"Among images of one label, {name} goes with being called “{a.class_name}”{_more(a)}; what it does to the "
            "pixels could not be tried."
        )
        why = f"{measure} {a.beyond_label:.2f} beyond the label, {a.with_prediction:.2f} with the prediction"
    elif a.attribute in _OF_THE_FILE and abs(a.with_label or 0.0) >= _CONFOUNDED and a.p < _SURE:
        score = abs(a.with_label or 0.0) / 2  # the network may as well know the thing
        sentence = (
            f"“{a.class_name}” images differ from others in their {name}{_more(a)}, and so do their labels: whether "
            "the network knows the thing or that, these images cannot tell."
        )
        why = f"{measure} {a.with_label:.2f} with the label, {a.with_prediction:.2f} with the prediction"
    else:
        return None
    measures = {
        "with_prediction": a.with_prediction,
        "with_label": a.with_label,
        "beyond_label": a.beyond_label,
        "p": a.p,
        "p_beyond": a.p_beyond,
    }
    return Suspect(
        "column",
        name,
        a.class_name,
        a.images,
        max((own for own, _ in a.levels.values()), default=1.0),
        f"{why} (p {a.p:.1g}, corrected)",
        {key: value for key, value in measures.items() if value is not None},
        verdict="suspect",
        score=score,
        sentence=sentence,
    )


def _more(a: Association) -> str:
    """What it differs in."""
    if a.median is not None and a.median_of_others is not None:
        return f" (median {a.median:.3g} against {a.median_of_others:.3g})"
    if a.levels:
        value, (own, others) = next(iter(a.levels.items()))
        return f" (“{value}”: {own:.0%} of them, {others:.0%} of the others)"
    return ""


def _spoken(attribute: str) -> str:
    """A column as people call it."""
    words = attribute.replace("_", " ")
    return words.replace("exif ", "EXIF ", 1) if words.startswith("exif ") else words.replace("jpeg ", "JPEG ")
