"""Which layer Grad-CAM explains by default: the last feature block before pooling and head."""

import pytest
import torch
from small_networks import SHAPES, Head
from torch import nn

from saccade.engine.compiler import load_model
from saccade.engine.compiler.network import import_module

TABLE = {
    "torchvision/alexnet": "features.12",
    "torchvision/vgg16": "features.30",
    "torchvision/resnet18": "layer4",
    "torchvision/resnet50": "layer4",
    "torchvision/squeezenet1_0": "features.12",
    "torchvision/mobilenet_v2": "features",
    "torchvision/mobilenet_v3_small": "features",
    "torchvision/mobilenet_v3_large": "features",
    "torchvision/densenet121": "features",
    "torchvision/googlenet": "inception5b",
    "torchvision/efficientnet_b0": "features",
    "torchvision/convnext_tiny": "features",
    "torchvision/regnet_y_400mf": "trunk_output",
    "torchvision/shufflenet_v2_x0_5": "conv5",
    "timm/resnet10t": "layer4",
}


@pytest.mark.parametrize("model", TABLE)
def test_default_is_the_last_feature_block(model: str):
    network = load_model(model, "random").network
    default = network.default_layer()
    assert default is not None
    assert default.node is network.layer(TABLE[model])


def test_default_is_found_inside_a_wrapper():
    wrapped = nn.Sequential(Head(nn.Conv2d(3, 8, 3), nn.ReLU()))
    default = import_module(wrapped, "net", (3, 16, 16)).default_layer()
    assert default is not None
    assert default.name == "0.body"


def test_layers_are_listed_in_the_order_of_execution_and_twice_where_called_twice():
    case = SHAPES["tall input"]
    network = import_module(case.build(), "net", (3, *case.size))
    assert [x.name for x in network.layers] == ["body.0", "body.1", "body.2", "body", "pool", "fc"]
    assert [x.depth for x in network.layers] == [1, 1, 1, 0, 0, 0]
    assert network.layers[3].shape == (8, 33, 12)


def test_a_module_called_twice_is_there_twice():
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.relu = nn.Conv2d(3, 3, 3, padding=1), nn.ReLU()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.relu(self.conv(self.relu(self.conv(x)))).mean(dim=(2, 3))

    layers = import_module(Twice(), "net", (3, 8, 8)).layers
    assert [x.name for x in layers] == ["conv", "relu", "conv@2", "relu@2"]
    assert len({x.node for x in layers}) == 4
