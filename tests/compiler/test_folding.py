"""Batch norm folded into convolutions: which are, which are left alone, and that it changes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from check_small import check_small, model_of
from small_networks import Case, Head, conv
from test_exported import export
from torch import Tensor, nn

from saccade.engine import pipeline
from saccade.engine.compiler import folding, load_model
from saccade.engine.compiler.folding import fold_batch_norm
from saccade.engine.compiler.network import Network, short_name
from saccade.engine.contract import SaccadeError


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


def norms(network: Network) -> int:
    return sum("batch_norm" in short_name(n.target) for n in network.graph.nodes)


@pytest.mark.parametrize("name", FOLDED)
def test_folded_network_is_explained_as_eager_does(name: str, tmp_path: Path):
    case = FOLDED[name]
    network = model_of(case).network
    folded, error = fold_batch_norm(network, {network.layer(case.layer or "body.3")})
    assert (norms(network), norms(folded)) == (1, 0)
    assert error is not None
    assert error <= 1e-12
    check_small(case, ("torchscript", "onnx") if name == "with a bias" else ("torchscript",), tmp_path)


def test_original_network_is_left_as_it_was():
    network = model_of(FOLDED["with a bias"]).network
    before = {k: v.clone() for k, v in network.state.items()}
    x, module = torch.randn(2, *network.input_shape), network.module
    assert module is not None
    expected = module(x)
    fold_batch_norm(network, ())
    assert all(torch.equal(v, before[k]) for k, v in network.state.items())
    assert torch.equal(module(x), expected)


def test_what_cannot_be_told_apart_is_left_alone(tmp_path: Path):
    case = Case(Shared, "first")
    network = model_of(case).network
    folded, error = fold_batch_norm(network, ())
    assert folded is network
    assert error is None
    check_small(case, ("torchscript",), tmp_path)
    tied = model_of(Case(Tied, "a"))
    assert fold_batch_norm(tied.network, ())[0] is tied.network


def test_convolution_that_is_explained_keeps_its_own_value(tmp_path: Path):
    case = FOLDED["with a bias"]
    model = model_of(case)
    network = model.network
    folded, _ = fold_batch_norm(network, {network.layer("body.1")})
    assert folded is network
    assert "body.1" not in {x.name for x in fold_batch_norm(network, ())[0].layers}
    spec = pipeline.compile_program(model, ["activations"], tmp_path / "p.ts", "torchscript", "body.1")
    assert "folding_float64" not in spec.proof
    spec = pipeline.compile_program(model, ["saliency"], tmp_path / "p.ts", "torchscript")
    assert spec.proof["folding_float64"] <= 1e-12
    assert spec.weights_hash == network.weights_hash()


def test_exported_program_is_folded_too(tmp_path: Path):
    module = model_of(Case(lambda: block(conv(8, 8, 3)), "body.3", size=(12, 16))).network.module
    assert module is not None
    model = load_model(str(export(module, tmp_path / "net.pt2")))
    spec = pipeline.compile_program(model, ["grad-cam", "saliency"], tmp_path / "p.onnx", "onnx", "body.3")
    assert spec.proof["folding_float64"] <= 1e-12


def test_wrong_folding_is_refused(monkeypatch: pytest.MonkeyPatch):
    network = model_of(FOLDED["with a bias"]).network
    right = folding._fold

    def wrong(*args):
        right(*args)
        state = args[2]
        name = args[0].args[1].name
        state[name] = state[name] * (1 + 1e-9)

    monkeypatch.setattr(folding, "_fold", wrong)
    with pytest.raises(SaccadeError, match="folding the batch norms of net moves its logits"):
        fold_batch_norm(network, ())


def test_module_with_other_weights_than_the_graph_is_noticed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    model = model_of(FOLDED["with a bias"])
    monkeypatch.setattr(folding, "_load", lambda *_: None)
    # The module keeps its batch norm, unrounded: 1e-8 away from the graph, which the proof's 1e-9 sees.
    with pytest.raises(SaccadeError, match="in float64 differs from eager autograd"):
        pipeline.compile_program(model, ["saliency"], tmp_path / "p.ts", "torchscript")
