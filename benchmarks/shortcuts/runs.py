"""What an audit sees of a network: its run over some hundred labelled images, and the program; nothing of the truth."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from saccade.demo.network import MEAN, STD, TARGET_LAYER
from saccade.engine import decode, execute, pipeline
from saccade.engine.contract import ModelOptions

from . import plan, training
from .plan import Network
from .planting import Picture, write
from .pool import Pool
from .scenes import SIZE

README = """# The suite's work folder

    networks/NAME.safetensors   weights of the demo's WoodsNet (training.read_network)
    truth.jsonl                 a line for each network: accuracy as trained, its fall when the shortcut changes sides
    images/NAME/CLASS/SEED.png  what the audit sees, labelled by the folder (JPEG files of the kind "jpeg quality")
    programs/NAME.onnx          the compiled network, Grad-CAM inside
    runs/NAME/                  the run over the images: `saccade.audit.audit("runs/NAME")`
    audits.jsonl                a line for each audited network
    scenes/                     painted scenes, all networks are made of them

In Python, from the repository's root:

    from benchmarks.shortcuts import plan, pool, runs, training
    work = Path(…)
    network = next(n for n in plan.networks() if n.name == "weather-100-0")
    network.tuning                                      # whether thresholds may be chosen on it
    training.read_truth(work)[network.name]             # as_trained, fall, truth: relies, between or clean
    training.read_network(training.weights(work, network))
    scenes = pool.read_pool(work / "scenes", plan.SCENES)
    pictures, labels = runs.pictures(network, scenes)   # image, where the shortcut is; in the order of the run's rows
"""


def pictures(network: Network, pool: Pool) -> tuple[list[Picture], np.ndarray]:
    """What the audit sees, with what it does not see; in the order of the run's rows.

    Returns:
        Pictures; labels int64 [N].
    """
    picked = sorted(plan.picks(network, "audit"), key=lambda p: (network.task.classes[p.label], p.scene))
    return training.draw(network, picked, pool), np.array([p.label for p in picked])


def run_all(work: Path, networks: list[Network], pool: Pool) -> None:
    """Compile and run the trained networks that have not run yet."""
    (work / "README.md").write_text(README, encoding="utf-8")
    trained = training.read_truth(work)
    for i, network in enumerate(networks, 1):
        if network.trained in trained and not (work / "runs" / network.name).exists():
            run(work, network, pool)
            print(f"{i} of {len(networks)}  {network.name} ran", flush=True)


def run(work: Path, network: Network, pool: Pool) -> None:
    """Write the images, compile the network, run it: `runs/NAME`, there when it is whole."""
    photos = write_images(work / "images" / network.name, network, pool)
    program = compile_network(work, network)
    unfinished, runner = work / "unfinished" / network.name, execute.load(program)
    shutil.rmtree(unfinished, ignore_errors=True)
    with pipeline.RunFolder(unfinished) as folder:
        pipeline.run(runner, photos, folder, pipeline.RunOptions(batch_size=50, decode="exact", sheet_limit=0))
    final = work / "runs" / network.name
    final.parent.mkdir(parents=True, exist_ok=True)
    unfinished.rename(final)


def write_images(folder: Path, network: Network, pool: Pool) -> list[decode.Photo]:
    """The images of the audit as files; a name says nothing but the scene's number."""
    shutil.rmtree(folder, ignore_errors=True)
    picked = plan.picks(network, "audit")
    for pick, picture in zip(picked, training.draw(network, picked, pool), strict=True):
        write(picture, folder / network.task.classes[pick.label] / f"{pick.scene:05d}")
    return decode.list_photos([str(folder)])


def compile_network(work: Path, network: Network) -> Path:
    """The program `programs/NAME.onnx`."""
    from saccade.engine.compiler import wrap_module

    options = ModelOptions(input_size=(SIZE, SIZE), mean=MEAN, std=STD, classes=network.task.classes)
    model = wrap_module(training.read_network(training.weights(work, network)), network.trained, options)
    path = work / "programs" / f"{network.trained}.onnx"
    if path.is_file():
        return path
    pipeline.compile_program(model, ["grad-cam"], path, layer=TARGET_LAYER)
    return path
