"""The names of the article 'A journey into Convolutional Neural Network visualisation', over compiled programs.

    from saccade.article import *          # in place of the notebook's `from visualisation.core import *`

    vis = GradCam(resnet34, device)
    picture, info = vis(x, None, target_class=285, postprocessing=image_net_postprocessing)

The notebook's cells run as they are: each class takes a network, is called with a float tensor [1, C, H, W] and a layer
(a module of the network, or None), and gives `(images, info)`. What differs is inside. Where the article's code leaves
the papers, this follows the papers, and each class says where.

Which normalisation the tensor had does not matter: programs take bytes, so a float is handed over as three of them, and
the program puts it together again to 24 bits before the network. A program is compiled once for each network, layer
and method, and kept by the object that asked for it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .engine import render
from .engine.contract import UsageError
from .program import Explanation, Program
from .program import compile as compile_program

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "ClassActivationMapping",
    "GradCam",
    "SaliencyMap",
    "Weights",
    "device",
    "image_net_postprocessing",
    "image_net_preprocessing",
    "imshow",
    "module2traced",
    "subplot",
    "tensor2img",
]

Info = dict[str, Any]
Postprocessing = Callable[[Tensor], Tensor]

device = torch.device("cuda:0" if torch.cuda.is_available() else "cpu")

_MEAN, _STD = (torch.tensor(v).reshape(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))


def image_net_preprocessing(picture: Tensor) -> Tensor:
    """Pixels in 0..1, float [..., 3, H, W], normalised as torchvision's ImageNet networks want them."""
    return (picture - _MEAN.to(picture)) / _STD.to(picture)


def image_net_postprocessing(picture: Tensor) -> Tensor:
    """The inverse of `image_net_preprocessing`."""
    return picture * _STD.to(picture) + _MEAN.to(picture)


# ---- looking ------------------------------------------------------------------------------------------------------


def module2traced(module: nn.Module, inputs: Tensor) -> list[nn.Module]:
    """The leaf modules in the order in which data runs through them; one that is called twice is there twice.

    Dropout, which does nothing outside training, is listed too: the module's own training mode is left as it is found.
    """
    called: list[nn.Module] = []

    def note(leaf: nn.Module, *_: Any) -> None:
        called.append(leaf)

    hooks = [leaf.register_forward_hook(note) for leaf in module.modules() if not list(leaf.children())]
    try:
        with torch.no_grad():
            module(inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return called


def tensor2img(tensor: Tensor, ax: Any = None) -> npt.NDArray[np.float32]:
    """A float picture as matplotlib wants it.

    Args:
        tensor: [1, C, H, W], [C, H, W] or [H, W], C = 1 or 3.
        ax: the notebook's, not used.

    Returns:
        float32 [H, W, 3], or [H, W] of a single channel. Values in 0..1 are kept; where some lie beyond, as in a
        normalised picture or a layer's output, they are scaled from its minimum and maximum to 0..1.
    """
    picture = tensor.detach().cpu().float()
    picture = picture.reshape(picture.shape[-3:]) if picture.dim() > 2 else picture[None]
    image = picture[0].numpy() if len(picture) == 1 else picture.permute(1, 2, 0).numpy()
    low, high = float(image.min()), float(image.max())
    if low < 0 or high > 1:
        image = (image - low) / max(high - low, 1e-12)
    return np.ascontiguousarray(image, np.float32)


def subplot(
    images: Sequence[Any] | Tensor | FeatureMaps,
    parse: Callable[[Any], Any] = lambda image: image,
    rows_titles: Sequence[str] | None = None,
    cols_titles: Sequence[str] | None = None,
    title: str = "",
    *args: Any,
    **kwargs: Any,
) -> Figure:
    """Pictures in a grid, row by row; as many as there are places, and places left over stay blank.

    Args:
        images: what `parse` turns into pictures.
        rows_titles: a title for each picture of a single row or column; with several columns, for each row.
        cols_titles: a title for each column.
        args, kwargs: matplotlib's `subplots` takes them: nrows, ncols, figsize.

    Returns:
        The figure.

    Raises:
        UsageError: matplotlib is not installed.
    """
    plt = _pyplot()
    figure, axes = plt.subplots(*args, squeeze=False, **{"layout": "compressed", **kwargs})
    if title:
        figure.suptitle(title)
    single = 1 in axes.shape
    for place, axis in enumerate(axes.flat):
        row, column = divmod(place, axes.shape[1])
        axis.axis("off")
        if place >= len(images):
            continue
        axis.imshow(parse(images[place]), cmap="gray")
        titles = [t[column] for t in (cols_titles,) if t is not None and row == 0 and column < len(t)]
        which = place if single else row
        if rows_titles is not None and (single or column == 0) and which < len(rows_titles):
            titles.append(rows_titles[which])
        if titles:
            axis.set_title("\n".join(titles), fontsize="medium")
    return figure


def imshow(tensor: Tensor) -> None:
    """Show one picture, as `tensor2img` takes it."""
    plt = _pyplot()
    plt.imshow(tensor2img(tensor), cmap="gray")
    plt.axis("off")
    plt.show()


def _pyplot() -> Any:
    try:
        import matplotlib.pyplot as plt
    except ModuleNotFoundError:
        raise UsageError("subplot: matplotlib is not installed; pip install 'saccade[notebook]'") from None
    return plt


# ---- floats through a program that takes bytes --------------------------------------------------------------------

_LEVELS = 1 << 24


class _FromBytes(nn.Module):
    """A network behind floats in three bytes, high, middle and low, as three pictures one below the other.

    Args:
        module: takes float [N, C, H, W].
        reach: a power of two; the floats lie in -reach to reach.
    """

    def __init__(self, module: nn.Module, reach: float) -> None:
        super().__init__()
        self.module = module
        self.reach = reach

    def forward(self, x: Tensor) -> Tensor:
        """Of float [N, C, 3·H, W], whole numbers 0 to 255."""
        height = x.shape[2] // 3
        high, middle, low = x[:, :, :height], x[:, :, height : 2 * height], x[:, :, 2 * height :]
        level = high * 65536 + (middle * 256 + low)
        return self.module(level * (2 * self.reach / _LEVELS) - self.reach)


def _to_bytes(x: Tensor, reach: float) -> npt.NDArray[np.uint8]:
    """Floats [N, C, H, W] as uint8 [N, 3·H, W, C], to within reach / 2^24."""
    values = x.detach().cpu().double().permute(0, 2, 3, 1).numpy()
    levels = np.clip(np.rint((values + reach) * (_LEVELS / (2 * reach))), 0, _LEVELS - 1).astype(np.uint32)
    return np.concatenate([(levels >> shift & 255).astype(np.uint8) for shift in (16, 8, 0)], axis=1)


def _reach(x: Tensor) -> float:
    largest = float(x.detach().abs().max())
    if not math.isfinite(largest):
        raise UsageError("article: the input has values that are not finite; expected a picture")
    return float(2 ** max(3, math.ceil(math.log2(max(largest, 1e-6) * 1.001))))


# ---- the article's classes ----------------------------------------------------------------------------------------


class _Visualisation:
    """A network, and the programs that were compiled of it.

    Args:
        module: put into eval mode by the first call.
        device: kept for the notebook; programs run on the processor.
    """

    def __init__(self, module: nn.Module, device: Any = None) -> None:
        self.module = module
        self.device = device
        self._programs: dict[tuple[Any, ...], Program] = {}

    def _explain(
        self,
        methods: str,
        x: Tensor,
        layer: nn.Module | None,
        target_class: Any = None,
        regression: bool = False,
    ) -> Explanation:
        if x.dim() != 4 or len(x) != 1:
            raise UsageError(f"article: expected one picture, float [1, C, H, W], got {list(x.shape)}")
        _, channels, height, width = x.shape
        reach = _reach(x)
        key = (methods, id(layer), regression, channels, height, width, reach)
        if key not in self._programs:
            home = next(self.module.parameters(), torch.empty(0)).device
            self._programs[key] = compile_program(
                _FromBytes(self.module.eval().cpu(), reach),
                *methods.split(),
                layer=None if layer is None else f"module.{self._name(layer)}",
                target="outputs" if regression else "class",
                to="torchscript",
                device="cpu",
                input_size=(3 * height, width),
                mean=0.0,
                std=1 / 255,
            )
            self.module.to(home)
        target = target_class
        if isinstance(target, Tensor):
            target = target.detach().cpu().numpy()
            target = target.reshape(1, -1).astype(np.float32) if regression else int(target.reshape(-1)[0])
        return self._programs[key](_to_bytes(x, reach), target)

    def _name(self, layer: nn.Module) -> str:
        """The layer's name: of a module under several names the first."""
        for name, module in self.module.named_modules():
            if module is layer:
                return name
        raise UsageError(f"article: {type(layer).__name__} is no layer of {type(self.module).__name__}")


class FeatureMaps:
    """What `Weights` gives: pictures, which also unpack as the notebook unpacks them.

        images, info = vis(x, layer)
        images = vis(x, layer)  # the same pictures: images[0], images[:16], len(images), images.shape

    Attributes:
        images: float [C, 1, h, w], a picture for each channel.
        info: {}.
    """

    def __init__(self, images: Tensor) -> None:
        self.images = images
        self.info: Info = {}
        self.shape = images.shape

    def __iter__(self) -> Iterator[Any]:
        return iter((self.images, self.info))

    def __getitem__(self, index: int | slice) -> Tensor:
        return self.images[index]

    def __len__(self) -> int:
        return len(self.images)


class Weights(_Visualisation):
    """What a layer gives: its feature maps, for all that the article calls them weights."""

    def __call__(self, inputs: Tensor, layer: nn.Module, *args: Any, **kwargs: Any) -> FeatureMaps:
        """The layer's output, float [C, 1, h, w], a picture for each channel.

        Of a module that is called more than once it is the first call's. The article's is the output's own memory, so
        a ReLU behind it that works in place had already overwritten what it showed; this is what the layer gave.
        """
        maps = self._explain("activations", inputs, layer).activations[0]
        return FeatureMaps(torch.from_numpy(maps).unsqueeze(1))


class SaliencyMap(_Visualisation):
    """Which pixels change the score: Simonyan et al., ICLR workshop 2014; guided, Springenberg et al., 2015."""

    def __call__(
        self, input_image: Tensor, layer: Any, guide: bool = False, target_class: Any = None, regression: bool = False
    ) -> tuple[Tensor, Info]:
        """A picture, float [1, 1, H, W] in 0..1, and {"prediction": the class explained}.

        Over the channels this takes the largest gradient, as the paper (section 3.1), where the article adds them up;
        both scale to the 99th percentile. The guided rule acts at every ReLU and stops what was negative on the way
        forward or is negative on the way back. `layer` is not used.

        Args:
            guide: guided backpropagation instead of the plain gradient.
            target_class: the class; None for the predicted one.
            regression: explain the outputs weighted by `target_class`, K numbers.
        """
        method = "guided-backpropagation" if guide else "saliency"
        found = self._explain(method, input_image, None, target_class, regression)
        maps = _gradient(found, method, input_image)
        indices = render.index_maps(maps, render.display_ranges(maps, kind="gradient"))
        return torch.from_numpy(indices.astype(np.float32) / 255)[None], _info(found, target_class)


class GradCam(_Visualisation):
    """Which regions speak for a class: Selvaraju et al., ICCV 2017.

    Attributes:
        cam: float [h, w] ≥ 0, the last call's map as it is, not scaled.
    """

    method = "grad-cam"
    cam: Tensor

    def __call__(
        self,
        input_image: Tensor,
        layer: nn.Module | None,
        guide: bool = False,
        target_class: Any = None,
        postprocessing: Postprocessing = lambda x: x,
        regression: bool = False,
    ) -> tuple[Tensor, Info]:
        """The map over the picture, float [1, 3, H, W] in 0..1, and {"prediction": the class explained}.

        Without a layer it is the last feature block before pooling and head, so after batch norm, ReLU and residual
        sum, which is what the head reads; the article takes the bare last Conv2d. With `guide` the map is guided
        Grad-CAM as the paper has it (section 3.2), guided backpropagation times Grad-CAM, at the picture's size; the
        article puts the deconvnet's rule into Grad-CAM's own weights, which is in neither paper.

        Args:
            target_class: the class; None for the predicted one.
            postprocessing: from the normalised picture to one in 0..1.
            regression: explain the outputs weighted by `target_class`, K numbers.
        """
        guide = guide and self.method == "grad-cam"
        methods = f"{self.method} guided-backpropagation" if guide else self.method
        found = self._explain(methods, input_image, layer, target_class, regression)
        cam, kind = torch.from_numpy(found[self.method.replace("-", "_")]), found.spec.maps[0].kind
        if guide:
            guided = torch.from_numpy(_gradient(found, "guided-backpropagation", input_image))
            cam, kind = guided * F.interpolate(cam[None], guided.shape[1:], mode="bilinear")[0], "gradient"
        self.cam = cam[0]
        pixels = np.rint(tensor2img(postprocessing(input_image[0].detach().cpu())) * 255).astype(np.uint8)
        pixels = pixels.reshape(1, *pixels.shape[:2], -1)
        drawn = render.overlay_pictures(cam.numpy(), pixels, kind=kind, colours="jet")
        return torch.from_numpy(drawn.astype(np.float32) / 255).permute(0, 3, 1, 2), _info(found, target_class)


class ClassActivationMapping(GradCam):
    """Where a linear head finds its class: Zhou et al., CVPR 2016.

    For networks whose head is global average pooling and one linear layer, on what is pooled (the article takes the
    bare last Conv2d, which of a ResNet is not what is pooled). Others are refused with a line that says so. `guide`
    changes nothing, here as there.
    """

    method = "cam"


def _gradient(found: Explanation, method: str, x: Tensor) -> npt.NDArray[np.float32]:
    """A map of the gradient at floats, [1, H, W], from that at their high bytes."""
    _, _, height, _ = x.shape
    return found[method.replace("-", "_")][:, :height] * np.float32(256 / (2 * _reach(x)))


def _info(found: Explanation, target_class: Any) -> Info:
    if found.spec.target == "outputs":
        return {"prediction": torch.from_numpy(found.logits)}
    predicted = int(found.logits[0].argmax())
    return {"prediction": torch.tensor([predicted if target_class is None else int(target_class)])}
