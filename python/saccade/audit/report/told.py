"""What the page's numbers mean, one sentence each, and how they are written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Format = Literal["share", "number", "count", "p"]
"""share: 0..1 as percent; count: whole; p: a p value; number: three significant digits."""


@dataclass(frozen=True)
class Told:
    """How a number is called, written and explained."""

    title: str
    format: Format = "number"
    tip: str = ""


_TOLD = {
    "max": Told("map maximum", tip="The map's greatest raw value: how strong the evidence is at its strongest place."),
    "mean": Told("map mean", tip="The mean of the map's evidence, raw."),
    "border_mass": Told(
        "border mass",
        "share",
        "Share of the evidence in the outer eighth on each side; spread evenly it would be 44 %.",
    ),
    "corner_mass": Told(
        "corner mass", "share", "Share of the evidence in the four corners; spread evenly it would be 25 %."
    ),
    "center_x": Told("centre x", "share", "Where the evidence lies on average: 0 % is the left edge, 100 % the right."),
    "center_y": Told("centre y", "share", "Where the evidence lies on average: 0 % is the top edge, 100 % the bottom."),
    "spread": Told(
        "spread",
        "share",
        "Share of the picture that holds the strongest half of the evidence; spread evenly it is 50 %.",
    ),
    "same_place": Told(
        "same place", tip="How alike the maps are from image to image: 1 is always the same place, 0 is unrelated."
    ),
    "inside": Told("inside object", "share", "Share of the evidence that lies within the given masks or boxes."),
    "pointing": Told("pointing game", "share", "Share of the images whose strongest evidence lies in the object."),
    "brightness": Told("brightness", tip="Mean luma of what the network saw, 0 (black) to 1 (white)."),
    "contrast": Told("contrast", tip="Standard deviation of luma of what the network saw, 0 to 0.5."),
    "saturation": Told("saturation", tip="How colourful the image is: 0 is grey, 1 is pure colour."),
    "red": Told("red", tip="Mean of the red channel, 0 to 1: the colour cast."),
    "green": Told("green", tip="Mean of the green channel, 0 to 1: the colour cast."),
    "blue": Told("blue", tip="Mean of the blue channel, 0 to 1: the colour cast."),
    "sharpness": Told("sharpness", tip="From luma's second derivative: low in a blurred image, high in a crisp one."),
    "noise": Told("noise", tip="The noise's estimated standard deviation, 0 to 1."),
    "border_red": Told("border red", tip="Mean red along the outer ring: a drawn frame's colour."),
    "border_green": Told("border green", tip="Mean green along the outer ring: a drawn frame's colour."),
    "border_blue": Told("border blue", tip="Mean blue along the outer ring: a drawn frame's colour."),
    "border_contrast": Told(
        "border contrast", tip="Standard deviation of luma along the outer ring; near 0 in a frame."
    ),
    "width": Told("width", "count", "Of the upright photo, in pixels."),
    "height": Told("height", "count", "Of the upright photo, in pixels."),
    "jpeg_quality": Told("JPEG quality", "count", "Estimated from the file's quantisation table, 1 to 100."),
    "p": Told("p", "p", "How often chance alone would do as much, corrected for the number of things tried."),
    "p_beyond": Told("p beyond the label", "p", "The same among images of one label."),
    "with_prediction": Told("with the prediction", tip="How strongly it goes with what the network says, -1 to 1."),
    "with_label": Told("with the label", tip="How strongly it goes with the truth, -1 to 1."),
    "beyond_label": Told(
        "beyond the label", tip="How strongly it goes with the prediction among images of one label, -1 to 1."
    ),
    "lift": Told("lift", tip="How many times more frequent it is in this class than in all images."),
    "auc": Told("AUC", tip="How well it alone tells this class from the others: 0.5 is not at all, 1 is perfectly."),
}
_GUESSED: dict[str, Format] = {"share": "share", "area": "share", "images": "count", "p": "p"}
"""By a name's last word, for those that are told by nobody."""


def told(name: str) -> Told:
    """What is known of a number called `name`; a further column's own name otherwise."""
    found = _TOLD.get(name)
    if found is not None:
        return found
    last = name.replace("_", " ").split(" ")[-1]
    return Told(name.replace("_", " "), _GUESSED.get(last, "number"))
