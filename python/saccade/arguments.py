"""The command line's arguments and options that several commands share, and what their words mean."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from .engine.contract.errors import UsageError

if TYPE_CHECKING:
    from .engine.contract import ModelOptions

_MODEL = "The model"
ModelArgument = Annotated[
    str,
    typer.Argument(
        help="torchvision/NAME, timm/NAME, a .pt2 exported program, or package.module:function that returns an "
        "nn.Module.",
        metavar="MODEL",
        show_default=False,
    ),
]
Weights = Annotated[
    str,
    typer.Option(
        help="pretrained (the library's own download), random (seeded), or a state dict: .safetensors, .pth.",
        rich_help_panel=_MODEL,
    ),
]
InputSize = Annotated[
    str | None,
    typer.Option(help="The network's input in pixels, 224 or 200x320 (height x width).", rich_help_panel=_MODEL),
]
Resize = Annotated[
    Literal["crop", "stretch"] | None,
    typer.Option(
        help="crop: scale the shorter side and cut out the centre; stretch: scale to the input size.",
        rich_help_panel=_MODEL,
    ),
]
Shorter = Annotated[
    int | None,
    typer.Option(min=1, help="Length of the shorter side before the crop, in pixels.", rich_help_panel=_MODEL),
]
Interpolation = Annotated[
    Literal["bilinear", "bicubic"] | None, typer.Option(help="How photos are scaled.", rich_help_panel=_MODEL)
]
Mean = Annotated[
    str | None,
    typer.Option(help="Subtracted from pixels in 0..1, for each channel: 0.485,0.456,0.406", rich_help_panel=_MODEL),
]
Std = Annotated[str | None, typer.Option(help="Divided by after that: 0.229,0.224,0.225", rich_help_panel=_MODEL)]
Classes = Annotated[
    Path | None, typer.Option(help="A text file with a class name on each line.", rich_help_panel=_MODEL)
]
Method = Annotated[
    list[str] | None,
    typer.Option(
        "--method",
        "-m",
        help="grad-cam (which regions speak for the class), saliency (which pixels change the score), activations "
        "(what a layer gives), or another of saccade methods. May be repeated: they share one forward pass.",
        show_default="grad-cam",
        rich_help_panel="The explanation",
    ),
]
LayerName = Annotated[
    str | None,
    typer.Option(
        "--layer",
        help="The layer to look at (see saccade layers); by default the last block before pooling.",
        rich_help_panel="The explanation",
    ),
]
TargetKind = Annotated[
    str | None,
    typer.Option(
        "--target",
        help="What is explained: class (which one, is said when it runs), top-5 (the five likeliest at once), region "
        "(of a segmentation), outputs (of a regression) or unit:LAYER (a channel or unit of an inner layer).",
        show_default="class, or region of a segmentation",
        rich_help_panel="The explanation",
    ),
]
To = Annotated[
    Literal["onnx", "torchscript", "aotinductor"],
    typer.Option(
        help="What the program is for: onnx (.onnx: ONNX Runtime, OpenVINO, browsers), torchscript (.ts: torch), "
        "aotinductor (.pt2: torch, native code for this kind of machine).",
        rich_help_panel="Speed",
    ),
]
CompilePrecision = Annotated[
    Literal["float32", "float16", "bfloat16"],
    typer.Option(
        help="What convolutions and matrix products work in. What the narrower ones change in maps and predictions is "
        "measured, shown, and refused where it is too much.",
        rich_help_panel="Speed",
    ),
]
CompileDevice = Annotated[
    Literal["cpu", "cuda"],
    typer.Option(help="Where the program is proven, and what aotinductor compiles for.", rich_help_panel="Speed"),
]
RunPrecision = Annotated[
    Literal["float32", "float16", "bfloat16"] | None,
    typer.Option(
        help="Run a float32 program in OpenVINO with less precision, where the CPU has it; what that changes on these "
        "photos is measured first.",
        show_default="the program's own",
        rich_help_panel="Speed",
    ),
]
Force = Annotated[
    bool,
    typer.Option("--force", help="Take less precision even if it changes too much.", rich_help_panel="Speed"),
]
Trust = Annotated[
    bool,
    typer.Option(
        "--trust",
        help="Run a .pt2 program: it is native code and can do whatever you can.",
        rich_help_panel="Speed",
    ),
]
Colormap = Annotated[
    Literal["viridis", "turbo", "inferno", "gray", "jet"],
    typer.Option(help="Colours of the maps.", rich_help_panel="Pictures"),
]
Scale = Annotated[
    Literal["image", "batch", "calibrated"],
    typer.Option(
        help="What the brightest colour stands for: each map's own maximum, the batch's, or the fixed range that "
        "compile --calibrate wrote into the program.",
        rich_help_panel="Pictures",
    ),
]
Device = Annotated[
    Literal["auto", "cpu", "cuda"], typer.Option(help="Where the program runs.", rich_help_panel="Speed")
]
Runtime = Annotated[
    Literal["auto", "onnxruntime", "openvino", "torchscript", "aotinductor"],
    typer.Option(
        help="What runs it: a .onnx program ONNX Runtime or OpenVINO, the others torch. auto: the fastest that is "
        "installed, tried out where there are many photos and remembered.",
        rich_help_panel="Speed",
    ),
]


def model_options(
    input_size: str | None,
    resize: Literal["crop", "stretch"] | None,
    shorter: int | None,
    interpolation: Literal["bilinear", "bicubic"] | None,
    mean: str | None,
    std: str | None,
    classes: Path | None,
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
