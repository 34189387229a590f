"""What cannot be compiled is refused in one line that says what was expected, what came and what to do."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import saccade
from saccade.engine.compiler import load_model
from saccade.engine.contract import SaccadeError, UsageError


class Tail(nn.Module):
    """A convolution and a linear head with a function between them."""

    def __init__(self, between: Callable[[Tensor], Any] = lambda x: x) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.relu = nn.ReLU()
        self.side = nn.Conv2d(4, 2, 1)
        self.head = nn.Linear(4, 5)
        self.between = between

    def forward(self, x: Tensor) -> Any:
        return self.between(self.head(self.relu(self.conv(x)).mean((2, 3))))


class Detached(Tail):
    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.relu(self.conv(x)).detach().mean((2, 3)))


class Two(Tail):
    def forward(self, x: Tensor, y: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        return super().forward(x + y)


def _refusal(model: Any, *methods: str, **options: Any) -> str:
    with pytest.raises(SaccadeError) as caught:
        saccade.compile(model, *(methods or ("grad-cam",)), to="torchscript", **{"input_size": 16, **options})
    line = str(caught.value)
    assert "\n" not in line
    assert len(line) < 500
    return line


def test_a_layer_that_does_not_exist_gets_the_nearest_names():
    assert "'rleu' is not in Tail; it has relu" in _refusal(Tail(), layer="rleu")


def test_a_layer_without_places_is_no_target_of_grad_cam():
    assert "needs a layer that gives maps [N, C, h, w]; 'head'" in _refusal(Tail(), layer="head")


def test_a_detached_head_gives_no_gradient():
    assert "gradient" in _refusal(Detached(), layer="relu")


def test_saliency_takes_no_layer():
    assert "takes no --layer" in _refusal(Tail(), "saliency", layer="relu")


def test_unknown_methods_and_options():
    assert "expected one of grad-cam, saliency, activations" in _refusal(Tail(), "lime")
    assert "there is no option 'size'" in _refusal(Tail(), size=3)


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        (Tail(lambda y: {"out": y}), "expected one tensor, logits [N, K]"),
        (Tail(lambda y: (y, y)), "2 outputs; expected one"),
        (Tail(lambda y: y[:, :, None, None]), "expected logits [N, K]"),
        (Tail(lambda y: y.argmax(1, keepdim=True)), "expected logits [N, K] with a gradient"),
        (Two(), "cannot capture"),
        (Tail(lambda y: y if y.sum() > 0 else -y), "cannot capture"),
        (Tail(lambda y: y + torch.rand_like(y)), "random numbers"),
    ],
)
def test_networks_that_are_no_classifier_of_pictures(module: nn.Module, expected: str):
    assert expected in _refusal(module)


def test_an_exported_program_works_and_is_proven(tmp_path: Path):
    free = ({0: torch.export.Dim("N", min=1)},)
    program = torch.export.export(Tail().eval(), (torch.zeros(2, 3, 16, 16),), dynamic_shapes=free)
    torch.export.save(program, tmp_path / "net.pt2")
    compiled = saccade.compile(str(tmp_path / "net.pt2"), "grad-cam", "saliency", to="torchscript")
    assert compiled.spec.proof["mathematics_float64"]["saliency"] < 1e-9
    assert [layer.name for layer in saccade.layers(str(tmp_path / "net.pt2"))] == ["conv", "relu", "head"]


def test_an_exported_program_with_a_fixed_batch_is_refused(tmp_path: Path):
    torch.export.save(torch.export.export(Tail().eval(), (torch.zeros(2, 3, 16, 16),)), tmp_path / "fixed.pt2")
    with pytest.raises(UsageError, match="free batch size"):
        load_model(str(tmp_path / "fixed.pt2"))


def test_a_file_that_is_no_exported_program_is_refused(tmp_path: Path):
    (tmp_path / "x.pt2").write_bytes(b"PK\x03\x04 and nothing else")
    with pytest.raises(UsageError, match="not an exported program"):
        load_model(str(tmp_path / "x.pt2"))


class Hostile:
    """Touches a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def test_a_state_dict_runs_no_code_of_its_author(tmp_path: Path):
    trace = tmp_path / "ran"
    with open(tmp_path / "hostile.pth", "wb") as file:
        pickle.dump({"conv.weight": Hostile(trace)}, file)
    with pytest.raises(UsageError, match="read safely"):
        load_model("torchvision/resnet18", str(tmp_path / "hostile.pth"))
    assert not trace.exists()
    with open(tmp_path / "hostile.pth", "rb") as file:
        pickle.load(file)  # the same file is dangerous where it is trusted
    assert trace.exists()


def test_a_state_dict_that_does_not_fit_names_the_first_difference(tmp_path: Path):
    torch.save({"nothing": torch.zeros(1)}, tmp_path / "s.pth")
    with pytest.raises(UsageError, match=r"missing \(first: conv1.weight\); 1 unexpected \(first: nothing\)"):
        load_model("torchvision/resnet18", str(tmp_path / "s.pth"))


def test_a_fine_tuned_state_dict_brings_its_own_number_of_classes(tmp_path: Path):
    import torchvision

    torch.save(torchvision.models.squeezenet1_1(num_classes=7).state_dict(), tmp_path / "seven.pth")
    model = load_model("torchvision/squeezenet1_1", str(tmp_path / "seven.pth"))
    assert model.network.num_outputs == 7
    assert model.classes is None


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("torchvision/resnet81", "near it: resnet18"),
        ("torchvision/fasterrcnn_resnet50_fpn", "no classifier"),
        ("timm/resnet18x", "timm has no such model"),
        ("nowhere.at.all:function", "no module 'nowhere'"),
        ("math:nothing", "has no function 'nothing'"),
        ("os:getcwd", "expected an nn.Module"),
        ("resnet18", "expected torchvision/NAME"),
        ("missing.pt2", "no such file"),
    ],
)
def test_models_that_are_not_there(model: str, expected: str):
    with pytest.raises(UsageError, match=expected) as caught:
        load_model(model, "random")
    assert "\n" not in str(caught.value)
