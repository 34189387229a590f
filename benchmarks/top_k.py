"""Five classes from one forward pass, beside five runs of the program that explains one.

    python benchmarks/top_k.py resnet50 --k 5

Both in ONNX Runtime; the maps are compared before anything is timed.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import harness
import numpy.typing as npt

from saccade.engine import execute, pipeline
from saccade.engine.compiler import load_model
from saccade.engine.compiler.proof import pictures

TOLERANCE = 1e-4
BATCHES = 4
BOUND = 0.5


def main() -> None:
    """Measure; writes `results/top_k-NETWORK-METHOD.json`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", nargs="?", default="resnet50", help="a name in torchvision")
    parser.add_argument("--methods", nargs="+", default=["grad-cam", "saliency"])
    parser.add_argument("--k", type=int, default=5)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--patience", type=float, default=60, help="seconds to wait for a quiet machine")
    options = parser.parse_args()
    for method in options.methods:
        measure(options.network, method, options.k, options.batch, options.rounds, options.patience)


def measure(network: str, method: str, k: int, batch: int, rounds: int, patience: float) -> None:
    """One network and method."""
    model = load_model(f"torchvision/{network}", "random")
    runners: dict[str, execute.Runner] = {}
    with tempfile.TemporaryDirectory() as folder:
        for target in (f"top-{k}", "class"):
            path = Path(folder, f"{target}.onnx")
            pipeline.compile_program(model, [method], path, "onnx", None, target)
            runners[target] = execute.load(path, "cpu", threads=harness.cores_used())
        batches = [pictures(model.preprocessing, ["textured"] * batch, seed=i) for i in range(BATCHES)]
        together, each = f"top-{k}", f"{k} runs"

        def at_once(i: int) -> list[npt.NDArray]:
            return list(runners[together].run(batches[i % BATCHES]).maps.values())

        def one_by_one(i: int) -> list[npt.NDArray]:
            images, asked = batches[i % BATCHES], known[i % BATCHES]
            return [next(iter(runners["class"].run(images, asked[:, r]).maps.values())) for r in range(k)]

        known = [runners[together].run(images).target for images in batches]
        expected = one_by_one(0)
        seen = harness.self_test(expected[0], TOLERANCE)
        agreement = [
            harness.demand(f"class {r + 1}", a, b, TOLERANCE)
            for r, (a, b) in enumerate(zip(at_once(0), expected, strict=True))
        ]
        with harness.load_watched() as load:
            samples = harness.interleave({together: at_once, each: one_by_one}, rounds, patience=patience)
    found = harness.ratio(samples, together, each)
    claim = f"{network}, {method}: {k} classes from one forward ÷ {k} runs ≤ {BOUND}"
    figures = {claim: harness.verdict(found, lambda median: median <= BOUND)}
    harness.publish(
        f"top_k-{network}-{method}",
        {
            "benchmark": "top_k",
            "versions": harness.versions("torch", "torchvision", "onnxruntime-gpu", "numpy"),
            "settings": {"network": network, "method": method, "k": k, "batch": batch, "weights": "random, seed 0"},
            "load": load,
            "agreement": {"tolerance": TOLERANCE, "errors": agreement, "wrong answers refused": seen},
            "figures": figures,
            "ratios": [found],
            "samples": harness.rounded(samples),
        },
    )


if __name__ == "__main__":
    main()
