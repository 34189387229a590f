"""`saccade audit` beside the run that made its evidence: what the verdict costs.

    python benchmarks/audit.py

A resnet18 with random weights whose last layer parts the photos of shared/data into ten classes of about one size, so
that there is something to try; without the photos nothing is measured. The whole audit counts: reading the evidence,
strategies, trials, the page.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import harness
import numpy as np
import torch
import torchvision
from torch import nn

from saccade.audit import audit
from saccade.engine import decode, execute, pipeline
from saccade.engine.compiler import wrap_module
from saccade.engine.contract import ModelOptions

BOUND = 0.25
CLASSES = 10
SIZE = 224
RUN, AUDIT = "saccade run", "saccade audit"


def main() -> None:
    """Measure; writes `results/audit.json`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--patience", type=float, default=60, help="seconds to wait for a quiet machine")
    options = parser.parse_args()
    if not (harness.DATA / "photos").is_dir():
        sys.exit("benchmarks/audit.py needs the photos of ../shared/data/photos; there are none")
    photos = decode.list_photos([str(harness.DATA / "photos" / "imagenet")])
    with tempfile.TemporaryDirectory(prefix="saccade-benchmark-") as name:
        folder = Path(name)
        program = folder / "program.onnx"
        model = wrap_module(network(photos), "resnet18", ModelOptions(input_size=(SIZE, SIZE)))
        pipeline.compile_program(model, ["grad-cam"], program)
        runner = execute.load(program, "cpu")
        photos = (photos * -(-options.photos // len(photos)))[: options.photos]
        said: dict[str, object] = {}

        def run(i: int) -> None:
            pipeline.run(runner, photos, folder / f"out-{i}", pipeline.RunOptions())

        def examine(i: int) -> None:
            latest = max(folder.glob("out-*"), key=lambda path: path.stat().st_mtime)
            found = audit(latest, out=folder / f"audit-{i}")
            said.update(passes=found.passes, suspects=len(found.suspects), seconds=dict(found.seconds))

        with harness.load_watched() as load:
            samples = harness.interleave(
                {AUDIT: examine, RUN: run}, options.rounds, warmup=0, patience=options.patience
            )
    ratio = harness.ratio(samples, AUDIT, RUN)
    claim = f"the audit of {len(photos):,} images ÷ the run that made their evidence (resnet18 at {SIZE}²) < {BOUND}"
    harness.publish(
        "audit",
        {
            "benchmark": "audit",
            "versions": harness.versions("onnxruntime-gpu", "scikit-learn", "scipy", "pyarrow", "numpy"),
            "settings": {"network": "resnet18", "classes": CLASSES, "photos": len(photos), **said},
            "load": load,
            "figures": {claim: harness.verdict(ratio, lambda median: median < BOUND)},
            "ratios": [ratio],
            "samples": harness.rounded(samples),
        },
    )


def network(photos: list[decode.Photo]) -> nn.Module:
    """A resnet18 with random weights and ten classes that these photos fall into about evenly."""
    torch.manual_seed(0)
    module = torchvision.models.resnet18().eval()
    module.fc = nn.Identity()  # pyright: ignore[reportAttributeAccessIssue]
    model = wrap_module(module, "resnet18", ModelOptions(input_size=(SIZE, SIZE)))
    images, _ = pipeline.read_views(photos, model.preprocessing, "fast")
    with torch.no_grad():
        features = torch.cat(
            [module((torch.from_numpy(part) / 255 - 0.45).permute(0, 3, 1, 2) / 0.225) for part in np.split(images, 8)]
        )
        centred = features - features.mean(dim=0)
        # What varies most, each direction as much as the other: of ten random mixtures each is the greatest as often.
        directions, spread, _ = torch.linalg.svd(centred.T, full_matrices=False)
        weight = torch.randn(CLASSES, CLASSES) @ (directions[:, :CLASSES] / spread[:CLASSES]).T * len(features) ** 0.5
        module.fc = nn.Linear(features.shape[1], CLASSES)
        module.fc.weight.copy_(weight)
        module.fc.bias.copy_(-(weight @ features.mean(dim=0)))
    return module


if __name__ == "__main__":
    main()
