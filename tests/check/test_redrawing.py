"""Which weights are drawn anew, and that one graph with other weights is the network with those weights."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from saccade.check.redrawing import depths_of, redrawn, weight_layers
from saccade.check.subject import Subject
from saccade.engine.compiler import Model, eager, wrap_module
from saccade.engine.contract import ModelOptions

METHODS = ("grad-cam", "saliency", "guided-backpropagation", "smooth-grad", "cam")


class Plain(nn.Module):
    """A convolution that is used twice among others, with biases that are not 0."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.again = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.last, self.head = nn.Conv2d(8, 6, 3, stride=2), nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.first(x))
        x = torch.relu(self.again(torch.relu(self.again(x))))
        return self.head(torch.relu(self.last(x)).mean(dim=(2, 3)))


class Normed(nn.Module):
    """A norm behind a convolution, which is folded, one before, which is not, a PReLU and a constant."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.folded = nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8)
        self.before, self.two = nn.BatchNorm2d(8), nn.Conv2d(8, 8, 1)
        self.slope, self.head = nn.PReLU(8), nn.Linear(8, 4)
        self.register_buffer("constant", torch.rand(1, 8, 1, 1))
        for norm in (self.folded, self.before):
            for value in (norm.weight.data, norm.bias.data, norm.running_mean, norm.running_var):
                assert value is not None
                value.uniform_(0.5, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.folded(self.one(x)))
        x = self.two(torch.relu(self.before(torch.tanh(x)))) * self.constant
        return self.head(self.slope(x).mean(dim=(2, 3)))


def wrapped(module: nn.Module) -> Model:
    options = ModelOptions(input_size=(20, 24), mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.25))
    return wrap_module(module, "net", options)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (3, 20, 24, 3), dtype=np.uint8)


def test_layers_are_in_the_order_in_which_data_runs():
    torch.manual_seed(0)
    found = weight_layers(wrapped(Plain()).network)
    assert [layer.name for layer in found] == ["first", "again", "last", "head"]
    assert all(len(layer.weights) == len(layer.zeros) == 1 for layer in found)


def test_norms_begin_idle_and_constants_and_slopes_stay():
    torch.manual_seed(0)
    subject = Subject(wrapped(Normed()), ["grad-cam"], "two")
    network = subject.network
    found = weight_layers(network)
    names = [
        (layer.name, *(sorted(network.names[n] for n in part) for part in (layer.weights, layer.zeros, layer.ones)))
        for layer in found
    ]
    assert names == [
        ("one", ["one.weight"], ["before.bias", "before.running_mean", "folded.bias"],
         ["before.running_var", "before.weight"]),
        ("two", ["two.weight"], ["two.bias"], []),
        ("head", ["head.weight"], ["head.bias"], []),
    ]  # fmt: skip
    new = redrawn(network, found, 0)[0]
    values = {network.names[name]: value for name, value in new.items()}
    assert not values["before.bias"].any()
    assert (values["before.running_var"] == 1).all()


def test_new_weights_are_as_before_training_the_same_for_a_seed_and_leave_the_network_alone():
    torch.manual_seed(0)
    wide = nn.Sequential(nn.Conv2d(3, 64, 5), nn.ReLU(), nn.Flatten(), nn.Linear(64 * 16 * 20, 3))
    network = wrapped(wide).network
    before = {name: value.clone() for name, value in network.state.items()}
    layers = weight_layers(network)
    first, again, other = (redrawn(network, layers, seed) for seed in (1, 1, 2))
    for layer, fan_in in zip(range(2), (75, 64 * 320), strict=True):
        (name,) = layers[layer].weights
        assert first[layer][name].std().item() == pytest.approx((2 / fan_in) ** 0.5, rel=0.1)
        assert torch.equal(first[layer][name], again[layer][name])
        assert not torch.equal(first[layer][name], other[layer][name])
        assert torch.equal(network.state[name], before[name])
        assert not torch.equal(first[layer][name], before[name])


@pytest.mark.parametrize("depth", [0, 1, 3, 4])
def test_the_graph_with_other_weights_is_the_network_with_them(images: np.ndarray, depth: int):
    torch.manual_seed(0)
    module = Plain()
    subject = Subject(wrapped(module), METHODS, None)
    layers = weight_layers(subject.network)
    new = redrawn(subject.network, layers, 5)
    state = {name: value for layer in new[len(new) - depth :] for name, value in layer.items()}
    classes = np.array([0, 3, 1])
    found = subject.explain(images, classes, state)
    changed = copy.deepcopy(module)
    changed.load_state_dict({subject.network.names[k]: v for k, v in state.items()}, strict=False)
    expected = by_hooks(changed, images, classes, METHODS)
    for m in subject.maps:
        np.testing.assert_allclose(found[m.name], expected[m.method], rtol=1e-3, atol=1e-5)
    if depth:  # and with the network's own weights they are others
        own = by_hooks(module, images, classes, METHODS)
        assert all(not np.allclose(found[m.name], own[m.method], rtol=1e-3, atol=1e-5) for m in subject.maps)
        again = subject.explain(images, classes)
        np.testing.assert_allclose(again["saliency"], own["saliency"], rtol=1e-3, atol=1e-5)  # they are put back


def test_a_folded_network_explains_as_it_does_unfolded(images: np.ndarray):
    torch.manual_seed(0)
    module = Normed().eval()
    subject = Subject(wrapped(module), ["saliency", "input-x-gradient"])
    classes = np.array([2, 2, 0])
    found = subject.explain(images, classes)
    for name, expected in by_hooks(module, images, classes, ["saliency", "input-x-gradient"]).items():
        np.testing.assert_allclose(found[name.replace("-", "_")], expected, rtol=1e-3, atol=1e-6)
    new = redrawn(subject.network, weight_layers(subject.network), 0)
    other = subject.explain(images, classes, {k: v for layer in new for k, v in layer.items()})["saliency"]
    assert np.isfinite(other).all()
    assert not np.allclose(other, found["saliency"], rtol=0.1)


def by_hooks(
    module: nn.Module, images: np.ndarray, classes: np.ndarray, methods: Sequence[str]
) -> dict[str, np.ndarray]:
    x = torch.from_numpy(images).permute(0, 3, 1, 2).double() / 255
    mean, std = torch.tensor([0.4, 0.5, 0.6]), torch.tensor([0.2, 0.3, 0.25])
    x = (x - mean.double().reshape(-1, 1, 1)) / std.double().reshape(-1, 1, 1)
    inner = [m for m in methods if m in ("grad-cam", "cam")]
    asks = [eager.Ask(m, "last" if m in inner else "input") for m in methods]
    _, found = eager.explain(copy.deepcopy(module).double(), x, torch.from_numpy(classes), asks)
    return {m: each.map.numpy() for m, each in zip(methods, found, strict=True)}


@pytest.mark.parametrize(
    ("layers", "expected"), [(1, [1]), (2, [1, 2]), (4, [1, 2, 3, 4]), (9, [1, 3, 5, 7, 9]), (26, [1, 7, 14, 20, 26])]
)
def test_depths_go_from_the_last_layer_to_all(layers: int, expected: list[int]):
    assert depths_of(layers) == expected
