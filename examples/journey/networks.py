"""What the journey needs: photos, networks with the weights that can be had, and their compiled programs."""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import nn

import saccade
from examples import robot
from saccade.engine import render
from saccade.engine.compiler.models import load_state, read_state

U8 = npt.NDArray[np.uint8]

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT.parent / "shared" / "data"
UNET = ROOT.parent / "unet_mri.safetensors"
"""Where examples/unet_mri writes its weights."""
SIZE = 224
WAIT = 3.0
"""Seconds to wait for the host of torchvision's weights, once."""

TITLES = {
    "alexnet": "AlexNet",
    "vgg16": "VGG16",
    "resnet18": "ResNet-18",
    "resnet34": "ResNet-34",
    "resnet50": "ResNet-50",
    "resnet101": "ResNet-101",
    "squeezenet1_0": "SqueezeNet",
    "mobilenet_v3_small": "MobileNetV3",
}
PREPROCESSING: dict[str, dict[str, Any]] = {"mobilenet_v3_small": {"mean": [0.5] * 3, "std": [0.5] * 3}}
"""Of shared weights that were trained otherwise than torchvision's own."""

CIFAR = "airplane automobile bird cat deer dog frog horse ship truck".split()
PHOTOS = {"dog_and_cat.jpg": "a dog and a cat", "san-pietro.jpg": "San Pietro", "cat.jpg": "a cat"}


@dataclass(frozen=True)
class Choice:
    """Which networks the figures show."""

    first: list[str]  # of the feature maps
    three: list[str]
    grid: list[str]
    cam: list[str]
    resnets: list[str]


class Journey:
    """Photos, networks and programs.

    Args:
        data: the folder with photos/, weights/ and mri/.
        unet: the U-Net's weights, a state dict; None, or a file that is not there, for none.
        programs: where compiled programs are kept for the next time; None keeps them for this time.
        quick: the two trained networks alone, and smaller pictures: for the notebook's test.
    """

    def __init__(
        self,
        data: Path = DATA,
        unet: Path | None = UNET,
        programs: Path | None = None,
        quick: bool = False,
    ) -> None:
        self.data, self.unet, self.quick = Path(data), unet, quick
        self.size = 96 if quick else SIZE
        self._temporary = tempfile.TemporaryDirectory(prefix="journey-") if programs is None else None
        self._programs = Path(self._temporary.name) if self._temporary else Path(str(programs))
        self._programs.mkdir(parents=True, exist_ok=True)
        self._open: dict[Path, saccade.Program] = {}
        self._connected: bool | None = None
        self._cifar: nn.Module | None = None
        self.choice = self._choose()

    # ---- photos ------------------------------------------------------------------------------------------------

    def photo(self, name: str, size: int | None = None) -> U8:
        """A photo of the article, uint8 [size, size, 3]; see `square`."""
        return square(read(self.data / "photos" / "article" / name), size or self.size)

    def photos(self, size: int | None = None) -> U8:
        """The three of them, uint8 [3, size, size, 3]."""
        return np.stack([self.photo(name, size) for name in PHOTOS])

    # ---- networks ----------------------------------------------------------------------------------------------

    def weights(self, name: str) -> str:
        """Where a torchvision network's weights come from: a shared file, "pretrained" or "random"."""
        shared = self.data / "weights" / f"{name}.safetensors"
        if shared.is_file():
            return str(shared)
        return "pretrained" if not self.quick and self._can_fetch(name) else "random"

    def trained(self, name: str) -> bool:
        return self.weights(name) != "random"

    def _can_fetch(self, name: str) -> bool:
        import torchvision

        default: Any = torchvision.models.get_model_weights(name)["DEFAULT"]
        if Path(torch.hub.get_dir(), "checkpoints", Path(default.url).name).is_file():
            return True
        if self._connected is None:
            try:
                socket.create_connection((str(urlsplit(default.url).hostname), 443), WAIT).close()
                self._connected = True
            except OSError:
                self._connected = False
        return self._connected

    def _choose(self) -> Choice:
        """The article's own networks where their weights can be had; otherwise trained ones first, and few others."""
        shared = ["squeezenet1_0", "mobilenet_v3_small"]
        if self.quick:
            return Choice(shared[:1], shared, shared, ["cifar10_resnet20"], ["resnet18"])
        if self.trained("alexnet"):
            return Choice(
                ["alexnet"],
                ["alexnet", "vgg16", "resnet34"],
                ["alexnet", "vgg16", "resnet34", "resnet101", *shared],
                ["resnet34"],
                ["resnet18", "resnet34", "resnet50", "resnet101"],
            )
        return Choice(
            ["alexnet", "squeezenet1_0"],
            [*shared, "alexnet"],
            [*shared, "alexnet", "resnet18"],
            ["cifar10_resnet20", "resnet18"],
            ["resnet18", "resnet34", "resnet50", "resnet101"],
        )

    # ---- programs ----------------------------------------------------------------------------------------------

    def program(
        self, name: str, *methods: str, layer: str | None = None, weights: str | None = None
    ) -> saccade.Program:
        """A torchvision network's compiled program; `weights` as `Journey.weights` gives them by default."""
        chosen = weights or self.weights(name)
        options = {} if chosen == "random" else PREPROCESSING.get(name, {})

        def build() -> saccade.Program:
            model = f"torchvision/{name}"
            return saccade.compile(
                model, *methods, layer=layer, to="torchscript", weights=chosen, input_size=self.size, **options
            )

        words = [name, Path(chosen).suffix or chosen, *methods, layer or "default", str(self.size)]
        return self._program("-".join(words), build)

    def cifar(self) -> saccade.Program:
        """CAM of the CIFAR-10 ResNet-20, trained, on 32x32 pixels."""

        def build() -> saccade.Program:
            module = own("cifar10_resnet20", self.data)
            mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
            return saccade.compile(module, "cam", to="torchscript", input_size=32, mean=mean, std=std, classes=CIFAR)

        return self._program("cifar10_resnet20-cam", build)

    def woods(self, name: str) -> saccade.Program:
        """Grad-CAM of one of the demo's two networks."""

        def build() -> saccade.Program:
            from saccade.demo import network

            module = getattr(network, name)()
            about = {"input_size": network.SIZE, "mean": network.MEAN, "std": network.STD, "classes": network.CLASSES}
            return saccade.compile(module, "grad-cam", to="torchscript", **about)

        return self._program(name, build)

    def robot(self) -> saccade.Program:
        """The robot's network, all 325 outputs explained; Grad-CAM in front of the last pooling, 16x20 places."""

        def build() -> saccade.Program:
            module = own("long_range_perception", self.data)
            return saccade.compile(
                module,
                *("grad-cam", "guided-backpropagation"),
                layer="encoder.7",
                target="outputs",
                to="torchscript",
                input_size=(64, 80),
            )

        return self._program("long_range_perception", build)

    def _program(self, name: str, build: Callable[[], saccade.Program]) -> saccade.Program:
        path = self._programs / f"{name.replace('/', '_')}.ts"
        if path not in self._open:
            if not path.exists():
                build().save(path)
            self._open[path] = saccade.load(path, device="cpu")
        return self._open[path]

    def forget(self, program: saccade.Program) -> None:
        """Lets go of a program that no other figure needs: a large network's is as large as its weights."""
        self._open = {path: p for path, p in self._open.items() if p is not program}


# ---- pictures -----------------------------------------------------------------------------------------------------


def read(path: Path) -> U8:
    """A photo, uint8 [H, W, 3]."""
    with Image.open(path) as photo:
        return np.asarray(photo.convert("RGB"))


def square(photo: U8, size: int) -> U8:
    """The photo's central square, scaled, uint8 [size, size, 3]; of one much wider than high, all but the margins with
    white above and below. Nothing is stretched.
    """
    height, width = photo.shape[:2]
    if width > 1.5 * height:
        kept = round(1.6 * height)
        left, above = (width - kept) // 2, (kept - height) // 2
        padded = np.full((kept, kept, 3), 255, np.uint8)
        padded[above : above + height] = photo[:, left : left + kept]
        return render.resize(padded, size, size, "bicubic")
    return cut(photo, size, size)


def cut(photo: U8, height: int, width: int) -> U8:
    """The largest central piece of the wanted shape, scaled, uint8 [height, width, 3]."""
    h, w = photo.shape[:2]
    tall, wide = min(h, w * height / width), min(w, h * width / height)
    top, left = (h - tall) / 2, (w - wide) / 2
    return render.resize(photo, height, width, "bicubic", (left, top, left + wide, top + tall))


# ---- networks of one's own ----------------------------------------------------------------------------------------


def own(name: str, data: Path = DATA) -> nn.Module:
    """A network of the shared weights that no library has, trained."""
    module: nn.Module = getattr(robot, name)()
    load_state(module, read_state(str(data / "weights" / f"{name}.safetensors")), name)
    return module.eval()


def short(names: Sequence[str]) -> list[str]:
    """Class names without their synonyms."""
    return [name.partition(",")[0] for name in names]
