"""The types that cross doors: `Spec` (a program's contract), `Batch`, `Maps` and `Record`."""

from __future__ import annotations

import dataclasses
import difflib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

from .errors import SaccadeError, UsageError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

SCHEMA = 2
"""The version of the contract that this release writes and the newest that it reads."""

ATTRIBUTES = ("brightness", "contrast", "saturation", "red", "green", "blue", "sharpness")
"""The plain attributes of the network's view of a photo: the keys of `Record.attributes`, evidence columns alike."""

Resize = Literal["crop", "stretch"]
Interpolation = Literal["bilinear", "bicubic"]
MapKind = Literal["cam", "gradient", "signed", "activations", "ascent"]
TargetKind = Literal["class", "region", "outputs", "unit"]

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
        pair = size is None or (isinstance(size, tuple) and len(size) == 2 and all(_size(s, MAX_SIDE) for s in size))
        need(pair, "input_size", f"(height, width), each 1 to {MAX_SIDE}")
        need(self.shorter is None or _size(self.shorter, MAX_SIDE), "shorter", f"1 to {MAX_SIDE}")
        need(self.resize in (None, *get_args(Resize)), "resize", " or ".join(get_args(Resize)))
        filters = get_args(Interpolation)
        need(self.interpolation in (None, *filters), "interpolation", " or ".join(filters))
        for name in ("mean", "std"):
            values = getattr(self, name)
            need(values is None or _numbers(values), name, "a number for each channel")
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
        return json.dumps(dataclasses.asdict(self), sort_keys=True, ensure_ascii=False, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Spec:
        """Read a contract, from anybody: every field is checked for its type and range.

        Raises:
            SaccadeError: not JSON, a foreign or newer schema, or a field that is missing, unknown or out of range.
        """
        try:
            raw = json.loads(text, parse_constant=_finite, parse_float=_finite)
        except (ValueError, RecursionError) as error:
            raise SaccadeError(f"load: the contract is not JSON ({_line(error)}); compile the program again") from None
        schema = raw.get("schema") if isinstance(raw, dict) else None
        if not isinstance(schema, int) or isinstance(schema, bool):
            raise SaccadeError("load: the contract names no schema; expected a saccade program; compile it again")
        if schema != SCHEMA:
            raise SaccadeError(
                f"load: the contract has schema {str(schema)[:20]}, this saccade reads schema {SCHEMA}; "
                "compile the program again with this version, or install the version that made it"
            )
        try:
            spec = _spec(raw)
            spec.to_json().encode()  # lone surrogates, and depths that only writing finds too deep
        except (AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
            raise SaccadeError(f"load: the contract is damaged ({_line(error)}); compile the program again") from None
        return spec

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


def _finite(text: str) -> float:
    if not math.isfinite(value := float(text)):
        raise ValueError(f"{text[:20]} is no finite number")
    return value


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]


def _size(value: object, limit: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= limit


def _numbers(values: object) -> bool:
    return isinstance(values, (list, tuple)) and all(
        isinstance(v, (int, float)) and not isinstance(v, bool) and -1e300 < v < 1e300 for v in values
    )


def _spec(raw: dict[str, Any]) -> Spec:
    _need_fields(raw, Spec)
    _need_fields(raw["preprocessing"], Preprocessing)
    prep = raw["preprocessing"] | {k: _listed(raw["preprocessing"][k], k) for k in ("mean", "std")}
    maps = []
    for m in _listed(raw["maps"], "maps"):
        _need_fields(m, MapSpec)
        maps.append(MapSpec(**{**m, "shape": _listed(m["shape"], "shape")}))
    changed: dict[str, Any] = {"preprocessing": Preprocessing(**prep), "maps": tuple(maps)}
    for name in ("output_size", "target_shape"):
        if raw[name] is not None:
            changed[name] = _listed(raw[name], name)
    if raw["classes"] is not None:
        changed["classes"] = _listed(raw["classes"], "classes")
    if raw["calibration"] is not None:
        changed["calibration"] = {k: _listed(v, "calibration") for k, v in raw["calibration"].items()}
    spec = Spec(**{**raw, **changed})
    _check(spec)
    return spec


def _need_fields(table: dict[str, Any], kind: type) -> None:
    if different := sorted(table.keys() ^ {f.name for f in dataclasses.fields(kind)}):
        raise ValueError(f"{'unknown' if different[0] in table else 'missing'} field {different[0][:40]!r}")


def _listed(value: object, name: str) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise TypeError(f"{name} must be a list")
    return tuple(value)


def _check(spec: Spec) -> None:
    def need(holds: bool, what: str) -> None:
        if not holds:
            raise ValueError(what)

    def text(value: object, limit: int = 1000) -> bool:
        return isinstance(value, str) and len(value) <= limit

    p = spec.preprocessing
    need(text(spec.model) and spec.model.isprintable(), "model must be a name")
    need(text(spec.hash, 200) and text(spec.weights_hash, 200), "hash and weights_hash must be text")
    need(_size(p.height, MAX_SIDE) and _size(p.width, MAX_SIDE), f"input size must be 1 to {MAX_SIDE}")
    need(_size(p.channels, 3) and p.channels != 2, "channels must be 1 or 3")
    need(p.resize in get_args(Resize), "resize must be crop or stretch")
    need(_size(p.shorter, MAX_SIDE) if p.resize == "crop" else p.shorter is None, "shorter must go with resize=crop")
    need(p.interpolation in get_args(Interpolation), "interpolation must be bilinear or bicubic")
    for name, values in (("mean", p.mean), ("std", p.std)):
        need(len(values) == p.channels and _numbers(values), f"{name} must be {p.channels} numbers")
    need(all(v > 0 for v in p.std), "std must be above 0")
    need(1 <= len(spec.maps) <= 64, "maps must have 1 to 64 entries")
    for m in spec.maps:
        names = (m.name, m.method, m.layer)
        need(all(text(v) and v.isprintable() for v in names), "a map's name, method and layer must be names")
        need(m.name.isidentifier() and m.name not in ("logits", "features"), f"map name {m.name[:40]!r}")
        need(m.kind in get_args(MapKind), f"map kind {str(m.kind)[:40]!r}")
        need(len(m.shape) == (3 if m.kind in ("activations", "ascent") else 2), f"shape of {m.name[:40]}")
        need(all(_size(s, 65536) for s in m.shape) and math.prod(m.shape) <= 2**28, f"shape of {m.name[:40]}")
    names = {m.name for m in spec.maps}
    need(len(names) == len(spec.maps), "map names must differ")
    need(spec.features is None or _size(spec.features, 2**20), "features must be null or 1 to 2^20")
    need(_size(spec.num_outputs, 2**24), "num_outputs must be 1 to 2^24")
    ascends = [m.shape for m in spec.maps if m.kind == "ascent"]
    need(spec.pixels == ("float32" if ascends else "uint8"), "pixels must fit the maps")
    need(not ascends or len(spec.maps) == 1, "an ascent has one map")
    need(all(shape == (p.height, p.width, p.channels) for shape in ascends), "an ascent has the pictures' shape")
    need(not (spec.softmax and spec.output_size), "a segmentation has no softmax")
    need(isinstance(spec.softmax, bool), "softmax must be true or false")
    need(spec.target in get_args(TargetKind), f"target kind {str(spec.target)[:40]!r} is not known to this version")
    need(_size(spec.target_count, 64) and spec.target_count <= spec.num_outputs, "target_count must be 1 to 64")
    need(spec.target_count == 1 or spec.target == "class", "target_count goes with classes")
    need(all(_size(m.rank, spec.target_count) for m in spec.maps), "a map's rank must be 1 to target_count")
    size, shape = spec.output_size, spec.target_shape
    need(size is None or (len(size) == 2 and all(_size(n, MAX_SIDE) for n in size)), "output_size must be (h, w)")
    need((spec.target == "region") <= (size is not None), "a region needs the output_size of a segmentation")
    need((spec.target in ("class", "outputs")) <= (size is None), "a segmentation's target is a region or a unit")
    layer = spec.target_layer
    need(layer is None or (text(layer) and layer.isprintable()), "target_layer must be a name")
    need((layer is not None, shape is not None) == (spec.target == "unit",) * 2, "a unit needs its layer and shape")
    need(shape is None or (len(shape) in (1, 3) and all(_size(n, 2**20) for n in shape)), "target_shape")
    if spec.classes is not None:
        need(len(spec.classes) == spec.num_outputs, f"{len(spec.classes)} classes for {spec.num_outputs} outputs")
        need(all(text(c) for c in spec.classes), "class names must be text")
    need(isinstance(spec.versions, dict) and all(text(v) for v in spec.versions.values()), "versions must be texts")
    need(isinstance(spec.proof, dict), "proof must be a table")
    for name, limits in (spec.calibration or {}).items():
        need(name in names, f"calibration of {name[:40]!r}, which is no map")
        need(len(limits) == 2 and _numbers(limits) and limits[0] < limits[1], "calibration must be low < high")


@dataclass
class Record:
    """One photo of a run, as far as decoding knows it.

    Attributes:
        index: its place in the manifest, from 0.
        path: where it was read from.
        name: its path relative to the folder that was given; where results for it go.
        label: from the labels file or the sub-folder, or None.
        size: (width, height) of the upright photo in pixels; None when it could not be read.
        view: (left, top, right, bottom), the rectangle of the upright photo, in its pixels, that the network's input
            shows: the map's corner (0, 0) lies on (left, top), its far corner on (right, bottom).
        attributes: plain attributes of the network's view of the photo (brightness, contrast, …).
        error: one line, or None.
    """

    index: int
    path: str
    name: str
    label: str | None = None
    size: tuple[int, int] | None = None
    view: tuple[float, float, float, float] | None = None
    attributes: dict[str, float] = field(default_factory=dict)
    error: str | None = None


@dataclass
class Batch:
    """Consecutive photos of the manifest.

    Attributes:
        records: one per photo, in the manifest's order, those with an error included.
        images: uint8 [N, H, W, C], one for each record without an error, in the same order.
    """

    records: list[Record]
    images: npt.NDArray[np.uint8]

    @property
    def good(self) -> list[Record]:
        """The records that have an image, in the order of `images`."""
        return [r for r in self.records if r.error is None]


@dataclass
class Maps:
    """What a program gives for N images.

    Attributes:
        logits: float32 [N, K], as the model gives them.
        target: what was explained: the classes int64 [N] (or [N, k]), found where -1 was asked; of outputs their
            weights float32 [N, K]; of a unit int64 [N, 3].
        maps: name → float32 [N, …], raw and unscaled (see `MapSpec.kind`).
        features: float32 [N, C] or None (see `Spec.features`).
        score: float32 [N] (or [N, k]): the logit of the class, the sum of the class's logits over the region, or the
            weighted outputs; None of a unit, which is no output of the program.
    """

    logits: npt.NDArray[np.float32]
    target: npt.NDArray[Any]
    maps: dict[str, npt.NDArray[np.float32]]
    features: npt.NDArray[np.float32] | None = None
    score: npt.NDArray[np.float32] | None = None
