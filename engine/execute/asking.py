"""From what a person asks to a program's inputs, and what was scored."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ..contract import Spec, UsageError

Inputs = dict[str, npt.NDArray[Any]]


def program_inputs(spec: Spec, count: int, target: Any, region: Any = None) -> Inputs:
    """The inputs beside `images` for a batch of `count` (see `Spec.target`).

    Args:
        target: one for all images or one for each; None for the program's own choice: the predicted classes, all
            outputs.
        region: of a segmentation: bool or uint8 [H, W] or [N, H, W], None for the network's own regions.

    Raises:
        UsageError: another type or shape, or what the network does not have.
    """
    if region is not None and spec.target != "region":
        raise UsageError(f"run: {spec.model} was compiled for target {spec.target}; it takes no region")
    try:
        asked = np.asarray(target) if target is not None else None
    except (TypeError, ValueError, RuntimeError):  # rows of different lengths, a tensor on a GPU
        asked = np.asarray("no array")
    if asked is not None and asked.dtype.kind not in "iuf":
        raise UsageError(f"run: expected target as numbers, got {target!r:.80}")
    if spec.target == "outputs":
        return {"target": _weights(spec, count, asked)}
    if asked is not None and asked.dtype.kind == "f":
        raise UsageError(f"run: expected target as whole numbers, got {target!r:.80}")
    if spec.target == "unit":
        return {"target": _units(spec, count, asked)}
    found: Inputs = {"target": _classes(spec, count, asked)}
    if spec.target == "region":
        found["region"] = _region(spec, count, region)
    return found


def _classes(spec: Spec, count: int, asked: npt.NDArray[Any] | None) -> npt.NDArray[np.int64]:
    k, most = spec.target_count, spec.num_outputs
    shape = (count,) if k == 1 else (count, k)
    asked = np.asarray(-1) if asked is None else asked
    if asked.shape not in ((), shape, shape[1:]) or (k > 1 and asked.ndim == 0 and asked != -1):
        wanted = f"one class index or {count} of them" if k == 1 else f"{k} class indices, or {k} for each image"
        raise UsageError(f"run: expected target as {wanted}, got {_show(asked)}")
    asked = np.array(np.broadcast_to(asked, shape), dtype=np.int64)
    if asked.min() < -1 or asked.max() >= most:
        raise UsageError(
            f"run: target {int(asked.min() if asked.min() < -1 else asked.max())} is out of range; "
            f"{spec.model} has classes 0 to {most - 1} (-1: the predicted one)"
        )
    return asked


def _region(spec: Spec, count: int, region: Any) -> npt.NDArray[np.uint8]:
    size = (spec.preprocessing.height, spec.preprocessing.width)
    try:
        given = np.zeros(size, np.uint8) if region is None else np.asarray(region)
    except (TypeError, ValueError, RuntimeError) as error:
        raise UsageError(f"run: the region cannot be read as an array ({' '.join(str(error).split())[:200]})") from None
    if given.dtype not in (np.uint8, np.bool_) or given.shape not in (size, (count, *size)):
        raise UsageError(f"run: expected region as uint8 or bool {['N', *size]}, got {_show(given)}")
    return np.array(np.broadcast_to(given != 0, (count, *size)), dtype=np.uint8)


def _weights(spec: Spec, count: int, asked: npt.NDArray[Any] | None) -> npt.NDArray[np.float32]:
    k = spec.num_outputs
    if asked is None:
        asked = np.ones(k)
    elif asked.ndim == 0:
        if asked.dtype.kind == "f" or not 0 <= asked < k:
            raise UsageError(f"run: target {asked} is out of range; {spec.model} has outputs 0 to {k - 1}")
        asked = (np.arange(k) == asked).astype(np.float32)
    with np.errstate(over="ignore"):
        asked = asked.astype(np.float32)
    if asked.shape not in ((k,), (count, k)) or not np.isfinite(asked).all():
        raise UsageError(f"run: expected target as an output's index or {k} finite weights, got {_show(asked)}")
    return np.array(np.broadcast_to(asked, (count, k)), dtype=np.float32)


def _units(spec: Spec, count: int, asked: npt.NDArray[Any] | None) -> npt.NDArray[np.int64]:
    assert spec.target_shape is not None
    shape = (*spec.target_shape, 1, 1)[:3]
    if asked is None or asked.shape not in ((), (3,), (count, 3)):
        got = "nothing" if asked is None else _show(asked)
        raise UsageError(
            f"run: expected target as a channel of {spec.target_layer} or (channel, row, column), got {got}"
        )
    asked = np.array([int(asked), -1, -1]) if asked.ndim == 0 else asked
    asked = np.array(np.broadcast_to(asked, (count, 3)), dtype=np.int64)
    wrong = (asked >= shape).any(axis=1) | (asked < (0, -1, -1)).any(axis=1)
    if wrong.any():
        raise UsageError(
            f"run: unit {asked[wrong][0].tolist()} is out of range; {spec.target_layer} gives {list(spec.target_shape)}"
        )
    return asked


def _show(value: npt.NDArray[Any]) -> str:
    return f"{value.dtype} {list(value.shape)}" if value.size > 3 else f"{value.tolist()!r:.80}"


def explained(
    spec: Spec, logits: npt.NDArray[np.float32], inputs: Inputs
) -> tuple[npt.NDArray[Any], npt.NDArray[np.float32] | None]:
    """What was explained, and its score: see `Maps.target` and `Maps.score`."""
    asked = inputs["target"]
    if spec.target == "unit":
        return asked, None
    if spec.target == "outputs":
        return asked, (logits * asked).sum(axis=1)
    if spec.target == "region":
        own = spec.regions(logits)
        classes = np.where(asked < 0, own.sum(axis=(2, 3)).argmax(axis=1), asked)
        rows = np.arange(len(logits))
        places = own[rows, classes].astype(np.float32)
        given = inputs["region"].any(axis=(1, 2))
        if given.any():
            places[given] = [_shrink(mask, places.shape[1:]) for mask in inputs["region"][given]]
        return classes, (logits[rows, classes] * places).sum(axis=(1, 2), dtype=np.float32)
    if spec.target_count == 1:
        classes = np.where(asked < 0, logits.argmax(axis=1), asked)
        return classes, logits[np.arange(len(logits)), classes]
    best = np.argsort(-logits, axis=1, kind="stable")[:, : spec.target_count]
    classes = np.where(asked < 0, best, asked)
    return classes, np.take_along_axis(logits, classes, axis=1)


def _shrink(mask: npt.NDArray[np.uint8], size: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """The share of each place of a smaller grid that is marked, as adaptive average pooling does it."""
    for axis, n in enumerate(size):
        side = mask.shape[axis]
        if side != n:
            parts = [range(i * side // n, -(-(i + 1) * side // n)) for i in range(n)]
            mask = np.stack([mask.take(p, axis=axis).mean(axis=axis) for p in parts], axis=axis)
    return mask.astype(np.float32)
