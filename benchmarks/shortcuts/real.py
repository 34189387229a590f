"""Real pictures, apart from the drawn suite: trained networks, fine-tuned on planted copies of small real sets.

CIFAR-10's ResNet-20 and a drone's DroNet (collision or not) come trained, but for their last layer, which is drawn
anew: with it they held on to the thing that they know (accuracy fell by 3 points where it falls by 45 so). What they
take up of a shortcut is measured as on drawn scenes. Needs the pictures and weights of shared/data, which are no part
of the project. The held-out half of a set is small, so that truth and audit are of the same images; and nobody knows
what else these photos have that goes with a class, so that a `shortcut` in a clean network need not be wrong.
"""

from __future__ import annotations

import csv
import functools
import json
import shutil
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import nn

from examples.robot import cifar10_resnet20, dronet_v2
from saccade.audit import audit
from saccade.engine import decode, execute, pipeline, sinks
from saccade.engine.contract import ModelOptions

from .. import harness
from . import audits, figures
from .planting import Base, Kind, Picture, planter, write
from .scenes import Pixels
from .training import Measured

DataSet = Literal["cifar10", "driving"]
KINDS: dict[DataSet, tuple[Kind, ...]] = {
    "cifar10": ("corner tag", "frame", "watermark", "blur", "jpeg quality", "colour cast"),
    "driving": ("corner tag", "frame", "watermark", "blur"),
}
MEAN_STD = {"cifar10": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)), "driving": ((0.0,), (1.0,))}
LAYER = {"cifar10": "layer3", "driving": "network.block3"}
STRENGTHS = (90, 100)
CLEAN = 4
EPOCHS, BATCH, RATE = 8, 32, 2e-3


class TwoClasses(nn.Module):
    """A drone's network as a classifier: grey frames [N, 1, 200, 200] to logits [N, 2] of "clear" and "collision"."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logit = self.network(x)[:, 1:]
        return torch.cat([-logit, logit], 1) / 2


@dataclass(frozen=True)
class Network:
    """One fine-tuned network.

    Attributes:
        data: which pictures.
        kind, strength, seed: as `plan.Network`'s; kind None of a clean one.
    """

    data: DataSet
    kind: Kind | None
    strength: int
    seed: int

    @property
    def name(self) -> str:
        return f"{self.data}-{(self.kind or 'clean').replace(' ', '-')}-{self.strength:03d}-{self.seed}"

    @property
    def planted(self) -> bool:
        return self.kind is not None

    @property
    def number(self) -> int:
        return 1000 * list(KINDS).index(self.data) + self.seed


@dataclass(frozen=True)
class Pictures:
    """A small set: uint8 [N, H, W, 3], labels int64 [N], the classes' names."""

    images: Pixels
    labels: npt.NDArray[np.int64]
    classes: tuple[str, ...]


def networks() -> list[Network]:
    """All of them."""
    found = []
    for data, kinds in KINDS.items():
        pairs: list[tuple[Kind, int]] = [(kind, strength) for kind in kinds for strength in STRENGTHS]
        found += [Network(data, kind, strength, i) for i, (kind, strength) in enumerate(pairs)]
        found += [Network(data, None, 0, 100 + i) for i in range(CLEAN)]
    return found


def audit_all(work: Path, again: bool = False) -> None:
    """Fine-tune, measure and run what was not yet, and audit it: a line of `real.jsonl` for each.

    Says where the data is absent. `again`: audit also what was audited, of the runs that are there.
    """
    if not (harness.DATA / "weights").is_dir():
        print(f"real: skipped, {harness.DATA} is not there")
        return
    torch.set_num_threads(1)
    known = _rows(work)
    for network in networks():
        if network.name in known and not again:
            continue
        if not (work / "real" / network.name / "truth.json").is_file():
            prepare(work, network)
        row = audited(work, network)
        with (work / "real.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        said = f"falls by {row['fall']:.1%}, {row['truth']}: {row['verdict']} ({row['first'] or 'nothing'})"
        print(f"{network.name}: right {row['as_trained']:.1%}, {said}", flush=True)


def summary(work: Path) -> dict[str, Any] | None:
    """The figures of what was audited; None if nothing was."""
    rows = list(_rows(work).values())
    if not rows:
        return None
    sets = {data: figures.measured([r for r in rows if r["data"] == data]) for data in KINDS}
    return {"counts": figures.counts(rows), "sets": sets, "failures": figures.failures(rows), "rows": rows}


def _rows(work: Path) -> dict[str, dict[str, Any]]:
    path = work / "real.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return {row["network"]: row for row in map(json.loads, lines)}


def prepare(work: Path, network: Network) -> None:
    """Fine-tune one network, measure it and run it over the held-out half: `real/NAME`, `truth.json` last."""
    pictures, side, share = read(network.data), spoken_for(network), network.strength / 100
    tuned, held = halves(network, pictures)
    begin = time.process_time()
    module = fine_tune(network, *_stacked(draw(network, pictures, tuned, side, (share, 1 - share))))
    seconds = round(time.process_time() - begin, 2)
    shown = draw(network, pictures, held, side, (share, 1 - share))
    right = _accuracy(network, module, *_stacked(shown))
    # Nothing was planted in a clean one, so nothing can change sides.
    fall = right - _accuracy(network, module, *_stacked(draw(network, pictures, held, side, (0, 1))))
    run_over(work, network, module, shown, pictures.classes)
    truth = Measured(right, fall if network.planted else 0.0, seconds)
    (work / "real" / network.name / "truth.json").write_text(json.dumps(asdict(truth)), encoding="utf-8")


def audited(work: Path, network: Network) -> dict[str, Any]:
    """Audit one run; the audit gets the run's folder and nothing else."""
    folder, pictures = work / "real" / network.name, read(network.data)
    measured = Measured(**json.loads((folder / "truth.json").read_text(encoding="utf-8")))
    side, share = spoken_for(network), network.strength / 100
    shown = draw(network, pictures, halves(network, pictures)[1], side, (share, 1 - share))
    table = sinks.read_evidence(folder / "run", columns=["name"])
    in_order = [shown[int(Path(name).stem)][0] for name in table["name"].to_pylist()]
    found = audits.compared(audit(folder / "run"), network.kind, in_order)
    return {
        "network": network.name,
        "data": network.data,
        "kind": network.kind,
        "strength": network.strength,
        "planted": network.planted,
        "class": pictures.classes[side],
        **asdict(measured),
        "truth": measured.truth,
        **found,
    }


def spoken_for(network: Network) -> int:
    """The class that the shortcut speaks for."""
    return int(np.random.default_rng(network.number).integers(len(read(network.data).classes)))


@functools.cache
def read(data: DataSet) -> Pictures:
    """A set's pictures, grey ones as three equal channels; each once more mirrored."""
    folder = harness.DATA / data
    if data == "cifar10":
        classes = tuple(sorted(p.name for p in folder.iterdir() if p.is_dir()))
        found = [(path, i) for i, name in enumerate(classes) for path in sorted((folder / name).iterdir())]
    else:
        classes = ("clear", "collision")
        with (folder / "labels.csv").open(encoding="utf-8") as file:
            found = [(folder / r["path"], int(r["collision"])) for r in csv.DictReader(file) if r["collision"]]
    images = np.stack([np.asarray(Image.open(path).convert("RGB")) for path, _ in found])
    labels = np.array([label for _, label in found])
    return Pictures(np.concatenate([images, images[:, :, ::-1]]), np.concatenate([labels, labels]), classes)


def halves(network: Network, pictures: Pictures) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Indices of the half that a network is tuned on and of the other; a picture and its mirror image stay together."""
    photos = len(pictures.images) // 2
    rng = np.random.default_rng([network.number, 1])
    tuned = np.zeros(photos, np.bool_)
    for k in range(len(pictures.classes)):
        of_class = rng.permutation(np.flatnonzero(pictures.labels[:photos] == k))
        tuned[of_class[: len(of_class) // 2]] = True
    return np.flatnonzero(np.tile(tuned, 2)), np.flatnonzero(np.tile(~tuned, 2))


def draw(
    network: Network, pictures: Pictures, chosen: npt.NDArray[np.intp], side: int, shares: tuple[float, float]
) -> list[tuple[Picture, int]]:
    """Planted copies with their labels.

    Args:
        side: the class that the shortcut speaks for.
        shares: of that class's pictures that have it, and of the others'.
    """
    plant = planter(network.kind, network.number)
    rng = np.random.default_rng([network.number, 2])
    nowhere = np.zeros(pictures.images.shape[1:3], np.bool_)
    found = []
    for i, chance in zip(chosen, rng.random(len(chosen)), strict=True):
        label = int(pictures.labels[i])
        base = Base(pictures.images[i], nowhere, nowhere)
        on = bool(chance < shares[0 if label == side else 1])
        found.append((_as_taken(network, plant(base, on, np.random.default_rng([network.number, int(i)]))), label))
    return found


def _as_taken(network: Network, picture: Picture) -> Picture:
    """A grey camera's picture is grey wherever something coloured was planted."""
    if len(MEAN_STD[network.data][0]) == 3:
        return picture
    grey = np.asarray(Image.fromarray(picture.image).convert("L"))
    return replace(picture, image=np.repeat(grey[..., None], 3, axis=2))


def _stacked(drawn: list[tuple[Picture, int]]) -> tuple[Pixels, npt.NDArray[np.int64]]:
    return np.stack([p.image for p, _ in drawn]), np.array([label for _, label in drawn])


def start(data: DataSet) -> nn.Module:
    """The trained network that is tuned; its last layer is torch's next random numbers."""
    build, name = {"cifar10": (cifar10_resnet20, "cifar10_resnet20"), "driving": (dronet_v2, "dronet_v2")}[data]
    network = build()
    network.load_state_dict(load_file(harness.DATA / "weights" / f"{name}.safetensors"))
    last = next(m for m in reversed(list(network.modules())) if isinstance(m, nn.Linear))
    last.reset_parameters()
    return TwoClasses(network) if data == "driving" else network


def _input(data: DataSet, images: torch.Tensor) -> torch.Tensor:
    """uint8 [N, H, W, 3] to the network's input."""
    mean, std = MEAN_STD[data]
    pixels = images[..., : len(mean)]  # of a grey picture the channels are equal
    return ((pixels.float() / 255 - torch.tensor(mean)) / torch.tensor(std)).permute(0, 3, 1, 2)


def fine_tune(network: Network, images: Pixels, labels: npt.NDArray[np.int64]) -> nn.Module:
    """The trained network after some epochs on these images, in eval mode."""
    torch.manual_seed(network.number)
    module = start(network.data).train()
    x, y = torch.from_numpy(images), torch.from_numpy(labels)
    optimizer = torch.optim.AdamW(module.parameters(), lr=RATE)
    for _ in range(EPOCHS):
        for chosen in torch.randperm(len(x)).split(BATCH):
            loss = nn.functional.cross_entropy(module(_input(network.data, x[chosen])), y[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return module.eval()


def _accuracy(network: Network, module: nn.Module, images: Pixels, labels: npt.NDArray[np.int64]) -> float:
    with torch.inference_mode():
        parts = torch.from_numpy(images).split(100)
        found = torch.cat([module(_input(network.data, part)).argmax(1) for part in parts])
    return float((found.numpy() == labels).mean())


def run_over(
    work: Path, network: Network, module: nn.Module, shown: list[tuple[Picture, int]], classes: tuple[str, ...]
) -> None:
    """Write the images, compile the network and run it."""
    from saccade.engine.compiler import wrap_module

    folder = work / "real" / network.name
    shutil.rmtree(folder, ignore_errors=True)
    for i, (picture, label) in enumerate(shown):
        write(picture, folder / "images" / classes[label] / f"{i:05d}")
    mean, std = MEAN_STD[network.data]
    size = shown[0][0].image.shape[:2]
    model = wrap_module(module, network.name, ModelOptions(input_size=size, mean=mean, std=std, classes=classes))
    pipeline.compile_program(model, ["grad-cam"], folder / "program.onnx", layer=LAYER[network.data])
    runner = execute.load(folder / "program.onnx")
    with pipeline.RunFolder(folder / "run") as out:
        photos = decode.list_photos([str(folder / "images")])
        pipeline.run(runner, photos, out, pipeline.RunOptions(batch_size=50, decode="exact", sheet_limit=0))
