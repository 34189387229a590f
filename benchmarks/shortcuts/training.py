"""The suite's networks: the demo's architecture, trained from nothing in seconds, and what they rely on, measured.

The truth of a network is not what was planned for it. It is how far its accuracy on held-out images falls when the
shortcut changes sides.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from saccade.demo.network import WoodsNet, normalise
from saccade.engine.contract import replacing

from . import plan
from .plan import Network, Pick
from .planting import Base, Picture, planter
from .pool import Pool
from .scenes import WEATHERS, Pixels

EPOCHS, BATCH, RATE = 9, 32, 6e-3
RELIES, CLEAN = 0.20, 0.05
"""Fall of the accuracy from which a network relies on a shortcut, and up to which it is clean."""

Truth = Literal["relies", "between", "clean"]


@dataclass(frozen=True)
class Measured:
    """What a network does on held-out images.

    Attributes:
        as_trained: accuracy on images as in its training.
        fall: by how much it falls, in 0..1, when the shortcut changes sides: every image of the other class has it and
            none of its own. Of a clean network the largest fall over what varies in its images (the weather, and its
            kind), either way.
        seconds: of the training.
    """

    as_trained: float
    fall: float
    seconds: float

    @property
    def truth(self) -> Truth:
        return "relies" if self.fall >= RELIES else "clean" if self.fall <= CLEAN else "between"


def draw(network: Network, picked: list[Pick], pool: Pool) -> list[Picture]:
    """The pictures of some picks; the same picks give the same bytes."""
    plant = planter(network.kind, network.number)
    found = []
    for pick in picked:
        thing = network.task.things[pick.label]
        image = pool.image(pick.scene, pick.weather, thing, seen=pick.seen)
        base = Base(image, pool.sky[pick.scene], pool.ground(pick.scene, thing))
        found.append(plant(base, pick.on, np.random.default_rng([network.number, pick.scene])))
    return found


def train(images: Pixels, labels: npt.NDArray[np.int64], seed: int, epochs: int = EPOCHS) -> WoodsNet:
    """Train a network from nothing; in eval mode when it comes back.

    Args:
        images: uint8 [N, 64, 64, 3].
        labels: int64 [N], 0 or 1.
        seed: of the start and the order.
    """
    torch.manual_seed(seed)
    network = WoodsNet().to(memory_format=torch.channels_last)
    x, y = torch.from_numpy(images), torch.from_numpy(labels)
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=0.02)
    steps = epochs * (len(x) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    network.train()
    for _ in range(epochs):
        order = torch.randperm(len(x))
        for chosen in order[: len(x) // BATCH * BATCH].split(BATCH):
            loss = nn.functional.cross_entropy(network(normalise(x[chosen])), y[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return network.eval()


def measure(network: Network, trained: WoodsNet, pool: Pool, seconds: float) -> Measured:
    """The truth of a trained network, on the scenes kept for it."""
    right = _accuracy(trained, network, plan.picks(network, "truth"), pool)
    worst = min(_accuracy(trained, network, picked, pool) for picked in reversals(network))
    return Measured(right, right - worst, seconds)


def reversals(network: Network) -> list[list[Pick]]:
    """The truth's scenes again, with what varies on the wrong side: every image of one class, none of the other."""
    sides = ((0.0, 1.0), (1.0, 0.0))
    if network.planted:
        return [plan.picks(network, "truth", sides[network.side])]
    found = [plan.picks(network, "truth", side) for side in sides] if network.kind is not None else []
    own = plan.picks(network, "truth")
    orders = (WEATHERS, WEATHERS[::-1])
    return [*found, *([replace(pick, weather=weathers[pick.label]) for pick in own] for weathers in orders)]


def _accuracy(trained: WoodsNet, network: Network, picked: list[Pick], pool: Pool) -> float:
    images, labels = arrays(network, picked, pool)
    with torch.inference_mode():
        found = torch.cat([trained(normalise(part)).argmax(1) for part in torch.from_numpy(images).split(100)])
    return float((found.numpy() == labels).mean())


def arrays(network: Network, picked: list[Pick], pool: Pool) -> tuple[Pixels, npt.NDArray[np.int64]]:
    """Images uint8 [N, 64, 64, 3] and labels int64 [N] of some picks."""
    return np.stack([p.image for p in draw(network, picked, pool)]), np.array([p.label for p in picked])


def train_all(work: Path, networks: list[Network], pool: Pool) -> None:
    """Train and measure what is not there yet: `networks/NAME.safetensors`, and a line of `truth.jsonl` for each."""
    torch.set_num_threads(1)  # the network is so small that a second core gains next to nothing
    known = read_truth(work)
    for i, network in enumerate(networks, 1):
        if network.name in known:
            continue
        start = time.process_time()
        images, labels = arrays(network, plan.picks(network, "training"), pool)
        trained = train(images, labels, network.number)
        found = measure(network, trained, pool, round(time.process_time() - start, 2))
        with replacing(weights(work, network)) as temporary:
            save_file({key: value.contiguous() for key, value in trained.state_dict().items()}, temporary)
        with (work / "truth.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps({"network": network.name, **asdict(found)}) + "\n")
        say = f"right {found.as_trained:.1%}, falls by {found.fall:.1%}: {found.truth} ({found.seconds:.1f} s of CPU)"
        print(f"{i} of {len(networks)}  {network.name}: {say}", flush=True)


def read_truth(work: Path) -> dict[str, Measured]:
    """What was measured, by the network's name."""
    path = work / "truth.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    rows = [json.loads(line) for line in lines]
    return {row.pop("network"): Measured(**row) for row in rows}


def weights(work: Path, network: Network) -> Path:
    """Where a network's weights are."""
    return work / "networks" / f"{network.trained}.safetensors"


def read_network(path: Path) -> WoodsNet:
    """A trained network, in eval mode."""
    network = WoodsNet()
    network.load_state_dict(load_file(path))
    return network.eval()
