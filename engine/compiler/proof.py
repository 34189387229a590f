"""The proof: what a compiled file has to show before it may be kept.

(a) The mathematics. The compiled graph in float64 equals hooks and autograd in float64, on textured, flat and
letterboxed pictures, for two batch sizes that tracing did not use, for explicit and predicted targets.
(b) The file. Run by its own runtime in float32, its logits and maps agree with float64. A map made of gradients behind
a ReLU or a max pool jumps where those are at a tie, in eager float32 too; its error is recorded, and refused only
where it is so large that something else must be wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ..contract import Agreement, Maps, Preprocessing, SaccadeError, UsageError, agree
from ..contract.spec import Precision
from .network import Network
from .reference import Reference
from .targets import Target
from .trace import Request, Traced, convolutions, float64

MATHEMATICS = 1e-9
"""Largest difference from eager float64, relative to the map's maximum."""
LOGITS = 1e-3
"""Largest difference of float32 logits, relative to the largest logit."""
SMOOTH_MAP = 1e-3
"""The same for activations, and for CAMs whose gradient does not depend on the picture."""
GRADIENT_MAP = 0.1
"""Largest RMS of the relative L2 error of a gradient map in float32."""


@dataclass(frozen=True)
class Lowering:
    """A program in half precision, and how its cost is judged.

    Attributes:
        precision: "float16" or "bfloat16".
        images: photos as the network sees them, uint8 [N, H, W, C]; None for drawn pictures, of which it is told but
            not judged how many predictions change: no network is sure of them.
        force: keep the file even if it differs more than `contract.Agreement` allows.
    """

    precision: Precision
    images: np.ndarray | None = None
    force: bool = False


_LINEAR = (
    "aten.adaptive_avg_pool2d",
    "aten.addmm",
    "aten.avg_pool2d",
    "aten.clone",
    "aten.contiguous",
    "aten.dropout",
    "aten.flatten",
    "aten.linear",
    "aten.mean",
    "aten.permute",
    "aten.reshape",
    "aten.squeeze",
    "aten.sym_size",
    "aten.view",
)


def pictures(preprocessing: Preprocessing, kinds: Sequence[str], seed: int = 0) -> np.ndarray:
    """Drawn test pictures, uint8 [N, H, W, C]; kinds are "textured", "flat" and "letterboxed"."""
    random = np.random.default_rng(seed)
    height, width, channels = preprocessing.height, preprocessing.width, preprocessing.channels
    batch = []
    for kind in kinds:
        if kind == "flat":
            picture = np.broadcast_to(random.integers(0, 256, (1, 1, channels)), (height, width, channels))
        else:
            picture = random.normal(0, 12, (height, width, channels))
            for cell in (4, 16, 64):  # noise at several scales, as photos have
                coarse = random.normal(0, 30, (-(-height // cell), -(-width // cell), channels))
                picture = picture + np.kron(coarse, np.ones((cell, cell, 1)))[:height, :width]
            picture = picture + 128
            if kind == "letterboxed":
                picture[: height // 5] = picture[height - height // 5 :] = 0
        batch.append(np.clip(picture, 0, 255).astype(np.uint8))
    return np.stack(batch)


def error_to_maximum(got: np.ndarray, expected: np.ndarray, scale: np.ndarray | None = None) -> float:
    """The largest difference over a batch, relative to each image's own maximum.

    Args:
        scale: float64 [N], the maxima; by default those of `expected`. For a CAM they are those before its ReLU:
            where nearly all of the map is negative, what is left above zero is as small as rounding.
    """
    if got.shape != expected.shape:
        return float("inf")
    n = len(expected)
    difference = np.abs(got.astype(np.float64) - expected.astype(np.float64)).reshape(n, -1).max(axis=1)
    maxima = np.abs(expected).reshape(n, -1).max(axis=1).astype(np.float64) if scale is None else scale
    return float((difference / np.maximum(maxima, 1e-30)).max()) if np.isfinite(difference).all() else float("inf")


def relative_l2(got: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Each image's L2 distance to the expected map, relative to that map's norm, float64 [N]."""
    if got.shape != expected.shape:
        return np.full(len(expected), np.inf)
    a, b = (v.astype(np.float64).reshape(len(v), -1) for v in (got, expected))
    distance, norm = np.linalg.norm(a - b, axis=1), np.linalg.norm(b, axis=1)
    return np.where(distance == 0, 0.0, distance / np.maximum(norm, 1e-30))


def examples(network: Network, target: Target, count: int, seed: int, free: bool = True) -> tuple[np.ndarray, ...]:
    """Values for the inputs beside the pictures, one of each kind that there is: explicit ones, and with `free` also
    those that the program is to find by itself.

    Returns:
        `target`, and `region` where there is one (see targets.py).
    """
    random, k = np.random.default_rng(seed), network.num_outputs
    if target.kind == "outputs":
        return (random.normal(0, 1, (count, k)).astype(np.float32),)
    if target.kind == "unit":
        assert target.layer is not None
        shape = (*network.unit_shape(network.layer(target.layer)), 1, 1)[:3]
        units = np.stack([random.integers(0, n, count) for n in shape], axis=1)
        units[::2, 1:] = -1
        return (units,)
    shape = (count, target.count) if target.count > 1 else (count,)
    classes = random.integers(0, k, shape)
    if free:
        classes[::2] = -1
    if target.kind == "class":
        return (classes,)
    _, height, width = network.input_shape
    region = np.zeros((count, height, width), np.uint8)
    start = 1 if free and count > 1 else 0
    region[start:, height // 4 : height // 2 + 1, width // 3 : width // 2 + 1] = 1
    return classes, region


def prove(
    network: Network,
    traced: Traced,
    preprocessing: Preprocessing,
    requests: Sequence[Request],
    target: Target,
    run_file: Callable[..., Maps],
    lowering: Lowering | None = None,
) -> dict[str, Any]:
    """Check a compiled graph and the file made of it.

    Args:
        traced: the graph in the network's own precision.
        run_file: runs the file on (images uint8 [N, H, W, C], the other inputs).
        lowering: says that the file is in half precision: then its maps' ranks are held to float64's, not their values.

    Returns:
        The errors, for the contract.

    Raises:
        UsageError: the gradient at a layer is zero everywhere.
        SaccadeError: an error exceeds its bound; the message says which.
    """
    batches = [
        (pictures(preprocessing, ["textured"], seed=1), examples(network, target, 1, seed=1, free=False)),
        (pictures(preprocessing, ["flat", "letterboxed"], seed=2), examples(network, target, 2, seed=2)),
    ]
    reference, exact = Reference(network, preprocessing, requests, target), float64(traced)
    mathematics = dict.fromkeys(traced.outputs, 0.0)
    alive = {r.name: False for r in requests}
    for images, asked in batches:
        expected, scales, living = reference(images, *asked)
        try:
            with torch.no_grad():
                got = exact(
                    torch.from_numpy(images if reference.takes_bytes else images.astype(np.float64)),
                    *map(torch.from_numpy, asked),
                )
        except RuntimeError as error:
            raise SaccadeError(
                f"compile: proof failed: the graph of {network.name} does not run on a batch of {len(images)} "
                f"({str(error).strip().splitlines()[0][:200]}); no file was written; please report this network"
            ) from error
        for name, a in zip(traced.outputs, got, strict=True):
            mathematics[name] = max(mathematics[name], error_to_maximum(a.numpy(), expected[name], scales.get(name)))
        alive = {name: alive[name] or living[name] for name in alive}
    for request in requests:
        if request.method.backward and not alive[request.name]:
            averages = " averages to" if request.method.kind == "cam" else " is"
            raise UsageError(
                f"compile: the gradient of {network.name}'s logits at {request.layer!r}{averages} zero on every test "
                f"picture; {request.method_name} has nothing to show there; choose another layer "
                "(see: saccade layers MODEL)"
            )
    for name, error in mathematics.items():
        if not error <= MATHEMATICS:
            raise SaccadeError(
                f"compile: proof failed: {name} in float64 differs from eager autograd by {error:.1e} of its maximum "
                f"(allowed {MATHEMATICS:.0e}); no file was written; please report this network"
            )

    proof: dict[str, Any] = {}
    if lowering is not None:
        cost = _cost(network, preprocessing, target, reference, run_file, lowering)
        judged = lowering.images is not None
        cost.check(f"compile: {lowering.precision}", "use another --precision", lowering.force, predictions=judged)
        proof["agreement"] = cost.to_json()
    file = _check_file(network, preprocessing, requests, target, reference, run_file, bounds=lowering is None)
    return proof | {
        "mathematics_float64": {k: _short(v) for k, v in mathematics.items()},
        "file": file,
        "bounds": {
            "mathematics": MATHEMATICS,
            "logits": LOGITS,
            "smooth_map": SMOOTH_MAP,
            "gradient_map_rms": GRADIENT_MAP,
        },
        "convolutions": {"network": convolutions(network.graph), "program": convolutions(traced.module.graph)},
        "batch_sizes": sorted({len(images) for images, _ in batches}),
    }


def _check_file(
    network: Network,
    preprocessing: Preprocessing,
    requests: Sequence[Request],
    target: Target,
    reference: Reference,
    run_file: Callable[..., Maps],
    bounds: bool,
) -> dict[str, dict[str, float]]:
    free = target.kind != "region"  # a region of its own has an edge, where two logits are nearly equal
    batches = [
        (pictures(preprocessing, ["textured"], seed=3), examples(network, target, 1, 3, free=False)),
        (pictures(preprocessing, ["textured", "textured"], seed=4), examples(network, target, 2, 4, free)),
    ]
    worst = {"logits": 0.0, **{r.name: 0.0 for r in requests}}
    l2: dict[str, list[float]] = {r.name: [] for r in requests}
    for images, asked in batches:
        got = run_file(images if reference.takes_bytes else images.astype(np.float32), *asked)
        # The class that the file explained: two nearly equal logits may swap places in float32.
        expected, scales, _ = reference(images, got.target, *asked[1:])
        worst["logits"] = max(worst["logits"], error_to_maximum(got.logits, expected["logits"]))
        for name, values in got.maps.items():
            worst[name] = max(worst[name], error_to_maximum(values, expected[name], scales.get(name)))
            l2[name].extend(relative_l2(values, expected[name]))
    found: dict[str, dict[str, float]] = {"logits": {"max": _short(worst["logits"])}}
    if bounds and not worst["logits"] <= LOGITS:
        raise _refused("logits", worst["logits"], LOGITS)
    for request in requests:
        rms = float(np.sqrt(np.mean(np.square(l2[request.name]))))
        found[request.name] = {"max": _short(worst[request.name]), "rms_l2": _short(rms)}
        if not bounds:
            continue
        method, behind = request.method, request.method.kind == "cam" and is_linear(network, request)
        if method.kind == "activations" or method.target_layer == "pooled" or (behind and method.backward):
            if not worst[request.name] <= SMOOTH_MAP:
                raise _refused(request.name, worst[request.name], SMOOTH_MAP)
        elif not rms <= GRADIENT_MAP:
            raise _refused(request.name, rms, GRADIENT_MAP)
    return found


def _cost(
    network: Network,
    preprocessing: Preprocessing,
    target: Target,
    reference: Reference,
    run_file: Callable[..., Maps],
    lowering: Lowering,
) -> Agreement:
    """What half precision changes, over photos or drawn pictures; both are asked for what float64 explains."""
    images = pictures(preprocessing, ["textured"] * 16, seed=5) if lowering.images is None else lowering.images
    got, exact = [], []
    for i in range(0, len(images), 4):
        batch = images[i : i + 4]
        asked = examples(network, target, len(batch), 5, free=False)
        if target.kind == "class":  # what a person would ask: the likeliest classes
            logits = reference(batch, *asked)[0]["logits"]
            best = np.argsort(-logits, axis=1, kind="stable")[:, : target.count]
            asked = (best.reshape(asked[0].shape),)
        expected = reference(batch, *asked)[0]
        got.append(run_file(batch if reference.takes_bytes else batch.astype(np.float32), *asked))
        maps = {name: expected[name] for name in got[-1].maps}
        exact.append(Maps(expected["logits"], got[-1].target, maps))
    return agree(got, exact, classes=target.kind != "outputs")


def is_linear(network: Network, request: Request) -> bool:
    """Whether the network behind the layer is linear (pooling and a linear head), so that its gradient is constant."""
    behind = network.descendants(request.node)
    return all(
        n.op != "call_function" or str(n.target).startswith(_LINEAR) or _keeps_gradient(n.target) for n in behind
    )


def _keeps_gradient(target: Any) -> bool:
    return getattr(target, "__name__", "") in ("adaptive_avg_pool2d", "linear") or str(target).startswith(
        "aten.reshape"
    )


def _refused(name: str, error: float, bound: float) -> SaccadeError:
    return SaccadeError(
        f"compile: proof failed: {name} of the file differs from float64 by {error:.1e} (allowed {bound:.0e}); "
        "no file was written; try the other --to, and please report this network"
    )


def _short(value: float) -> float:
    return float(f"{value:.2e}")
