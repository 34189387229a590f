"""A folder of photos from files to files: `saccade run` beside the same job written with the package grad-cam.

    python benchmarks/folder.py resnet50 squeezenet1_0 --rounds 3

Each job is a process of its own, timed from its start to its end, imports and loading included.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import harness
import numpy as np
import pyarrow.parquet as pq

from saccade.bench.answers import as_scaled

PEER = Path(__file__).resolve().parent / "peers" / "grad_cam_folder.py"
SACCADE, GRAD_CAM = "saccade run", "grad-cam"
PICTURES = {"with overlays": True, "without overlays": False}
BOUND = 4.0
SAME_PREDICTIONS, SAME_MAPS = 0.99, 0.99
"""At least so large a part of the photos, and so large a correlation of the median photo's maps."""


@dataclass(frozen=True)
class Job:
    """One network, its program file and state dict, and where results go."""

    network: str
    program: Path
    weights: Path
    photos: Path
    scratch: Path
    batch: int
    threads: int

    def saccade(self, overlays: bool, mode: str) -> tuple[list[str], Path]:
        """The command line and its folder of results."""
        out = self.scratch / f"saccade-{overlays}-{mode}"
        command = [str(Path(sys.executable).with_name("saccade")), "run", str(self.program), str(self.photos)]
        command += ["-o", str(out), "--restart", "--batch-size", str(self.batch), "--decode", mode]
        return command + ["--overlays"] * overlays, out

    def peer(self, overlays: bool, workers: int = 0, maps: bool = False) -> tuple[list[str], Path]:
        """The same for the peer."""
        out = self.scratch / f"grad-cam-{overlays}-{workers}"
        command = [sys.executable, str(PEER), self.network, str(self.weights), str(self.photos), str(out)]
        command += ["--batch-size", str(self.batch), "--threads", str(self.threads), "--workers", str(workers)]
        return command + ["--overlays"] * overlays + ["--maps"] * maps, out


def main() -> None:
    """Measure each network that was named; writes `results/folder-NETWORK.json`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", default=["resnet50", "squeezenet1_0"], help="names in torchvision")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--threads", type=int, default=harness.cores_used(), help="of the peer")
    parser.add_argument("--pictures", choices=list(PICTURES), nargs="+", default=list(PICTURES))
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 2], help="the peer's decoding processes")
    parser.add_argument("--patience", type=float, default=300, help="seconds to wait for a quiet machine")
    options = parser.parse_args()
    photos = harness.DATA / "photos" / "imagenet"
    if not photos.is_dir():
        print("skipped: the 200 photos of shared/data are not here (expected beside the repository's folder)")
        return
    for name in options.networks:
        with tempfile.TemporaryDirectory(prefix="saccade-benchmark-") as folder:
            job = prepare(name, photos, Path(folder), options.batch, options.threads)
            measure(job, options.rounds, options.pictures, options.workers, options.patience)


def prepare(network: str, photos: Path, folder: Path, batch: int, threads: int) -> Job:
    """Compile the program and lay the state dict beside it; neither is timed."""
    from safetensors.torch import save_file

    from saccade.engine import pipeline
    from saccade.engine.compiler import load_model

    trained = harness.DATA / "weights" / f"{network}.safetensors"
    model = load_model(f"torchvision/{network}", str(trained) if trained.is_file() else "random")
    assert model.network.module is not None
    weights, program = folder / "weights.safetensors", folder / "program.onnx"
    save_file({k: v.contiguous() for k, v in model.network.module.state_dict().items()}, weights)
    pipeline.compile_program(model, ["grad-cam"], program)
    return Job(network, program, weights, photos, folder, batch, threads)


def measure(job: Job, rounds: int, pictures: Sequence[str], workers: Sequence[int], patience: float) -> None:
    """Agreement, then both jobs in turns, with overlays and without."""
    print(f"{job.network}, {len(list(job.photos.glob('*.jpg')))} photos, batches of {job.batch}")
    agreement = check(job)
    inner: dict[str, list[dict[str, float]]] = {}
    timed: dict[str, dict[str, harness.Samples]] = {}
    ratios: dict[str, list[dict[str, Any]]] = {}
    with harness.load_watched() as load:
        for what in pictures:
            o = PICTURES[what]
            field: dict[str, Callable[[int], object]] = {
                SACCADE: lambda _, w=what, o=o: note(inner, f"{SACCADE}, {w}", *job.saccade(o, "fast"))
            }
            for n in workers:
                name = f"{GRAD_CAM}, {n} workers" if n else GRAD_CAM
                field[name] = lambda _, w=what, o=o, n=n, name=name: note(inner, f"{name}, {w}", *job.peer(o, n))
            # No warm-up: `check` has read every file already.
            timed[what] = harness.interleave(field, rounds, 0, patience / len(pictures))
            ratios[what] = [harness.ratio(timed[what], key, SACCADE) for key in field if key != SACCADE]
    figures = {
        f"{job.network}, {what}: saccade run ≥ {BOUND} × faster than {r['of']}": harness.verdict(
            r, lambda median: median >= BOUND
        )
        for what, found in ratios.items()
        for r in found
    }
    trained = (harness.DATA / "weights" / f"{job.network}.safetensors").is_file()
    path = harness.write(
        f"folder-{job.network}",
        {
            "benchmark": "folder",
            "versions": harness.versions("torch", "onnxruntime-gpu", "grad-cam", "pillow", "opencv-python-headless"),
            "settings": {
                "network": job.network,
                "weights": "trained" if trained else "random, seed 0",
                "batch": job.batch,
                "threads": job.threads,
                "decode": "fast",
            },
            "load": load,
            "agreement": agreement,
            "figures": figures,
            "ratios": ratios,
            "seconds inside": {k: {s: [round(r[s], 3) for r in v] for s in v[0]} for k, v in inner.items()},
            "samples": {what: harness.rounded(samples) for what, samples in timed.items()},
        },
    )
    for what, found in ratios.items():
        print(f"  {what}")
        print("\n".join("    " + harness.line(r) for r in found))
    for key, runs in inner.items():
        print(f"  {key}: " + ", ".join(f"{s} {np.median([r[s] for r in runs]):.2f} s" for s in runs[0]))
    print("\n".join(f"  {claim}: {met}" for claim, met in figures.items()))
    print(f"  {path.relative_to(harness.ROOT)}  (others took {load['others']:.0%} of the machine)")


def note(inner: dict[str, list[dict[str, float]]], key: str, command: list[str], out: Path) -> None:
    """Run a job and note what it says of its own seconds."""
    start = time.perf_counter()
    text = run(command)
    whole = time.perf_counter() - start
    if (out / "run.json").is_file():
        said = json.loads((out / "run.json").read_text(encoding="utf-8"))["seconds"]
        said = {"start and end": whole - said["total"], "photos": said["total"], **said}
        del said["total"]
    else:
        said = json.loads(text.strip().splitlines()[-1])
    inner.setdefault(key, []).append({"whole": whole, **said})


def run(command: list[str]) -> str:
    """Run to the end; what it printed.

    Raises:
        SystemExit: it failed.
    """
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{Path(command[0]).name} failed ({done.returncode}): {done.stderr.strip()[-2000:]}")
    return done.stdout


def check(job: Job) -> dict[str, Any]:
    """Compare what both jobs wrote, saccade decoding exactly as torchvision does.

    Raises:
        harness.WrongAnswerError: predictions or maps are too far apart, or wrong ones would have passed.
    """
    command, folder = job.saccade(True, "exact")
    run(command)
    peer, other = job.peer(True, maps=True)
    run(peer)
    table = pq.read_table(folder / "evidence")
    with open(other / "predictions.csv", encoding="utf-8") as file:
        expected = {row["name"]: int(row["prediction"]) for row in csv.DictReader(file)}
    rows = sorted(table.to_pylist(), key=lambda row: row["name"])
    names = [Path(row["name"]).stem for row in rows]
    if names != list(expected):
        raise harness.WrongAnswerError("the two jobs did not see the same photos")
    predicted = np.array([row["prediction_index"] for row in rows])
    theirs = np.array(list(expected.values()))
    side = json.loads(table.schema.field("grad_cam").metadata[b"shape"])
    maps = np.stack([np.array(row["grad_cam"], np.float64).reshape(side) * row["grad_cam_scale"] for row in rows])
    ours, package = as_scaled(maps, "twice", (224, 224)), np.load(other / "maps.npy")
    drawn = [len(list(place.rglob("*.jpg"))) for place in (folder / "overlays", other)]
    if drawn != [len(rows), len(rows)]:
        raise harness.WrongAnswerError(f"overlays: {drawn[0]} and {drawn[1]} files for {len(rows)} photos")
    found = compare(predicted, theirs, ours, package)
    refuse = {
        "predictions of other photos": lambda: compare(np.roll(predicted, 1), theirs, ours, package),
        "maps of other photos": lambda: compare(predicted, theirs, np.roll(ours, 1, axis=0), package),
        "maps upside down": lambda: compare(predicted, theirs, ours[:, ::-1], package),
    }
    if len(set(theirs)) < 10:
        del refuse["predictions of other photos"]  # a random network may say the same of every photo
    for wrong, attempt in refuse.items():
        try:
            attempt()
        except harness.WrongAnswerError:
            continue
        raise harness.WrongAnswerError(f"self-test: a wrong answer passed: {wrong}")
    return {**found, "classes": len(set(theirs.tolist())), "refused": list(refuse)}


def compare(predicted: Any, theirs: Any, ours: Any, package: Any) -> dict[str, float]:
    """The part of equal predictions, and the correlation of the maps where predictions are equal.

    Raises:
        harness.WrongAnswerError: one of them is too small.
    """
    same = predicted == theirs
    pairs = zip(ours[same], package[same], strict=True)
    # A map that is blank, or the same everywhere, correlates with nothing.
    correlation = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in pairs if a.std() and b.std()]
    median = float(np.median(correlation)) if correlation else 0.0
    if same.mean() < SAME_PREDICTIONS or median < SAME_MAPS:
        raise harness.WrongAnswerError(
            f"{same.mean():.1%} of the predictions are the same (at least {SAME_PREDICTIONS:.0%}), "
            f"the median map correlates by {median:.4f} (at least {SAME_MAPS})"
        )
    return {
        "same predictions": round(float(same.mean()), 4),
        "map correlation, median": round(median, 6),
        "map correlation, least": round(float(min(correlation)), 6),
        "maps compared": len(correlation),
    }


if __name__ == "__main__":
    cv2.setNumThreads(1)
    main()
