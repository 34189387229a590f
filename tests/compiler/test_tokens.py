"""Networks that hold their maps as tokens or with channels last: folded to a grid, explained as eager does."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from check_small import check_small
from networks import seeded
from small_networks import Case
from torch import Tensor, nn

from saccade.engine.compiler import load_model
from saccade.engine.compiler.layouts import Layout, layout_of
from saccade.engine.compiler.network import import_module

WIDTH = 8


class Block(nn.Module):
    """A transformer's block, norms in front; torch's own attention or the four lines of it."""

    def __init__(self, packaged: bool) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.qkv, self.proj = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.attention = nn.MultiheadAttention(WIDTH, 2, batch_first=True) if packaged else None
        self.mlp = nn.Sequential(nn.Linear(WIDTH, 16), nn.GELU(), nn.Linear(16, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm1(x)
        if self.attention is not None:
            x = x + self.attention(y, y, y, need_weights=False)[0]
        else:
            q, k, v = self.qkv(y).unflatten(2, (3, 2, WIDTH // 2)).permute(2, 0, 3, 1, 4).unbind(0)
            scores = (q * (WIDTH // 2) ** -0.5) @ k.transpose(-2, -1)
            x = x + self.proj((scores.softmax(dim=-1) @ v).transpose(1, 2).flatten(2))
        return x + self.mlp(self.norm2(x))


class Transformer(nn.Module):
    """Patches of 4 x 4 pixels, a class token in front or the mean of all tokens at the end."""

    def __init__(self, class_token: bool, packaged: bool = False) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, WIDTH, 4, 4)
        self.token = nn.Parameter(torch.randn(1, 1, WIDTH)) if class_token else None
        self.places = nn.Parameter(torch.randn(1, 30 + class_token, WIDTH))
        self.blocks = nn.Sequential(Block(packaged), Block(packaged))
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        if self.token is not None:
            x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], dim=1)
        x = self.norm(self.blocks(x + self.places))
        return self.head(x[:, 0] if self.token is not None else x.mean(dim=1))


class ChannelsLast(nn.Module):
    """Windows of 5 x 6 places that look at themselves, as Swin has them, shifted by a roll."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, WIDTH, 2, 2)
        self.block = Windows()
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(self.block(self.patches(x).permute(0, 2, 3, 1))).mean(dim=(1, 2)))


class Windows(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.mix = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, WIDTH)
        self.bias = nn.Parameter(torch.randn(30, 30))

    def forward(self, x: Tensor) -> Tensor:
        n, h, w, c = x.shape
        y = self.norm(x).roll((-1, -2), (1, 2)).view(n, h // 5, 5, w // 6, 6, c).permute(0, 1, 3, 2, 4, 5)
        y = y.reshape(-1, 30, c)
        y = nn.functional.scaled_dot_product_attention(y, self.mix(y), y, attn_mask=self.bias)
        y = y.view(n, h // 5, w // 6, 5, 6, c).permute(0, 1, 3, 2, 4, 5).reshape(n, h, w, c)
        return x + y.roll((1, 2), (1, 2))


CASES = {
    "class token": (Case(lambda: Transformer(True)), "blocks.1.norm1", Layout((WIDTH, 5, 6), "tokens", 1)),
    "packaged attention": (Case(lambda: Transformer(True, True)), "blocks.1.norm1", Layout((WIDTH, 5, 6), "tokens", 1)),
    "mean of the tokens": (Case(lambda: Transformer(False)), "norm", Layout((WIDTH, 5, 6), "tokens", 0)),
    "channels last": (Case(ChannelsLast), "norm", Layout((WIDTH, 10, 12), "channels last")),
}


@pytest.mark.parametrize("name", CASES)
def test_tokens_are_explained_as_eager_does(name: str, tmp_path: Path):
    case, layer, layout = CASES[name]
    network = import_module(seeded(case.build), "net", (3, *case.size))
    default = network.default_layer()
    assert default is not None
    assert default.name == layer
    assert network.layout(default.node) == layout
    check_small(
        case, ("torchscript", "onnx") if name in ("class token", "channels last") else ("torchscript",), tmp_path
    )


def test_folding_and_unfolding_are_inverse():
    value = torch.randn(2, 31, WIDTH)
    layout = Layout((WIDTH, 5, 6), "tokens", 1)
    maps = layout.fold(value)
    assert maps.shape == (2, WIDTH, 5, 6)
    assert (maps[0, :, 1, 2] == value[0, 1 + 6 + 2]).all()
    assert (layout.unfold(maps, value) == value).all()


@pytest.mark.parametrize(
    ("model", "layer"),
    [("timm/vit_tiny_patch16_224", "blocks.11.norm1"), ("timm/swin_tiny_patch4_window7_224", "norm")],
)
def test_timm_s_transformers_have_a_default_layer(model: str, layer: str):
    default = load_model(model, "random").network.default_layer()
    assert default is not None
    assert default.name == layer


@pytest.mark.parametrize(
    ("shape", "picture", "kind"),
    [
        ((7, 7, 768), (224, 224), "channels last"),
        ((56, 56, 96), (225, 225), "channels last"),  # a stride that does not divide
        ((768, 7, 7), (224, 224), "maps"),
        ((96, 32, 32), (96, 32), "maps"),  # three times as many channels as rows, of a picture three times as high
        ((14, 14, 14), (224, 224), "maps"),
    ],
)
def test_shapes_are_read_as_what_they_are(shape: tuple[int, ...], picture: tuple[int, int], kind: str):
    node = torch.fx.Graph().placeholder("x")
    node.meta["val"] = torch.empty(2, *shape)
    layout = layout_of(node, picture)
    assert layout is not None
    assert layout.kind == kind
