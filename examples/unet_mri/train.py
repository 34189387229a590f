"""Trains the U-Net on FLAIR slices: `python -m examples.unet_mri.train --data FOLDER --out unet_mri.safetensors`.

FOLDER holds grey PATIENT_DATE_SLICE.png, each beside its PATIENT_DATE_SLICE_mask.png (white where the tumour is), as
the LGG segmentation dataset names them: TCGA_CS_4941_19960909_14.png is of the patient TCGA_CS_4941. No patient is on
both sides of the split. The weights are those of the last epoch: the patients held out choose nothing, and are measured
once, at the end. One seed gives one result on one machine.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn

from .network import unet

SIZE = 128
"""Height and width for training and measuring; at the files' own 256 a step takes four times longer."""
OUT = Path("..", "unet_mri.safetensors")


# ---- the slices ---------------------------------------------------------------------------------------------------


def patient(path: Path) -> str:
    """TCGA_CS_4941 of TCGA_CS_4941_19960909_14.png."""
    return path.stem.rsplit("_", 2)[0]


def list_slices(folder: Path) -> list[Path]:
    """The slices that have a mask, sorted."""
    return sorted(p for p in folder.glob("*.png") if p.with_name(f"{p.stem}_mask.png").is_file())


def split(slices: Sequence[Path], seed: int, share: float = 0.2) -> tuple[list[Path], list[Path]]:
    """Slices to train with, and those of the patients held out, a `share` of all patients."""
    patients = sorted({patient(p) for p in slices})
    random.Random(seed).shuffle(patients)
    held_out = set(patients[: round(share * len(patients))])
    return [p for p in slices if patient(p) not in held_out], [p for p in slices if patient(p) in held_out]


@dataclass
class Slices:
    """Pictures, float [N, 1, H, W] in 0 to 1, and their masks, the same shape, 1 where the tumour is."""

    pictures: Tensor
    masks: Tensor

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, chosen: Tensor) -> Slices:
        return Slices(self.pictures[chosen], self.masks[chosen])


def read(paths: Sequence[Path], size: int) -> Slices:
    """Scaled to `size` x `size`; a pixel of the smaller mask is tumour where more than half of it is."""

    def scaled(path: Path) -> Tensor:
        with Image.open(path) as picture:
            small = picture.convert("L").resize((size, size), Image.Resampling.BILINEAR)
        return torch.from_numpy(np.array(small)).unsqueeze(0) / 255

    masks = [scaled(p.with_name(f"{p.stem}_mask.png")) > 0.5 for p in paths]
    return Slices(torch.stack([scaled(p) for p in paths]), torch.stack(masks).float())


def augment(batch: Slices) -> Slices:
    """Each slice mirrored or not, turned by up to 15°, scaled by 10 %, shifted by 5 %, brighter or darker by 20 %."""
    n = len(batch)
    angle, zoom = _between(n, -0.26, 0.26), _between(n, 0.9, 1.1)
    mirror = torch.where(torch.rand(n) < 0.5, -1.0, 1.0)
    cos, sin = zoom * angle.cos(), zoom * angle.sin()
    turned = torch.stack([cos * mirror, -sin, _between(n, -0.1, 0.1), sin * mirror, cos, _between(n, -0.1, 0.1)], dim=1)
    grid = F.affine_grid(turned.reshape(n, 2, 3), list(batch.pictures.shape), align_corners=False)
    pictures = F.grid_sample(batch.pictures, grid, align_corners=False)
    masks = F.grid_sample(batch.masks, grid, mode="nearest", align_corners=False)
    return Slices((pictures * _between(n, 0.8, 1.2).reshape(-1, 1, 1, 1)).clamp(max=1), masks)


def _between(n: int, low: float, high: float) -> Tensor:
    return torch.empty(n).uniform_(low, high)


# ---- training and measuring ---------------------------------------------------------------------------------------


def loss(logits: Tensor, masks: Tensor) -> Tensor:
    """Cross-entropy of each pixel plus 1 - soft Dice over the batch (Milletari et al., "V-Net", 3DV 2016, section 3).

    Cross-entropy alone is content with no tumour at all, as tumours are a few per cent of the pixels.
    """
    probability = logits.sigmoid()
    dice = (2 * (probability * masks).sum() + 1) / (probability.sum() + masks.sum() + 1)
    return F.binary_cross_entropy_with_logits(logits, masks) + 1 - dice


@dataclass(frozen=True)
class Dice:
    """2|A∩B| / (|A| + |B|) of the outlined and the true tumour, 0 to 1.

    Attributes:
        slices: the mean over the slices that have a tumour.
        pooled: all slices' pixels counted as those of one picture.
    """

    slices: float
    pooled: float


@torch.no_grad()
def measure(network: nn.Module, held_out: Slices) -> Dice:
    """The network's Dice; it is left in eval mode."""
    network.eval()
    outlined = torch.cat([network(pictures) > 0 for pictures in held_out.pictures.split(8)]).float()
    both = (outlined * held_out.masks).sum(dim=(1, 2, 3))
    true = held_out.masks.sum(dim=(1, 2, 3))
    either = outlined.sum(dim=(1, 2, 3)) + true
    some = true > 0
    return Dice(float((2 * both[some] / either[some]).mean()), float(2 * both.sum() / either.sum()))


def train(network: nn.Module, slices: Slices, epochs: int, batch_size: int, rate: float) -> None:
    """Adam whose rate rises to `rate` and falls again (Smith and Topin, "Super-Convergence", 2018); a line an epoch."""
    network.train().to(memory_format=torch.channels_last)  # a fifth faster on a CPU
    steps = max(1, len(slices) // batch_size)
    optimiser = torch.optim.Adam(network.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=epochs * steps)
    start = time.monotonic()
    for epoch in range(1, epochs + 1):
        total = 0.0
        for chosen in torch.randperm(len(slices))[: steps * batch_size].tensor_split(steps):
            batch = augment(slices[chosen])
            error = loss(network(batch.pictures), batch.masks)
            optimiser.zero_grad()
            error.backward()
            optimiser.step()
            schedule.step()
            total += error.item()
        minutes = (time.monotonic() - start) / 60
        print(f"epoch {epoch}/{epochs}  loss {total / steps:.3f}  {minutes:.1f} min", flush=True)


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Train a U-Net on FLAIR slices.")
    parser.add_argument("--data", type=Path, required=True, help="the folder of slices and masks")
    parser.add_argument("--out", type=Path, default=OUT, help="the weights to write, beside the checkout by default")
    parser.add_argument("--epochs", type=int, default=36)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--rate", type=float, default=3e-3, help="the largest learning rate")
    parser.add_argument("--size", type=int, default=SIZE, help="height and width, a multiple of 16")
    parser.add_argument("--seed", type=int, default=0, help="of the split, the first weights and the augmentation")
    given = parser.parse_args(words)

    training, held_out = split(list_slices(given.data), given.seed)
    if not training or not held_out:
        parser.error(f"--data {given.data}: expected slices of two patients or more, NAME.png beside NAME_mask.png")
    torch.manual_seed(given.seed)
    network = unet()
    print(
        f"{len(training)} slices to train with, {len(held_out)} of other patients held out, {given.size}x{given.size}"
    )
    train(network, read(training, given.size), given.epochs, given.batch_size, given.rate)
    dice = measure(network, read(held_out, given.size))
    print(f"held out: Dice {dice.slices:.3f} on average over slices with a tumour, {dice.pooled:.3f} over all pixels")
    save_file({name: value.contiguous() for name, value in network.state_dict().items()}, given.out)
    listed = given.out.with_suffix(".held_out.txt")
    listed.write_text("".join(f"{p}\n" for p in held_out))
    print(f"{given.out}; the slices held out are listed in {listed}")


if __name__ == "__main__":
    main()
