"""`.onnx` and TorchScript `.pt` as MODEL: each artefact is explained as the module is that it was exported from."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import torchvision
from artefacts import EXPORTS, write_graph
from networks import cifar10_resnet20, dronet_v2, long_range_perception, seeded
from onnx import NodeProto, helper
from refusals import refused
from small_networks import Twice
from torch import Tensor, nn
from torchvision.models.resnet import Bottleneck, ResNet

from examples.unet_mri.network import unet
from saccade.engine import execute, pipeline
from saccade.engine.compiler import Model, load_model, wrap_module
from saccade.engine.compiler.artefact import Artefact, prove_artefact
from saccade.engine.contract import ModelOptions, SaccadeError

Size = tuple[int, int]
TOLERANCE = 1e-5


def explain(model: Model, folder: Path, images: np.ndarray, to: str = "torchscript") -> tuple[np.ndarray, dict]:
    """Grad-CAM of a compiled program at the default layer, float32 [N, h, w], and the program's proof."""
    spec = pipeline.compile_program(model, ["grad-cam"], folder / "program", to)  # pyright: ignore[reportArgumentType]
    return execute.load(folder / "program", device="cpu").run(images).maps["grad_cam"], dict(spec.proof)


def same(got: np.ndarray, expected: np.ndarray) -> None:
    assert got.shape == expected.shape
    assert expected.max() > 0
    np.testing.assert_allclose(got, expected, rtol=0, atol=TOLERANCE * expected.max())


def test_wrong_map_is_seen():
    right = np.array([[[1.0, 2.0]]], np.float32)
    same(right + 1e-6, right)
    for wrong in (right + 1e-4, right[:, :, ::-1], np.zeros_like(right)):
        with pytest.raises(AssertionError):
            same(wrong, right)
        with pytest.raises(AssertionError):
            same(right[:0], right)


class Attention(nn.Module):
    """Squeeze and excitation (SENet's) in front of a head."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, 1, 1))
        self.squeeze = nn.AdaptiveAvgPool2d(1)
        self.excite = nn.Sequential(nn.Conv2d(8, 4, 1), nn.ReLU(), nn.Conv2d(4, 8, 1), nn.Sigmoid())
        self.relu = nn.ReLU()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.body(x)
        x = self.relu(x * self.excite(self.squeeze(x)))
        return self.fc(torch.flatten(self.pool(x), 1))


SMALL: dict[str, tuple[Callable[[], nn.Module], Size, int]] = {
    "attention": (Attention, (24, 32), 3),
    "bottleneck": (lambda: ResNet(Bottleneck, [1, 1, 1, 1], num_classes=7, width_per_group=8), (64, 64), 3),
    "twice": (Twice, (12, 16), 3),
    "unet": (unet, (32, 48), 1),
}
FULL: dict[str, tuple[Callable[[], nn.Module], Size, int]] = {
    "alexnet": (torchvision.models.alexnet, (224, 224), 3),
    "vgg16": (torchvision.models.vgg16, (224, 224), 3),
    "resnet18": (torchvision.models.resnet18, (96, 96), 3),
    "resnet50": (torchvision.models.resnet50, (96, 96), 3),
    "seresnet50": (lambda: timm.create_model("seresnet50"), (96, 96), 3),
    "unet": (unet, (128, 128), 1),
    "cifar10_resnet20": (cifar10_resnet20, (32, 32), 3),
    "dronet_v2": (dronet_v2, (224, 224), 1),
    "long_range_perception": (long_range_perception, (64, 80), 3),
    "squeezenet1_0": (torchvision.models.squeezenet1_0, (96, 96), 3),
    "mobilenet_v2": (torchvision.models.mobilenet_v2, (96, 96), 3),
    "mobilenet_v3_small": (torchvision.models.mobilenet_v3_small, (96, 96), 3),
    "densenet121": (torchvision.models.densenet121, (64, 64), 3),
    "googlenet": (lambda: torchvision.models.googlenet(init_weights=False), (96, 96), 3),
    "efficientnet_b0": (torchvision.models.efficientnet_b0, (96, 96), 3),
}


@functools.cache
def of_module(build: Callable[[], nn.Module], size: Size, channels: int) -> tuple[str, tuple[int, ...], np.ndarray]:
    """The default layer, its shape and its map, as the module itself gives them for `drawn`."""
    model = wrap_module(seeded(build), "module", ModelOptions(input_size=size))
    layer = model.network.default_layer()
    assert layer is not None
    with tempfile.TemporaryDirectory() as folder:
        return layer.name, layer.shape, explain(model, Path(folder), drawn(size, channels))[0]


def drawn(size: Size, channels: int) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (3, *size, channels), np.uint8)


def check(build: Callable[[], nn.Module], size: Size, channels: int, export: str, folder: Path) -> None:
    module = seeded(build)
    options = ModelOptions(input_size=size)
    path = EXPORTS[export](module, torch.zeros(2, channels, *size), folder)
    model = load_model(str(path), options=options if export in ("scripted", "frozen") else None)
    assert model.network.input_shape == (channels, *size)
    assert model.network.artefact is not None
    assert model.network.artefact.batch == (1 if export in ("fixed", "old") else None)
    name, shape, expected = of_module(build, size, channels)
    found = model.network.default_layer()
    assert found is not None
    if export != "frozen":  # which has no modules left
        again = name.replace("@2", "_1")  # how the older exporter calls a module that runs twice
        assert found.name == (again if export in ("legacy", "old") else name)
    assert found.shape == shape
    got, proof = explain(model, folder, drawn(size, channels))
    assert 0 <= proof["artefact"]["logits"] <= 1e-5
    same(got, expected)


@pytest.mark.parametrize(
    ("name", "export"),
    [
        *(("attention", export) for export in EXPORTS),
        *(("twice", export) for export in ("fixed", "old", "traced")),
        *(("bottleneck", export) for export in ("dynamo", "scripted")),
        ("unet", "traced"),
    ],
)
def test_artefact_is_explained_as_its_module(name: str, export: str, tmp_path: Path):
    check(*SMALL[name], export, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("export", ["dynamo", "fixed", "legacy", "traced", "scripted"])
@pytest.mark.parametrize("name", FULL)
def test_artefact_of_the_articles_networks(name: str, export: str, tmp_path: Path):
    check(*FULL[name], export, tmp_path)


# ---- the proof ----------------------------------------------------------------------------------------------------


def test_artefact_that_answers_otherwise_is_no_proof(tmp_path: Path):
    path = EXPORTS["scripted"](seeded(Twice), torch.zeros(1, 3, 12, 16), tmp_path)
    model = load_model(str(path), options=ModelOptions(input_size=(12, 16)))
    assert model.network.artefact is not None
    run = execute.open_artefact(path, model.network.artefact.operators)
    assert prove_artefact(model.network, model.preprocessing, run)["logits"] < 1e-5
    wrongs: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "differ from the file's own": lambda x: run(x) * np.float32(1.001),
        "gives .* for 3 pictures": lambda x: run(x)[:1],
        r"differ from the file's own by (nan|inf)": lambda x: run(x) * np.float32("nan"),
    }
    for message, wrong in wrongs.items():
        refused(lambda wrong=wrong: prove_artefact(model.network, model.preprocessing, wrong), message, SaccadeError)


def test_program_is_not_written_where_the_artefact_answers_otherwise(tmp_path: Path):
    """The network of one file with the weights of another."""
    path = EXPORTS["scripted"](seeded(Twice), torch.zeros(1, 3, 12, 16), tmp_path)
    model = load_model(str(path), options=ModelOptions(input_size=(12, 16)))
    other = write_graph(
        tmp_path / "other.onnx",
        [
            helper.make_node("GlobalAveragePool", ["x"], ["a"]),
            helper.make_node("Flatten", ["a"], ["f"]),
            helper.make_node("Gemm", ["f", "w"], ["y"]),
        ],
        {"w": np.ones((3, model.network.num_outputs), np.float32)},
        ("N", 3, 12, 16),
    )
    model.network.artefact = Artefact(other)
    refused(
        lambda: pipeline.compile_program(model, ["grad-cam"], tmp_path / "p.ts", "torchscript"),
        "proof failed: the logits of the network read from .*other.onnx",
        SaccadeError,
    )
    assert not (tmp_path / "p.ts").exists()


# ---- what files of other makers have ------------------------------------------------------------------------------


def head(*before: NodeProto) -> list[NodeProto]:
    """A convolution, a ReLU and a linear head behind some nodes that give `c`."""
    return [
        *before,
        helper.make_node("Conv", ["c", "k"], ["m"], "conv1"),
        helper.make_node("Relu", ["m"], ["r"], "relu1"),
        helper.make_node("GlobalAveragePool", ["r"], ["a"], "pool"),
        helper.make_node("Flatten", ["a"], ["f"], "flatten"),
        helper.make_node("MatMul", ["f", "w"], ["o"], "dense"),
        helper.make_node("Add", ["o", "b"], ["y"], "bias"),
    ]


RANDOM = np.random.default_rng(7)
HEAD = {
    "k": RANDOM.standard_normal((6, 3, 3, 3)).astype(np.float32),
    "w": RANDOM.standard_normal((6, 4)).astype(np.float32),
    "b": RANDOM.standard_normal(4).astype(np.float32),
}


def test_channels_last_and_names_without_modules(tmp_path: Path):
    """What comes out of Keras: pictures [N, H, W, C], a transpose in front, operators with names of their own."""
    transposed = helper.make_node("Transpose", ["x"], ["c"], "transpose", perm=[0, 3, 1, 2])
    path = write_graph(tmp_path / "keras.onnx", head(transposed), HEAD, ("N", 12, 14, 3))
    model = load_model(str(path))
    assert model.network.input_shape == (3, 12, 14)
    named = [layer.name for layer in model.network.layers]
    assert named == ["transpose", "conv1", "relu1", "pool", "flatten", "dense", "bias"]
    layer = model.network.default_layer()
    assert layer is not None
    assert layer.name == "relu1"
    images = np.random.default_rng(1).integers(0, 256, (3, 12, 14, 3), np.uint8)
    got, proof = explain(model, tmp_path, images)
    assert proof["artefact"]["logits"] < 1e-5
    plain = write_graph(
        tmp_path / "plain.onnx", head(helper.make_node("Identity", ["x"], ["c"])), HEAD, ("N", 3, 12, 14)
    )
    same(got, explain(load_model(str(plain)), tmp_path, images)[0])


def test_quantized_weights_are_explained_and_quantized_values_refused(tmp_path: Path):
    whole = {"q": np.random.default_rng(2).integers(-127, 128, (6, 3, 3, 3)).astype(np.int8)}
    scale = {"s": np.full(6, 0.01, np.float32), "z": np.zeros(6, np.int8)}
    unpacked = helper.make_node("DequantizeLinear", ["q", "s", "z"], ["k"], axis=0)
    rest = {name: HEAD[name] for name in ("w", "b")}
    nodes = [unpacked, *head(helper.make_node("Identity", ["x"], ["c"]))]
    path = write_graph(tmp_path / "weights.onnx", nodes, {**whole, **scale, **rest}, ("N", 3, 12, 14))
    images = np.random.default_rng(1).integers(0, 256, (2, 12, 14, 3), np.uint8)
    assert explain(load_model(str(path)), tmp_path, images)[1]["artefact"]["logits"] < 1e-5

    steps = [
        helper.make_node("QuantizeLinear", ["x", "t", "u"], ["i"], "quantize"),
        helper.make_node("DequantizeLinear", ["i", "t", "u"], ["c"]),
    ]
    one = {"t": np.array(0.02, np.float32), "u": np.array(0, np.uint8)}
    path = write_graph(tmp_path / "quantized.onnx", head(*steps), {**HEAD, **one}, ("N", 3, 12, 14))
    refused(
        lambda: load_model(str(path)), r"QuantizeLinear \(node quantize\) rounds .* gradient is zero .* float32 network"
    )


def test_quantized_torchscript_is_refused(tmp_path: Path):
    from torch.ao import quantization

    module = nn.Sequential(
        quantization.QuantStub(),
        nn.Conv2d(3, 4, 3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(16, 2),
        quantization.DeQuantStub(),
    ).eval()
    module.qconfig = quantization.get_default_qconfig("onednn")  # pyright: ignore[reportArgumentType]
    prepared = quantization.prepare(module)
    prepared(torch.randn(4, 3, 4, 4))
    torch.jit.script(quantization.convert(prepared)).save(tmp_path / "quantized.pt")
    options = ModelOptions(input_size=(4, 4))
    refused(lambda: load_model(str(tmp_path / "quantized.pt"), options=options), "it is quantized: .* float32 network")
