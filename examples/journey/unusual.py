"""The figures of unusual networks: the demo's, which look for tanks, the robot's, and a segmentation of MRI slices."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

import saccade
from examples.unet_mri import network
from saccade.demo.measure import HELD_OUT
from saccade.demo.scenes import Weather, paint
from saccade.engine import render
from saccade.engine.compiler.models import load_state, read_state

from .figure import Figure, Picture, Row
from .networks import Journey, cut, read

U8 = npt.NDArray[np.uint8]
F32 = npt.NDArray[np.float32]

ROBOT = ("1.png", "2.png", "3.png", "4.jpeg")
SEEN, SHOWN = (64, 80), (288, 360)
"""Height and width of what the robot's network sees, and of what a reader does."""
SENSORS, DISTANCES = 5, 65
EDGE = 4
"""Pixels that are cut off all around: some of the robot's pictures have a white rim."""
SLICE = 128
"""Height and width that the U-Net was trained with."""
LINE = 3
"""Width of an outline in pixels of a picture that is 512 wide and shown at half of that."""


# ---- tanks in the woods -------------------------------------------------------------------------------------------


def woods(journey: Journey) -> Figure:
    scenes: list[tuple[str, bool, Weather]] = [
        ("a tank in the sun", True, "sun"),
        ("no tank, clouds", False, "clouds"),
        ("a tank, clouds", True, "clouds"),
        ("no tank in the sun", False, "sun"),
    ]
    seen = np.stack([paint(HELD_OUT, tank, weather).image for _, tank, weather in scenes])
    large = np.stack([paint(HELD_OUT, tank, weather, 384).image for _, tank, weather in scenes])
    rows = [Row("", [Picture(p, said) for p, (said, _, _) in zip(large, scenes, strict=True)])]
    for name, said in (
        ("looks_at_weather", "trained with tanks in the sun alone"),
        ("looks_at_tanks", "trained with tanks in any weather"),
    ):
        found = journey.woods(name)(seen)
        drawn = render.overlay_pictures(found.grad_cam, large, opacity=0.6)
        rows.append(Row(said, [Picture(p, f"says: {word}") for p, word in zip(drawn, found.prediction, strict=True)]))
    return Figure(
        "woods",
        "The legend, staged",
        "Two small networks and a painted wood that neither was trained on, with Grad-CAM of what each says. The "
        "first is right on the two scenes that are like its training, and looks at the sky; on the others it is wrong.",
        rows,
        "viridis",
    )


# ---- the robot ----------------------------------------------------------------------------------------------------


def robot_inputs(journey: Journey) -> Figure:
    seen = _robot(journey, ROBOT, SEEN)
    raw = [Picture(p, f"{i}") for i, p in enumerate(_robot(journey, ROBOT, SHOWN), 1)]
    large = [_normalised(p).repeat(4, axis=0).repeat(4, axis=1) for p in seen]
    normalised = [Picture(p, f"{i}", True) for i, p in enumerate(large, 1)]
    return Figure(
        "robot_inputs",
        "What the robot's camera sees, and what its network gets",
        "Above, the camera's pictures, cut to 5:4. Below, 64x80 pixels, each picture minus its own mean over its own "
        "standard deviation, drawn from two and a half below to two and a half above; this step is inside the program.",
        [Row("as taken", raw), Row("normalised, 64x80", normalised)],
    )


def robot_maps(journey: Journey) -> Figure:
    return Figure(
        "robot_maps",
        "Where the robot's network looks",
        "All 325 outputs are explained at once. Grad-CAM is taken in front of the last pooling, where there are 16x20 "
        "places; guided saliency at the pixels.",
        _robot_rows(journey, ROBOT),
        "viridis",
    )


def robot_sensors(journey: Journey) -> Figure:
    outputs = journey.robot()(_robot(journey, ROBOT, SEEN), _ones()).logits.reshape(-1, DISTANCES, SENSORS)
    shown = _robot(journey, ROBOT, SHOWN)
    strips = np.ascontiguousarray(outputs.transpose(0, 2, 1))  # a row for each sensor, a column for each distance
    colours = render.colormap("inferno")
    size = (SENSORS * 18, DISTANCES * 6)
    rows = []
    for i, (strip, photo) in enumerate(zip(strips, shown, strict=True), 1):
        heat = render.tile(strip[None], [(0.0, 1.0)], size, 1, gap=0, colours=colours)
        padded = np.concatenate(
            [render.resize(photo, heat.shape[0] * 2, heat.shape[0] * 5 // 2), _framed(heat)], axis=1
        )
        rows.append(Picture(padded, f"picture {i}: at most {strip.max():.2f}", True))
    return Figure(
        "robot_sensors",
        "The sensors' readings that the network predicts",
        f"Beside each picture {SENSORS} rows, one for each sensor from left to right, and {DISTANCES} columns, one for "
        "each distance in the network's order: black where it says free (0), bright where it says obstacle (1).",
        [Row("", rows[:2]), Row("", rows[2:])],
        "inferno",
        side=560,
    )


def _framed(heat: U8) -> U8:
    """The heat map, twice its size, beside a narrow white strip."""
    large = heat.repeat(2, axis=0).repeat(2, axis=1)
    return np.concatenate([np.full((large.shape[0], 8, 3), 255, np.uint8), large], axis=1)


def cubes(journey: Journey) -> Figure:
    captions = ["light from the front", "strong light from behind", "shadow to the left", "a little shadow"]
    rows: list[Row] = []
    for kind, said in (("different", "a cube of another colour"), ("equal", "a cube of the floor's colour")):
        names = [f"{kind}_color_{i}.png" for i in range(1, 5)]
        photos = list(map(Picture, _robot(journey, names, SHOWN), captions))
        rows += [Row(said, photos), *_robot_rows(journey, names)]
    return Figure(
        "cubes",
        "The cube that differs from the floor, and the one that does not",
        "The same four scenes twice. On the blue floor the red cube is found by its foot and its sides. Of the blue "
        "one the network has only edges and shadows: in the light from the front its foot does not glow at all.",
        rows,
        "viridis",
    )


def _robot_rows(journey: Journey, names: Sequence[str]) -> list[Row]:
    found = journey.robot()(_robot(journey, names, SEEN), _ones())
    large = _robot(journey, names, SHOWN)
    cams = render.overlay_pictures(found.grad_cam, large, opacity=0.6)
    black = np.zeros_like(large)
    guided = render.overlay_pictures(
        found.guided_backpropagation, black, kind="gradient", colours="inferno", opacity=1.0
    )
    return [Row("Grad-CAM", list(map(Picture, cams))), Row("guided saliency", list(map(Picture, guided)))]


def _ones() -> list[float]:
    return [1.0] * (SENSORS * DISTANCES)


def _robot(journey: Journey, names: Sequence[str], size: tuple[int, int]) -> U8:
    folder = journey.data / "photos" / "robot"
    return np.stack([cut(read(folder / name)[EDGE:-EDGE, EDGE:-EDGE], *size) for name in names])


def _normalised(seen: U8) -> U8:
    values = (seen - seen.mean(dtype=np.float64)) / max(float(seen.std(dtype=np.float64)), 1e-3)
    return np.clip((values / 5 + 0.5) * 255, 0, 255).round().astype(np.uint8)


# ---- the segmentation ---------------------------------------------------------------------------------------------


def unet(journey: Journey) -> Figure:
    """Grad-CAM of a segmented region; without weights a line that says so."""
    name, title = "unet", "A U-Net on slices of the brain"
    if journey.unet is None or not journey.unet.is_file():
        said = "Not drawn: no weights were given. Train them with examples/unet_mri, then say --unet FILE."
        return Figure(name, title, said)
    folder = journey.data / "mri"
    if not folder.is_dir():
        return Figure(name, title, f"Not drawn: there are no slices in {folder.name}/ beside the photos.")
    program = saccade.compile(
        _unet(journey.unet),
        *("grad-cam", "saliency"),
        layer="bottleneck",
        target="region",
        to="torchscript",
        input_size=SLICE,
    )
    listed = journey.unet.with_suffix(".held_out.txt")
    kept_out = ", in patients kept out of its training" if listed.is_file() else ""
    chosen = _slices(folder, listed)
    seen = np.stack([_grey_slice(p, SLICE) for p in chosen])
    masks = [_grey_slice(p.with_name(f"{p.stem}_mask.png"), 512)[..., 0] > 127 for p in chosen]
    large = np.stack([np.repeat(_grey_slice(p, 512), 3, axis=2) for p in chosen])
    found = program(seen)
    regions = found.spec.regions(found.logits).reshape(len(chosen), SLICE, SLICE)
    wide = regions.repeat(512 // SLICE, axis=1).repeat(512 // SLICE, axis=2)
    cams = render.overlay_pictures(found.grad_cam, large, opacity=0.55)
    black = np.zeros_like(large)
    gradients = render.overlay_pictures(found.saliency, black, kind="gradient", colours="inferno", opacity=1.0)

    def outlined(pictures: U8) -> list[Picture]:
        return [Picture(outline(p, m)) for p, m in zip(pictures, masks, strict=True)]

    marked = [Picture(outline(outline(p, r, (90, 200, 250)), m)) for p, r, m in zip(large, wide, masks, strict=True)]
    return Figure(
        name,
        title,
        f"White: the tumour as a physician drew it. Blue: as the network found it{kept_out}. Grad-CAM at the "
        "bottleneck, and saliency, both of the sum of the logits over the region that the network found. Slices: LGG "
        "segmentation dataset (TCIA, Buda et al.), CC BY-NC-SA 4.0.",
        [Row("the slice", marked), Row("Grad-CAM", outlined(cams)), Row("saliency", outlined(gradients))],
        "viridis",
    )


def _unet(weights: Path):
    module = network.unet()
    load_state(module, read_state(str(weights)), "unet")
    return module.eval()


def _slices(folder: Path, listed: Path, count: int = 4) -> list[Path]:
    """The slices with the largest tumours of as many patients, held out ones where they are listed."""
    names = {Path(line).name for line in listed.read_text("utf-8").splitlines()} if listed.is_file() else None
    largest: dict[str, tuple[int, Path]] = {}
    for mask in sorted(folder.glob("*_mask.png")):
        path = mask.with_name(mask.name.replace("_mask", ""))
        if names is None or path.name in names:
            patient, area = path.stem.rsplit("_", 2)[0], int((_grey_slice(mask, 64) > 127).sum())
            largest[patient] = max(largest.get(patient, (0, path)), (area, path))
    best = sorted(largest.values(), reverse=True)
    return [path for _, path in best[:: max(1, len(best) // (2 * count))][:count]]


def _grey_slice(path: Path, size: int) -> U8:
    with Image.open(path) as picture:
        pixels = np.asarray(picture.convert("L"))[..., None]
    return cut(pixels, size, size)


def outline(picture: U8, mask: npt.NDArray[np.bool_], colour: tuple[int, int, int] = (255, 255, 255)) -> U8:
    """The picture with the mask's inner edge, LINE pixels wide, in a colour."""
    padded = np.pad(mask, LINE)
    inside = mask.copy()
    height, width = mask.shape
    for dy, dx in ((0, LINE), (2 * LINE, LINE), (LINE, 0), (LINE, 2 * LINE)):
        inside &= padded[dy : dy + height, dx : dx + width]
    drawn = picture.copy()
    drawn[mask & ~inside] = colour
    return drawn
