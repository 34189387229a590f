"""Grad-CAM for one batch: the compiled program beside the same runtime's forward pass, eager PyTorch and its peers.

    python benchmarks/explain.py resnet18 resnet50 --batch 8

Every answer is compared with float64 eager autograd before anything is timed.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import harness
import numpy as np
import numpy.typing as npt
from contenders import EAGER, FORWARD, GRAD_CAM, PROGRAM, Answer, Contender, contenders, reference

from saccade.engine.compiler import Model, load_model
from saccade.engine.compiler.proof import pictures

TOLERANCE = 1e-3
"""Allowed difference from float64, relative to each map's maximum."""
BATCHES = 4
"""Different batches that take turns as the input."""
FORWARD_BOUND, EAGER_BOUND = 1.05, 1.0


def main() -> None:
    """Measure each network that was named; writes `results/explain-NETWORK-bBATCH.json`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", default=["resnet18", "resnet50"], help="names in torchvision")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--pairs", type=int, default=40, help="rounds of the program against the forward pass alone")
    parser.add_argument("--rounds", type=int, default=12, help="rounds of all contenders")
    parser.add_argument("--threads", type=int, default=harness.cores_used())
    parser.add_argument("--patience", type=float, default=120, help="seconds to wait for a quiet machine")
    options = parser.parse_args()
    for name in options.networks:
        measure(name, options.batch, options.pairs, options.rounds, options.threads, options.patience)


def measure(name: str, batch: int, pairs: int, rounds: int, threads: int, patience: float) -> None:
    """One network, one batch size."""
    print(f"{name}, batch {batch}")
    cv2.setNumThreads(threads)
    model = load_model(f"torchvision/{name}", "random")
    inputs = [pictures(model.preprocessing, ["textured"] * batch, seed=10 + i) for i in range(BATCHES)]
    with tempfile.TemporaryDirectory(prefix="saccade-benchmark-") as folder:
        field = contenders(model, Path(folder), threads)
        agreement = check(model, field, inputs[0])
        ready = {key: [c.prepare(images) for images in inputs] for key, c in field.items()}

        def turns(*keys: str) -> dict[str, Any]:
            return {k: lambda i, k=k: field[k].run(ready[k][i % BATCHES]) for k in keys}

        with harness.load_watched() as load:
            pair = harness.interleave(turns(PROGRAM, FORWARD), pairs, BATCHES, patience / 2)
            everyone = harness.interleave(turns(*field), rounds, patience=patience / 2)
    ratios = [harness.ratio(pair, PROGRAM, FORWARD), harness.ratio(everyone, PROGRAM, EAGER)]
    ratios += [harness.ratio(everyone, key, EAGER) for key in field if key not in (PROGRAM, EAGER)]
    ratios.append(harness.ratio(everyone, GRAD_CAM, PROGRAM))
    figures = {
        f"compiled Grad-CAM ÷ the same runtime's forward ≤ {FORWARD_BOUND}": harness.verdict(
            ratios[0], lambda median: median <= FORWARD_BOUND
        ),
        "compiled Grad-CAM faster than eager model(x)": harness.verdict(ratios[1], lambda median: median < EAGER_BOUND),
    }
    path = harness.write(
        f"explain-{name}-b{batch}",
        {
            "benchmark": "explain",
            "versions": harness.versions("torch", "torchvision", "onnxruntime-gpu", "grad-cam", "captum", "numpy"),
            "settings": {"network": name, "weights": "random, seed 0", "batch": batch, "threads": threads},
            "load": load,
            "agreement": agreement,
            "figures": figures,
            "ratios": ratios,
            "samples": {"pair": harness.rounded(pair), "all": harness.rounded(everyone)},
        },
    )
    print("\n".join("  " + harness.line(r) for r in ratios))
    print("\n".join(f"  {claim}: {met}" for claim, met in figures.items()))
    print(f"  {path.relative_to(harness.ROOT)}  (others took {load['others']:.0%} of the machine)")


def check(model: Model, field: Mapping[str, Contender], images: npt.NDArray[np.uint8]) -> dict[str, Any]:
    """Compare every contender with float64; the comparison itself has to refuse wrong answers first.

    Raises:
        harness.WrongAnswerError: somebody's answer is wrong.
    """
    logits, cam = reference(model, images)
    found: dict[str, Any] = {
        "reference": "hooks and autograd in float64",
        "tolerance": TOLERANCE,
        "refused": harness.self_test(cam, TOLERANCE),
        "classes": np.unique(logits.argmax(axis=1)).tolist(),
    }
    scaled = as_package(cam, images.shape[1:3])
    for name, contender in field.items():
        answer: Answer = contender.read(contender.run(contender.prepare(images)))
        errors = found[name] = {}
        if answer.logits is not None:
            errors["logits"] = harness.demand(f"{name}, logits", answer.logits, logits, TOLERANCE)
        if answer.map is not None:
            errors["map"] = harness.demand(f"{name}, map", answer.map, scaled if answer.scaled else cam, TOLERANCE)
    return found


def as_package(maps: npt.NDArray, size: tuple[int, ...]) -> npt.NDArray:
    """Maps [N, h, w] as the package grad-cam gives them: each from 0 to 1, enlarged, from 0 to 1 once more."""

    def from_0_to_1(m: npt.NDArray) -> npt.NDArray:
        return (m - m.min()) / (1e-7 + (m.max() - m.min()))

    return np.stack([from_0_to_1(cv2.resize(from_0_to_1(m.astype(np.float64)), size[::-1])) for m in maps])


if __name__ == "__main__":
    main()
