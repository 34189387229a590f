"""Pictures of maps on an NVIDIA GPU: how near to its copy bandwidth, and beside the same pictures by torch operators.

    python benchmarks/render_gpu.py --rounds 30

A batch that exceeds the L2 cache lies on the GPU and stays there. Pictures are compared with the NumPy reference before
anything is timed; times are between CUDA events around several launches.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any

import harness
import numpy as np
import numpy.typing as npt
import torch

from saccade.engine import render
from saccade.engine.render import cuda, reference

BANDWIDTH, TIMES = 0.75, 20
OURS, TORCH, COPY = "saccade overlay", "torch operators", "device copy"
LAUNCHES = 20
MAP = 7


def main() -> None:
    """Measure; writes `results/render_gpu.json`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=1024, help="photos of 224²: 1024 are 147 MiB in, as many out")
    parser.add_argument("--rounds", type=int, default=30)
    options = parser.parse_args()
    if not (torch.cuda.is_available() and cuda.built()):
        sys.exit("benchmarks/render_gpu.py needs an NVIDIA GPU and a build with CUDA")
    contenders, moved, agreement = prepare(options.batch)
    samples = {name: harness.Samples() for name in contenders}
    for i in range(-2, options.rounds):
        for name in contenders if i % 2 else reversed(contenders):
            seconds = timed(contenders[name])
            if i >= 0:
                samples[name].wall.append(seconds)
                samples[name].cpu.append(seconds)  # the GPU's time is not shared with anybody
                samples[name].others.append(0.0)
    share = moved / np.asarray(samples[OURS].wall) / (moved / np.asarray(samples[COPY].wall))
    ratios = [harness.ratio(samples, COPY, OURS), harness.ratio(samples, TORCH, OURS)]
    figures = {
        f"overlay reaches ≥ {BANDWIDTH} of the copy bandwidth": "met" if np.median(share) >= BANDWIDTH else "missed",
        f"overlay ≥ {TIMES} × faster than torch operators": harness.verdict(ratios[1], lambda m: m >= TIMES),
    }
    harness.publish(
        "render_gpu",
        {
            "benchmark": "render_gpu",
            "versions": harness.versions("torch", "numpy"),
            "settings": {"device": "cuda", "batch": options.batch, "bytes": moved, "launches": LAUNCHES},
            "agreement": agreement,
            "figures": figures,
            "ratios": ratios,
            "gib_per_second": {k: moved / float(np.median(s.wall)) / 2**30 for k, s in samples.items()},
            "samples": harness.rounded(samples),
        },
    )


def prepare(batch: int) -> tuple[dict[str, Callable[[], Any]], int, dict[str, Any]]:
    """The contenders, the bytes that each has to move, and how they agree."""
    rng = np.random.default_rng(0)
    size = (224, 224)
    maps = np.maximum(rng.standard_normal((batch, MAP, MAP)), 0).astype(np.float32)
    photos = rng.integers(0, 256, (batch, *size, 3), dtype=np.uint8)
    colours = render.colormap("jet")
    on_gpu, below = torch.from_numpy(maps).cuda(), torch.from_numpy(photos).cuda()
    places = torch.tensor([(i * size[0], 0) for i in range(batch)]).cuda()
    canvas = torch.empty((batch * size[0], size[1], 3), dtype=torch.uint8, device="cuda")
    ranges = torch.empty((batch, 2), device="cuda")
    table = torch.from_numpy(colours.astype(np.float32)).cuda()
    other = torch.empty_like(below)

    def ours() -> None:
        stream = torch.cuda.current_stream().cuda_stream
        cuda.value_ranges(on_gpu[:, None], ranges, zero=True, stream=stream)
        cuda.overlay(canvas, on_gpu, ranges, below, size, places, colours, 128, stream=stream)

    def by_torch() -> torch.Tensor:
        low, high = torch.zeros_like(on_gpu[:, :1, :1]), on_gpu.amax((1, 2), keepdim=True)
        level = ((on_gpu - low) / (high - low).clamp(min=1e-30)).unsqueeze(1)
        grown = torch.nn.functional.interpolate(level, size=size, mode="bilinear")[:, 0]
        coloured = table[(grown * 255).round().long()]
        return (0.5 * below.float() + 0.5 * coloured).round().to(torch.uint8)

    ours()
    torch.cuda.synchronize()
    some = 4
    expected = np.zeros((some * size[0], size[1], 3), np.uint8)
    bounds = reference.value_ranges(maps[:some, None], zero=True)[:, 0]
    at = np.array([(i * size[0], 0) for i in range(some)])
    reference.overlay(expected, maps[:some], bounds, photos[:some], size, at, colours, 128)
    wanted = expected.reshape(some, *size, 3).astype(np.float64)
    seen = harness.self_test(wanted, 2 / 255)
    got = canvas[: some * size[0]].cpu().numpy().reshape(wanted.shape).astype(np.float64)
    other_means, means = (coarse(v) for v in (by_torch()[:some].cpu().numpy(), wanted))
    errors = {OURS: harness.demand(OURS, got, wanted, 0), TORCH: harness.demand(TORCH, other_means, means, 2 / 255)}
    copy = {OURS: ours, TORCH: by_torch, COPY: lambda: other.copy_(below)}
    return copy, 2 * below.numel(), {"errors": errors, "wrong answers refused": seen}


def coarse(pictures: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Means over 8×8 pixels of [N, 224, 224, 3]."""
    return pictures.reshape(len(pictures), 28, 8, 28, 8, 3).mean(axis=(2, 4))


def timed(run: Callable[[], Any]) -> float:
    """Seconds of one call, over several, between CUDA events."""
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    torch.cuda.synchronize()
    start.record()
    for _ in range(LAUNCHES):
        run()
    end.record()
    torch.cuda.synchronize()
    return start.elapsed_time(end) / 1000 / LAUNCHES


if __name__ == "__main__":
    main()
