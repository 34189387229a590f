"""The command line. What a command needs is imported inside it, so that `saccade --help` answers at once."""

from __future__ import annotations

import atexit
import gc
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn

import click

from . import arguments
from .arguments import EXPLANATION, SPEED, model_options
from .asking import export, query, sheet, status_
from .audit.command import audit
from .bench.command import bench
from .check.command import check
from .console import NOTHING_DONE, STOPPED, USAGE, complain, print_out, status
from .engine.contract.errors import SaccadeError, UsageError
from .help import Group, option
from .runs import run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .engine.contract.program_file import Format
    from .engine.contract.spec import Precision


_HELP = """Shows what a convolutional network looks at, over large sets of photos, and says when it looks at the wrong
thing.

\b
First steps:
  saccade demo
  saccade layers  torchvision/resnet18
  saccade compile torchvision/resnet18 -o resnet18.onnx
  saccade run     resnet18.onnx PHOTOS -o OUT
  saccade audit   OUT
"""


@click.group(cls=Group, help=_HELP, context_settings={"show_default": True, "max_content_width": 110})
def app() -> None:
    pass


@app.command()
@arguments.model
@arguments.loaded("random")
@arguments.preparation
def layers(model: str, weights: str, **described: Any) -> None:
    """List a model's layers in the order in which data runs through them, with their output shapes.

    A module that is used twice is listed twice, the second time as NAME@2. Modules that do nothing while predicting
    (dropout, identity) are left out.
    """
    from .engine.compiler import load_model
    from .listing import layer_table

    found = load_model(model, weights, model_options(**described))
    print_out(layer_table(found.network))


@app.command()
@arguments.model
@arguments.out("The program file to write.")
@arguments.explained
@option(
    "--target",
    section=EXPLANATION,
    show_default="class, or region of a segmentation",
    help="What is explained: class (which one, is said when it runs), top-5 (the five likeliest at once), region (of a "
    "segmentation), outputs (of a regression) or unit:LAYER (a channel or unit of an inner layer).",
)
@option(
    "--calibrate",
    type=Path,
    section=EXPLANATION,
    help="A folder of photos: their maps' range goes into the program, for --scale calibrated.",
)
@option(
    "--to",
    type=click.Choice(["onnx", "torchscript", "aotinductor"]),
    default="onnx",
    section=SPEED,
    help="What the program is for: onnx (.onnx: ONNX Runtime, OpenVINO, browsers), torchscript (.ts: torch), "
    "aotinductor (.pt2: torch, native code for this kind of machine).",
)
@option(
    "--precision",
    type=click.Choice(["float32", "float16", "bfloat16"]),
    default="float32",
    section=SPEED,
    help="What convolutions and matrix products work in. What the narrower ones change in maps and predictions is "
    "measured, shown, and refused where it is too much.",
)
@option(
    "--device",
    type=click.Choice(["cpu", "cuda"]),
    default="cpu",
    section=SPEED,
    help="Where the program is proven and fastest; aotinductor's run nowhere else.",
)
@arguments.force
@arguments.loaded("pretrained")
@arguments.preparation
@arguments.classes
def compile(
    model: str,
    out: Path,
    method: Sequence[str],
    layer: str | None,
    target: str | None,
    calibrate: Path | None,
    to: Format,
    precision: Precision,
    device: Literal["cpu", "cuda"],
    force: bool,
    weights: str,
    **described: Any,
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
    options = model_options(**described)
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


app.add_command(run)
app.add_command(status_)
app.add_command(query)
app.add_command(sheet)
app.add_command(export)
app.add_command(audit)
app.add_command(check)


@app.command()
@arguments.model
@option("--layer", required=True, help="A convolution (see saccade layers).")
@arguments.out("The picture to write.")
@option(
    "--channel",
    type=click.IntRange(min=0),
    show_default="RGB in colour, else the first",
    help="The input channel to draw.",
)
@arguments.loaded("pretrained")
def weights(model: str, layer: str, out: Path, channel: int | None, weights: str, input_size: str | None) -> None:
    """Draw a convolution's true filters, each to its own scale, zero in middle grey."""
    from .engine import render, sinks
    from .engine.compiler import load_model

    found = load_model(model, weights, model_options(input_size))
    filters = found.network.filters(layer).float().numpy()
    sinks.write_picture(out, render.filter_mosaic(filters, channel))
    print_out(f"{out}  ({len(filters)} filters {'×'.join(map(str, filters.shape[1:]))})")


@app.command()
@arguments.model
@arguments.out("The picture to write.")
@option("--photo", type=Path, show_default="noise: what alone excites it", help="The photo to change.")
@option("--target", default="predicted", help="A class's name or index; with --layer one of its channels.")
@option("--layer", help="Excite a channel of this layer.")
@option("--steps", type=click.IntRange(min=1), default=20, help="Steps in each octave.")
@option("--octaves", type=click.IntRange(1, 20), default=4, help="Sizes that the picture goes through.")
@option("--jitter", type=click.IntRange(min=0), show_default="half a tile", help="Largest shift in pixels.")
@arguments.device
@arguments.loaded("pretrained")
def dream(
    model: str,
    out: Path,
    photo: Path | None,
    target: str,
    layer: str | None,
    steps: int,
    octaves: int,
    jitter: int | None,
    device: Literal["auto", "cpu", "cuda"],
    weights: str,
    input_size: str | None,
) -> None:
    """Deep dream: change a photo, or noise, so that a class or a channel sees more of itself in it."""
    from . import cache
    from .engine import ascent, decode, execute, sinks
    from .listing import Steps

    described = model_options(input_size)
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


app.add_command(bench)


@app.command()
def doctor() -> None:
    """Say what this machine has, what is missing, and the command that adds it."""
    from .doctor import examine
    from .listing import findings_table

    findings = examine()
    print_out(findings_table(findings))
    if not all(f.good for f in findings):
        sys.exit(NOTHING_DONE)


@app.command()
@arguments.out("The folder for the results.", required=False, default=Path("demo-out"))
def demo(out: Path) -> None:
    """Tanks in the woods, and a network that learnt the weather: the whole job on drawn scenes, offline."""
    from .demo.show import show

    show(out, print_out)


def main() -> NoReturn:
    """The entry point: an error that a person may see is one line on stderr and an exit code."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what a scheduler sends: as Ctrl-C
    atexit.register(gc.freeze)  # or the interpreter ends with a search for cycles in all that was imported: 25 ms
    try:
        # Not app(), which has its own way with Ctrl-C and ends with a usage text where one line will do.
        with app.make_context("saccade", sys.argv[1:]) as context:
            app.invoke(context)
    except click.exceptions.Exit as left:  # --help
        sys.exit(left.exit_code)
    except click.exceptions.NoArgsIsHelpError as asked:
        asked.show()
        sys.exit(USAGE)
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "saccade"
        complain(f"{error.format_message()} See {command} --help")
        sys.exit(USAGE)
    except SaccadeError as error:
        complain(str(error))
        sys.exit(USAGE if isinstance(error, UsageError) else NOTHING_DONE)
    except KeyboardInterrupt:
        complain("stopped; what was finished is kept")
        sys.exit(STOPPED)
    except BrokenPipeError:  # who read along has left; what is still in the buffer must not be tried again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(NOTHING_DONE)
    sys.exit(0)
