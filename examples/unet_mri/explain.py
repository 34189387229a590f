"""Asks a trained U-Net about the tumours that a radiologist drew: how much of the evidence lies inside them?

`python -m examples.unet_mri.explain` compiles the network into one program and gives it each true mask as the region
whose logits are explained. `saccade run` explains the region that the network itself gives, which is empty where it
misses a tumour.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from safetensors.torch import load_file
from torch import nn

import saccade

from .network import unet
from .train import OUT, SIZE, read

F32 = npt.NDArray[np.float32]


def compile_unet(network: nn.Module, size: int) -> saccade.Program:
    """Grad-CAM at the bottleneck, the layer that Vinogradova et al. take (AAAI 2020), and saliency."""
    return saccade.compile(
        network,
        "grad-cam",
        "saliency",
        layer="bottleneck",
        target="region",
        input_size=size,
        classes=("tumour",),
    )


def share_inside(maps: F32, masks: F32) -> float:
    """The mean share of each map's evidence that lies inside its mask, 0 to 1; blank maps and masks do not count.

    Args:
        maps: [N, h, w], not negative; enlarged by repetition to the masks' size.
        masks: [N, H, W], 0 or 1; H and W are multiples of h and w.
    """
    height, width = (masks.shape[i] // maps.shape[i] for i in (1, 2))
    large = maps.repeat(height, axis=1).repeat(width, axis=2)
    inside, total = (large * masks).sum(axis=(1, 2)), large.sum(axis=(1, 2))
    counts = (total > 0) & (masks.sum(axis=(1, 2)) > 0)
    return float((inside[counts] / total[counts]).mean())


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Where a U-Net finds the evidence for the true tumours.")
    parser.add_argument("--weights", type=Path, default=OUT, help="what train.py wrote")
    parser.add_argument("--slices", type=Path, default=OUT.with_suffix(".held_out.txt"), help="a list of paths")
    parser.add_argument("--size", type=int, default=SIZE, help="height and width, as in training")
    parser.add_argument("--out", type=Path, default=OUT.with_suffix(".png"), help="the contact sheet to write")
    given = parser.parse_args(words)

    paths = [Path(line) for line in given.slices.read_text(encoding="utf-8").splitlines()]
    masks = read(paths, given.size).masks.squeeze(1).numpy()
    some = np.flatnonzero(masks.any(axis=(1, 2)))
    masks = masks[some]
    network = unet()
    network.load_state_dict(load_file(given.weights))
    program = compile_unet(network, given.size)
    explanation = program(program.view(*(paths[i] for i in some)), target=0, region=masks > 0)
    print(f"{len(masks)} slices with a tumour; share of the evidence inside it, on average")
    for name, maps in (
        ("a uniform map", np.ones_like(masks)),
        ("grad-cam", explanation.grad_cam),
        ("saliency", explanation.saliency),
    ):
        print(f"  {name:14} {share_inside(maps, masks):.3f}")
    Image.fromarray(explanation.sheet(limit=len(explanation))).save(given.out)
    print(given.out)


if __name__ == "__main__":
    main()
