"""The notebook's cells, with the import line changed: on a small network and a drawn photo."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from saccade import UsageError
from saccade.article import (
    ClassActivationMapping,
    GradCam,
    SaliencyMap,
    Weights,
    device,
    image_net_postprocessing,
    image_net_preprocessing,
    module2traced,
    subplot,
    tensor2img,
)


class Small(nn.Module):
    """Two convolutions, one ReLU used twice, and a head that CAM can read."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 16, 5, stride=2, padding=2)
        self.relu = nn.ReLU()
        self.block = nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(16, 12, 3, padding=1))
        self.features = nn.Sequential(nn.BatchNorm2d(12), nn.ReLU())
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(12, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(self.relu(self.block(self.relu(self.first(x)))))
        return self.fc(self.pool(x).flatten(1))


@pytest.fixture(scope="module")
def network() -> nn.Module:
    torch.manual_seed(3)
    return Small().to(device).eval()


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Image.Image:
    path = tmp_path_factory.mktemp("images") / "photo.png"
    random = np.random.default_rng(0)
    pixels = np.kron(random.integers(0, 256, (8, 8, 3)), np.ones((8, 8, 1))).astype(np.uint8)
    Image.fromarray(pixels).save(path)
    return Image.open(path)


@pytest.fixture(scope="module")
def x(photo: Image.Image) -> Tensor:
    pixels = torch.from_numpy(np.array(photo)).permute(2, 0, 1).float() / 255
    return image_net_preprocessing(pixels).unsqueeze(0)


def gradient(network: nn.Module, x: Tensor, target: int | None = None) -> Tensor:
    asked = x.clone().requires_grad_()
    logits = network(asked)[0]
    (found,) = torch.autograd.grad(logits[logits.argmax() if target is None else target], asked)
    return found.abs().amax(dim=1)


def scaled(maps: Tensor) -> Tensor:
    return (maps / np.percentile(maps.numpy(), 99)).clamp(0, 1)


def test_layers_are_traced_in_order_and_twice_if_called_twice(network: nn.Module, x: Tensor):
    modules = module2traced(network, x)
    names = [type(m).__name__ for m in modules]
    assert names == "Conv2d ReLU MaxPool2d Conv2d ReLU BatchNorm2d ReLU AdaptiveAvgPool2d Linear".split()
    assert modules[1] is modules[4]
    assert not any(m._forward_hooks for m in network.modules())


def test_the_weights_cell(network: nn.Module, x: Tensor):
    vis = Weights(network, device)
    for layer in module2traced(network, x)[:3:2]:
        images, info = vis(x, layer)
        assert info == {}
        assert len(images[:16]) == 16
        found = subplot(images[:16], tensor2img, title=str(layer), ncols=4, nrows=4)
        assert len(found.axes) == 16
    alone = vis(x, network.get_submodule("first"))
    assert len(subplot(alone, tensor2img, ncols=4, nrows=4).axes) == 16
    assert (len(alone), *alone.shape[1:]) == (16, 1, 32, 32)
    images, _ = alone
    expected = network.get_submodule("first")(x)[0]
    assert (images[:, 0] - expected).abs().max() <= 1e-4 * expected.abs().max()
    assert len(vis._programs) == 2  # the first layer's is not compiled again


@pytest.mark.parametrize("target", [None, 7])
def test_the_saliency_cell(network: nn.Module, x: Tensor, target: int | None):
    vis = SaliencyMap(network, device)
    out, info = vis(x, None, target_class=target)
    assert int(info["prediction"]) == (int(network(x).argmax()) if target is None else 7)
    assert out.shape == (1, 1, 64, 64)
    assert (out[0] - scaled(gradient(network, x, target))).abs().max() < 5e-3  # in steps of 1/255
    guided, _ = vis(x, None, guide=True, target_class=target)
    assert (guided - out).abs().max() > 0.1
    original = image_net_postprocessing(x.squeeze().cpu())
    figure = subplot([original, out], rows_titles=["original", "saliency"], parse=tensor2img, nrows=1, ncols=2)
    assert [a.get_title() for a in figure.axes] == ["original", "saliency"]


@pytest.mark.parametrize("cls", [ClassActivationMapping, GradCam])
def test_the_cells_of_class_activation_maps(network: nn.Module, x: Tensor, cls: type[GradCam]):
    vis = cls(network, device)
    outs = [vis(x, None, postprocessing=image_net_postprocessing, target_class=c, guide=False) for c in (None, 2, 5)]
    classes = [int(info["prediction"]) for _, info in outs]
    assert classes == [int(network(x).argmax()), 2, 5]
    assert all(image.shape == (1, 3, 64, 64) and 0 <= image.min() <= image.max() <= 1 for image, _ in outs)
    subplot([image for image, _ in outs], rows_titles=list(map(str, classes)), nrows=1, ncols=3, parse=tensor2img)

    features, fc = network.get_submodule("features"), network.get_submodule("fc")
    assert isinstance(fc, nn.Linear)
    kept: list[Tensor] = []
    hook = features.register_forward_hook(lambda *given: kept.append(given[2]))
    network(x)
    hook.remove()
    expected = torch.einsum("chw,c->hw", kept[0][0], fc.weight[5]).detach()
    if cls is GradCam:  # what the paper proves of a head that CAM can read: the same, divided by the places
        expected = expected.relu() / expected.numel()
    assert (vis.cam - expected).abs().max() <= 1e-4 * expected.abs().max()
    assert len(vis._programs) == 1


def test_the_crop_cell(network: nn.Module, x: Tensor):
    vis = GradCam(network, device)
    _ = vis(x, None, target_class=4, postprocessing=image_net_postprocessing)
    cam = vis.cam.cpu().numpy()
    mask = cam > 0.3 * cam.max()
    assert mask.any()
    assert not mask.all()


def test_guided_grad_cam_is_the_product_of_the_two(network: nn.Module, x: Tensor):
    vis, plain, saliency = GradCam(network, device), GradCam(network, device), SaliencyMap(network, device)
    plain(x, None)
    guided, _ = saliency(x, None, guide=True)
    picture, _ = vis(x, None, guide=True, postprocessing=image_net_postprocessing)
    assert picture.shape == (1, 3, 64, 64)
    large = nn.functional.interpolate(plain.cam[None, None], (64, 64), mode="bilinear")[0, 0]
    known = guided[0, 0] < 1  # the brightest hundredth is cut off there
    a, b = vis.cam[known], (guided[0, 0] * large)[known]
    assert (a / a.max() - b / b.max()).abs().max() < 1e-2


def test_the_robots_cell_explains_a_regression_of_a_picture_with_its_own_normalisation(x: Tensor):
    torch.manual_seed(1)
    module = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(4), nn.Flatten(), nn.Linear(2048, 15))
    asked = (x - x.mean()) / x.std() * 4  # beyond what ImageNet's normalisation can give
    ones = torch.ones(1, 15)
    out, info = SaliencyMap(module, device)(asked, None, target_class=ones, regression=True)
    leaf = asked.clone().requires_grad_()
    (expected,) = torch.autograd.grad(module(leaf).sum(), leaf)
    assert (out[0] - scaled(expected.abs().amax(dim=1))).abs().max() < 5e-3
    assert info["prediction"].shape == (1, 15)
    image, _ = GradCam(module, device)(asked, module[2], target_class=ones, regression=True)
    assert image.shape == (1, 3, 64, 64)


def test_pictures_are_laid_out_for_display():
    assert tensor2img(torch.rand(1, 3, 4, 5)).shape == (4, 5, 3)
    assert tensor2img(torch.rand(3, 4, 5)).shape == (4, 5, 3)
    assert tensor2img(torch.rand(1, 1, 5)).shape == (1, 5)
    assert tensor2img(torch.rand(4, 5)).shape == (4, 5)
    image = tensor2img(torch.linspace(-3, 5, 12).reshape(1, 3, 4))
    assert (image.min(), image.max()) == (0, 1)


def test_what_cannot_be_explained_is_said_in_one_line(network: nn.Module, x: Tensor):
    with pytest.raises(UsageError, match=r"one picture, float \[1, C, H, W\]"):
        SaliencyMap(network, device)(torch.cat([x, x]), None)
    with pytest.raises(UsageError, match="Conv2d is no layer of Small"):
        Weights(network, device)(x, nn.Conv2d(3, 3, 1))
    with pytest.raises(UsageError, match="not finite"):
        Weights(network, device)(x / 0, network.get_submodule("first"))
