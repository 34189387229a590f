"""What cannot be compiled is refused in one line that says what, and what to do; nothing is written."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import safetensors.torch
import torch
import torch.nn.functional as F
import torchvision
from refusals import Touch, refused
from torch import Tensor, nn

from saccade.engine import pipeline
from saccade.engine.compiler import load_model, wrap_module
from saccade.engine.contract import ModelOptions, SaccadeError

Forward = Callable[["Net", Tensor], object]


class Net(nn.Module):
    """A convolution, a side branch and a head, joined by any function."""

    def __init__(self, forward: Forward | None = None) -> None:
        super().__init__()
        self.conv, self.side, self.fc = nn.Conv2d(3, 8, 3), nn.Conv2d(3, 4, 1), nn.Linear(8, 5)
        self.function = forward or Net.usual

    def usual(self, x: Tensor) -> Tensor:
        return self.fc(self.conv(x).mean((2, 3)))

    def forward(self, x: Tensor) -> object:
        return self.function(self, x)


class TwoInputs(nn.Module):
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return (x + y).mean((2, 3))


def compile_it(folder: Path, module: nn.Module, *methods: str, layer: str | None = None, to: str = "torchscript"):
    model = wrap_module(module, "net", ModelOptions(input_size=(12, 16)))
    return pipeline.compile_program(model, methods, folder / "net.ts", to, layer)  # pyright: ignore[reportArgumentType]


def by_sum(net: Net, x: Tensor) -> Tensor:
    y = net.usual(x)
    return y if y.sum() > 0 else -y


def by_cond(net: Net, x: Tensor) -> Tensor:
    return torch.cond(x.sum() > 0, lambda v: net.usual(v), lambda v: -net.usual(v), (x,))


NETWORKS: dict[str, tuple[nn.Module, str]] = {
    "two inputs": (TwoInputs(), "missing a required argument: 'y'"),
    "a dict": (Net(lambda n, x: {"scores": n.usual(x)}), "gives a dict; expected one tensor"),
    "a tuple of two": (Net(lambda n, x: (n.usual(x), x)), "gives a tuple; expected one tensor"),
    "a tuple of one": (Net(lambda n, x: (n.usual(x),)), "gives a tuple; expected one tensor"),
    "three dimensions": (Net(lambda n, x: n.conv(x).mean(3)), r"of shape \['s\d+', '8', '10'\]; expected logits"),
    "a class index": (Net(lambda n, x: n.usual(x).argmax(1, keepdim=True)), "gives torch.int64; expected logits"),
    "an if": (Net(by_sum), "torch.export cannot capture net"),
    "torch.cond": (Net(by_cond), "control flow or a sub-graph"),
    "a batch size in the code": (Net(lambda n, x: n.usual(x.reshape(3, 3, 12, 16))), "torch.export cannot capture net"),
    "random numbers": (Net(lambda n, x: n.usual(x + torch.randn_like(x))), "draws random numbers"),
    "dropout that is always on": (Net(lambda n, x: n.usual(F.dropout(x, 0.5, True))), "training mode"),
    "another input size": (nn.Sequential(nn.Conv2d(3, 3, 30), nn.Flatten()), "torch.export cannot capture net"),
    "five channels": (nn.Sequential(nn.Conv2d(5, 3, 3), nn.Flatten()), r"takes 5 channels; expected 1 \(grey\) or 3"),
}


@pytest.mark.parametrize("what", NETWORKS)
def test_network_that_is_no_classifier_of_pictures(what: str):
    module, message = NETWORKS[what]
    refused(lambda: wrap_module(module, "net", ModelOptions(input_size=(12, 16))), message)


def test_input_size_is_needed():
    refused(lambda: wrap_module(Net(), "net", ModelOptions()), "give it with --input-size")


DEAD: dict[str, tuple[Forward, str, str]] = {
    "detached": (lambda n, x: n.fc(n.conv(x).detach().mean((2, 3))), "conv", "'conv' averages to zero"),
    "constant": (lambda n, x: n.fc(torch.sign(n.conv(x)).mean((2, 3))), "conv", "'conv' averages to zero"),
    "multiplied by zero": (lambda n, x: n.usual(x) + 0 * n.side(x).mean(), "side", "'side' averages to zero"),
    "not on the path": (lambda n, x: (n.side(x), n.usual(x))[1], "side", "layer 'side' is not in net; it has conv, fc"),
    "its mean taken away": (
        lambda n, x: n.fc(F.instance_norm(n.conv(x)).tanh().amax((2, 3)) + x.mean()),
        "conv",
        "'conv' averages to zero on every test picture; grad-cam has nothing to show there; choose another layer",
    ),
    "no map": (
        lambda n, x: n.usual(x),
        "fc",
        r"needs a layer that gives maps \[N, C, h, w\]; 'fc' of net gives \['N', 5",
    ),
}


@pytest.mark.parametrize("what", DEAD)
def test_layer_that_grad_cam_has_nothing_to_show_at(what: str, tmp_path: Path):
    forward, layer, message = DEAD[what]
    refused(lambda: compile_it(tmp_path, Net(forward), "grad-cam", layer=layer), message)
    assert list(tmp_path.iterdir()) == []


def test_saliency_of_a_network_without_a_gradient(tmp_path: Path):
    refused(
        lambda: compile_it(tmp_path, Net(lambda n, x: n.usual(torch.sign(x))), "saliency"), "'input' is zero on every"
    )


def test_network_that_insists_on_float32_has_no_proof(tmp_path: Path):
    net = Net(lambda n, x: n.usual(x.half().float()))
    refused(lambda: compile_it(tmp_path, net, "saliency"), "does not run in float64", SaccadeError)
    assert list(tmp_path.iterdir()) == []


def test_layer_that_does_not_exist_names_the_nearest(tmp_path: Path):
    message = r"layer 'convv' is not in net; it has conv \(see: saccade layers"
    refused(lambda: compile_it(tmp_path, Net(), "grad-cam", layer="convv"), message)


def test_no_layer_to_choose_by_default(tmp_path: Path):
    flat = nn.Sequential(nn.Flatten(), nn.Linear(3 * 12 * 16, 5))
    refused(lambda: compile_it(tmp_path, flat, "grad-cam"), "no layer that grad-cam would choose by itself; give one")


def test_requests_that_make_no_sense(tmp_path: Path):
    refused(lambda: compile_it(tmp_path, Net()), "at least one method")
    refused(
        lambda: compile_it(tmp_path, Net(), "gradcam"), "'gradcam' is not known; expected one of grad-cam, saliency"
    )
    refused(lambda: compile_it(tmp_path, Net(), "saliency", layer="conv"), "takes no --layer; leave it out")
    refused(lambda: compile_it(tmp_path, Net(), "grad-cam", to="tflite"), "expected one of onnx, torchscript")


def test_operator_that_the_onnx_exporter_does_not_know(tmp_path: Path):
    net = Net(lambda n, x: n.fc(F.local_response_norm(n.conv(x), 3).mean((2, 3))))
    message = "ONNX exporter refused this graph .*; use --to torchscript"
    refused(lambda: compile_it(tmp_path, net, "grad-cam", layer="conv", to="onnx"), message, SaccadeError)
    assert compile_it(tmp_path, net, "grad-cam", layer="conv").maps[0].layer == "conv"


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("resnet18", "expected torchvision/NAME, timm/NAME, package.module:function, or a file"),
        ("torchvision/resnet19", "torchvision has no such model; near it: resnet18"),
        ("timm/resnet19", "timm has no such model; near it: resnet18"),
        ("torchvision/fasterrcnn_resnet50_fpn", "is no classifier of single pictures"),
        ("torchvision/deeplabv3_resnet50", "is no classifier of single pictures"),
        ("none.pt2", "there is no such file; expected an exported program"),
        ("nowhere:build", "there is no module 'nowhere'"),
        (":build", "importing '' fails"),
    ],
)
def test_model_that_does_not_exist(model: str, message: str):
    refused(lambda: load_model(model, "random", ModelOptions(input_size=(12, 16))), message)


@pytest.fixture
def own_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    (tmp_path / "own_networks.py").write_text(
        "VALUE = 3\ndef number(): return 3\ndef broken(): raise ValueError('no weights here')\ndef needs(n): return n\n"
    )
    (tmp_path / "broken_networks.py").write_text("def (")
    monkeypatch.syspath_prepend(tmp_path)
    yield "own_networks"
    sys.modules.pop("own_networks", None)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("nothing", "has no function 'nothing' that returns an nn.Module"),
        ("VALUE", "has no function 'VALUE'"),
        ("number", r"expected an nn.Module, number\(\) gave a int"),
        ("broken", r"broken\(\) fails \(ValueError: no weights here\)"),
        ("needs", "needs.* fails .*missing 1 required positional argument"),
    ],
)
def test_function_that_gives_no_module(own_module: str, function: str, message: str):
    refused(lambda: load_model(f"{own_module}:{function}", options=ModelOptions(input_size=(12, 16))), message)


def test_module_that_does_not_import(own_module: str):
    refused(lambda: load_model("broken_networks:f"), "importing 'broken_networks' fails .SyntaxError")


# ---- weights ------------------------------------------------------------------------------------------------------

NAME = "torchvision/squeezenet1_1"


def state() -> dict[str, Tensor]:
    return torchvision.models.squeezenet1_1().state_dict()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features.0.weight": None}, r"does not fit .*: 1 missing \(first: features.0.weight\)"),
        ({"extra.weight": torch.zeros(1)}, r"1 unexpected \(first: extra.weight\)"),
        ({"features.0.bias": torch.zeros(7)}, r"features.0.bias is \[7\], expected \[64\]"),
    ],
)
def test_state_dict_that_does_not_fit(change: dict[str, Tensor | None], message: str, tmp_path: Path):
    wrong = {k: v for k, v in {**state(), **change}.items() if v is not None}
    safetensors.torch.save_file(wrong, tmp_path / "wrong.safetensors")
    refused(lambda: load_model(NAME, str(tmp_path / "wrong.safetensors")), message)


def test_batch_norm_counters_may_be_missing(tmp_path: Path):
    name, file = "torchvision/mobilenet_v3_small", tmp_path / "old.safetensors"
    whole = torchvision.models.mobilenet_v3_small().state_dict()
    kept = {k: v for k, v in whole.items() if not k.endswith("num_batches_tracked")}
    assert len(kept) < len(whole)
    safetensors.torch.save_file(kept, file)
    module = load_model(name, str(file)).network.module
    assert module is not None
    loaded = module.state_dict()
    assert all(bool((loaded[k] == v).all()) for k, v in kept.items())
    safetensors.torch.save_file({k: v for k, v in kept.items() if not k.endswith("running_var")}, file)
    refused(lambda: load_model(name, str(file)), r"missing \(first: features.0.1.running_var\)")


def test_fine_tuned_state_dict_brings_its_number_of_classes(tmp_path: Path):
    head = {"classifier.1.weight": torch.ones(7, 512, 1, 1), "classifier.1.bias": torch.zeros(7)}
    torch.save({"state_dict": {**state(), **head}, "epoch": 3}, tmp_path / "tuned.pth")
    model = load_model(NAME, str(tmp_path / "tuned.pth"))
    assert model.network.num_outputs == 7
    assert model.classes is None
    module = model.network.module
    assert module is not None
    assert bool((module.state_dict()["classifier.1.weight"] == 1).all())


def test_pickle_with_code_in_it_is_refused_and_not_run(tmp_path: Path):
    file, touched = tmp_path / "hostile.pth", tmp_path / "touched"
    torch.save({**state(), "features.0.weight": Touch(touched)}, file)
    refused(lambda: load_model(NAME, str(file)), "holds more than tensors, .* save the module's state_dict")
    assert not touched.exists()
    torch.load(file, weights_only=False)
    assert touched.exists(), "the trap is no trap"


@pytest.mark.parametrize("content", [[1, 2], {"a": 3}, nn.Linear(2, 2)], ids=["list", "number", "module"])
def test_pickle_of_something_else(content: object, tmp_path: Path):
    torch.save(content, tmp_path / "other.pth")
    refused(lambda: load_model(NAME, str(tmp_path / "other.pth")), "expected a state dict|holds more than tensors")


def test_files_that_hold_no_weights(tmp_path: Path):
    refused(lambda: load_model(NAME, str(tmp_path / "none.pth")), "there is no such file; expected pretrained, random")
    (tmp_path / "junk.pth").write_bytes(b"junk")
    refused(lambda: load_model(NAME, str(tmp_path / "junk.pth")), "junk.pth: ")
    (tmp_path / "junk.safetensors").write_bytes(pickle.dumps([1]))
    refused(lambda: load_model(NAME, str(tmp_path / "junk.safetensors")), "not a state dict that can be read safely")
