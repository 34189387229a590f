"""Programs: compiled and proven, given fixed ranges, and opened in the runtime that is the fastest."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from .. import decode, execute, render
from ..contract import Preprocessing, SaccadeError, Spec, agree, replacing
from ..contract.program_file import Contract, Format
from ..contract.spec import Precision

if TYPE_CHECKING:
    from ..compiler import Model

U8 = npt.NDArray[np.uint8]

SAMPLE = 64
"""Photos on which precisions and runtimes are compared."""
WORTH_CHOOSING = 500
"""Photos from which a run tries the runtimes first: it takes a few seconds, once for each program and machine."""


def compile_program(
    model: Model,
    methods: Sequence[str],
    path: str | os.PathLike[str],
    to: Format = "onnx",
    layer: str | None = None,
    target: str | None = None,
    calibration_photos: Sequence[decode.Photo] | None = None,
    precision: Precision = "float32",
    device: Literal["cpu", "cuda"] = "cpu",
    force: bool = False,
) -> Spec:
    """Compile explanations of a model into a program file, prove it, and only then give it its name.

    See `compiler.write_program` for the arguments and errors. With `calibration_photos` the contract also gets the
    fixed ranges of `calibrate`, and the agreement of half precision is judged on some of them.
    """
    from ..compiler import Lowering, write_program

    def open_file(candidate: Path) -> execute.Runner:
        return execute.load(candidate, device, trust=True)  # written a moment ago, by us

    photos, lowering = calibration_photos or (), None
    if precision != "float32":
        lowering = Lowering(precision, sample(photos, model.preprocessing) if photos else None, force)
    ranges = (lambda candidate: calibrate(open_file(candidate), photos)) if photos else None
    with replacing(path) as temporary:
        return write_program(
            *(model, methods, temporary, lambda c: open_file(c).run, to, layer, target, ranges, lowering, device),
            open_artefact=execute.open_artefact,
        )


def calibrate(
    runner: execute.Runner, photos: Sequence[decode.Photo], limit: int = 512
) -> dict[str, tuple[float, float]]:
    """Fixed ranges that make a program's maps comparable across images, from a sample of photos.

    Args:
        runner: a loaded program.
        photos: the photos to sample, evenly, at most `limit`.

    Returns:
        Map name → (low, high): for CAMs and gradients 0 and the 0.99 quantile of the value that each photo alone
        would be scaled to; for activations the 0.005 and 0.995 quantiles of all values.

    Raises:
        SaccadeError: no photo could be read, or a map is blank on all of them.
    """
    chosen = [photos[i] for i in evenly(len(photos), limit)]
    highs: dict[str, list[npt.NDArray]] = {m.name: [] for m in runner.spec.maps}
    with decode.Decoder(decode.batches_of(chosen, 16), runner.spec.preprocessing) as batches:
        for batch in batches:
            if len(batch.images) == 0:
                continue
            maps = runner.run(batch.images)
            for m in runner.spec.maps:
                values = maps.maps[m.name]
                if m.kind == "activations":
                    highs[m.name].append(np.quantile(values.reshape(len(values), -1), [0.005, 0.995], axis=1).T)
                else:
                    highs[m.name].append(render.display_ranges(values, kind=m.kind))
    found: dict[str, tuple[float, float]] = {}
    for name, parts in highs.items():
        if not parts:
            raise SaccadeError("calibrate: none of the photos could be read; give a folder of photos")
        ranges = np.concatenate(parts)
        low, high = float(ranges[:, 0].min()), float(np.quantile(ranges[:, 1], 0.99))
        if not low < high:
            raise SaccadeError(f"calibrate: {name} is blank on all {len(ranges)} photos; give photos of the classes")
        found[name] = (low, high)
    return found


def open_program(
    path: Path,
    contract: Contract,
    photos: Sequence[decode.Photo],
    batch_size: int,
    target: Any = None,
    device: str = "auto",
    runtime: str = "auto",
    precision: Precision | None = None,
    trust: bool = False,
    force: bool = False,
    choices: Path | None = None,
    threads: int | None = None,
) -> tuple[execute.Runner, str | None]:
    """Open a program for a run over photos, in the runtime that is the fastest for it.

    On a CPU with several runtimes for the program, each is tried on some of the photos where the run is long enough to
    be worth it; what was found is kept. In a narrower precision than the file's, the agreement is measured on some of
    the photos in any case.

    Args:
        path, contract: a program, and what `read_contract` found in it.
        target: what the run will explain.
        device, runtime, precision, trust: as `execute.load` takes them; runtime "auto" is the fastest one.
        force: run in a narrower precision even if it changes more than `contract.Agreement` allows.
        choices: the folder where choices are kept; None for nowhere.
        threads: CPU threads of the runtime; None for all cores.

    Returns:
        The loaded program, and a line for people where something was measured.

    Raises:
        UsageError, SaccadeError: as `execute.load`; the precision changes too much.
    """
    kind, spec = contract
    if precision not in (None, spec.precision):
        if runtime == "auto" and kind == "onnx":
            runtime = "openvino"
        runner = execute.load(path, device, runtime, threads, precision, trust, contract)
        images = sample(photos, spec.preprocessing)
        batches = [images[i : i + batch_size] for i in range(0, len(images), batch_size)]
        exact = execute.load(path, device, contract=contract)
        pairs = [(runner.run(b, target), exact.run(b, target)) for b in batches]
        found = agree(*zip(*pairs, strict=True), classes=spec.target != "outputs")
        found.check(f"run: {precision}", "use --precision float32", force)
        runner.measured["agreement"] = found.to_json()
        return runner, f"{precision}: {found.describe()}"
    on_cpu = device == "cpu" or (device == "auto" and not execute.cuda_devices())
    if runtime != "auto" or not on_cpu or len(execute.candidates(kind)) == 1:
        return execute.load(path, device, runtime, threads, precision, trust, contract), None
    batch_size = min(batch_size, SAMPLE)
    choice = execute.remembered(choices, contract, batch_size) if choices else None
    said = None
    if choice is None and len(photos) >= WORTH_CHOOSING:
        images = sample(photos, spec.preprocessing)
        choice = execute.fastest(path, contract, images, batch_size, choices, target)
        said = f"runtime: {choice.describe()}"
    runner = execute.load(path, device, choice.runtime if choice else "auto", threads, precision, trust, contract)
    if choice is not None:
        runner.measured["runtimes"] = dataclasses.asdict(choice)
    return runner, said


def sample(photos: Sequence[decode.Photo], preprocessing: Preprocessing) -> U8:
    """Some of the photos, spread evenly, as the network sees them, uint8 [N, H, W, C].

    Raises:
        SaccadeError: none of them can be read.
    """
    chosen = [photos[i] for i in evenly(len(photos), SAMPLE)]
    with decode.Decoder(decode.batches_of(chosen, 16), preprocessing) as batches:
        images = np.concatenate([batch.images for batch in batches])
    if len(images) == 0:
        raise SaccadeError(f"decode: none of {len(chosen)} photos could be read; give a folder of photos")
    return images


def evenly(count: int, limit: int) -> list[int]:
    """`limit` of `count` indices, spread evenly."""
    return [int(i) for i in np.linspace(0, count - 1, min(count, limit)).round()] if limit and count else []
