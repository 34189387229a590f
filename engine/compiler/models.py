"""MODEL, as a person names it, to a network with its preprocessing and classes."""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import math
import os
import pickle
import sys
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..contract import ModelOptions, Preprocessing, SaccadeError, UsageError
from ..contract.spec import Interpolation
from .exported import load_exported
from .importers import ENDINGS, load_onnx, load_torchscript
from .network import Network, import_module

_SEED = 0  # of `--weights random`: the same network every time


@dataclass(frozen=True)
class Model:
    """A network ready to be compiled."""

    network: Network
    preprocessing: Preprocessing
    classes: tuple[str, ...] | None


def load_model(model: str, weights: str = "pretrained", options: ModelOptions | None = None) -> Model:
    """Find and load a model.

    Args:
        model: `torchvision/NAME`, `timm/NAME`, `package.module:function`, or a file: a `.pt2` exported program, an
            `.onnx` network or a TorchScript `.pt`.
        weights: "pretrained" (the library's own download), "random" (seeded), or a state dict's file
            (`.safetensors`, or `.pth`/`.pt` loaded with weights_only); a file of a network has its own.
        options: overrides of the input's description.

    Raises:
        UsageError: no such model, a state dict that does not fit, or an input that is not described.
        SaccadeError: the pretrained weights could not be fetched.
    """
    options = options or ModelOptions()
    library, _, name = model.partition("/")
    if library == "torchvision" and name:
        return _torchvision(name, weights, options)
    if library == "timm" and name:
        return _timm(name, weights, options)
    if model.endswith((*ENDINGS, ".pt2")):
        if weights not in ("pretrained", "random"):
            raise UsageError(f"model {model}: it has weights of its own; leave --weights {weights} out")
        return _of_file(Path(model), options)
    if ":" in model:
        return _function(model, weights, options)
    raise UsageError(
        f"model {model!r}: expected torchvision/NAME, timm/NAME, package.module:function, or a file: .onnx, a "
        "TorchScript .pt or an exported .pt2"
    )


def wrap_module(module: nn.Module, name: str, options: ModelOptions) -> Model:
    """An nn.Module from Python, its input described by `options` (`input_size` is needed).

    Raises:
        UsageError: the input size is missing, or the module cannot be captured.
    """
    if options.input_size is None:
        raise UsageError(f"compile: {name} does not say how large its input is; give it with --input-size, e.g. 224")
    first = next((m for m in module.modules() if isinstance(m, nn.Conv2d)), None)
    channels = first.in_channels if first is not None else 3
    square = options.input_size[0] == options.input_size[1]
    base = Preprocessing(
        *options.input_size,
        channels=channels,
        resize="crop" if square else "stretch",
        shorter=options.input_size[0] if square else None,
        mean=(0.0,) * channels,
        std=(1.0,) * channels,
    )
    return _finish(module, name, base, options, None)


# ---- the libraries ------------------------------------------------------------------------------------------------


def _torchvision(name: str, weights: str, options: ModelOptions) -> Model:
    import torchvision

    known = torchvision.models.list_models(module=torchvision.models)
    if name not in known:
        raise _unknown("torchvision", name, known, torchvision.models.list_models())
    default: Any = torchvision.models.get_model_weights(name)["DEFAULT"]
    preset = default.transforms()
    crop, mean, std = preset.crop_size[0], preset.mean, preset.std
    base = Preprocessing(
        crop,
        crop,
        resize="crop",
        shorter=preset.resize_size[0],
        interpolation=_interpolation(preset.interpolation.value),
        mean=tuple(mean),
        std=tuple(std),
    )

    def build(pretrained: bool, **more: Any) -> nn.Module:
        if name in ("googlenet", "inception_v3") and not pretrained:
            more["init_weights"] = False  # scipy's slow truncated normal; the library's own default is the same
        return torchvision.models.get_model(name, weights=default if pretrained else None, **more)

    module = _build(f"torchvision/{name}", build, weights)
    return _finish(module, f"torchvision/{name}", base, options, _imagenet_classes())


def _timm(name: str, weights: str, options: ModelOptions) -> Model:
    import timm
    import timm.data

    if not timm.is_model(name.partition(".")[0]):
        raise _unknown("timm", name, timm.list_models(), [])
    module = _build(f"timm/{name}", lambda pretrained, **more: timm.create_model(name, pretrained, **more), weights)
    config = timm.data.resolve_model_data_config(module)
    channels, height, width = config["input_size"]
    squash = config["crop_mode"] == "squash"
    base = Preprocessing(
        height,
        width,
        channels=channels,
        resize="stretch" if squash else "crop",
        shorter=None if squash else math.floor(min(height, width) / config["crop_pct"]),
        interpolation=_interpolation(config["interpolation"]),
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
    )
    return _finish(module, f"timm/{name}", base, options, _imagenet_classes())


def _of_file(path: Path, options: ModelOptions) -> Model:
    if path.suffix == ".pt2":
        network = Network(path.stem, load_exported(path), None)
    else:
        network = (load_onnx if path.suffix == ".onnx" else load_torchscript)(path, options.input_size)
    channels, height, width = network.input_shape
    base = Preprocessing(
        height,
        width,
        channels=channels,
        resize="crop" if height == width else "stretch",
        shorter=height if height == width else None,
        mean=(0.0,) * channels,
        std=(1.0,) * channels,
    )
    if options.input_size not in (None, (height, width)):
        raise UsageError(f"model {path}: it was exported for {height}x{width}; --input-size cannot change that")
    return _describe(network, base, options, None)


def _function(model: str, weights: str, options: ModelOptions) -> Model:
    place, _, attribute = model.partition(":")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())  # as `python -m` does
    try:
        found = importlib.import_module(place)
    except ModuleNotFoundError as error:
        raise UsageError(
            f"model {model!r}: there is no module {error.name!r} here or among the installed ones"
        ) from None
    except Exception as error:
        raise UsageError(f"model {model!r}: importing {place!r} fails ({_line(error)})") from error
    function = getattr(found, attribute, None)
    if not callable(function):
        raise UsageError(f"model {model!r}: {place} has no function {attribute!r} that returns an nn.Module")
    try:
        module = function()
    except Exception as error:
        raise UsageError(f"model {model!r}: {attribute}() fails ({_line(error)})") from error
    if not isinstance(module, nn.Module):
        raise UsageError(f"model {model!r}: expected an nn.Module, {attribute}() gave a {type(module).__name__}")
    if weights not in ("pretrained", "random"):
        load_state(module, read_state(weights), model)
    return wrap_module(module, model, options)


# ---- weights ------------------------------------------------------------------------------------------------------


def _build(name: str, build: Any, weights: str) -> nn.Module:
    if weights == "pretrained":
        try:
            return build(True)
        except Exception as error:
            raise SaccadeError(
                f"model {name}: its pretrained weights could not be had ({_line(error)}); "
                "connect once, or use --weights FILE or --weights random"
            ) from None
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(_SEED)
        module = build(False)
        if weights == "random":
            # Where a head begins at zero (torchvision's ViT), no gradient would pass.
            for value in module.parameters():
                if value.dim() > 1 and not value.any():
                    nn.init.normal_(value, std=0.02)
            return module
        state = read_state(weights)
        if (classes := _other_classes(module, state)) is not None:
            module = build(False, num_classes=classes)
    load_state(module, state, name)
    return module


def _other_classes(module: nn.Module, state: Mapping[str, Tensor]) -> int | None:
    """The number of classes of a fine-tuned state dict, where only the last layer's size differs."""
    own = module.state_dict()
    different = [k for k, v in own.items() if k in state and state[k].shape != v.shape]
    counts = {state[k].shape[:1] for k in different}
    same_rest = all(state[k].shape[1:] == own[k].shape[1:] for k in different)
    heads = {own[k].shape[:1] for k in different}
    return int(next(iter(counts))[0]) if same_rest and len(counts) == len(heads) == 1 and next(iter(counts)) else None


def read_state(file: str) -> dict[str, Tensor]:
    """A state dict from `.safetensors`, or from a pickle read with weights_only, which runs no code of its author.

    Raises:
        UsageError: no such file, or not a state dict.
    """
    path = Path(file)
    if not path.is_file():
        raise UsageError(f"weights {file}: there is no such file; expected pretrained, random, .safetensors or .pth")
    try:
        if path.suffix == ".safetensors":
            import safetensors.torch

            return safetensors.torch.load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:  # torch's own message says how to load it all the same
        raise UsageError(
            f"weights {file}: it holds more than tensors, or is damaged, and cannot be read safely; "
            "save the module's state_dict() as .safetensors or .pth"
        ) from None
    except Exception as error:
        raise UsageError(f"weights {file}: not a state dict that can be read safely ({_line(error)})") from None
    for key in ("state_dict", "model"):
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise UsageError(f"weights {file}: expected a state dict, names to tensors; got {type(state).__name__}")
    return state


def load_state(module: nn.Module, state: Mapping[str, Tensor], name: str) -> None:
    """Load a state dict strictly, but that batch norm's counters may be missing: eval mode never reads them, and files
    of before PyTorch 0.4.1 have none.

    Raises:
        UsageError: a name is missing or unexpected, or a shape differs; names the first.
    """
    own = module.state_dict()
    state = {k: v for k, v in own.items() if k.endswith("num_batches_tracked")} | dict(state)
    missing, unexpected = [k for k in own if k not in state], [k for k in state if k not in own]
    shapes = [k for k in own if k in state and own[k].shape != state[k].shape]
    if missing or unexpected or shapes:
        parts = [f"{len(missing)} missing (first: {missing[0]})"] if missing else []
        parts += [f"{len(unexpected)} unexpected (first: {unexpected[0]})"] if unexpected else []
        parts += [f"{k} is {list(state[k].shape)}, expected {list(own[k].shape)}" for k in shapes[:1]]
        raise UsageError(f"weights: the state dict does not fit {name}: {'; '.join(parts)}")
    module.load_state_dict(state)


# ---- describing the input -----------------------------------------------------------------------------------------


def _finish(
    module: nn.Module, name: str, base: Preprocessing, options: ModelOptions, classes: Sequence[str] | None
) -> Model:
    height, width = options.input_size or (base.height, base.width)
    return _describe(import_module(module, name, (base.channels, height, width)), base, options, classes)


def _describe(network: Network, base: Preprocessing, options: ModelOptions, classes: Sequence[str] | None) -> Model:
    channels, height, width = network.input_shape
    if channels not in (1, 3):
        raise UsageError(f"compile: {network.name} takes {channels} channels; expected 1 (grey) or 3 (RGB)")
    resize = options.resize or base.resize
    shorter = options.shorter or base.shorter or min(height, width)
    if options.input_size and not options.shorter and base.shorter:
        shorter = round(base.shorter * min(height, width) / min(base.height, base.width))  # the same crop's share
    mean = _per_channel(network, "mean", options.mean, base.mean)
    std = _per_channel(network, "std", options.std, base.std)
    if (resize == "crop" and shorter < 1) or min(std) <= 0:
        raise UsageError("compile: --shorter and --std must be above 0")
    preprocessing = dataclasses.replace(
        base,
        height=height,
        width=width,
        channels=channels,
        resize=resize,
        shorter=shorter if resize == "crop" else None,
        interpolation=options.interpolation or base.interpolation,
        mean=mean,
        std=std,
    )
    if options.classes is not None and len(options.classes) != network.num_outputs:
        raise UsageError(
            f"compile: {len(options.classes)} class names for {network.num_outputs} outputs of {network.name}"
        )
    if options.classes is None and classes is not None and len(classes) != network.num_outputs:
        classes = None
    names = options.classes if options.classes is not None else classes
    return Model(network, preprocessing, tuple(names) if names is not None else None)


def _per_channel(
    network: Network, what: str, given: Sequence[float] | None, base: tuple[float, ...]
) -> tuple[float, ...]:
    channels = network.input_shape[0]
    values = tuple(float(v) for v in given) if given is not None else base
    if given is not None and len(values) == 1:
        values *= channels
    if len(values) != channels:
        raise UsageError(f"compile: --{what} has {len(values)} numbers; {network.name} has {channels} channels")
    return values


def _imagenet_classes() -> list[str]:
    from torchvision.models import ResNet18_Weights

    return ResNet18_Weights.DEFAULT.meta["categories"]


def _interpolation(name: str) -> Interpolation:
    if name not in ("bilinear", "bicubic"):
        raise UsageError(f"compile: interpolation {name!r} is not supported; give --interpolation bilinear or bicubic")
    return name  # pyright: ignore[reportReturnType]


def _unknown(library: str, name: str, known: Sequence[str], others: Sequence[str]) -> UsageError:
    if name in others:
        return UsageError(f"model {library}/{name}: it is no classifier of single pictures; expected logits [N, K]")
    near = difflib.get_close_matches(name, known, n=3) or list(known)[:3]
    return UsageError(f"model {library}/{name}: {library} has no such model; near it: {', '.join(near)}")


def _line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__
