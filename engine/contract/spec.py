"""A program's contract: `Spec`, and what it is made of."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

from .errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

SCHEMA = 3
"""The version of the contract that this release writes and the newest that it reads."""

Resize = Literal["crop", "stretch"]
Interpolation = Literal["bilinear", "bicubic"]
MapKind = Literal["cam", "gradient", "signed", "activations", "ascent"]
TargetKind = Literal["class", "region", "outputs", "unit"]
Precision = Literal["float32", "float16", "bfloat16"]

MAX_SIDE = 16384
"""Pixels of the longest side of a network's input."""


@dataclass(frozen=True)
class Preprocessing:
    """From an upright photo to the network's input, as the model's own library does it.

    Attributes:
        height, width: the network's input size in pixels.
        channels: 3 (RGB) or 1 (grey, ITU-R 601 luma as Pillow's mode L).
        resize: "crop" scales the shorter side to `shorter` and cuts `height` × `width` out of the centre
            (torchvision's ImageClassification preset, timm's crop_mode "center"); "stretch" scales straight to
            `height` × `width`.
        shorter: the shorter side's length in pixels before the crop; None for "stretch".
        interpolation: the antialiased filter of the scaling, on uint8 pixels as Pillow's `resize`.
        mean, std: per channel, of pixels in 0..1; subtracted and divided by inside the program.
    """

    height: int
    width: int
    channels: int = 3
    resize: Resize = "crop"
    shorter: int | None = None
    interpolation: Interpolation = "bilinear"
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)


@dataclass(frozen=True)
class ModelOptions:
    """What a person may say of a model's input, over what its library says; None leaves it.

    Attributes:
        input_size: (height, width).
        resize, shorter, interpolation, mean, std: see `Preprocessing`.
        classes: the class names.

    Raises:
        UsageError: a value that no network takes.
    """

    input_size: tuple[int, int] | None = None
    resize: Resize | None = None
    shorter: int | None = None
    interpolation: Interpolation | None = None
    mean: Sequence[float] | None = None
    std: Sequence[float] | None = None
    classes: Sequence[str] | None = None

    def __post_init__(self) -> None:
        def need(holds: bool, name: str, expected: str) -> None:
            if not holds:
                raise UsageError(f"{name}={getattr(self, name)!r:.80}: expected {expected}")

        size = self.input_size
        pair = size is None or (isinstance(size, tuple) and len(size) == 2 and all(is_size(s, MAX_SIDE) for s in size))
        need(pair, "input_size", f"(height, width), each 1 to {MAX_SIDE}")
        need(self.shorter is None or is_size(self.shorter, MAX_SIDE), "shorter", f"1 to {MAX_SIDE}")
        need(self.resize in (None, *get_args(Resize)), "resize", " or ".join(get_args(Resize)))
        filters = get_args(Interpolation)
        need(self.interpolation in (None, *filters), "interpolation", " or ".join(filters))
        for name in ("mean", "std"):
            values = getattr(self, name)
            need(values is None or are_numbers(values), name, "a number for each channel")
        need(self.std is None or all(s > 0 for s in self.std), "std", "numbers above 0")
        names = self.classes
        texts = names is None or (isinstance(names, (list, tuple)) and all(isinstance(n, str) for n in names))
        need(texts, "classes", "a list of names")


@dataclass(frozen=True)
class MapSpec:
    """One explanation in a program: an output of the same name, and what is needed to read it.

    Attributes:
        name: the output's name, `grad_cam`, `saliency`, …; of the second class of a top-k program `grad_cam_2`.
        method: the method as the command line spells it, `grad-cam`.
        layer: the layer it explains, as `saccade layers` names it; `input` for saliency.
        kind: "cam" (float32 [N, h, w], ≥ 0), "gradient" (float32 [N, H, W], ≥ 0), "signed" (float32 [N, h, w], evidence
            above 0 and against below), "activations" (float32 [N, C, h, w]) or "ascent" (float32 [N, H, W, C], the
            score's gradient in the pixels of a program that takes float32 pixels, see `Spec.pixels`).
        shape: the output's shape without its batch, (h, w), (C, h, w) or (H, W, C).
        rank: which of the target's k classes it explains, from 1.
    """

    name: str
    method: str
    layer: str
    kind: MapKind
    shape: tuple[int, ...]
    rank: int = 1


@dataclass(frozen=True)
class Spec:
    """A program's contract: everything a host needs to know, kept as JSON in the program file's own metadata.

    Attributes:
        model: what was compiled, `torchvision/resnet18` or the module's class name.
        weights_hash: `sha256:…` over names, dtypes, shapes and bytes of the model's state.
        preprocessing: how to make the uint8 input; mean and std are already in the graph.
        maps: the explanations, in the order of the outputs.
        features: number of channels C of the output `features` (float32 [N, C]: the target layer's activations
            averaged with the CAM as weights), or None where the program has no CAM.
        pixels: the dtype of `images`: "uint8", or "float32" 0..255 of a program that a picture is changed with, step by
            step (deep dream).
        precision: what convolutions and matrix products work in; inputs and outputs stay as they are.
        num_outputs: K of `logits` [N, K], or [N, K, h, w] of a segmentation.
        output_size: (h, w) of a segmentation's logits, else None.
        softmax: whether softmax(logits) is a confidence; False where the network ends in a sigmoid or regresses.
        target: what is explained, and with it the program's inputs beside `images`:
            "class": `target` int64 [N], or [N, k] where `target_count` is k > 1; -1 in place i is the i-th likeliest.
            "region": `target` int64 [N], a class of a segmentation, -1 the one with the largest region, and `region`
            uint8 [N, H, W], not 0 inside, all 0 for the region that the network gives to the class.
            "outputs": `target` float32 [N, K], the weights of the outputs of a regression.
            "unit": `target` int64 [N, 3], (channel, row, column) of `target_layer`; row or column -1: their mean.
        target_count: k.
        target_layer, target_shape: of a unit, the layer and its (C, h, w) or (C,); else None.
        classes: K class names, or None.
        versions: the packages that made the file.
        proof: what compiling measured (see docs/program-file.md).
        calibration: map name → [low, high], fixed ranges that make maps comparable across images; or None.
        hash: over the file's other bytes and this contract: it shows damage, not origin.
        schema: the contract's version.
    """

    model: str
    weights_hash: str
    preprocessing: Preprocessing
    maps: tuple[MapSpec, ...]
    features: int | None
    num_outputs: int
    softmax: bool = True
    pixels: Literal["uint8", "float32"] = "uint8"
    precision: Precision = "float32"
    output_size: tuple[int, int] | None = None
    target: TargetKind = "class"
    target_count: int = 1
    target_layer: str | None = None
    target_shape: tuple[int, ...] | None = None
    classes: tuple[str, ...] | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    proof: Mapping[str, Any] = field(default_factory=dict)
    calibration: Mapping[str, tuple[float, float]] | None = None
    hash: str = ""
    schema: int = SCHEMA

    def to_json(self) -> str:
        """The contract as JSON on one line, keys sorted, so that the same program gives the same bytes."""
        # Not by dataclasses.asdict, which copies a thousand names of classes one by one.
        return json.dumps(vars(self), default=vars, sort_keys=True, ensure_ascii=False, allow_nan=False)

    def class_name(self, index: int) -> str:
        """The name of class `index`, or `class 17` where the program carries no names."""
        return self.classes[index] if self.classes else f"class {index}"

    def label_name(self, label: str | None) -> str | None:
        """A label as the classes spell it: one that is a class's index becomes its name."""
        if label is not None and self.classes and label.isdecimal() and int(label) < len(self.classes):
            return label if label in self.classes else self.classes[int(label)]
        return label

    def class_index(self, text: str) -> int:
        """The class that a person means: an index, a name, or `predicted` (-1).

        Raises:
            UsageError: there is none; the message has the nearest names.
        """
        if text == "predicted":
            return -1
        if self.classes and text in self.classes:
            return self.classes.index(text)
        if text.isdecimal() and int(text) < self.num_outputs:
            return int(text)
        near = difflib.get_close_matches(text, self.classes or (), n=3, cutoff=0.5)
        known = f"near it: {', '.join(near)}" if near else f"expected predicted, 0 to {self.num_outputs - 1}"
        known += " or a class name" if self.classes and not near else ""
        raise UsageError(f"target {text!r} is no class of {self.model}; {known}")

    def read_target(self, text: str) -> int | tuple[int, ...] | list[float]:
        """What a person means by a target: `predicted`, a class's name or index; of outputs a name, an index or
        `0=1,steering=-0.5` (output=weight), `predicted` being all of them; of a unit `17` or `17,3,4` (channel, row,
        column). What comes out is what `execute.Runner.run` takes.

        Raises:
            UsageError: there is none such.
        """
        if self.target == "unit":
            parts = text.split(",")
            if len(parts) not in (1, 3) or not all(p.strip().removeprefix("-").isdecimal() for p in parts):
                raise UsageError(f"target {text!r}: expected a channel of {self.target_layer}, or channel,row,column")
            return int(text) if len(parts) == 1 else tuple(map(int, parts))
        if self.target == "outputs":
            weights = [1.0 if text == "predicted" else 0.0] * self.num_outputs
            if self.classes and text in self.classes:  # a name may have commas in it
                weights[self.classes.index(text)] = 1.0
                return weights
            for part in text.split(",") if text != "predicted" else ():
                name, _, weight = part.partition("=")
                if name.strip() == "predicted":
                    raise UsageError(f"target {text!r}: predicted stands for all outputs, alone")
                try:
                    weights[self.class_index(name.strip())] = float(weight or 1)
                except ValueError:
                    raise UsageError(f"target {part!r}: expected OUTPUT=WEIGHT, a number") from None
            return weights
        return self.class_index(text)

    def predicted(self, logits: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
        """The predicted class, int64 [N], of logits [N, K]; of a segmentation the class with the largest region."""
        if self.output_size is None:
            return logits.argmax(axis=1)
        return self.regions(logits).sum(axis=(2, 3)).argmax(axis=1)

    def answers(self, logits: npt.NDArray[np.float32]) -> list[str]:
        """What the network says of each image, in a word or two: the predicted class, a segmentation's largest region
        and its share of the picture, or a regression's outputs.
        """
        if self.output_size is not None:
            areas = self.regions(logits).mean(axis=(2, 3))
            best = zip(areas.argmax(axis=1), areas.max(axis=1), strict=True)
            return [f"{self.class_name(int(k))} on {area:.1%}" if area else "nothing" for k, area in best]
        if self.target != "outputs":
            return [self.class_name(int(k)) for k in self.predicted(logits)]
        shown = range(min(self.num_outputs, 3))
        more = ", …" if self.num_outputs > 3 else ""
        names = [f"{self.classes[i]} " if self.classes else "" for i in shown]
        return [", ".join(f"{name}{row[i]:.3g}" for i, name in zip(shown, names, strict=True)) + more for row in logits]

    def regions(self, logits: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
        """Where a segmentation gives which class, bool [N, K, h, w], of its logits of that shape."""
        if self.num_outputs == 1:
            return logits > 0
        import numpy as np

        return logits.argmax(axis=1)[:, None] == np.arange(self.num_outputs)[:, None, None]

    def confidence(self, logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float32] | None:
        """The softmax of the predicted class, float32 [N], of logits [N, K]; None where that means nothing."""
        if not self.softmax or self.num_outputs < 2:
            return None
        import numpy as np

        shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
        return (1 / np.exp(shifted).sum(axis=1)).astype(np.float32)


def softmax(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Probabilities of logits [N, K], worked out in float64: float32 [N, K]."""
    import numpy as np

    powers = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)


def is_size(value: object, limit: int) -> bool:
    """Whether it is a whole number from 1 to `limit`."""
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= limit


def are_numbers(values: object) -> bool:
    """Whether it is a list of finite numbers."""
    return isinstance(values, (list, tuple)) and all(
        isinstance(v, (int, float)) and not isinstance(v, bool) and -1e300 < v < 1e300 for v in values
    )
