"""The command `saccade run`."""

from __future__ import annotations

import contextlib
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from . import arguments, cache
from .arguments import ASK, PICTURES, SPEED, model_options, target_of_model
from .console import NOTHING_DONE, SOME_FAILED, print_out, status
from .engine.contract.errors import UsageError
from .help import Command, option

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .engine.contract import ModelOptions, Spec
    from .engine.contract.spec import Precision
    from .engine.decode import Manifest
    from .engine.pipeline import Standing
    from .engine.render import ColormapName
    from .engine.render.gallery import Scale
    from .progress import Form


@click.command(cls=Command)
@click.argument(
    "program",
    metavar="PROGRAM",
    help="A program file that saccade compile made, or a MODEL, which is compiled first and kept.",
)
@arguments.photos
@arguments.out("The folder for the results.")
@option("--restart", is_flag=True, help="Remove the run that is in OUT instead of going on with it.")
@option(
    "--progress",
    type=click.Choice(["auto", "bar", "json", "quiet"]),
    default="auto",
    help="A bar, lines of JSON for a scheduler, or nothing. auto: a bar on a terminal.",
)
@option("--metrics", type=click.IntRange(0, 65535), metavar="PORT", help="Answer Prometheus on 127.0.0.1.")
@option(
    "--target",
    default="predicted",
    section=ASK,
    help="What to explain: a class's name or index, or predicted; of a regression outputs, 0=1,3=-0.5; of an inner "
    "layer a channel, or channel,row,column; of a MODEL also its kind: top-5, outputs (all of them).",
)
@option(
    "--labels",
    type=Path,
    section=ASK,
    help="A CSV with the columns path,label. Without it, sub-folders are the labels.",
)
@option("--overlays", is_flag=True, section=PICTURES, help="Also write a picture for each photo.")
@arguments.look
@option(
    "--keep",
    type=click.Choice(["small", "full"]),
    default="small",
    section=PICTURES,
    help="What the evidence stores: small maps and statistics, or everything at full size.",
)
@option("--batch-size", type=click.IntRange(1, 4096), default=16, section=SPEED, help="Photos at a time.")
@option(
    "--shard-size",
    type=click.IntRange(1),
    section=SPEED,
    show_default="a thousandth of all, 64 to 4096",
    help="Photos in a file of evidence: what is lost at most when a run is stopped.",
)
@option(
    "--workers",
    type=click.IntRange(0, 1024),
    section=SPEED,
    show_default="1, or 0 for few photos",
    help="Processes that do the work; 0: this one. More than one is for networks too small to use all cores. With "
    "ray: actors; without it as many as the cluster has room for.",
)
@option(
    "--threads",
    type=click.IntRange(1),
    section=SPEED,
    show_default="all cores",
    help="Of all workers together; with ray, of each.",
)
@option(
    "--engine",
    type=click.Choice(["local", "ray"]),
    default="local",
    section=SPEED,
    help="Where the workers are: processes of this machine, or actors of a Ray cluster (that of RAY_ADDRESS, else one "
    "that runs here, else this machine alone); see docs/cluster.md.",
)
@option(
    "--patience",
    type=click.FloatRange(0),
    default=60.0,
    section=SPEED,
    help="Seconds to wait for a source of photos that went away, before the run stops; it can be gone on with.",
)
@arguments.device
@option(
    "--runtime",
    type=click.Choice(["auto", "onnxruntime", "openvino", "torchscript", "aotinductor"]),
    default="auto",
    section=SPEED,
    help="What runs it: a .onnx program ONNX Runtime or OpenVINO, the others torch. auto: the fastest that is "
    "installed, tried out where there are many photos and remembered.",
)
@option(
    "--precision",
    type=click.Choice(["float32", "float16", "bfloat16"]),
    section=SPEED,
    show_default="the program's own",
    help="Run a float32 program in OpenVINO with less precision, where the CPU has it; what that changes on these "
    "photos is measured first.",
)
@arguments.force
@option(
    "--trust",
    is_flag=True,
    section=SPEED,
    help="Run a .pt2 program: it is native code and can do whatever you can.",
)
@option(
    "--decode",
    type=click.Choice(["fast", "exact"]),
    default="fast",
    section=SPEED,
    help="fast reads large JPEGs at a reduced scale; exact gives the very pixels of the model's own library.",
)
@arguments.explained
@arguments.loaded("pretrained")
@arguments.preparation
@arguments.classes
def run(
    program: str,
    photos: Sequence[str],
    out: Path,
    restart: bool,
    progress: Form,
    metrics: int | None,
    target: str,
    labels: Path | None,
    overlays: bool,
    colormap: ColormapName,
    scale: Scale,
    keep: Literal["small", "full"],
    batch_size: int,
    shard_size: int | None,
    workers: int | None,
    threads: int | None,
    engine: Literal["local", "ray"],
    patience: float,
    device: Literal["auto", "cpu", "cuda"],
    runtime: Literal["auto", "onnxruntime", "openvino", "torchscript", "aotinductor"],
    precision: Precision | None,
    force: bool,
    trust: bool,
    decode: Literal["fast", "exact"],
    method: Sequence[str],
    layer: str | None,
    weights: str,
    **words: Any,
) -> None:
    """Run a program over photos and show where the network looks.

    OUT gets sheet.jpg (photos, maps and predictions side by side) and evidence/*.parquet (a row for each photo: its
    prediction, its map, where the evidence lies). A photo that cannot be read becomes a row with its error.

    A run that was stopped, killed or cut off goes on with the same command; nothing is done twice. saccade status OUT
    says how far it is.

    Exit code: 0 all photos done, 1 nothing done, 2 wrong usage, 3 some photos failed.
    """
    from .engine import pipeline
    from .engine.contract.program_file import read_contract
    from .progress import Metrics, Progress

    described = model_options(**words)
    path, target, ours = _program(program, runtime, weights, described, method, layer, target)
    contract = read_contract(path)
    spec = contract[1]
    if described.classes is not None:
        spec = _with_classes(spec, described.classes)
    options = pipeline.RunOptions(
        target=None if target == "predicted" else spec.read_target(target),
        batch_size=batch_size,
        decode=decode,
        look=pipeline.Look(colormap, scale),
        overlays=overlays,
        keep=keep,
        shard_size=shard_size,
        workers=workers,
        threads=threads,
        engine=engine,
        patience=patience,
    )
    pipeline.check_options(spec, options)  # before a folder is made or anything is measured
    asked = {"photos": [_place(word) for word in photos], "labels": labels and _place(str(labels))}
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(pipeline.RunFolder(out, restart))
        listed = folder.manifest(asked, lambda place: _list(place, photos, labels))
        if folder.found and runtime == "auto":
            runtime = folder.found.get("runtime", runtime)  # which was the fastest when the run began
        runner, said = pipeline.open_program(
            path,
            contract,
            listed,
            batch_size,
            options.target,
            device,
            runtime,
            precision,
            trust or ours,
            force,
            cache.folder() / "runtimes",
            threads,
        )
        runner.spec = spec
        shown = stack.enter_context(Progress(progress))
        if said and progress in ("auto", "bar"):
            print_out(said)
        followers: list[Callable[[Standing], None]] = [shown]
        if metrics is not None:
            followers.append(stack.enter_context(Metrics(metrics)))

        def tell(standing: Standing) -> None:
            for follower in followers:
                follower(standing)

        result = pipeline.run(runner, listed, folder, options, tell, asked)
    shown.finish(result, out)
    if result.failed:
        sys.exit(NOTHING_DONE if result.failed == result.photos else SOME_FAILED)


def _list(place: Path, photos: Sequence[str], labels: Path | None) -> Manifest:
    from .engine import decode

    with status("listing photos"):
        return decode.write_manifest(place, photos, str(labels) if labels else None)


def _place(word: str) -> str:
    """What a word names, wherever the command is repeated from."""
    from .engine import decode

    return decode.absolute(word)


# ---- from words to values -----------------------------------------------------------------------------------------


def _program(
    program: str,
    runtime: str,
    weights: str,
    options: ModelOptions,
    method: Sequence[str],
    layer: str | None,
    target: str,
) -> tuple[Path, str, bool]:
    """The program's file, what it shall explain, and whether we compiled it ourselves."""
    from .engine.contract.program_file import is_program

    if Path(program).suffix in (".onnx", ".ts") or is_program(program):
        given = {"method": method or None, "layer": layer, "weights": weights if weights != "pretrained" else None}
        given |= {f.name: getattr(options, f.name) for f in fields(options) if f.name != "classes"}
        if extra := [name for name, value in given.items() if value is not None]:
            name = extra[0].replace("_", "-")
            raise UsageError(f"run: {program} is compiled already; --{name} goes with a MODEL")
        return Path(program), target, False
    kind, target = target_of_model(target)

    with status(f"compiling {program}"):
        to: Any = runtime if runtime in ("torchscript", "aotinductor") else "onnx"
        path, there = cache.compiled(program, weights, options, method or ["grad-cam"], to, layer, kind)
    print_out(f"{'using' if there else 'kept'} {path}")
    return path, target, True


def _with_classes(spec: Spec, names: Sequence[str]) -> Spec:
    if len(names) != spec.num_outputs:
        raise UsageError(f"--classes: {len(names)} names for the {spec.num_outputs} outputs of {spec.model}")
    return replace(spec, classes=tuple(names))
