"""The command line. What a command needs is imported inside it, so that `saccade --help` answers at once."""

from __future__ import annotations

import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn

import typer

from .arguments import (
    Classes,
    Colormap,
    CompileDevice,
    CompilePrecision,
    Device,
    Force,
    InputSize,
    Interpolation,
    LayerName,
    Mean,
    Method,
    ModelArgument,
    Resize,
    RunPrecision,
    Runtime,
    Scale,
    Shorter,
    Std,
    TargetKind,
    To,
    Trust,
    Weights,
    model_options,
    target_of_model,
)
from .bench.command import bench
from .console import complain, print_out, status
from .engine.contract.errors import SaccadeError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .engine.contract import ModelOptions, Spec

app = typer.Typer(
    name="saccade",
    help="Shows what a convolutional network looks at, over large sets of photos, and says when it looks at the wrong "
    "thing.\n\nFirst steps: [bold]saccade demo[/bold], then [bold]saccade layers torchvision/resnet18[/bold], "
    "[bold]saccade compile torchvision/resnet18 -o resnet18.onnx[/bold] and "
    "[bold]saccade run resnet18.onnx PHOTOS -o OUT[/bold].",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)

NOTHING_DONE, USAGE, SOME_FAILED, STOPPED = 1, 2, 3, 130


@app.command()
def layers(
    model: ModelArgument,
    weights: Weights = "random",
    input_size: InputSize = None,
    resize: Resize = None,
    shorter: Shorter = None,
    interpolation: Interpolation = None,
    mean: Mean = None,
    std: Std = None,
) -> None:
    """List a model's layers in the order in which data runs through them, with their output shapes.

    A module that is used twice is listed twice, the second time as NAME@2. Modules that do nothing while predicting
    (dropout, identity) are left out.
    """
    from .engine.compiler import load_model
    from .listing import layer_table

    found = load_model(model, weights, model_options(input_size, resize, shorter, interpolation, mean, std, None))
    print_out(layer_table(found.network))


@app.command()
def compile(
    model: ModelArgument,
    out: Annotated[Path, typer.Option("--out", "-o", help="The program file to write.", show_default=False)],
    method: Method = None,
    layer: LayerName = None,
    target: TargetKind = None,
    to: To = "onnx",
    precision: CompilePrecision = "float32",
    device: CompileDevice = "cpu",
    force: Force = False,
    calibrate: Annotated[
        Path | None,
        typer.Option(
            help="A folder of photos: their maps' range goes into the program, for --scale calibrated.",
            rich_help_panel="The explanation",
        ),
    ] = None,
    weights: Weights = "pretrained",
    input_size: InputSize = None,
    resize: Resize = None,
    shorter: Shorter = None,
    interpolation: Interpolation = None,
    mean: Mean = None,
    std: Std = None,
    classes: Classes = None,
) -> None:
    """Compile a model and an explanation into one program file.

    The file takes uint8 photos and gives logits and maps; hooks and backward pass have become ordinary operators. It
    is proven before it is kept: in float64 against autograd, and in its own runtime.
    """
    from .engine import decode, pipeline
    from .engine.compiler import SUFFIX, load_model
    from .listing import proof_lines

    if out.suffix != SUFFIX[to]:
        raise UsageError(f"compile: --out {out}: expected a name that ends in {SUFFIX[to]}, or another --to")
    options = model_options(input_size, resize, shorter, interpolation, mean, std, classes)
    photos = decode.list_photos([str(calibrate)]) if calibrate else None
    with status(f"compiling {model}"):
        spec = pipeline.compile_program(
            load_model(model, weights, options),
            method or ["grad-cam"],
            out,
            to,
            layer,
            target,
            photos,
            precision,
            device,
            force,
        )
    print_out(proof_lines(spec, out))


@app.command()
def methods() -> None:
    """List the methods: what each shows, and where."""
    from .engine.compiler import METHODS
    from .listing import method_table

    print_out(method_table(METHODS))


@app.command()
def run(
    program: Annotated[
        str,
        typer.Argument(
            help="A program file that saccade compile made, or a MODEL, which is compiled first and kept.",
            metavar="PROGRAM",
            show_default=False,
        ),
    ],
    photos: Annotated[
        list[str], typer.Argument(help="Folders, files, or patterns such as 'day1/*.jpg'.", show_default=False)
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder for the results.", show_default=False)],
    target: Annotated[
        str,
        typer.Option(
            help="What to explain: a class's name or index, or predicted; of a regression outputs, 0=1,3=-0.5; of an "
            "inner layer a channel, or channel,row,column; of a MODEL also its kind: top-5, outputs (all of them).",
            rich_help_panel="What to ask",
        ),
    ] = "predicted",
    labels: Annotated[
        Path | None,
        typer.Option(
            help="A CSV with the columns path,label. Without it, sub-folders are the labels.",
            rich_help_panel="What to ask",
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace the run that is in OUT.")] = False,
    overlays: Annotated[
        bool, typer.Option("--overlays", help="Also write a picture for each photo.", rich_help_panel="Pictures")
    ] = False,
    colormap: Colormap = "viridis",
    scale: Scale = "image",
    keep: Annotated[
        Literal["small", "full"],
        typer.Option(
            help="What the evidence stores: small maps and statistics, or everything at full size.",
            rich_help_panel="Pictures",
        ),
    ] = "small",
    batch_size: Annotated[int, typer.Option(min=1, max=4096, help="Photos at a time.", rich_help_panel="Speed")] = 16,
    device: Device = "auto",
    runtime: Runtime = "auto",
    precision: RunPrecision = None,
    force: Force = False,
    trust: Trust = False,
    decode: Annotated[
        Literal["fast", "exact"],
        typer.Option(
            help="fast reads large JPEGs at a reduced scale; exact gives the very pixels of the model's own library.",
            rich_help_panel="Speed",
        ),
    ] = "fast",
    method: Method = None,
    layer: LayerName = None,
    weights: Weights = "pretrained",
    input_size: InputSize = None,
    resize: Resize = None,
    shorter: Shorter = None,
    interpolation: Interpolation = None,
    mean: Mean = None,
    std: Std = None,
    classes: Classes = None,
) -> None:
    """Run a program over photos and show where the network looks.

    OUT gets sheet.jpg (photos, maps and predictions side by side) and evidence/*.parquet (a row for each photo: its
    prediction, its map, where the evidence lies). A photo that cannot be read becomes a row with its error.

    Exit code: 0 all photos done, 1 nothing done, 2 wrong usage, 3 some photos failed.
    """
    from .cache import folder as cache_folder
    from .engine import decode as decoding
    from .engine import pipeline
    from .engine.contract.program_file import read_contract
    from .listing import Progress, make_room

    described = model_options(input_size, resize, shorter, interpolation, mean, std, classes)
    listed = decoding.list_photos(photos, str(labels) if labels else None)
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
    )
    pipeline.check_options(spec, options)  # before anything is measured, and an older run is removed
    choices = cache_folder() / "runtimes"
    runner, said = pipeline.open_program(
        path, contract, listed, batch_size, options.target, device, runtime, precision, trust or ours, force, choices
    )
    runner.spec = spec
    if said:
        print_out(said)
    make_room(out, overwrite)
    with Progress(len(listed)) as progress:
        result = pipeline.run(runner, listed, out, options, progress)
    progress.finish(result, out)
    if result.failed:
        raise typer.Exit(NOTHING_DONE if result.failed == result.photos else SOME_FAILED)


@app.command()
def sheet(
    folder: Annotated[Path, typer.Argument(help="The folder of a run.", metavar="RUN", show_default=False)],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="The picture to write (.jpg, .png).", show_default="RUN/sheet.jpg"),
    ] = None,
    where: Annotated[
        str | None,
        typer.Option(help="Which photos, in SQL: \"prediction = 'cat' and border_mass > 0.5\"", show_default="all"),
    ] = None,
    order_by: Annotated[
        str | None, typer.Option(help='In which order, in SQL: "confidence desc"', show_default="as they were run")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=2000, help="At most so many photos.")] = 48,
    colormap: Colormap = "viridis",
    scale: Scale = "image",
) -> None:
    """Make a contact sheet from a finished run, filtered and sorted, without running the network again."""
    from .engine import pipeline

    target = out or folder / "sheet.jpg"
    count = pipeline.sheet(folder, target, where, order_by, limit, pipeline.Look(colormap, scale))
    print_out(f"{target}  ({count} photos)")


@app.command()
def weights(
    model: ModelArgument,
    layer: Annotated[str, typer.Option("--layer", help="A convolution (see saccade layers).", show_default=False)],
    out: Annotated[Path, typer.Option("--out", "-o", help="The picture to write.", show_default=False)],
    channel: Annotated[
        int | None, typer.Option(min=0, help="The input channel to draw.", show_default="RGB in colour, else the first")
    ] = None,
    weights: Weights = "pretrained",
    input_size: InputSize = None,
) -> None:
    """Draw a convolution's true filters, each to its own scale, zero in middle grey."""
    from .engine import render, sinks
    from .engine.compiler import load_model

    found = load_model(model, weights, model_options(input_size, None, None, None, None, None, None))
    filters = found.network.filters(layer).float().numpy()
    sinks.write_picture(out, render.filter_mosaic(filters, channel))
    print_out(f"{out}  ({len(filters)} filters {'×'.join(map(str, filters.shape[1:]))})")


@app.command()
def dream(
    model: ModelArgument,
    out: Annotated[Path, typer.Option("--out", "-o", help="The picture to write.", show_default=False)],
    photo: Annotated[
        Path | None, typer.Option(help="The photo to change.", show_default="noise: what alone excites it")
    ] = None,
    target: Annotated[
        str, typer.Option(help="A class's name or index; with --layer one of its channels.")
    ] = "predicted",
    layer: Annotated[str | None, typer.Option("--layer", help="Excite a channel of this layer.")] = None,
    steps: Annotated[int, typer.Option(min=1, help="Steps in each octave.")] = 20,
    octaves: Annotated[int, typer.Option(min=1, max=20, help="Sizes that the picture goes through.")] = 4,
    jitter: Annotated[
        int | None, typer.Option(min=0, help="Largest shift in pixels.", show_default="half a tile")
    ] = None,
    device: Device = "auto",
    weights: Weights = "pretrained",
    input_size: InputSize = None,
) -> None:
    """Deep dream: change a photo, or noise, so that a class or a channel sees more of itself in it."""
    from . import cache
    from .engine import ascent, decode, execute, sinks
    from .listing import Steps

    described = model_options(input_size, None, None, None, None, None, None)
    kind = None if layer is None else f"unit:{layer}"
    with status(f"compiling {model}"):
        path, _ = cache.compiled(model, weights, described, ["ascent"], "onnx", None, kind)
    runner = execute.load(path, device)
    goal = None if target == "predicted" else runner.spec.read_target(target)
    execute.program_inputs(runner.spec, 1, goal)
    picture = ascent.noise(runner.spec) if photo is None else decode.read_upright(str(photo))
    if runner.spec.preprocessing.channels == 1 and photo is not None:
        raise UsageError(f"dream: {model} reads grey pictures; dream of it from noise, without --photo")
    how = ascent.Ascent(steps=steps, octaves=octaves, jitter=jitter)
    with Steps() as progress:
        made = ascent.ascend(runner, picture, goal, how, progress)
    sinks.write_picture(out, made.repeat(3, axis=2) if made.shape[2] == 1 else made)
    print_out(str(out))


app.command()(bench)


@app.command()
def doctor() -> None:
    """Say what this machine has, what is missing, and the command that adds it."""
    from .doctor import examine
    from .listing import findings_table

    findings = examine()
    print_out(findings_table(findings))
    if not all(f.good for f in findings):
        raise typer.Exit(NOTHING_DONE)


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder for the results.")] = Path("demo-out"),
) -> None:
    """Tanks in the woods, and a network that learnt the weather: the whole job on drawn scenes, offline."""
    from .demo.show import show

    show(out, print_out)


def main() -> NoReturn:
    """The entry point: an error that a person may see is one line on stderr and an exit code."""
    try:
        app()
    except SaccadeError as error:
        complain(str(error))
        sys.exit(USAGE if isinstance(error, UsageError) else NOTHING_DONE)
    except (KeyboardInterrupt, SystemExit) as left:  # typer makes an exit code of Ctrl-C
        if isinstance(left, SystemExit) and left.code != STOPPED:
            raise
        complain("stopped; what was finished is kept")
        sys.exit(STOPPED)
    sys.exit(0)


# ---- from words to values -----------------------------------------------------------------------------------------


def _program(
    program: str,
    runtime: str,
    weights: str,
    options: ModelOptions,
    method: list[str] | None,
    layer: str | None,
    target: str,
) -> tuple[Path, str, bool]:
    """The program's file, what it shall explain, and whether we compiled it ourselves."""
    from .engine.contract.program_file import is_program

    if Path(program).suffix in (".onnx", ".ts") or is_program(program):
        given = {"method": method, "layer": layer, "weights": weights if weights != "pretrained" else None}
        given |= {f.name: getattr(options, f.name) for f in fields(options) if f.name != "classes"}
        if extra := [name for name, value in given.items() if value is not None]:
            option = extra[0].replace("_", "-")
            raise UsageError(f"run: {program} is compiled already; --{option} goes with a MODEL")
        return Path(program), target, False
    from . import cache

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
