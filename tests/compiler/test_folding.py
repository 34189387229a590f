"""Batch norm folded into convolutions: which are, which are left alone, and that it changes nothing."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from check_small import check_small, model_of
from networks import seeded
from small_networks import Case, Head, conv
from test_exported import export
from torch import Tensor, fx, nn

from saccade.engine import pipeline
from saccade.engine.compiler import Model, folding, load_model, wrap_module
from saccade.engine.compiler.folding import EXACT, ROUNDED
from saccade.engine.compiler.network import Network, short_name
from saccade.engine.contract import ModelOptions


class Shared(nn.Module):
    """One convolution and its norm used twice; another whose output is read beside the norm; one norm without scale."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.twice, self.norm = nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.read, self.beside = nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8)
        self.plain, self.bare = nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8, affine=False)
        self.fc = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.first(x))
        for _ in range(2):
            x = F.relu(self.norm(self.twice(x)))
        read = self.read(x)
        x = F.relu(self.beside(read) + read)
        return self.fc(F.relu(self.bare(self.plain(x))).mean(dim=(2, 3)))


class Tied(nn.Module):
    """Two convolutions that share one weight under two names."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.a_norm, self.b, self.b_norm = conv(3, 3, 3), nn.BatchNorm2d(3), conv(3, 3, 3), nn.BatchNorm2d(3)
        self.b.weight = self.a.weight
        self.fc = nn.Linear(3, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.b_norm(self.b(F.relu(self.a_norm(self.a(x)))))
        return self.fc(F.relu(x).mean(dim=(2, 3)))


def block(*convolution: nn.Module, width: int = 8) -> Head:
    return Head(nn.Conv2d(3, 8, 3), *convolution, nn.BatchNorm2d(width), nn.ReLU(), width=width)


FOLDED = {
    "with a bias": Case(lambda: block(conv(8, 8, 3)), "body.3"),
    "without a bias": Case(lambda: block(nn.Conv2d(8, 8, 3, bias=False)), "body.3"),
    "grouped, strided and dilated": Case(lambda: block(conv(8, 8, 3, stride=2, dilation=2, groups=4)), "body.3"),
    "padding same": Case(lambda: block(nn.Conv2d(8, 12, 4, padding="same"), width=12), "body.3"),
    "explained at the norm": Case(lambda: block(conv(8, 8, 3)), "body.2"),
}


def fold(model: Model, keep: Collection[fx.Node] = ()) -> tuple[Network, dict[str, float] | None]:
    return folding.fold_batch_norm(model.network, model.preprocessing, keep)


def norms(network: Network) -> int:
    return sum("batch_norm" in short_name(n.target) for n in network.graph.nodes)


@pytest.mark.parametrize("name", FOLDED)
def test_folded_network_is_explained_as_eager_does(name: str, tmp_path: Path):
    case = FOLDED[name]
    model = model_of(case)
    folded, errors = fold(model, {model.network.layer(case.layer or "body.3")})
    assert (norms(model.network), norms(folded)) == (1, 0)
    assert errors is not None
    assert errors["exact"] <= EXACT < errors["rounded"] <= ROUNDED
    check_small(case, ("torchscript", "onnx") if name == "with a bias" else ("torchscript",), tmp_path)


def test_original_network_is_left_as_it_was():
    model = model_of(FOLDED["with a bias"])
    network = model.network
    before = {k: v.clone() for k, v in network.state.items()}
    x, module = torch.randn(2, *network.input_shape), network.module
    assert module is not None
    expected = module(x)
    fold(model)
    assert all(torch.equal(v, before[k]) for k, v in network.state.items())
    assert torch.equal(module(x), expected)


def test_what_cannot_be_told_apart_is_left_alone(tmp_path: Path):
    case = Case(Shared, "first")
    model = model_of(case)
    assert fold(model) == (model.network, None)
    check_small(case, ("torchscript",), tmp_path)
    tied = model_of(Case(Tied, "a"))
    assert fold(tied) == (tied.network, None)


def test_convolution_that_is_explained_keeps_its_own_value(tmp_path: Path):
    case = FOLDED["with a bias"]
    model = model_of(case)
    network = model.network
    assert fold(model, {network.layer("body.1")}) == (network, None)
    assert "body.1" not in {x.name for x in fold(model)[0].layers}
    spec = pipeline.compile_program(model, ["activations"], tmp_path / "p.ts", "torchscript", "body.1")
    assert "folding" not in spec.proof
    spec = pipeline.compile_program(model, ["saliency"], tmp_path / "p.ts", "torchscript")
    assert spec.proof["folding"]["exact"] <= EXACT
    assert spec.weights_hash == network.weights_hash()


def test_exported_program_is_folded_too(tmp_path: Path):
    module = model_of(Case(lambda: block(conv(8, 8, 3)), "body.3", size=(12, 16))).network.module
    assert module is not None
    model = load_model(str(export(module, tmp_path / "net.pt2")))
    spec = pipeline.compile_program(model, ["grad-cam", "saliency"], tmp_path / "p.onnx", "onnx", "body.3")
    assert spec.proof["folding"]["exact"] <= EXACT


def test_folding_that_changes_the_answers_is_left(monkeypatch: pytest.MonkeyPatch):
    model = model_of(FOLDED["with a bias"])
    right = folding._fold

    def wrong(*args):
        right(*args)
        state = args[2]
        name = args[0].args[1].name
        state[name] = state[name] * (1 + 1e-9)

    monkeypatch.setattr(folding, "_fold", wrong)
    assert fold(model) == (model.network, None)
    monkeypatch.undo()
    monkeypatch.setattr(folding, "_load", lambda *_: None)  # the module keeps its batch norm, unrounded
    assert fold(model) == (model.network, None)


class OwnBias(nn.Conv2d):
    """A convolution that does not read its bias."""

    def forward(self, input: Tensor) -> Tensor:
        return F.conv2d(input, self.weight, None, self.stride, self.padding)


class Functional(nn.Module):
    """Batch norm as a function of buffers that no state dict has."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 8, 3), nn.Linear(8, 5)
        for name, value in (("mean", 0.3), ("variance", 2.0), ("scale", 1.5), ("shift", -0.1)):
            self.register_buffer(name, torch.full((8,), value), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        x = F.batch_norm(self.conv(x), self.mean, self.variance, self.scale, self.shift)  # pyright: ignore[reportArgumentType]
        return self.fc(F.relu(x).mean(dim=(2, 3)))


class Curved(nn.Module):
    """A power that only pictures have."""

    def forward(self, x: Tensor) -> Tensor:
        return x**2.2


UNUSUAL = {
    "a convolution that does not read its bias": lambda: block(OwnBias(8, 8, 3)),
    "a functional batch norm": Functional,
    "a curve that pictures alone have": lambda: nn.Sequential(Curved(), block(conv(8, 8, 3))),
}


@pytest.mark.parametrize("name", UNUSUAL)
def test_network_that_cannot_be_folded_compiles_all_the_same(name: str, tmp_path: Path):
    model = wrap_module(seeded(UNUSUAL[name]), "net", ModelOptions(input_size=(20, 24)))
    spec = pipeline.compile_program(model, ["saliency"], tmp_path / "p.ts", "torchscript")
    assert ("folding" in spec.proof) == (name == "a curve that pictures alone have")
