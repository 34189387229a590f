"""The command line's arguments and options that several commands share, and what their words mean."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from .engine.contract.errors import UsageError
from .help import option, together

if TYPE_CHECKING:
    from .engine.contract import ModelOptions

MODEL, EXPLANATION, ASK, PICTURES, SPEED = "The model", "The explanation", "What to ask", "Pictures", "Speed"

# ---- the model ----------------------------------------------------------------------------------------------------

model = click.argument(
    "model",
    metavar="MODEL",
    help="torchvision/NAME, timm/NAME, package.module:function that returns an nn.Module, or a file: an .onnx network, "
    "a TorchScript .pt or a .pt2 exported program.",
)
input_size = option(
    "--input-size", section=MODEL, help="The network's input in pixels, 224 or 200x320 (height x width)."
)
preparation = together(
    option(
        "--resize",
        type=click.Choice(["crop", "stretch"]),
        section=MODEL,
        help="crop: scale the shorter side and cut out the centre; stretch: scale to the input size.",
    ),
    option(
        "--shorter",
        type=click.IntRange(min=1),
        section=MODEL,
        help="Length of the shorter side before the crop, in pixels.",
    ),
    option(
        "--interpolation",
        type=click.Choice(["bilinear", "bicubic"]),
        section=MODEL,
        help="How photos are scaled.",
    ),
    option("--mean", section=MODEL, help="Subtracted from pixels in 0..1, for each channel: 0.485,0.456,0.406"),
    option("--std", section=MODEL, help="Divided by after that: 0.229,0.224,0.225"),
)
classes = option("--classes", type=Path, section=MODEL, help="A text file with a class name on each line.")


def loaded(weights: str) -> Any:
    """How a model is loaded: its weights, which default to `weights`, and its input's size."""
    return together(
        option(
            "--weights",
            default=weights,
            section=MODEL,
            help="pretrained (the library's own download), random (seeded), or a state dict: .safetensors, .pth. A "
            "file has its own.",
        ),
        input_size,
    )


# ---- the photos -----------------------------------------------------------------------------------------------------

photos = click.argument(
    "photos",
    nargs=-1,
    required=True,
    metavar="PHOTOS...",
    help="Folders, files, patterns such as 'day1/*.jpg', lists (.csv, .parquet), tars, data sets and URLs.",
)

# ---- the explanation ----------------------------------------------------------------------------------------------

method = option(
    "--method",
    "-m",
    multiple=True,
    section=EXPLANATION,
    show_default="grad-cam",
    help="grad-cam (which regions speak for the class), saliency (which pixels change the score), activations (what a "
    "layer gives), or another of saccade methods. May be repeated: they share one forward pass.",
)
explained = together(
    method,
    option(
        "--layer",
        section=EXPLANATION,
        help="The layer to look at (see saccade layers); by default the last block before pooling.",
    ),
)

# ---- pictures -----------------------------------------------------------------------------------------------------

look = together(
    option(
        "--colormap",
        type=click.Choice(["viridis", "turbo", "inferno", "gray", "jet"]),
        default="viridis",
        section=PICTURES,
        help="Colours of the maps.",
    ),
    option(
        "--scale",
        type=click.Choice(["image", "batch", "calibrated"]),
        default="image",
        section=PICTURES,
        help="What the brightest colour stands for: each map's own maximum, the batch's, or the fixed range that "
        "compile --calibrate wrote into the program.",
    ),
)

# ---- where and how fast -------------------------------------------------------------------------------------------

device = option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    section=SPEED,
    help="Where the program runs.",
)
force = option("--force", is_flag=True, section=SPEED, help="Take less precision even if it changes too much.")


def out(help: str, **how: Any) -> Any:
    """Where the command writes to; required, unless `how` says otherwise."""
    return option("--out", "-o", type=Path, help=help, **{"required": True, **how})


# ---- from words to values -----------------------------------------------------------------------------------------


def model_options(
    input_size: str | None = None,
    resize: Literal["crop", "stretch"] | None = None,
    shorter: int | None = None,
    interpolation: Literal["bilinear", "bicubic"] | None = None,
    mean: str | None = None,
    std: str | None = None,
    classes: Path | None = None,
) -> ModelOptions:
    """What the options above say of a model.

    Raises:
        UsageError: a word that is none of theirs.
    """
    from .engine.contract import ModelOptions

    size = None
    if input_size is not None:
        parts = input_size.lower().split("x")
        if len(parts) > 2 or not all(p.isdecimal() and 0 < int(p) <= 16384 for p in parts):
            raise UsageError(f"--input-size {input_size!r}: expected 224, or height x width as 200x320")
        size = (int(parts[0]), int(parts[-1]))
    names: tuple[str, ...] | None = None
    if classes is not None:
        try:
            names = tuple(
                line.strip() for line in classes.read_text(encoding="utf-8-sig").removesuffix("\n").split("\n")
            )
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            raise UsageError(f"--classes {classes}: cannot read it as text: {reason}") from None
    means, stds = _numbers("--mean", mean), _numbers("--std", std)
    return ModelOptions(size, resize, shorter, interpolation, means, stds, names)


def _numbers(option: str, text: str | None) -> tuple[float, ...] | None:
    if text is None:
        return None
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"{option} {text!r}: expected numbers with commas, one for each channel") from None


def target_of_model(text: str) -> tuple[str | None, str]:
    """What `saccade run MODEL --target` says: the kind of target to compile (None: the one that fits the network), and
    what to explain in the words of `Spec.read_target`.
    """
    if text.startswith("unit:"):
        raise UsageError(f"run: --target {text}: compile MODEL with it first; --target is then a channel of the layer")
    if text in ("class", "region", "outputs") or (text.startswith("top-") and text[4:].isdecimal()):
        return text, "predicted"
    return ("outputs" if "=" in text else None), text


# ---- where the objects are ----------------------------------------------------------------------------------------

objects = together(
    option(
        "--masks", help="Where the objects are: a folder of masks, NAME.png for each photo, or 'FOLDER/*_mask.png'."
    ),
    option("--boxes", type=Path, help="The same as boxes: a CSV or a COCO file."),
)
