"""The figures of the networks that classify: feature maps, saliency, CAM, Grad-CAM."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

import saccade
from saccade.engine import render

from .figure import Figure, Picture, Row
from .networks import PHOTOS, TITLES, Journey, read, short, square

U8 = npt.NDArray[np.uint8]
F32 = npt.NDArray[np.float32]

GRADIENTS = ("guided-backpropagation", "saliency", "grad-cam")
COLLIE, EGYPTIAN_CAT, BOOKCASE = 231, 285, 453
THRESHOLD = 0.3
"""Of Grad-CAM's maximum: what is below is cut away."""

LAYERS = {  # the first convolution, the first max pool, the third convolution, as torchvision names them
    "alexnet": ("features.0", "features.2", "features.6"),
    "squeezenet1_0": ("features.0", "features.2", "features.7.expand3x3"),
    "vgg16": ("features.0", "features.4", "features.5"),
    "resnet34": ("conv1", "maxpool", "layer1.0.conv2"),
    "mobilenet_v3_small": ("features.0.0", "", ""),
}


# ---- the inputs and the feature maps ------------------------------------------------------------------------------


def inputs(journey: Journey) -> Figure:
    pictures = [Picture(journey.photo(name, 448), text) for name, text in PHOTOS.items()]
    return Figure(
        "inputs",
        "The inputs",
        "Two classes in one photo, a building, and one animal alone. Photos are cut to a square and scaled; the wide "
        "one is put on white, as a square cut out of it would lose the dog or the cat. The article squeezed them.",
        [Row("", pictures)],
    )


def first_convolution(journey: Journey) -> Figure:
    return _two_photos(journey, 0, "conv1", "What the first convolution gives")


def first_max_pool(journey: Journey) -> Figure:
    return _two_photos(journey, 1, "pool1", "What the first max pool gives")


def third_convolution(journey: Journey) -> Figure:
    return _two_photos(journey, 2, "conv3", "What a deeper convolution gives")


def _two_photos(journey: Journey, which: int, slug: str, title: str) -> Figure:
    names = list(PHOTOS)[:2]
    photos, rows = journey.photos()[:2], []
    for network in journey.choice.first:
        layer = LAYERS[network][which]
        pictures = [
            Picture(m, PHOTOS[p], True) for m, p in zip(_maps(journey, network, layer, photos), names, strict=True)
        ]
        rows.append(Row(f"{TITLES[network]}, {layer}", pictures, journey.trained(network)))
    said = "The first sixteen channels, each from its own minimum, black, to its own maximum, white."
    return Figure(slug, title, said, rows, side=400)


def untrained_and_trained(journey: Journey) -> Figure:
    network = next(n for n in journey.choice.first if journey.trained(n))
    layer, photo = LAYERS[network][0], journey.photos()[:1]
    untrained = _maps(journey, network, layer, photo, weights="random")[0]
    trained = _maps(journey, network, layer, photo)[0]
    pictures = [Picture(untrained, "random weights", True), Picture(trained, "trained", True)]
    return Figure(
        "untrained",
        "The first convolution before and after training",
        "The same layer of the same network. With random filters most channels look like the photo, some of them as a "
        "negative; trained filters have divided the work: an edge in one direction, a colour, a spot.",
        [Row(f"{TITLES[network]}, {layer}", pictures)],
        side=400,
    )


def first_layers(journey: Journey) -> Figure:
    rows = []
    for network in journey.choice.three:
        layer = LAYERS[network][0]
        (picture,) = _maps(journey, network, layer, journey.photos()[:1], count=4, columns=4)
        rows.append(Row(f"{TITLES[network]}, {layer}", [Picture(picture, "", True)], journey.trained(network)))
    said = "The first four channels of the first convolution, on the dog and the cat, of three networks."
    return Figure("first_layers", "The same layer of three networks", said, rows, side=720)


def _maps(
    journey: Journey,
    network: str,
    layer: str,
    photos: U8,
    weights: str | None = None,
    count: int = 16,
    columns: int = 4,
) -> list[U8]:
    program = journey.program(network, "activations", layer=layer, weights=weights)
    found = program(photos)
    journey.forget(program)
    return [render.channel_mosaic(a[:count], size=112, columns=columns) for a in found.activations]


# ---- saliency -----------------------------------------------------------------------------------------------------


def saliency(journey: Journey) -> Figure:
    network = next(n for n in journey.choice.grid if journey.trained(n))
    photo = journey.photos()[:1]
    found = _main(journey, network)(photo, COLLIE)
    pictures = [
        Picture(journey.photo("dog_and_cat.jpg", 448), f"the network says: {_said(found)[0]}"),
        Picture(_alone(found.saliency)[0], "saliency"),
        Picture(_alone(found.guided_backpropagation)[0], "guided saliency"),
    ]
    return Figure(
        "saliency",
        f"Saliency for the class {_class(found, COLLIE)}",
        "How much each pixel changes the score of the class, plain and through positive paths alone. The brightest "
        "colour stands for the 99th percentile.",
        [Row(TITLES[network], pictures)],
        "inferno",
    )


def saliency_of_three(journey: Journey) -> Figure:
    pictures, rows, photo = [], [], journey.photos()[:1]
    said = ""
    for network in journey.choice.three:
        found = _main(journey, network)(photo, COLLIE)
        said = _class(found, COLLIE)
        drawn = _alone(found.guided_backpropagation)[0]
        note = TITLES[network] + ("" if journey.trained(network) else " (random weights)")
        pictures.append(Picture(drawn, note))
    rows.append(Row("", pictures))
    text = "Guided saliency of the same photo and class."
    return Figure("saliency_of_three", f"Guided saliency for {said}, three networks", text, rows, "inferno")


def saliency_grid(journey: Journey) -> Figure:
    def draw(found: saccade.Explanation) -> U8:
        return _alone(found.guided_backpropagation)

    return _grid(journey, "saliency_grid", "Guided saliency, networks by photos", draw, "inferno")


def _grid(journey: Journey, name: str, title: str, draw: Callable[[saccade.Explanation], U8], colours: str) -> Figure:
    rows = []
    for network in journey.choice.grid:
        found = _main(journey, network)(journey.photos())
        rows.append(_titled(network, draw(found), _said(found), journey))
    text = "Each for the class that the network itself predicts, named below with its confidence."
    return Figure(name, title, text, rows, colours)


# ---- CAM ----------------------------------------------------------------------------------------------------------


def cam_classes(journey: Journey) -> Figure:
    rows = []
    for network in journey.choice.cam:
        if network == "cifar10_resnet20":
            rows += _cifar_rows(journey)
            continue
        photo = journey.photos()[:1]
        program = journey.program(network, *GRADIENTS, "cam")
        found = program(np.repeat(photo, 3, axis=0), np.array([-1, EGYPTIAN_CAT, BOOKCASE]))
        names = [_said(found)[0], _class(found, EGYPTIAN_CAT), _class(found, BOOKCASE)]
        drawn = _over(journey, found.cam, "signed", np.repeat(journey.photos(448)[:1], 3, axis=0))
        rows.append(_titled(network, drawn, names, journey))
    return Figure(
        "cam_classes",
        "CAM for three classes",
        "The predicted class first, and last one that is not there. Only what speaks for the class is drawn. The three "
        "maps of the CIFAR-10 network, if it is here, have one scale.",
        rows,
        "viridis",
    )


def _cifar_rows(journey: Journey) -> list[Row]:
    """A trained network that CAM can read: 32x32 pixels see as little as 8x8 places."""
    program = journey.cifar()
    names, rows = list(program.spec.classes or ()), list[Row]()
    asked: list[tuple[str, list[str]]] = [
        ("dog_and_cat.jpg", ["dog", "cat", "ship"]),
        ("cat.jpg", ["cat", "dog", "ship"]),
    ]
    for name, classes in asked:
        whole = read(journey.data / "photos" / "article" / name)
        sizes = (square(whole, 32), square(whole, 448))
        found = program(np.stack([sizes[0]] * 3), np.array([names.index(c) for c in classes]))
        ranges = render.value_ranges(np.ascontiguousarray(found.cam)[None], "image", zero=True)[0]
        top = (0.0, float(ranges[:, 1].max()))  # one scale for the three: what hardly speaks for a class stays dark
        drawn = render.overlay_pictures(found.cam, np.stack([sizes[1]] * 3), "calibrated", top, "signed", opacity=0.6)
        rows.append(Row(f"ResNet-20 (CIFAR-10), which says: {found.prediction[0]}", list(map(Picture, drawn, classes))))
    return rows


def cam_resnets(journey: Journey) -> Figure:
    pictures, photo = [], journey.photo("cat.jpg")[None]
    trained = True
    for network in journey.choice.resnets:
        methods = (*GRADIENTS, "cam") if network in journey.choice.cam + journey.choice.grid else ("cam",)
        program = journey.program(network, *methods)
        found = program(photo)
        drawn = _over(journey, found.cam, "signed", journey.photo("cat.jpg", 448)[None])[0]
        trained &= journey.trained(network)
        note = TITLES[network] + (f": {_said(found)[0]}" if journey.trained(network) else "")
        pictures.append(Picture(drawn, note))
        if methods == ("cam",):
            journey.forget(program)
    rows = [Row("" if trained else "ResNets", pictures, trained)]
    text = "CAM of the predicted class, on the cat. From 50 layers on, the blocks are bottlenecks."
    if not trained:
        text += " With random weights a ResNet answers to contrast: that the cat's face glows proves nothing."
    return Figure("cam_resnets", "CAM of four ResNets", text, rows, "viridis")


# ---- Grad-CAM -----------------------------------------------------------------------------------------------------


def grad_cam_classes(journey: Journey) -> Figure:
    rows = []
    for network in [n for n in journey.choice.grid if journey.trained(n)][:2]:
        photo = np.repeat(journey.photos()[:1], 3, axis=0)
        found = _main(journey, network)(photo, np.array([-1, EGYPTIAN_CAT, BOOKCASE]))
        names = [_said(found)[0], _class(found, EGYPTIAN_CAT), _class(found, BOOKCASE)]
        drawn = _over(journey, found.grad_cam, "cam", np.repeat(journey.photos(448)[:1], 3, axis=0))
        rows.append(_titled(network, drawn, names, journey))
    said = (
        "The predicted class, then a cat, then a bookcase, which is not there: each map is scaled to its own maximum, "
        "so it says where, and not how much."
    )
    return Figure("grad_cam_classes", "Grad-CAM for three classes", said, rows, "viridis")


def grad_cam_grid(journey: Journey) -> Figure:
    def draw(found: saccade.Explanation) -> U8:
        return _over(journey, found.grad_cam, "cam", journey.photos(448))

    return _grid(journey, "grad_cam_grid", "Grad-CAM, networks by photos", draw, "viridis")


def crops(journey: Journey) -> Figure:
    rows = []
    for network in [n for n in journey.choice.grid if journey.trained(n)][:2]:
        photo, large = np.repeat(journey.photos()[:1], 3, axis=0), journey.photos(448)[0]
        found = _main(journey, network)(photo, np.array([-1, COLLIE, EGYPTIAN_CAT]))
        names = [_said(found)[0], _class(found, COLLIE), _class(found, EGYPTIAN_CAT)]
        pictures = [Picture(crop(cam, large), name) for cam, name in zip(found.grad_cam, names, strict=True)]
        rows.append(Row(TITLES[network], pictures))
    said = f"The photo where Grad-CAM is above {THRESHOLD} of its maximum: the predicted class, the dog, the cat."
    return Figure("crops", "What Grad-CAM would cut out", said, rows)


def crop(cam: F32, photo: U8) -> U8:
    """The photo where the map, scaled up, is above THRESHOLD of its maximum; dark grey elsewhere.

    Args:
        cam: float32 [h, w].
        photo: uint8 [H, W, 3].
    """
    height, width = photo.shape[:2]
    index = render.index_maps(cam[None], [(0.0, float(cam.max()))], (height, width))[0]
    kept = (index > THRESHOLD * 255)[..., None]
    return np.where(kept, photo, np.uint8(40))


# ---- what they share ----------------------------------------------------------------------------------------------


def _main(journey: Journey, network: str) -> saccade.Program:
    """All that several figures ask of a network, in one program."""
    wants_cam = network.startswith("resnet") and network in journey.choice.cam + journey.choice.resnets
    return journey.program(network, *GRADIENTS, *(("cam",) if wants_cam else ()))


def _titled(network: str, drawn: Sequence[U8] | U8, names: Sequence[str], journey: Journey) -> Row:
    return Row(TITLES[network], list(map(Picture, drawn, names)), journey.trained(network))


def _said(found: saccade.Explanation) -> list[str]:
    names, sure = short(found.prediction), found.confidence
    return names if sure is None else [f"{n}, {render.percent(s)}" for n, s in zip(names, sure, strict=True)]


def _class(found: saccade.Explanation, index: int) -> str:
    return short([found.spec.class_name(index)])[0]


def _alone(maps: F32) -> U8:
    """Gradient maps without their photos, on black."""
    blank = np.zeros((*maps.shape, 3), np.uint8)
    return render.overlay_pictures(maps, blank, kind="gradient", colours="inferno", opacity=1.0)


def _over(journey: Journey, maps: F32, kind: str, photos: U8) -> U8:
    return render.overlay_pictures(maps, photos, kind=kind, opacity=0.6)  # pyright: ignore[reportArgumentType]
