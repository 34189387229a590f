"""The proof: what a compiled file has to show before it may be kept.

(a) The mathematics. The compiled graph in float64 equals hooks and autograd in float64, on textured, flat and
letterboxed pictures, for two batch sizes that tracing did not use, for explicit and predicted targets.
(b) The file. Run by its own runtime in float32, its logits and maps agree with float64. A map made of gradients behind
a ReLU or a max pool jumps where those are at a tie, in eager float32 too; its error is recorded, and refused only
where it is so large that something else must be wrong.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..contract import Maps, Preprocessing, SaccadeError, UsageError
from . import eager
from .network import Network
from .trace import Request, Traced, convolutions, float64, normalise

MATHEMATICS = 1e-9
"""Largest difference from eager float64, relative to the map's maximum."""
LOGITS = 1e-3
"""Largest difference of float32 logits, relative to the largest logit."""
SMOOTH_MAP = 1e-3
"""The same for activations, and for CAMs whose gradient does not depend on the picture."""
GRADIENT_MAP = 0.1
"""Largest RMS of the relative L2 error of a gradient map in float32."""

_ROUNDING = 1e-12
"""A mean gradient that is smaller, relative to the largest gradient, is rounding: nothing to make a map of."""

Arrays = dict[str, np.ndarray]

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


def prove(
    network: Network,
    traced: Traced,
    preprocessing: Preprocessing,
    requests: Sequence[Request],
    run_file: Callable[[np.ndarray, np.ndarray], Maps],
) -> dict[str, Any]:
    """Check a compiled graph and the file made of it.

    Args:
        run_file: runs the file on (images uint8 [N, H, W, C], target int64 [N]).

    Returns:
        The errors, for the contract.

    Raises:
        UsageError: the gradient at a layer is zero everywhere.
        SaccadeError: an error exceeds its bound; the message says which.
    """
    last = network.num_outputs - 1
    batches = [
        (pictures(preprocessing, ["textured"], seed=1), np.array([min(3, last)])),
        (pictures(preprocessing, ["flat", "letterboxed"], seed=2), np.array([-1, last])),
    ]
    reference, exact = Reference(network, preprocessing, requests), float64(traced)
    mathematics = dict.fromkeys(traced.outputs, 0.0)
    alive = {r.name: False for r in requests}
    for images, target in batches:
        expected, scales, living = reference(images, target)
        try:
            with torch.no_grad():
                got = exact(torch.from_numpy(images), torch.from_numpy(target))
        except RuntimeError as error:
            raise SaccadeError(
                f"compile: proof failed: the graph of {network.name} does not run on a batch of {len(images)} "
                f"({str(error).strip().splitlines()[0][:200]}); no file was written; please report this network"
            ) from error
        for name, a in zip(traced.outputs, got, strict=True):
            mathematics[name] = max(mathematics[name], error_to_maximum(a.numpy(), expected[name], scales.get(name)))
        alive = {name: alive[name] or living[name] for name in alive}
    for request in requests:
        if request.method.needs_gradient and not alive[request.name]:
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

    float32 = _check_file(network, preprocessing, requests, reference, run_file)
    return {
        "mathematics_float64": {k: _short(v) for k, v in mathematics.items()},
        "file_float32": float32,
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
    reference: Reference,
    run_file: Callable[[np.ndarray, np.ndarray], Maps],
) -> dict[str, dict[str, float]]:
    batches = [
        (pictures(preprocessing, ["textured"], seed=3), np.array([network.num_outputs // 2])),
        (pictures(preprocessing, ["textured", "textured"], seed=4), np.array([-1, 0])),
    ]
    worst = {"logits": 0.0, **{r.name: 0.0 for r in requests}}
    l2: dict[str, list[float]] = {r.name: [] for r in requests}
    for images, target in batches:
        got = run_file(images, target)
        # The class that the file explained: two nearly equal logits may swap places in float32.
        expected, scales, _ = reference(images, got.target)
        worst["logits"] = max(worst["logits"], error_to_maximum(got.logits, expected["logits"]))
        for name, values in got.maps.items():
            worst[name] = max(worst[name], error_to_maximum(values, expected[name], scales.get(name)))
            l2[name].extend(relative_l2(values, expected[name]))
    found: dict[str, dict[str, float]] = {"logits": {"max": _short(worst["logits"])}}
    if not worst["logits"] <= LOGITS:
        raise _refused("logits", worst["logits"], LOGITS)
    for request in requests:
        rms = float(np.sqrt(np.mean(np.square(l2[request.name]))))
        found[request.name] = {"max": _short(worst[request.name]), "rms_l2": _short(rms)}
        if request.method.kind == "activations" or (request.method.kind == "cam" and is_linear(network, request)):
            if not worst[request.name] <= SMOOTH_MAP:
                raise _refused(request.name, worst[request.name], SMOOTH_MAP)
        elif not rms <= GRADIENT_MAP:
            raise _refused(request.name, rms, GRADIENT_MAP)
    return found


def is_linear(network: Network, request: Request) -> bool:
    """Whether the network behind the layer is linear (pooling and a linear head), so that its gradient is constant."""
    behind = network.descendants(request.node)
    return all(n.op != "call_function" or str(n.target).startswith(_LINEAR) or _pool(n.target) for n in behind)


def _pool(target: Any) -> bool:
    return getattr(target, "__name__", "") == "adaptive_avg_pool2d" or str(target).startswith("aten.reshape")


class Reference:
    """Eager float64: hooks on the nn.Module, or autograd over the graph where there is no module (a `.pt2`)."""

    def __init__(self, network: Network, preprocessing: Preprocessing, requests: Sequence[Request]) -> None:
        self._network, self._preprocessing, self._requests = network, preprocessing, requests
        self._module = copy.deepcopy(network.module).double() if network.module is not None else None

    def __call__(self, images: np.ndarray, target: np.ndarray) -> tuple[Arrays, Arrays, dict[str, bool]]:
        """Explain a batch.

        Returns:
            (logits and maps by output name; for CAMs and features what `error_to_maximum` takes for their maxima,
            float64 [N]; whether each method's gradient is anywhere more than rounding).
        """
        x = normalise(torch.from_numpy(images), self._preprocessing, torch.float64)
        goal = torch.from_numpy(target)
        try:
            return self._explain(x, goal)
        except RuntimeError as error:
            raise SaccadeError(
                f"compile: no proof: {self._network.name} does not run in float64 "
                f"({str(error).strip().splitlines()[0][:200]}); no file was written; take casts to float32 out of it"
            ) from error

    def _explain(self, x: Tensor, goal: Tensor) -> tuple[Arrays, Arrays, dict[str, bool]]:
        if self._module is not None:
            layers = {layer.name: layer for layer in self._network.layers}
            asked = [
                (
                    r.method_name,
                    *((layers[r.layer].module, layers[r.layer].call) if r.layer in layers else (r.layer, 1)),
                )
                for r in self._requests
            ]
            logits, found = eager.explain(self._module, x, goal, asked)
        else:
            logits, found = self._over_graph(x, goal)
        expected, scales, alive = {"logits": logits.numpy()}, {}, {}
        for request, explained in zip(self._requests, found, strict=True):
            name, (cam, activation, gradient) = request.name, explained
            expected[name] = cam.numpy()
            alive[name] = gradient is not None and bool((gradient != 0).any())
            if request.method.kind == "cam" and gradient is not None:
                weights = gradient.mean(dim=(2, 3))
                alive[name] = bool((weights.abs().max() > _ROUNDING * gradient.abs().max()).item())
                signed = torch.einsum("nc,nchw->nhw", weights, activation)
                scales[name] = signed.abs().amax(dim=(1, 2)).numpy()
                if "features" not in expected:
                    expected["features"] = _features(activation.numpy(), cam.numpy())
                    share = np.maximum(cam.amax(dim=(1, 2)).numpy(), 1e-30) / np.maximum(scales[name], 1e-30)
                    scales["features"] = np.abs(expected["features"]).max(axis=1) / share
        return expected, scales, alive

    def _over_graph(self, x: Tensor, target: Tensor) -> tuple[Tensor, list[eager.Explained]]:
        state = {k: v.double() if v.is_floating_point() else v for k, v in self._network.state.items()}
        _, tail = self._network.cut(state, x, self._network.input)
        logits = tail(x)
        goal = torch.where(target < 0, logits.argmax(dim=1), target)
        found: list[eager.Explained] = []
        for request in self._requests:
            activation, tail = self._network.cut(state, x, request.node)
            activation = activation.detach().requires_grad_()
            gradient = None
            if request.method.needs_gradient:
                score = tail(activation).gather(1, goal.unsqueeze(1)).sum()
                if score.requires_grad:
                    (gradient,) = torch.autograd.grad(score, activation, allow_unused=True)
                gradient = torch.zeros_like(activation) if gradient is None else gradient
            explained = eager.map_of(request.method_name, activation, gradient).detach()
            found.append(eager.Explained(explained, activation.detach(), gradient))
        return logits, found


def _features(activation: np.ndarray, cam: np.ndarray) -> np.ndarray:
    """The average of activations [N, C, h, w] over the places of a CAM [N, h, w], zero where it is blank: [N, C]."""
    rows = [
        np.average(a.reshape(len(a), -1), axis=1, weights=c.ravel()) if c.any() else np.zeros(len(a))
        for a, c in zip(activation, cam, strict=True)
    ]
    return np.stack(rows)


def _refused(name: str, error: float, bound: float) -> SaccadeError:
    return SaccadeError(
        f"compile: proof failed: {name} of the file differs from float64 by {error:.1e} (allowed {bound:.0e}); "
        "no file was written; try the other --to, and please report this network"
    )


def _short(value: float) -> float:
    return float(f"{value:.2e}")
