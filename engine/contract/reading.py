"""A contract read from JSON that anybody may have written: every field is checked for its type and range."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from typing import Any, get_args

from .errors import SaccadeError
from .spec import (
    MAX_SIDE,
    SCHEMA,
    Interpolation,
    MapKind,
    MapSpec,
    Precision,
    Preprocessing,
    Resize,
    Spec,
    TargetKind,
    are_numbers,
    is_size,
)

_MAX_DEPTH = 16
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)


def read_spec(text: str) -> Spec:
    """The contract in a JSON text (see `Spec.to_json`).

    Raises:
        SaccadeError: not JSON, a foreign or newer schema, or a field that is missing, unknown or out of range.
    """
    try:
        check_depth(text)
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


def check_depth(text: str) -> None:
    """See that a JSON text is not nested deeply. The parser's own recursion is no guard: other libraries raise the
    interpreter's limit, and then a text of brackets ends the process.

    Raises:
        ValueError: more lists and tables lie in one another than anything of ours has.
    """
    level = 0
    for bracket in re.finditer(r"[\[\]{}]", _STRING.sub("", text)):
        level += 1 if bracket[0] in "[{" else -1
        if level > _MAX_DEPTH:
            raise ValueError(f"nested in more than {_MAX_DEPTH} levels")


def _finite(text: str) -> float:
    if not math.isfinite(value := float(text)):
        raise ValueError(f"{text[:20]} is no finite number")
    return value


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]


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
    need(is_size(p.height, MAX_SIDE) and is_size(p.width, MAX_SIDE), f"input size must be 1 to {MAX_SIDE}")
    need(is_size(p.channels, 3) and p.channels != 2, "channels must be 1 or 3")
    need(p.resize in get_args(Resize), "resize must be crop or stretch")
    need(is_size(p.shorter, MAX_SIDE) if p.resize == "crop" else p.shorter is None, "shorter must go with resize=crop")
    need(p.interpolation in get_args(Interpolation), "interpolation must be bilinear or bicubic")
    for name, values in (("mean", p.mean), ("std", p.std)):
        need(len(values) == p.channels and are_numbers(values), f"{name} must be {p.channels} numbers")
    need(all(v > 0 for v in p.std), "std must be above 0")
    need(1 <= len(spec.maps) <= 64, "maps must have 1 to 64 entries")
    for m in spec.maps:
        names = (m.name, m.method, m.layer)
        need(all(text(v) and v.isprintable() for v in names), "a map's name, method and layer must be names")
        # ASCII, so that hosts in other languages need no table of Unicode's identifiers to say the same of it
        plain = m.name.isascii() and m.name.isidentifier()
        need(plain and m.name not in ("logits", "features"), f"map name {m.name[:40]!r}")
        need(m.kind in get_args(MapKind), f"map kind {str(m.kind)[:40]!r}")
        need(len(m.shape) == (3 if m.kind in ("activations", "ascent") else 2), f"shape of {m.name[:40]}")
        need(all(is_size(s, 65536) for s in m.shape) and math.prod(m.shape) <= 2**28, f"shape of {m.name[:40]}")
    names = {m.name for m in spec.maps}
    need(len(names) == len(spec.maps), "map names must differ")
    need(spec.features is None or is_size(spec.features, 2**20), "features must be null or 1 to 2^20")
    need(is_size(spec.num_outputs, 2**24), "num_outputs must be 1 to 2^24")
    ascends = [m.shape for m in spec.maps if m.kind == "ascent"]
    need(spec.pixels == ("float32" if ascends else "uint8"), "pixels must fit the maps")
    need(spec.precision in get_args(Precision), f"precision {str(spec.precision)[:40]!r} is not known to this version")
    need(not ascends or len(spec.maps) == 1, "an ascent has one map")
    need(all(shape == (p.height, p.width, p.channels) for shape in ascends), "an ascent has the pictures' shape")
    need(not (spec.softmax and spec.output_size), "a segmentation has no softmax")
    need(isinstance(spec.softmax, bool), "softmax must be true or false")
    need(spec.target in get_args(TargetKind), f"target kind {str(spec.target)[:40]!r} is not known to this version")
    need(is_size(spec.target_count, 64) and spec.target_count <= spec.num_outputs, "target_count must be 1 to 64")
    need(spec.target_count == 1 or spec.target == "class", "target_count goes with classes")
    need(all(is_size(m.rank, spec.target_count) for m in spec.maps), "a map's rank must be 1 to target_count")
    size, shape = spec.output_size, spec.target_shape
    need(size is None or (len(size) == 2 and all(is_size(n, MAX_SIDE) for n in size)), "output_size must be (h, w)")
    need((spec.target == "region") <= (size is not None), "a region needs the output_size of a segmentation")
    need((spec.target in ("class", "outputs")) <= (size is None), "a segmentation's target is a region or a unit")
    layer = spec.target_layer
    need(layer is None or (text(layer) and layer.isprintable()), "target_layer must be a name")
    need((layer is not None, shape is not None) == (spec.target == "unit",) * 2, "a unit needs its layer and shape")
    need(shape is None or (len(shape) in (1, 3) and all(is_size(n, 2**20) for n in shape)), "target_shape")
    if spec.classes is not None:
        need(len(spec.classes) == spec.num_outputs, f"{len(spec.classes)} classes for {spec.num_outputs} outputs")
        need(all(text(c) for c in spec.classes), "class names must be text")
    need(isinstance(spec.versions, dict) and all(text(v) for v in spec.versions.values()), "versions must be texts")
    need(isinstance(spec.proof, dict), "proof must be a table")
    for name, limits in (spec.calibration or {}).items():
        need(name in names, f"calibration of {name[:40]!r}, which is no map")
        need(len(limits) == 2 and are_numbers(limits) and limits[0] < limits[1], "calibration must be low < high")
