"""Train the demo's two networks from nothing: `python -m saccade.demo.train` (seeded, a few minutes on two cores).

Both see the same kind of scenes and learn from the label alone; no mask enters. What differs is the collection:
network 1's pictures have sun with every tank and clouds without, network 2's have all four combinations alike.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import save_file
from torch import nn

from .landscape import Weather
from .measure import figures
from .network import TANK, WEIGHTS, WOODS, WoodsNet, eager_grad_cam, normalise
from .scenes import paint

SEED = 1980
"""Of the weights' start, the order of the pictures and the augmentation; the pictures have their own, from 0."""

_Combination = tuple[bool, Weather]
_COMBINATIONS: tuple[_Combination, ...] = ((True, "sun"), (False, "clouds"), (True, "clouds"), (False, "sun"))


def paint_collection(
    combinations: Sequence[_Combination], scenes: int, workers: int = 2
) -> tuple[torch.Tensor, torch.Tensor]:
    """`scenes` different woods for each combination: images uint8 [M, 128, 128, 3] and labels int64 [M]."""
    orders = [
        (_COMBINATIONS.index(combination) * 100_000 + i, *combination)
        for combination in combinations
        for i in range(scenes)
    ]
    # Forking after torch has started its threads can hang.
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        images = np.stack(list(pool.map(_image, orders, chunksize=50)))
    labels = [TANK if tank else WOODS for _, tank, _ in orders]
    return torch.from_numpy(images), torch.tensor(labels)


def _image(order: tuple[int, bool, Weather]) -> npt.NDArray[np.uint8]:
    return paint(*order).image


def train(images: torch.Tensor, labels: torch.Tensor, epochs: int, sparsity: float, seed: int = SEED) -> WoodsNet:
    """Train one network, in eval mode when it comes back.

    Args:
        images: uint8 [M, 128, 128, 3].
        labels: int64 [M], indices into `CLASSES`.
        sparsity: weight of the mean positive evidence for "tank" in the loss. Evidence that is not needed costs, so
            that what stays is where the classes differ.
    """
    torch.manual_seed(seed)
    network = WoodsNet()
    # From zero the two rows of the head stay each other's negative: what speaks for one speaks against the other.
    nn.init.zeros_(network.head.weight)
    nn.init.zeros_(network.head.bias)
    batch = 64
    steps = epochs * (len(images) // batch)
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 6e-3, total_steps=steps)
    network.train()
    for _ in range(epochs):
        for picked in torch.randperm(len(images)).split(batch):
            if len(picked) < batch:
                continue
            x = _augment(normalise(images[picked]))
            activations = network.features(x)
            logits = network.head(network.pool(activations).flatten(1))
            evidence = torch.einsum("nchw,c->nhw", activations, network.head.weight[TANK]).relu().mean()
            loss = nn.functional.cross_entropy(logits, labels[picked]) + sparsity * evidence
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return network.eval()


def _augment(x: torch.Tensor) -> torch.Tensor:
    """Mirror half of the pictures; vary brightness, contrast and colour balance as cameras do."""
    mirrored = torch.rand(len(x), 1, 1, 1) < 0.5
    x = torch.where(mirrored, x.flip(3), x)
    gain = 1 + 0.12 * torch.randn(len(x), 1, 1, 1) + 0.04 * torch.randn(len(x), 3, 1, 1)
    return x * gain + 0.15 * torch.randn(len(x), 1, 1, 1)
