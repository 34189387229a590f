"""Which networks compile: every classification model of torchvision and a few of timm, each in a process of its own.

    python benchmarks/networks.py                     # those that no result is there for yet, the smallest first
    python benchmarks/networks.py torchvision/vgg16   # these again
    python benchmarks/networks.py --table             # only write docs/networks.md

The examples' own are there too. Each is compiled with random weights for Grad-CAM and saliency, and proven: the graph
against autograd in float64, the file in its own runtime in float32. A network that cannot be compiled is in the table
with the reason. Results go to `results/networks.json`, one network after the other, and from there to
`docs/networks.md`, together with those of the parity tests.
"""

from __future__ import annotations

import argparse
import json
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS, TABLE = ROOT / "benchmarks" / "results" / "networks.json", ROOT / "docs" / "networks.md"
PARITY = RESULTS.with_name("parity.json")

OWN = {  # the examples' own: their input (height, width) and what is explained
    "examples.robot:cifar10_resnet20": ((32, 32), "class"),
    "examples.robot:dronet_v2": ((200, 200), "outputs"),
    "examples.robot:long_range_perception": ((64, 80), "outputs"),
    "examples.unet_mri.network:unet": ((256, 256), "region"),
}
BOTH = {  # what the article and its readers ask for: both runtimes
    *(f"torchvision/{n}" for n in ("alexnet", "vgg16", "resnet18", "resnet34", "resnet50", "resnet101", "resnet152")),
    *("torchvision/mobilenet_v2", "torchvision/mobilenet_v3_small", "torchvision/squeezenet1_0"),
    *(f"timm/{n}" for n in ("seresnet50", "legacy_senet154", "vit_small_patch16_224")),
    *("timm/swin_tiny_patch4_window7_224", "timm/convnext_tiny"),
    *OWN,
}
METHODS = ("grad-cam", "saliency")
SMALLER = 224
"""The side of the pictures at a second try: at the size of the trained weights the proof in float64 may take more
memory than there is, or the network be for another size without them (torchvision's vit_h_14).
"""


def main() -> None:
    """Parse the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", help="torchvision/NAME, timm/NAME; by default all without a result")
    parser.add_argument("--table", action="store_true", help="only write the table from the results that are there")
    parser.add_argument("--minutes", type=float, default=1e9, help="start no further network after so many")
    parser.add_argument("--gib", type=float, default=14, help="memory that one network may take")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        name, to, side = options.one
        print(json.dumps(compile_one(name, to, int(side))))
        return
    begin = time.monotonic()
    for name, to in [] if options.table else _jobs(options.networks):
        if time.monotonic() - begin > 60 * options.minutes:
            break
        known = _known()
        found = _in_a_process(name, to, options.gib, None)
        if "refused" in found and name not in OWN:
            smaller = _in_a_process(name, to, options.gib, SMALLER)
            worse = {**found, "refused": f"{found['refused']}; at {SMALLER}²: {smaller.get('refused')}"}
            found = worse if "refused" in smaller else {**smaller, "side": SMALLER}
        known[f"{name} {to}"] = found
        RESULTS.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        print(f"{name} {to}: {found.get('refused') or 'proven'} ({found['seconds']} s)", flush=True)
    TABLE.write_text(table(_known()), encoding="utf-8")


def _known() -> dict[str, dict[str, Any]]:
    return json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else {}


def _jobs(asked: list[str]) -> list[tuple[str, str]]:
    import torchvision

    def size(name: str) -> int:
        return next(iter(torchvision.models.get_model_weights(name))).meta["num_params"]

    names = sorted(torchvision.models.list_models(torchvision.models), key=size)
    names = asked or [*sorted(BOTH - {f"torchvision/{n}" for n in names}), *(f"torchvision/{n}" for n in names)]
    jobs = [(name, to) for name in names for to in (("torchscript", "onnx") if name in BOTH else ("torchscript",))]
    return [job for job in jobs if asked or " ".join(job) not in _known()]


def _in_a_process(name: str, to: str, gib: float, side: int | None) -> dict[str, Any]:
    begin = time.monotonic()
    words = [sys.executable, str(Path(__file__).resolve()), "--one", name, to, str(side or 0)]

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_DATA, (int(gib * 2**30), int(gib * 2**30)))

    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, preexec_fn=limit)
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        last = (done.stderr.strip().splitlines() or [f"the process ended with {done.returncode}"])[-1]
        memory = "memory" in last.lower() or done.returncode < 0
        found = {"refused": f"not tried: more than {gib:g} GiB of memory" if memory else last[:300]}
    else:
        found = json.loads(lines[-1])
        if "allocate memory" in found.get("refused", ""):
            found = {"refused": f"not tried: more than {gib:g} GiB of memory"}
    return {**found, "seconds": round(time.monotonic() - begin)}


def compile_one(name: str, to: Any, side: int) -> dict[str, Any]:
    """Compile one network for one runtime, for pictures of `side` or 0 for its own; what its proof measured, or why it
    was refused.
    """
    from saccade.engine import pipeline
    from saccade.engine.compiler import SUFFIX, load_model
    from saccade.engine.contract import ModelOptions, SaccadeError

    try:
        size, target = OWN.get(name, ((side, side) if side else None, "class"))
        model = load_model(name, "random", ModelOptions(input_size=size))
        found: dict[str, Any] = {"parameters": sum(v.numel() for v in model.network.state.values())}
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, f"p{SUFFIX[to]}")
            spec = pipeline.compile_program(model, METHODS, path, to, None, target)
    except SaccadeError as error:
        return {"refused": str(error)}
    except MemoryError:
        return {"refused": "not tried: out of memory"}
    exact, file = spec.proof["mathematics_float64"], spec.proof["file"]
    found |= {"layer": spec.maps[0].layer, "shape": spec.maps[0].shape}
    found |= {"float64": max(exact[m.name] for m in spec.maps), "convolutions": spec.proof["convolutions"]}
    return {**found, "grad_cam": file["grad_cam"]["rms_l2"], "saliency": file["saliency"]["rms_l2"]}


HEAD = """# Networks

Made by `python benchmarks/networks.py`; do not edit. Each network was compiled for Grad-CAM at its default layer and
saliency, with random weights, and proven before it was kept.

- **float64**: the largest difference of a map from hooks and autograd in float64, relative to the map's maximum
  (refused above 1e-9).
- **Grad-CAM, saliency**: the file in its own runtime in float32 against float64, RMS of the relative L2 error over
  three drawn pictures. Saliency jumps where a ReLU is at a tie, in eager float32 too.

| network | runtime | million weights | Grad-CAM's layer | map | float64 | Grad-CAM | saliency |
|---|---|---|---|---|---|---|---|
"""


def table(known: dict[str, dict[str, Any]]) -> str:
    """The results as Markdown; refused networks below, with their reasons."""
    lines, refused = [], []
    for key, r in sorted(known.items(), key=lambda item: (item[0].split("/")[0], _by_number(item[0]))):
        name, to = key.split()
        if "refused" in r:
            refused.append(f"| {name} | {to} | {r['refused'].removeprefix('compile: ')} |")
            continue
        size = "×".join(map(str, r["shape"])) + (f" (pictures of {r['side']}²)" if "side" in r else "")
        errors = " | ".join(f"{r[k]:.0e}" for k in ("float64", "grad_cam", "saliency"))
        lines.append(f"| {name} | {to} | {r['parameters'] / 1e6:.1f} | `{r['layer']}` | {size} | {errors} |")
    count = len({key.split()[0] for key, r in known.items() if "refused" not in r})
    tail = f"\n{count} networks compile.\n"
    if refused:
        tail += "\n## Refused\n\n| network | runtime | reason |\n|---|---|---|\n" + "\n".join(refused) + "\n"
    return HEAD + "\n".join(lines) + "\n" + tail + photos(json.loads(PARITY.read_text(encoding="utf-8")))


PHOTOS = """
## Over photos

Made by `SACCADE_PARITY=benchmarks/results/parity.json make test-slow`. Every map against hooks and autograd in float64,
RMS of the relative L2 error over so many photos, in batches of 1, 3 and 8: eager PyTorch in float32 itself, then the
program in each runtime, which may have 3 times eager's error and 1e-5. Trained weights where there are any in the
shared data.

| network | photos | Grad-CAM: eager | ONNX Runtime | TorchScript | saliency: eager | ONNX Runtime | TorchScript |
|---|---|---|---|---|---|---|---|
"""


def photos(known: dict[str, dict[str, Any]]) -> str:
    """What the parity tests measured, as Markdown."""
    lines = []
    for name, r in known.items():
        each = [
            r[who][m]["rms_l2"] for m in ("grad_cam", "saliency") for who in ("eager", "onnxruntime", "torchscript")
        ]
        lines.append(f"| {name} | {r['photos']} | " + " | ".join(f"{value:.1e}" for value in each) + " |")
    return PHOTOS + "\n".join(lines) + "\n"


def _by_number(text: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdecimal() else (0, part) for part in re.split(r"(\d+)", text)]


if __name__ == "__main__":
    main()
