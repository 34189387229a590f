"""`.pt2` exported programs: good ones compile like their module, hostile ones run nothing."""

from __future__ import annotations

import contextlib
import io
import json
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from networks import seeded
from refusals import Touch, refused
from small_networks import Head, Twice, conv
from torch import nn

from saccade.engine import execute, pipeline
from saccade.engine.compiler import load_model, wrap_module
from saccade.engine.compiler.exported import _plain_expression
from saccade.engine.contract import ModelOptions

Change = Callable[[str, bytes, Path], "tuple[str, bytes] | None"]


def export(module: nn.Module, path: Path, free: bool = True) -> Path:
    dynamic = ({0: torch.export.Dim("N", min=1)},) if free else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(module, (torch.zeros(3, 3, 12, 16),), dynamic_shapes=dynamic)
        torch.export.save(program, path)
    return path


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(seeded(Twice), tmp_path_factory.mktemp("exported") / "good.pt2")


def test_exported_program_gives_the_maps_of_its_module(good: Path, tmp_path: Path):
    exported = load_model(str(good))
    assert [x.name for x in exported.network.layers] == ["one", "relu", "two", "relu@2", "fc"]
    models = {"exported": exported, "module": wrap_module(seeded(Twice), "net", ModelOptions(input_size=(12, 16)))}
    images, found = np.random.default_rng(3).integers(0, 256, (5, 12, 16, 3), np.uint8), {}
    for name, model in models.items():
        spec = pipeline.compile_program(model, ["grad-cam", "saliency"], tmp_path / name, "torchscript", "relu@2")
        assert max(spec.proof["mathematics_float64"].values()) <= 1e-9
        found[name] = execute.load(tmp_path / name, device="cpu").run(images)
    for name in ("grad_cam", "saliency"):
        np.testing.assert_allclose(found["exported"].maps[name], found["module"].maps[name], rtol=1e-5, atol=1e-7)


def test_exported_program_without_a_gradient_is_refused(tmp_path: Path):
    class Detached(Twice):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x).detach()

    model = load_model(str(export(seeded(Detached), tmp_path / "net.pt2")))
    refused(
        lambda: pipeline.compile_program(model, ["saliency"], tmp_path / "net.ts", "torchscript"), "is zero on every"
    )


def test_exported_program_that_is_fixed_or_training_is_refused(good: Path, tmp_path: Path):
    fixed = export(seeded(Twice), tmp_path / "fixed.pt2", free=False)
    refused(lambda: load_model(str(fixed)), r"exported for inputs .*; expected a free batch size")
    for name, layer in (("norm", nn.BatchNorm2d(8)), ("dropout", nn.Dropout(0.5))):
        path = export(Head(conv(3, 8, 3), layer).train(), tmp_path / f"{name}.pt2")
        refused(lambda path=path: load_model(str(path)), r"training mode.*; call .eval\(\) first")
    refused(lambda: load_model(str(good), options=ModelOptions(input_size=(9, 9))), "exported for 12x16")


@pytest.mark.parametrize("content", [b"", b"junk", b"PK\x03\x04 and no more"])
def test_file_that_is_no_archive_is_refused(content: bytes, tmp_path: Path):
    (tmp_path / "junk.pt2").write_bytes(content)
    refused(lambda: load_model(str(tmp_path / "junk.pt2")), "not an exported program, or a damaged one")


# ---- hostile archives ---------------------------------------------------------------------------------------------


def pickled(touched: Path) -> bytes:
    data = io.BytesIO()
    torch.save((Touch(touched),), data)
    return data.getvalue()


def in_json(name: str, edit: Callable[[Any, Path], None]) -> Change:
    def change(entry: str, data: bytes, touched: Path) -> tuple[str, bytes] | None:
        if not entry.endswith(name):
            return None
        tree = json.loads(data)
        edit(tree, touched)
        return entry, json.dumps(tree).encode()

    return change


def hostile_shape(tree: Any, touched: Path) -> None:
    code = f"__import__('pathlib').Path({str(touched)!r}).touch() or Symbol('s0')"
    text = json.dumps(tree)
    old = next(s for s in text.split('"') if s.startswith("Symbol("))
    new = json.loads(text.replace(json.dumps(old), json.dumps(code)))
    tree.clear()
    tree.update(new)


def hostile_weight(tree: Any, touched: Path) -> None:
    next(iter(tree["config"].values()))["use_pickle"] = True


def hostile_operator(tree: Any, touched: Path) -> None:
    tree["graph_module"]["graph"]["nodes"][0]["target"] = "torch.hub.load"


def hostile_import(tree: Any, touched: Path) -> None:
    call = tree["graph_module"]["module_call_graph"][0]["signature"]
    call["in_spec"] = (
        '[1, {"type": "collections.defaultdict", "context": "{\\"default_factory_module\\": \\"antigravity\\"}"}]'
    )


def sample_pickle(entry: str, data: bytes, touched: Path) -> tuple[str, bytes] | None:
    return (entry, pickled(touched)) if entry.endswith("sample_inputs/model.pt") else None


def weight_pickle(entry: str, data: bytes, touched: Path) -> tuple[str, bytes] | None:
    hostile = in_json("model_weights_config.json", hostile_weight)(entry, data, touched)
    return hostile or ((entry, pickled(touched)) if entry.endswith("weights/weight_0") else None)


HOSTILE: dict[str, tuple[Change, str]] = {
    "a pickle among the sample inputs": (sample_pickle, "is a pickle of more than tensors"),
    "a pickled weight": (weight_pickle, "has a pickled tensor"),
    "an expression with a call": (in_json("models/model.json", hostile_shape), "has an expression"),
    "an operator that loads code": (in_json("models/model.json", hostile_operator), "has an operator 'torch.hub.load'"),
    "a tree that imports": (in_json("models/model.json", hostile_import), "has a tree with an import"),
}


def changed(good: Path, path: Path, change: Change, touched: Path) -> Path:
    count = 0
    with zipfile.ZipFile(good) as archive, zipfile.ZipFile(path, "w") as out:
        for entry in archive.infolist():
            data = archive.read(entry)
            new = change(entry.filename, data, touched)
            count += new is not None
            out.writestr(*(new or (entry.filename, data)))
    assert count > 0
    return path


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_archive_is_refused_and_runs_nothing(what: str, good: Path, tmp_path: Path):
    change, message = HOSTILE[what]
    path, touched = changed(good, tmp_path / "good.pt2", change, tmp_path / "touched"), tmp_path / "touched"
    refused(lambda: load_model(str(path)), message)
    assert not touched.exists()


@pytest.mark.parametrize("what", ["a pickle among the sample inputs", "a pickled weight", "an expression with a call"])
def test_torch_itself_falls_into_these_traps(what: str, good: Path, tmp_path: Path):
    """Otherwise the test above would prove nothing."""
    path, touched = changed(good, tmp_path / "good.pt2", HOSTILE[what][0], tmp_path / "touched"), tmp_path / "touched"
    with contextlib.suppress(Exception):  # what comes out after the trap has snapped is no network
        torch.export.load(path)
    assert touched.exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("good/data/aotinductor/model/model.so", "which no exported network has"),
        ("good/data/constants/custom_obj_0/../x", "which no exported network has"),
        ("good/MODELS/model.json", "two entries of one name"),
        ("other/models/other.json", "which no exported network has"),
        ("serialized_exported_program.json", "which no exported network has"),
    ],
)
def test_entry_that_a_network_does_not_have_is_refused(name: str, message: str, good: Path, tmp_path: Path):
    path = tmp_path / "more.pt2"
    path.write_bytes(good.read_bytes())
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(name, b"{}")
    refused(lambda: load_model(str(path)), message)


def test_archive_that_unpacks_to_more_is_refused(good: Path, tmp_path: Path):
    path = tmp_path / "packed.pt2"
    with zipfile.ZipFile(good) as archive, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
        for entry in archive.namelist():
            out.writestr(entry, archive.read(entry))
    refused(lambda: load_model(str(path)), "has packed entries")


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("Symbol('s77', positive=True, integer=True)", True),
        ("Mul(Integer(2), Symbol('s0', integer=True))", True),
        ("2*s0 + 1", True),
        ("L['x'].size()[0] <= 64", True),
        ("exec(chr(112))", False),
        ("Symbol('s0').__class__", False),
        ("(lambda: s0)()", False),
        ("9**9**9", False),
        ("Max('exec(1)')", False),
        ("s0; s1", False),
    ],
)
def test_expressions_are_told_apart(text: str, plain: bool):
    assert _plain_expression(text) is plain
