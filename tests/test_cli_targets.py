"""What is explained where nobody says it, and what `saccade run MODEL --target` may say: by the kind of network."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from torch import Tensor, nn

import saccade
from saccade.engine.contract import UsageError
from saccade.engine.contract.program_file import read_contract

Say = Callable[..., Any]
SIZE = ("--input-size", "32", "--weights", "random")


class Outlines(nn.Module):
    """Logits [N, 2, h, w] of dark and of bright places."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU())
        self.head = nn.Conv2d(4, 2, 1)
        with torch.no_grad():
            self.features[0].weight.fill_(1 / 27)  # pyright: ignore[reportArgumentType, reportCallIssue]
            self.head.weight.copy_(torch.tensor([-1.0, 1.0]).reshape(2, 1, 1, 1).expand(2, 4, 1, 1))
            self.head.bias.copy_(torch.tensor([1.0, -1.0]))  # pyright: ignore[reportOptionalMemberAccess]

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, network_source: str) -> Iterator[None]:
    """`kinds:Outlines`, a segmentation, and `kinds:build_network`, three outputs."""
    imports = "import torch\nfrom torch import Tensor, nn\n"
    (tmp_path / "kinds.py").write_text(f"{network_source}\n\n{imports}\n\n{inspect.getsource(Outlines)}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("SACCADE_CACHE", str(tmp_path / "cache"))
    yield
    sys.modules.pop("kinds", None)


def contract(tmp_path: Path):
    (path,) = (tmp_path / "cache").glob("programs/*.onnx")
    return read_contract(path)[1]


def rows(out: Path) -> dict[str, list]:
    return pq.read_table(next(out.glob("evidence/*.parquet"))).to_pydict()


def test_of_a_segmentation_the_region_is_explained(saccade_says: Say, models: None, photos: Path, tmp_path: Path):
    said = saccade_says("run", "kinds:Outlines", photos, "-o", "out", *SIZE)
    assert (said.code, said.err) == (0, "")
    assert contract(tmp_path).target == "region"
    found = rows(tmp_path / "out")
    assert set(found["target_index"]) <= {0, 1}
    assert found["target_index"] == found["prediction_index"]  # the largest region's class
    said = saccade_says("run", "kinds:Outlines", photos, "-o", "one", *SIZE, "--target", "1")
    assert (said.code, said.err) == (0, "")
    assert rows(tmp_path / "one")["target_index"] == [1] * 7
    said = saccade_says("compile", "kinds:Outlines", "-o", "program.onnx", *SIZE)
    assert said.code == 0
    assert read_contract(tmp_path / "program.onnx")[1].target == "region"


def test_target_that_the_network_cannot_have_is_one_line(saccade_says: Say, models: None, photos: Path):
    run = ("run", "kinds:Outlines", photos, "-o", "out", *SIZE, "--target")
    for target, line in {
        "class": "is a segmentation, its logits are [N, K, h, w]; compile it with --target region",
        "0=1": "is a segmentation, its logits are [N, K, h, w]; compile it with --target region",
        "unit:head": "run: --target unit:head: compile MODEL with it first; --target is then a channel of the layer",
        "top-0": "target 'top-0': expected top-1 to top-20",
        "2": "target '2' is no class of kinds:Outlines",
    }.items():
        said = saccade_says(*run, target)
        assert said.code == 2
        assert line in said.complaint
    with pytest.raises(UsageError, match="--target region"):
        saccade.compile(Outlines(), input_size=32, target="class")


@pytest.mark.parametrize(
    ("target", "kind", "count"), [("outputs", "outputs", 1), ("0=1, 2=-0.5", "outputs", 1), ("top-2", "class", 2)]
)
def test_kind_of_target_of_a_model(
    saccade_says: Say, models: None, photos: Path, tmp_path: Path, target: str, kind: str, count: int
):
    said = saccade_says("run", "kinds:build_network", photos, "-o", "out", *SIZE, "--target", target)
    assert (said.code, said.err) == (0, "")
    spec = contract(tmp_path)
    assert (spec.target, spec.target_count) == (kind, count)
    assert len(rows(tmp_path / "out")["path"]) == 7


def test_dream_of_a_segmentation_fills_the_picture_with_the_class(saccade_says: Say, models: None, tmp_path: Path):
    said = saccade_says("dream", "kinds:Outlines", "-o", "bright.png", *SIZE, "--target", "1", "--octaves", "1")
    assert (said.code, said.err) == (0, "")
    assert contract(tmp_path).target == "region"
    program = saccade.compile(Outlines(), "saliency", input_size=32)
    assert program.spec.target == "region"
    assert program.view(tmp_path / "bright.png").mean() > 128 + 10  # it starts at 128
