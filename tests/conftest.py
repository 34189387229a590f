"""A small network that looks at bright things, compiled once; photos with a bright square; the command line."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytest
from hypothesis import settings
from PIL import Image

from saccade.engine import decode
from saccade.engine.contract import Spec
from saccade.engine.contract.program_file import append_contract, read_contract

if TYPE_CHECKING:
    from torch import nn

# On CI the same examples every time: a change is judged by what it changed. At home, new ones.
settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")

CLASSES = ("bright", "red", "neither")
METHODS = ("grad-cam", "saliency", "activations")


def build_network() -> nn.Module:
    """Three convolutions, 32×32: channel 0 of the last is where it is bright, channel 1 where it is red."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    first = nn.Conv2d(3, 4, 3, 1, 1)
    second, third = nn.Conv2d(4, 4, 2, 2), nn.Conv2d(4, 6, 2, 2)  # cell i sees pixels 4i to 4i + 3 and one around them
    head = nn.Linear(6, 3)
    with torch.no_grad():
        for conv in (first, second, third):
            conv.weight.mul_(0.05)
            conv.weight[:2] = 0
            conv.bias = nn.Parameter(torch.zeros(conv.out_channels))
        first.weight[0] = 1 / 27
        first.bias = nn.Parameter(torch.tensor([-0.5, 0.0, 0.0, 0.0]))
        first.weight[1] = torch.tensor([2.0, -1.0, -1.0])[:, None, None] / 18
        for conv in (second, third):
            conv.weight[0, 0] = conv.weight[1, 1] = 1 / 4
        head.weight.mul_(0.02)
        head.weight[0, 0] = head.weight[1, 1] = 20.0
        head.bias.copy_(torch.tensor([0.0, 0.0, 0.4]))
    return nn.Sequential(
        first, nn.ReLU(), second, nn.ReLU(), third, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), head
    )


@pytest.fixture(scope="session")
def network() -> nn.Module:
    return build_network()


@pytest.fixture(scope="session")
def network_source() -> str:
    """A module with the function `build_network`, for MODEL arguments such as tinynet:build_network."""
    return f"from __future__ import annotations\n\n\n{inspect.getsource(build_network)}"


@pytest.fixture(scope="session")
def compiled(network: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The network with all methods, as "onnx", "torchscript" or "aotinductor": a file that is made when asked for."""
    import saccade

    folder = tmp_path_factory.mktemp("programs")
    names = {"onnx": "tiny.onnx", "torchscript": "tiny.ts", "aotinductor": "tiny.pt2"}

    class Programs(dict[str, Path]):
        def __missing__(self, kind: str) -> Path:
            program = saccade.compile(network, *METHODS, input_size=32, to=kind, classes=CLASSES)  # pyright: ignore[reportArgumentType]
            program.save(folder / names[kind])
            return self.setdefault(kind, folder / names[kind])

    return Programs()


@pytest.fixture
def program(compiled: dict[str, Path]) -> Path:
    return compiled["onnx"]


@pytest.fixture
def reworded(program: Path, tmp_path: Path) -> Callable[..., Path]:
    """`reworded(resize="stretch", calibration=…)`: the same graph under another contract."""
    import onnx

    def make(name: str = "reworded.onnx", **changes: Any) -> Path:
        spec = read_contract(program)[1]
        here = {f.name for f in dataclasses.fields(Spec)}
        inner = {k: changes.pop(k) for k in list(changes) if k not in here}
        model = onnx.load(program)
        del model.metadata_props[:]
        onnx.save(model, tmp_path / name)
        preprocessing = dataclasses.replace(spec.preprocessing, **inner)
        append_contract(tmp_path / name, "onnx", dataclasses.replace(spec, preprocessing=preprocessing, **changes))
        return tmp_path / name

    return make


def draw(
    size: tuple[int, int], square: tuple[int, int, int, int], colour: tuple[int, int, int], seed: int
) -> Image.Image:
    """Dark noise with a square (left, top, right, bottom)."""
    pixels = np.random.default_rng(seed).integers(0, 90, (size[1], size[0], 3), dtype=np.uint8)
    pixels[square[1] : square[3], square[0] : square[2]] = colour
    return Image.fromarray(pixels)


@pytest.fixture(scope="session")
def benchmark_module() -> Callable[[str], ModuleType]:
    """`benchmark_module("operators")`: a script of benchmarks/, as a module."""

    def load(name: str) -> ModuleType:
        folder = str(Path(__file__).resolve().parents[1] / "benchmarks")
        if folder not in sys.path:
            sys.path.append(folder)
        return importlib.import_module(name)

    return load


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """The chromium of this machine, without a window and without a word to anybody."""
    playwright = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("there is no chromium on this machine")
    flags = (
        *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
        *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    )
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium, args=flags)
        yield browser
        browser.close()


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Seven photos of two labels; their squares differ in place, size and colour."""
    for i in range(7):
        path = tmp_path / "photos" / ("bright", "red")[i % 2] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        colour = ((255, 255, 255), (255, 0, 0))[i % 2]
        draw((96 + i, 64), (8 * i, 10, 8 * i + 12 + 3 * i, 50), colour, i).save(path)
    return tmp_path / "photos"


@pytest.fixture
def many(photos: Path, tmp_path: Path) -> list[decode.Photo]:
    """94 photos, two of them unreadable; the seven of `photos`, linked."""
    folder, files = tmp_path / "many", sorted(photos.rglob("*.png"))
    folder.mkdir()
    for i in range(92):
        os.link(files[i % 7], folder / f"{i:03}.png")
    (folder / "030.jpg").write_bytes(b"\xff\xd8\xff broken")
    (folder / "050.jpg").write_bytes(b"")
    return decode.list_photos([str(folder)])


class Said(NamedTuple):
    """What the command line gave: its exit code and what it printed."""

    code: int
    out: str
    err: str

    @property
    def complaint(self) -> str:
        """The one line on stderr."""
        assert self.err.startswith("saccade: "), self.err
        assert self.err.endswith("\n"), self.err
        assert self.err.count("\n") == 1, self.err
        return self.err.removeprefix("saccade: ").strip()


@pytest.fixture
def saccade_says(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[Any]) -> Callable[..., Said]:
    """The command line in this process, from the words of the shell to the exit code."""
    from saccade.cli import main

    def say(*words: object) -> Said:
        monkeypatch.setattr(sys, "argv", ["saccade", *map(str, words)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main()
        code = left.value.code
        said = capsys.readouterr()
        return Said(code if isinstance(code, int) else 0, str(said.out), str(said.err))

    return say


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, network_source: str) -> Iterator[str]:
    """The network as MODEL names it: a module in the folder where the command is given."""
    (tmp_path / "tinynet.py").write_text(network_source)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SACCADE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(sys, "path", list(sys.path))
    importlib.invalidate_caches()
    yield "tinynet:build_network"
    sys.modules.pop("tinynet", None)
