"""Pictures of maps on one core: overlays beside grad-cam and OpenCV, a layer's tiles beside torchvision and torch.

    python benchmarks/render.py --rounds 30

The range of each map is found inside the time that is measured. Every contender's pictures are compared with the
NumPy reference before anything is timed.

Each job is done twice: into fresh memory for every result, and ("again") into memory that is kept from call to call,
where the contender's interface has a place for it. Ours is `out=`. OpenCV takes `dst=` in all four calls of the chain.
Of torch's vectorised scaling, limits and scaled maps take `out=`; make_grid, which ends it, always makes a new grid.
grad-cam's functions have no such argument. Each is compared with the best that the other has.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from functools import partial
from typing import Any

import cv2
import harness
import numpy as np
import numpy.typing as npt
import torch
from pytorch_grad_cam.utils.image import scale_cam_image, show_cam_on_image
from torchvision.utils import make_grid

from saccade import _native
from saccade.engine import render
from saccade.engine.render import reference

F32 = npt.NDArray[np.float32]
U8 = npt.NDArray[np.uint8]

SIZE, BATCH = 224, 32
TILES, TILE, COLUMNS, GAP = 4096, 56, 64, 2
ONE, MANY, CAM, CHAIN, COPY = "saccade", f"saccade, batch of {BATCH}", "grad-cam", "cv2 chain", "memcpy"
GREY, COLOUR, GRID, TORCH = "saccade grey", "saccade viridis", "make_grid", "torch vectorised"


def again(name: str) -> str:
    """The contender's form that keeps its memory."""
    return f"{name}, again"


CALLS = {ONE: 400, again(ONE): 400, MANY: 12, again(MANY): 12, CAM: 40, CHAIN: 80, again(CHAIN): 80}
"""Calls in one timed turn, one of all others: turns of about the same length, since on a busy machine a short one is
less often interrupted."""

TOLERANCE = 2 / 255
"""Of the brightest value. The others' pictures are compared as means over 8×8 pixels, since they round elsewhere and
one step of jet is four levels; ours have to be the reference's in every byte."""

CLAIMS = {
    "overlay": [
        *((CAM, ours, 15) for ours in (ONE, MANY, again(ONE), again(MANY))),
        *((CHAIN, ours, 6) for ours in (ONE, MANY)),
        *((again(CHAIN), ours, 6) for ours in (again(ONE), again(MANY))),
    ],
    "tiles": [
        *((GRID, ours, 30) for ours in (GREY, COLOUR, again(GREY), again(COLOUR))),
        *((TORCH, ours, 8) for ours in (GREY, COLOUR)),
        *((again(TORCH), ours, 8) for ours in (again(GREY), again(COLOUR))),
    ],
}
"""(slower, ours, at least so many times)."""


def overlays(rng: np.random.Generator) -> tuple[dict[str, Callable[[], Any]], dict[str, Any]]:
    """Contenders and how they agree: 7×7 maps over 224² photos, jet, half and half."""
    maps = np.maximum(rng.standard_normal((BATCH, 7, 7)), 0).astype(np.float32)
    photos = rng.integers(0, 256, (BATCH, SIZE, SIZE, 3), dtype=np.uint8)
    floats = [(photo / 255).astype(np.float32) for photo in photos]
    copy, index_memory = np.empty_like(photos[0]), np.empty((SIZE, SIZE), np.uint8)
    kept, grown_memory = np.empty_like(photos), np.empty((SIZE, SIZE), np.float32)
    colour_memory, chain_memory = np.empty_like(photos[0]), np.empty_like(photos[0])

    def ours(i: int, count: int = 1, out: U8 | None = None) -> U8:
        return render.overlay_pictures(maps[i : i + count], photos[i : i + count], colours="jet", threads=1, out=out)

    def grad_cam(i: int) -> U8:
        return show_cam_on_image(floats[i], np.asarray(scale_cam_image(maps[i : i + 1], (SIZE, SIZE)))[0], use_rgb=True)

    def chain(i: int) -> npt.NDArray[Any]:
        """The photo is taken to be in OpenCV's order, so that nothing has to be turned round."""
        grown = cv2.resize(maps[i], (SIZE, SIZE))
        index = cv2.normalize(grown, index_memory, 0, 255, cv2.NORM_MINMAX, cv2.CV_8U)
        return cv2.addWeighted(photos[i], 0.5, cv2.applyColorMap(index, cv2.COLORMAP_JET), 0.5, 0)

    def chain_again(i: int) -> npt.NDArray[Any]:
        grown = cv2.resize(maps[i], (SIZE, SIZE), dst=grown_memory)
        index = cv2.normalize(grown, index_memory, 0, 255, cv2.NORM_MINMAX, cv2.CV_8U)
        coloured = cv2.applyColorMap(index, cv2.COLORMAP_JET, dst=colour_memory)
        return cv2.addWeighted(photos[i], 0.5, coloured, 0.5, 0, dst=chain_memory)

    some = range(4)
    expected = np.stack([drawn(maps[i], photos[i]) for i in some]).astype(np.float64)
    seen = harness.self_test(coarse(expected), TOLERANCE)
    # The chain scales the map after it has grown, by an extreme that lies a little inside the cells' centres.
    grown = [reference.upsample(maps[i : i + 1], (SIZE, SIZE))[0] for i in some]
    as_grown = np.stack([drawn(g, p[..., ::-1])[..., ::-1] for g, p in zip(grown, photos, strict=False)])
    # grad-cam cuts indices off, and ends by dividing a picture by its own maximum.
    cut = np.stack([drawn(maps[i], photos[i], cut=True) for i in some]).astype(np.float64)
    cut *= 255 / cut.max(axis=(1, 2, 3), keepdims=True)
    errors = {
        ONE: harness.demand(ONE, np.concatenate([ours(i) for i in some]).astype(np.float64), expected, 0),
        MANY: harness.demand(MANY, ours(0, BATCH)[: len(expected)].astype(np.float64), expected, 0),
        again(ONE): harness.demand(
            again(ONE), np.concatenate([ours(i, 1, kept[:1]).copy() for i in some]).astype(np.float64), expected, 0
        ),
        again(MANY): harness.demand(again(MANY), ours(0, BATCH, kept)[: len(expected)].astype(np.float64), expected, 0),
        CAM: harness.demand(CAM, coarse(np.stack([grad_cam(i) for i in some])), coarse(cut), TOLERANCE),
        CHAIN: harness.demand(CHAIN, coarse(np.stack([chain(i) for i in some])), coarse(as_grown), TOLERANCE),
        again(CHAIN): harness.demand(
            again(CHAIN), coarse(np.stack([chain_again(i).copy() for i in some])), coarse(as_grown), TOLERANCE
        ),
    }
    return {
        ONE: partial(ours, 0),
        again(ONE): partial(ours, 0, 1, kept[:1]),
        MANY: partial(ours, 0, BATCH),
        again(MANY): partial(ours, 0, BATCH, kept),
        CAM: partial(grad_cam, 0),
        CHAIN: partial(chain, 0),
        again(CHAIN): partial(chain_again, 0),
        COPY: partial(np.copyto, copy, photos[0]),
    }, {"errors": errors, "wrong answers refused": seen}


def coarse(pictures: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Means over 8×8 pixels of [N, 224, 224, 3]."""
    return pictures.reshape(len(pictures), SIZE // 8, 8, SIZE // 8, 8, 3).mean(axis=(2, 4))


def drawn(values: F32, photo: U8, cut: bool = False) -> U8:
    """The reference's overlay of one map; `cut`: an index is cut off instead of rounded."""
    levels = reference.levels(values[None], reference.value_ranges(values[None, None], zero=True)[:, 0])
    index = reference.quantise(reference.upsample(levels, (SIZE, SIZE))[0] - np.float32(0.5 if cut else 0))
    return reference.blend(photo, render.colormap("jet")[index], 128)


def tiles(rng: np.random.Generator) -> tuple[dict[str, Callable[[], Any]], dict[str, Any]]:
    """Contenders and how they agree: 4096 maps of 56×56, each between its own limits, 64 in a row."""
    maps = rng.standard_normal((TILES, TILE, TILE)).astype(np.float32)
    tensor = torch.from_numpy(maps)[:, None]
    copy, scaled_memory = np.empty_like(maps), torch.empty_like(tensor)
    low_memory, high_memory = torch.empty(TILES, 1, 1, 1), torch.empty(TILES, 1, 1, 1)

    def canvas(count: int) -> U8:
        cell = TILE + GAP
        return np.empty((count // COLUMNS * cell + GAP, COLUMNS * cell + GAP, 3), np.uint8)

    def ours(colours: str, count: int = TILES, out: U8 | None = None) -> U8:
        return render.channel_mosaic(maps[:count], TILE, COLUMNS, None, colours, GAP, out=out)

    def grid(count: int = TILES) -> torch.Tensor:
        return make_grid(tensor[:count], COLUMNS, GAP, normalize=True, scale_each=True, pad_value=1)

    def vectorised(count: int = TILES) -> torch.Tensor:
        low = tensor[:count].amin((1, 2, 3), keepdim=True)
        high = tensor[:count].amax((1, 2, 3), keepdim=True)
        return make_grid((tensor[:count] - low) / (high - low).clamp(min=1e-5), COLUMNS, GAP, pad_value=1)

    def vectorised_again(count: int = TILES) -> torch.Tensor:
        low = torch.amin(tensor[:count], (1, 2, 3), keepdim=True, out=low_memory[:count])
        high = torch.amax(tensor[:count], (1, 2, 3), keepdim=True, out=high_memory[:count])
        scaled = torch.sub(tensor[:count], low, out=scaled_memory[:count])
        return make_grid(scaled.div_(high.sub_(low).clamp_(min=1e-5)), COLUMNS, GAP, pad_value=1)

    some = 2 * COLUMNS
    ranges = reference.value_ranges(maps[:some, None])[:, 0]

    def wanted(colours: str) -> npt.NDArray[np.float64]:
        white = (255, 255, 255)
        table = render.colormap(colours)
        return reference.tile(maps[:some], ranges, (TILE, TILE), COLUMNS, GAP, white, table).astype(np.float64)

    def bytes_of(picture: torch.Tensor) -> npt.NDArray[np.float64]:
        return np.floor(picture.permute(1, 2, 0).numpy() * 255.0 + 0.5)

    expected = wanted("gray")
    seen = harness.self_test(expected, TOLERANCE)
    errors = {
        GREY: harness.demand(GREY, ours("gray", some).astype(np.float64), expected, 0),
        COLOUR: harness.demand(COLOUR, ours("viridis", some).astype(np.float64), wanted("viridis"), 0),
        again(GREY): harness.demand(again(GREY), ours("gray", some, canvas(some)).astype(np.float64), expected, 0),
        again(COLOUR): harness.demand(
            again(COLOUR), ours("viridis", some, canvas(some)).astype(np.float64), wanted("viridis"), 0
        ),
        GRID: harness.demand(GRID, bytes_of(grid(some)), expected, TOLERANCE),
        TORCH: harness.demand(TORCH, bytes_of(vectorised(some)), expected, TOLERANCE),
        again(TORCH): harness.demand(again(TORCH), bytes_of(vectorised_again(some)), expected, TOLERANCE),
    }
    kept = canvas(TILES)
    return {
        GREY: partial(ours, "gray"),
        again(GREY): partial(ours, "gray", TILES, kept),
        COLOUR: partial(ours, "viridis"),
        again(COLOUR): partial(ours, "viridis", TILES, kept),
        GRID: grid,
        TORCH: vectorised,
        again(TORCH): vectorised_again,
        COPY: partial(np.copyto, copy, maps),
    }, {"errors": errors, "wrong answers refused": seen}


def measure(name: str, rounds: int, patience: float) -> None:
    """One kind of picture; writes `results/render-NAME.json`."""
    contenders, agreement = {"overlay": overlays, "tiles": tiles}[name](np.random.default_rng(0))

    def turn(call: Callable[[], Any], times: int) -> Callable[[int], None]:
        def run(_: int) -> None:
            for _ in range(times):
                call()

        return run

    calls = {n: CALLS.get(n, 4000 if name == "overlay" else 1) for n in contenders}
    pictures = {n: times * (BATCH if n in (MANY, again(MANY)) else 1) for n, times in calls.items()}
    turns = {n: turn(call, calls[n]) for n, call in contenders.items()}
    with harness.load_watched() as load:
        samples = harness.interleave(turns, rounds, patience=patience)
    for n, found in samples.items():
        found.wall = [seconds / pictures[n] for seconds in found.wall]
        found.cpu = [seconds / pictures[n] for seconds in found.cpu]
    figures, ratios = {}, []
    for above, below, bound in CLAIMS[name]:
        found = harness.ratio(samples, above, below)
        ratios.append(found)
        figures[f"{name}: {above} ÷ {below} ≥ {bound}"] = harness.verdict(found, lambda m, bound=bound: m >= bound)
    ratios += [harness.ratio(samples, n, COPY) for n in contenders if n.startswith("saccade")]
    versions = harness.versions("numpy", "torch", "torchvision", "grad-cam", "opencv-python-headless")
    path = harness.write(
        f"render-{name}",
        {
            "benchmark": "render",
            "versions": versions,
            "settings": {"path": _native.isa(), "cores": 1, "threads": 1, "calls in a turn": calls},
            "load": load,
            "agreement": {"tolerance": TOLERANCE, **agreement},
            "figures": figures,
            "milliseconds": {n: harness.summary([s * 1e3 for s in found.wall]) for n, found in samples.items()},
            "ratios": ratios,
            "samples": harness.rounded(samples),
        },
    )
    for n, found in samples.items():
        print(f"  {n}: {np.median(found.wall) * 1e3:.3f} ms")
    print("\n".join("  " + harness.line(found) for found in ratios))
    print("\n".join(f"  {text}: {met}" for text, met in figures.items()))
    print(f"  {path.relative_to(harness.ROOT)}  (others took {load['others']:.0%} of the machine)")


def main() -> None:
    """Measure on one core."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="*", default=list(CLAIMS), help="overlay, tiles; both by default")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--patience", type=float, default=60, help="seconds to wait for a quiet machine")
    parser.add_argument("--core", type=int, help="which core; the last one that may be used by default")
    options = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0)) if options.core is None else options.core})
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    for name in options.kinds:
        measure(name, options.rounds, options.patience)


if __name__ == "__main__":
    main()
