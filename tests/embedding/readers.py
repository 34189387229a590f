"""Python's reader of program files beside the C++ one: what each says, and where they do not say the same."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, get_args

import numpy as np

from saccade.engine.contract import MapSpec, Preprocessing, SaccadeError, Spec
from saccade.engine.contract import program_file as module
from saccade.engine.contract.program_file import Format, read_contract
from saccade.engine.contract.spec import MapKind, TargetKind

Read = Callable[[Iterable[Path]], list[dict[str, Any]]]
"""Of each file the fields that tests/cpp/contract_lines.cpp writes, or its `error` and `status`."""

CLASS = Spec(
    model="tiny",
    weights_hash="sha256:0",
    preprocessing=Preprocessing(30, 45, 3, "crop", 50, "bicubic", (0.5, 0.25, 0.125), (1.0, 2.0, 4.0)),
    maps=(
        MapSpec("grad_cam", "grad-cam", "layer4", "cam", (7, 7)),
        MapSpec("saliency", "saliency", "input", "gradient", (30, 45)),
        MapSpec("activations", "activations", "layer1", "activations", (4, 3, 2)),
    ),
    features=5,
    num_outputs=3,
    classes=("cat", 'd"o\\g\n\x1f', "Häßlich 🙂"),
    versions={"torch": "2.14.1", "python": "3.11"},
    proof={"grad_cam": {"max": 1e-12, "batches": [1, 3]}, "floats": [0.1, -2.5e-07, 1e16, 123456.75]},
    calibration={"grad_cam": (0.0, 1.5)},
)
SPECS = {
    "class": CLASS,
    "top_k": dataclasses.replace(CLASS, target_count=2, classes=None),
    "unit": dataclasses.replace(CLASS, target="unit", target_layer="layer4", target_shape=(512, 7, 7)),
    "region": dataclasses.replace(
        CLASS, target="region", output_size=(5, 6), softmax=False, features=None, classes=None, precision="float16"
    ),
    "outputs": dataclasses.replace(CLASS, target="outputs", softmax=False, maps=CLASS.maps[:1]),
    "ascent": dataclasses.replace(
        CLASS,
        maps=(MapSpec("ascent", "ascent", "input", "ascent", (30, 45, 1)),),
        pixels="float32",
        calibration=None,
        preprocessing=Preprocessing(30, 45, 1, "stretch", None, "bilinear", (0.0,), (1.0,)),
    ),
}
"""A contract of each kind of target."""

BODY = b"\x08\x0a" + module._field(2, b"pytorch") + module._field(7, b"graph")


class Files:
    """Numbered files in a folder."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.paths: list[Path] = []

    def add(self, content: bytes, name: str = "") -> Path:
        self.paths.append(self.folder / f"{len(self.paths):05}{name}")
        self.paths[-1].write_bytes(content)
        return self.paths[-1]


def drawn(limits: tuple[float, float] | None) -> list[float]:
    """Fixed limits as float32, still low < high where those are one number; two zeros for none."""
    largest = np.finfo(np.float32).max
    low, high = np.clip(limits or (0.0, 0.0), -largest, largest).astype(np.float32)
    if limits and low == high:
        low, high = (low, np.nextafter(high, largest)) if high < largest else (np.nextafter(low, np.float32(0)), high)
    return [float(low), float(high)]


def fields(kind: Format, spec: Spec) -> dict[str, Any]:
    """A contract as tests/cpp/contract_lines.cpp writes it."""
    p = spec.preprocessing
    limits = {m.name: drawn((spec.calibration or {}).get(m.name)) for m in spec.maps}
    maps = [
        {
            "kind": get_args(MapKind).index(m.kind),
            "name": m.name,
            "method": m.method,
            "layer": m.layer,
            "shape": list(m.shape),
            "rank": m.rank,
            "low": limits[m.name][0],
            "high": limits[m.name][1],
        }
        for m in spec.maps
    ]
    return {
        "format": get_args(Format).index(kind),
        "json": spec.to_json(),
        "model": spec.model,
        "weights_hash": spec.weights_hash,
        "hash": spec.hash,
        "precision": spec.precision,
        "height": p.height,
        "width": p.width,
        "channels": p.channels,
        "crop": p.resize == "crop",
        "shorter": p.shorter or 0,
        "bicubic": p.interpolation == "bicubic",
        "mean": [float(v) for v in p.mean],
        "std": [float(v) for v in p.std],
        "maps": maps,
        "features": spec.features or 0,
        "float_pixels": spec.pixels == "float32",
        "num_outputs": spec.num_outputs,
        "output_height": (spec.output_size or (0, 0))[0],
        "output_width": (spec.output_size or (0, 0))[1],
        "softmax": spec.softmax,
        "target": get_args(TargetKind).index(spec.target),
        "target_count": spec.target_count,
        "target_layer": spec.target_layer or "",
        "target_shape": list(spec.target_shape or ()),
        "classes": list(spec.classes or ()),
        "versions": [list(item) for item in sorted(spec.versions.items())],
    }


def differences(read: Read, paths: list[Path]) -> tuple[list[str], int]:
    """Where the two readers do not say the same of a file; and how many files both take."""
    found, taken = [], 0
    for path, said in zip(paths, read(paths), strict=True):
        try:
            expected = fields(*read_contract(path))
        except SaccadeError as error:
            if "error" not in said:
                found.append(f"{path.name}: only Python refuses it: {error}")
            elif not said["error"].startswith(f"load: {path}: ") or "\n" in said["error"] or said["status"] != 2:
                found.append(f"{path.name}: {said}")
            continue
        taken += 1
        if said != expected:
            wrong = {k: (v, said.get(k)) for k, v in expected.items() if said.get(k) != v}
            found.append(f"{path.name}: {said.get('error', wrong)}")
    return found, taken


def write_body(path: Path, kind: Format) -> Path:
    """What a runtime's own library writes, in a few hundred bytes."""
    if kind == "onnx":
        path.write_bytes(BODY)
        return path
    with zipfile.ZipFile(path, "w") as archive:
        for name, content, packing in (
            ("tiny/data.pkl", b"weights" * 5, zipfile.ZIP_STORED),
            ("tiny/code.py", b"pass\n" * 9, zipfile.ZIP_DEFLATED),
            ("tiny/data/aotinductor/a.so" if kind == "aotinductor" else "tiny/version", b"3", zipfile.ZIP_STORED),
        ):
            archive.writestr(zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0)), content, packing)
    return path


def sealed(contract: dict[str, Any] | str | bytes) -> bytes:
    """An ONNX file with that contract, with a hash that fits where the contract has an empty one."""
    if isinstance(contract, dict):
        contract = json.dumps(contract, sort_keys=True, ensure_ascii=False)
    text = contract.encode("utf-8", "surrogatepass") if isinstance(contract, str) else contract
    hashes = hashlib.sha256(BODY).hexdigest() + hashlib.sha256(text).hexdigest()
    text = text.replace(b'"hash": ""', b'"hash": "sha256:' + hashes.encode() + b'"')
    return BODY + module._field(14, module._field(1, b"saccade") + module._field(2, text))
