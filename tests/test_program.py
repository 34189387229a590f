"""The facade: compile, load, call, look."""

from __future__ import annotations

import copy
import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

import saccade
from saccade import PhotoError, SaccadeError, UsageError

torch = pytest.importorskip("torch")


@pytest.fixture(scope="module")
def loaded(compiled: dict[str, Path]) -> saccade.Program:
    return saccade.load(compiled["onnx"])


@pytest.fixture(scope="module")
def images() -> npt.NDArray[np.uint8]:
    """Three pictures: a white square, a red one, and faint noise alone."""
    pixels = np.random.default_rng(0).integers(0, 90, (3, 32, 32, 3), dtype=np.uint8)
    pixels[0, 4:14, 4:14] = 255
    pixels[1, 16:28, 16:28] = (255, 0, 0)
    pixels[2] //= 4
    return pixels


def test_compile_call_save_load(network: Any, images: npt.NDArray[np.uint8], tmp_path: Path):
    options: dict[str, Any] = {"input_size": 32, "mean": 0.5, "std": [0.5] * 3, "classes": ("bright", "red", "neither")}
    program = saccade.compile(network, "grad-cam", "saliency", to="torchscript", **options)
    assert repr(program) == (
        "<saccade.Program Sequential: grad-cam at 5, saliency at input; 32x32; torchscript on cpu>"
    )
    assert program.spec.preprocessing.mean == (0.5, 0.5, 0.5)
    made = program(images)
    assert {
        k: v.shape for k, v in {"cam": made.grad_cam, "saliency": made["saliency"], "logits": made.logits}.items()
    } == {
        "cam": (3, 8, 8),
        "saliency": (3, 32, 32),
        "logits": (3, 3),
    }
    program.save(tmp_path / "new" / "tiny.ts")
    again = saccade.load(tmp_path / "new" / "tiny.ts", device="cpu")
    np.testing.assert_allclose(again(images).grad_cam, made.grad_cam, rtol=1e-5, atol=1e-7)
    again.save(tmp_path / "new" / "tiny.ts")  # onto itself
    assert saccade.load(tmp_path / "new" / "tiny.ts").spec == program.spec
    (tmp_path / "file").write_text("")
    with pytest.raises(SaccadeError, match="cannot write"):
        program.save(tmp_path / "file" / "tiny.ts")


def test_the_maps_are_those_of_hooks_and_autograd(loaded: saccade.Program, network: Any, images: npt.NDArray[np.uint8]):
    x = torch.from_numpy(images).permute(0, 3, 1, 2).double() / 255
    module = copy.deepcopy(network).double().eval()
    kept = module[:6](x).detach().requires_grad_()
    logits = module[6:](kept)
    (slope,) = torch.autograd.grad(logits.max(dim=1).values.sum(), kept)
    cam = (kept * slope.mean(dim=(2, 3), keepdim=True)).sum(dim=1).relu().detach().numpy()
    made = loaded(images)
    np.testing.assert_allclose(made.logits, logits.detach().numpy(), atol=1e-5)
    np.testing.assert_allclose(made.grad_cam, cam, atol=1e-5 * cam.max())
    np.testing.assert_allclose(made.activations, kept.detach().numpy(), atol=1e-5)


def test_arrays_tensors_and_one_picture(loaded: saccade.Program, images: npt.NDArray[np.uint8]):
    whole = loaded(images)
    assert len(whole) == 3
    for same in (torch.from_numpy(images), images.tolist() and np.asfortranarray(images), images[::-1][::-1]):
        np.testing.assert_array_equal(loaded(same).grad_cam, whole.grad_cam)
    one = loaded(images[1])
    assert len(one) == 1
    np.testing.assert_allclose(one.grad_cam[0], whole.grad_cam[1], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda x: x.astype(np.float32) / 255, r"expected images uint8 \[N, 32, 32, 3\], got float32 \[3, 32, 32, 3\]"),
        (lambda x: torch.from_numpy(x).permute(0, 3, 1, 2), r"got uint8 \[3, 3, 32, 32\]"),
        (lambda x: x[:, :31], r"got uint8 \[3, 31, 32, 3\]"),
        (lambda x: x[..., :1], r"got uint8 \[3, 32, 32, 1\]"),
        (lambda x: x[:0], "at least one image"),
        (lambda x: x[0, 0], r"got uint8 \[32, 3\]"),
        (lambda x: "photo.jpg", "expected images uint8"),
        (lambda x: None, "expected images uint8"),
        (lambda x: [[1, 2], [3]], "cannot be read as an array"),
        (lambda x: torch.zeros(3, 32, 32, 3, requires_grad=True), "cannot be read as an array"),
        (lambda x: torch.zeros(3, 32, 32, 3, dtype=torch.uint8, device="meta"), "cannot be read as an array"),
    ],
)
def test_wrong_images(loaded: saccade.Program, images: npt.NDArray[np.uint8], make: Any, message: str):
    with pytest.raises(UsageError, match=message):
        loaded(make(images))


def test_targets(loaded: saccade.Program, images: npt.NDArray[np.uint8]):
    predicted = loaded(images)
    assert predicted.prediction == ["bright", "red", "neither"]
    assert predicted.target.tolist() == [0, 1, 2]
    for target in (None, -1, [-1, 1, -1], [0, 1, 2]):
        np.testing.assert_array_equal(loaded(images, target).grad_cam, predicted.grad_cam)
    for target in ("red", 1, [1, 1, 1]):
        assert loaded(images, target).target.tolist() == [1, 1, 1]
    assert not np.allclose(loaded(images, "red").grad_cam[0], predicted.grad_cam[0])
    for target in ("rad", 3, -2, [0, 1], 0.5, [[0, 1, 2]], True):
        with pytest.raises(UsageError, match="target"):
            loaded(images, target)  # pyright: ignore[reportArgumentType]


def test_an_explanation(loaded: saccade.Program, images: npt.NDArray[np.uint8]):
    made = loaded(images)
    assert made.grad_cam is made["grad_cam"]
    assert made.features is not None
    assert made.features.shape == (3, 6)
    assert made.confidence is not None
    assert np.all((made.confidence > 1 / 3) & (made.confidence <= 1))
    with pytest.raises(AttributeError, match="has no 'gradcam'; it has grad_cam, saliency, activations"):
        _ = made.gradcam
    assert copy.copy(made).grad_cam is made.grad_cam


def test_pictures(loaded: saccade.Program, images: npt.NDArray[np.uint8]):
    made = loaded(images)
    overlay = made.overlay()
    assert (overlay.dtype, overlay.shape) == (np.uint8, images.shape)
    np.testing.assert_array_equal(overlay, made.overlay("grad-cam"))
    heat = made.overlay(opacity=1.0)[0, ..., 1].astype(int)  # viridis gets greener with the map
    assert heat[4:14, 4:14].mean() > heat[20:, 20:].mean() + 100  # on the white square, not on the noise
    np.testing.assert_array_equal(made.overlay(opacity=0.0), images)
    assert not np.array_equal(made.overlay("saliency"), overlay)
    for name in ("activations", "nonsense"):
        with pytest.raises(UsageError, match=f"expected a CAM or gradient map, got '{name}'"):
            made.overlay(name)
    sheet = made.sheet()
    assert (sheet.dtype, sheet.ndim) == (np.uint8, 3)
    assert made.sheet(limit=1).size < sheet.size
    data = made._repr_png_()
    assert data is not None
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(data))), sheet)


def test_photos_as_the_network_sees_them(loaded: saccade.Program, photos: Path):
    paths = sorted(photos.rglob("*.png"))
    views = loaded.view(*paths)
    assert (views.dtype, views.shape) == (np.uint8, (7, 32, 32, 3))
    picture = Image.open(paths[1]).resize((int(32 * 98 / 64), 32), Image.Resampling.BILINEAR)
    left = round((picture.width - 32) / 2)
    np.testing.assert_array_equal(views[1], np.asarray(picture)[:, left : left + 32])
    with pytest.raises(PhotoError, match="does not exist"):
        loaded.view(photos / "none.png")
    with pytest.raises(UsageError, match="at least one photo"):
        loaded.view()


def test_layers(network: Any):
    found = saccade.layers(network, input_size=(32, 32))
    assert [layer.name for layer in found] == [str(i) for i in range(9)]
    assert [layer.type for layer in found][4:] == ["Conv2d", "ReLU", "AdaptiveAvgPool2d", "Flatten", "Linear"]
    assert tuple(found[4].shape) == (6, 8, 8)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (("grad-cam",), {}, "input"),
        (("grad-cam",), {"input_sise": 32}, "there is no option 'input_sise'; there are input_size, "),
        (("grad-cam",), {"input_size": 32, "to": "tflite"}, "to='tflite': expected one of onnx, torchscript"),
        (("grad-camel",), {"input_size": 32}, "grad-camel"),
        (("grad-cam",), {"input_size": 32, "layer": "layer4"}, "layer4"),
        (("grad-cam",), {"input_size": 0}, r"input_size=\(0, 0\): expected \(height, width\)"),
        (("grad-cam",), {"input_size": "big"}, "input_size="),
        (("grad-cam",), {"input_size": 32, "resize": "squash"}, "resize='squash': expected crop or stretch"),
        (("grad-cam",), {"input_size": 32, "mean": "dark"}, "mean="),
        (("grad-cam",), {"input_size": 32, "std": 0}, "std=.*: expected numbers above 0"),
        (("grad-cam",), {"input_size": 32, "mean": [0.1, 0.2]}, "--mean has 2 numbers"),
        (("grad-cam",), {"input_size": 32, "classes": ["one"]}, "1 class names for 3 outputs"),
    ],
)
def test_wrong_words(network: Any, arguments: tuple[str, ...], options: dict[str, Any], message: str):
    with pytest.raises(UsageError, match=message):
        saccade.compile(network, *arguments, **options)


def test_what_is_no_model():
    for model in (None, 3, np.zeros(3)):
        with pytest.raises(UsageError, match=r"expected an nn.Module or a model's name, got "):
            saccade.compile(model, input_size=32)  # pyright: ignore[reportArgumentType]
    with pytest.raises(UsageError, match="expected torchvision/NAME"):
        saccade.compile("resnet18")


def test_the_package_shows_its_names():
    assert set(saccade.__all__) <= set(dir(saccade))
    for name in saccade.__all__:
        assert getattr(saccade, name).__name__ == name
    with pytest.raises(AttributeError, match="module 'saccade' has no attribute 'explain'"):
        _ = saccade.explain  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_nothing_is_reported_to_anybody(program: Path, tmp_path: Path, runtime: str):
    """ONNX Runtime 1.29 and OpenVINO write who they are for their reports as soon as they start; on CI they do not."""
    pytest.importorskip(runtime)
    load = f"saccade.load({str(program)!r}, runtime={runtime!r})"
    code = f"import saccade, numpy; {load}(numpy.zeros((1, 32, 32, 3), 'uint8'))"
    env = {name: value for name, value in os.environ.items() if name not in ("CI", "ORT_DISABLE_TELEMETRY")}
    env |= dict.fromkeys(("TMPDIR", "HOME", "XDG_CACHE_HOME"), str(tmp_path / "home")) | {
        "PYTHONDONTWRITEBYTECODE": "1"
    }
    (tmp_path / "home").mkdir()
    subprocess.run([sys.executable, "-c", code], env=env, check=True)
    assert list((tmp_path / "home").rglob("*")) == []
