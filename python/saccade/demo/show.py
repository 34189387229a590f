"""`saccade demo`: the whole job on drawn scenes, offline. Two networks for the same woods; one learnt the weather."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..audit import audit
from ..audit.report.data import verdict_sentence
from ..engine import decode, execute, pipeline, render, sinks
from ..engine.contract import ModelOptions
from .landscape import Weather
from .measure import HELD_OUT, Figures, figures, held_out
from .scenes import write_set

if TYPE_CHECKING:
    from ..audit import Findings

_SCENES = 40  # of each weather with and without a tank, on disk
_ON_SHEET = 4  # of each group: a row
_GROUPS: dict[tuple[bool, Weather], str] = {
    (True, "sun"): "tank in the sun",
    (False, "clouds"): "woods under clouds",
    (True, "clouds"): "swapped: tank under clouds",
    (False, "sun"): "swapped: woods in the sun",
}


@dataclass(frozen=True)
class _Network:
    """A network of the demo: the function that builds it, its folder's name, its heading on the sheet."""

    function: str
    name: str
    heading: str


_WEATHER = _Network("looks_at_weather", "weather", "Network 1: every tank of its training stood in the sun")
_TANKS = _Network("looks_at_tanks", "tanks", "Network 2: trained with tanks and woods in any weather")


def show(out: Path, say: Callable[[Any], None]) -> None:
    """Paint scenes, compile both networks, run them, measure, and draw the sheet.

    Args:
        out: the folder for everything; made anew.
        say: prints a line.
    """
    scenes = out / "scenes"
    say(f"1. painting {4 * _SCENES} scenes that no network was trained on: {scenes}")
    seeds = range(HELD_OUT, HELD_OUT + _SCENES)
    write_set(scenes, [(seed, tank, weather) for tank, weather in _GROUPS for seed in seeds])
    photos = decode.list_photos([str(scenes)])
    programs = {}
    for i, network in enumerate((_WEATHER, _TANKS), 2):
        say(f"{i}. compiling {network.name}.onnx, Grad-CAM inside, and running it over them: {out / network.name}")
        programs[network.name] = _compile_and_run(network, photos, out)
    audits = {}
    for i, network in enumerate((_WEATHER, _TANKS), 4):
        say(f"{i}. auditing {network.name}: what it may use beside the tank is changed, and it is asked again")
        audits[network.name] = audit(out / network.name, out=out / network.name / "audit")
    say("6. measuring where they look, with the painter's masks, which no audit has seen")
    measured = figures(_explain(programs["weather"]), _explain(programs["tanks"]))
    (out / "figures.json").write_text(json.dumps(measured.to_dict(), indent=2) + "\n", encoding="utf-8")
    sheet = out / "sheet.png"
    sinks.write_picture(sheet, _draw(programs, photos, measured))
    say("")
    for line in (*_weather_lines(measured), *_tank_lines(measured)):
        say(f"   {line}")
    say(f"\nThe audit's verdict on network 1: {verdict_sentence(audits['weather'])}")
    for line in _sky_lines(audits["weather"]):
        say(f"   {line}")
    say(f"The audit's verdict on network 2: {verdict_sentence(audits['tanks'])}")
    say(f"\nOpen {out / 'weather' / 'audit' / 'report.html'}: the verdict, its proof, and every scene.")
    say(f"Open {sheet}: where both networks look, side by side.")
    say(f"The scenes are in {scenes}, each network's own sheet and evidence in {out / 'weather'} and {out / 'tanks'}.")
    say(f'Ask the evidence: saccade sheet {out / "weather"} --where "label <> prediction" -o wrong.jpg')


def _compile_and_run(network: _Network, photos: list[decode.Photo], out: Path) -> execute.Runner:
    from ..engine.compiler import load_model
    from .network import CLASSES, MEAN, SIZE, STD

    options = ModelOptions(input_size=(SIZE, SIZE), mean=MEAN, std=STD, classes=CLASSES)
    model = load_model(f"saccade.demo.network:{network.function}", options=options)
    path = out / f"{network.name}.onnx"
    pipeline.compile_program(model, ["grad-cam"], path)
    runner = execute.load(path)
    with pipeline.RunFolder(out / network.name, restart=True) as folder:
        pipeline.run(runner, photos, folder, pipeline.RunOptions(decode="exact"))
    return runner


def _explain(runner: execute.Runner) -> Callable[[npt.NDArray[np.uint8], int], tuple[Any, Any]]:
    def explain(images: npt.NDArray[np.uint8], target: int) -> tuple[Any, Any]:
        parts = [runner.run(images[i : i + 32], target) for i in range(0, len(images), 32)]
        return np.concatenate([p.logits for p in parts]), np.concatenate([p.maps["grad_cam"] for p in parts])

    return explain


def _sky_lines(found: Findings) -> list[str]:
    """What the first suspect's place is, as the painter knows it."""
    first = next((s for s in found.suspects if s.verdict == "shortcut" and s.where is not None), None)
    if first is None or first.where is None:
        return []
    sky = np.stack([scene.sky for scene in held_out(_SCENES, True, "sun")]).mean(axis=0, keepdims=True)
    cells = sinks.area_average(sky.astype(np.float32), *first.where.shape)[0]
    share = float((cells * first.where).sum() / first.where.sum())
    return [first.sentence, f"That place is sky, says the painter: {share:.0%} of it."]


def _weather_lines(f: Figures) -> tuple[str, str]:
    return (
        f"{f.weather_sky:.0%} of its evidence lies in the sky, which is {f.sky_area:.0%} of the picture.",
        f"It is right on {f.weather_as_trained:.0%} of scenes with weather as in its training, "
        f"on {f.weather_swapped:.0%} when the weather is swapped.",
    )


def _tank_lines(f: Figures) -> tuple[str, str]:
    return (
        f"{f.tanks_tank:.0%} of its evidence for a tank lies on the tank and 8 pixels around it, "
        f"{f.tank_area:.0%} of the picture.",
        f"It is right on {f.tanks_as_trained:.0%} of the same scenes, on {f.tanks_swapped:.0%} with swapped weather.",
    )


def _draw(programs: dict[str, execute.Runner], photos: list[decode.Photo], measured: Figures) -> npt.NDArray[np.uint8]:
    sections: list[render.Section] = []
    for network, lines in ((_WEATHER, _weather_lines(measured)), (_TANKS, _tank_lines(measured))):
        cells: list[render.Cell] = []
        for (tank, weather), title in _GROUPS.items():
            start = f"{'tank/tank' if tank else 'woods/woods'}-{weather}-"
            chosen = [p for p in photos if p.name.startswith(start)][:_ON_SHEET]
            cells += _cells(programs[network.name], chosen, title)
        sections.append((network.heading, " ".join(lines), cells))
    return render.contact_sheet(
        [],
        "Tanks in the woods: which network looks at the tank?",
        "Grad-CAM of the predicted class, on scenes kept from training. Both networks were trained on the same woods.",
        columns=4,
        sections=sections,
        thumbnail=190,
    )


def _cells(runner: execute.Runner, photos: list[decode.Photo], title: str) -> list[render.Cell]:
    images = np.stack([decode.read_view(p.path, runner.spec.preprocessing, "exact")[0] for p in photos])
    found = runner.run(images)
    gallery = render.Gallery(runner.spec, render.Look(opacity=0.6), range(len(photos)))
    sure = runner.spec.confidence(found.logits)
    captions = [
        render.Caption(
            i, title, p.label, (said := runner.spec.class_name(int(k))), None if sure is None else float(sure[i]), said
        )
        for i, (p, k) in enumerate(zip(photos, found.logits.argmax(axis=1), strict=True))
    ]
    gallery.add(captions, images, found.maps)
    return gallery.cells
