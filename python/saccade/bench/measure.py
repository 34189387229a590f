"""A network × method × runtime × precision × batch, each contender in a process of its own, all of them in turns."""

from __future__ import annotations

import dataclasses
import importlib.util
import itertools
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..engine import pipeline
from ..engine.contract import SaccadeError, UsageError
from ..engine.contract.program_file import Format
from ..engine.contract.spec import Precision
from ..engine.execute import cuda_devices
from . import measuring
from .answers import TOLERANCE, check, exactly_held, reference
from .contenders import FORWARD_EAGER, HOOKS, PEERS, Task, module_and_ask

if TYPE_CHECKING:
    from ..engine.compiler import Model

FILE_OF: dict[str, Format] = {
    "onnxruntime": "onnx",
    "openvino": "onnx",
    "torchscript": "torchscript",
    "aotinductor": "aotinductor",
}
"""Runtime → the kind of file that it runs."""

BATCHES = 4
"""Different batches that take turns as the input, so that no cache is measured."""
TURN = 0.4
"""Seconds of calls in one turn, at least one call."""
MOST_CALLS = 50

Say = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """What is measured.

    Attributes:
        models: as `load_model` takes them, `torchvision/resnet18`.
        methods, batches, runtimes, precisions: every combination is measured.
        weights, size: of all models.
        device: "cpu" or "cuda".
        threads: CPU threads of each contender.
        rounds: turns of each contender.
        peers: whether other packages run beside, in float32.
        patience: seconds to wait, for each combination, for a quiet machine.
    """

    models: Sequence[str]
    methods: Sequence[str] = ("grad-cam",)
    batches: Sequence[int] = (1, 8)
    runtimes: Sequence[str] = ("onnxruntime",)
    precisions: Sequence[Precision] = ("float32",)
    weights: str = "random"
    size: tuple[int, int] | None = None
    device: str = "cpu"
    threads: int = 0
    rounds: int = 12
    peers: bool = True
    patience: float = 60


def measure(
    plan: Plan, say: Say = lambda line: None, keep: Callable[[dict[str, Any]], None] = lambda found: None
) -> dict[str, Any]:
    """Measure it all.

    Args:
        say: told what is being done.
        keep: given what there is after each combination, so that hours are not lost to the last one.

    Returns:
        For JSON: settings, versions, and for each combination the rows, ratios, agreement and raw samples.

    Raises:
        UsageError: a runtime, method or device that does not exist, or a network that cannot be compared.
        SaccadeError: nobody could be measured.
        WrongAnswerError: the comparison lets wrong answers pass.
    """
    from ..engine.compiler import METHODS, load_model
    from ..engine.contract import ModelOptions

    if plan.device == "cuda" and not cuda_devices():
        raise UsageError("bench: device 'cuda': the driver shows no CUDA device here; use --device cpu")

    for word, given, known in (("runtime", plan.runtimes, FILE_OF), ("method", plan.methods, METHODS)):
        if unknown := [w for w in given if w not in known]:
            raise UsageError(f"bench: {word} {unknown[0]!r}: expected one of {', '.join(known)}")
    plan = dataclasses.replace(plan, threads=plan.threads or measuring.cores_used())
    packages = ("torch", "torchvision", "onnxruntime-gpu", "onnxruntime", "openvino", *PEERS, "numpy")
    groups: list[dict[str, Any]] = []
    found = {
        "benchmark": "bench",
        "settings": dataclasses.asdict(plan),
        "versions": measuring.versions(*packages),
        "groups": groups,
    }
    for name in plan.models:
        model = load_model(name, plan.weights, ModelOptions(input_size=plan.size))
        for method, precision in itertools.product(plan.methods, plan.precisions):
            module_and_ask(model, method)  # whether there is anything to compare with, before minutes of compiling
            with tempfile.TemporaryDirectory(prefix="saccade-bench-") as folder:
                files, refused = _files(plan, model, method, precision, Path(folder), say)
                for batch in plan.batches:
                    say(f"{name}, {method}, {precision}, batch {batch}")
                    tasks = _tasks(plan, model, name, method, precision, files)
                    groups.append(_group(plan, model, method, precision, batch, tasks, refused, Path(folder), say))
                    keep(found)
    if not any(group["rows"] for group in groups):
        raise SaccadeError("bench: nobody could be measured; the lines above say why")
    return found


def _files(
    plan: Plan, model: Model, method: str, precision: Precision, folder: Path, say: Say
) -> tuple[dict[str, dict[str, Path]], dict[str, str]]:
    """Runtime → program and forward file; and why some runtimes have none."""
    from ..engine.compiler import SUFFIX, write_forward

    files: dict[str, dict[str, Path]] = {}
    refused: dict[str, str] = {}
    made: dict[tuple[Format, Precision], dict[str, Path]] = {}
    for runtime in plan.runtimes:
        to = FILE_OF[runtime]
        kept: Precision = "float32" if runtime == "openvino" else precision  # it narrows a float32 file by itself
        found = {kind: folder / f"{kind}-{runtime}{SUFFIX[to]}" for kind in ("program", "forward")}
        device: Any = "cpu" if to == "torchscript" else plan.device
        if (to, kept) not in made:
            say(f"compiling {model.network.name}, {method}, {kept} for {runtime}")
            try:
                pipeline.compile_program(
                    model, [method], found["program"], to, precision=kept, device=device, force=True
                )
                write_forward(model, found["forward"], to, kept, device)
            except SaccadeError as error:
                refused[f"saccade {runtime}"] = str(error)
                continue
            made[to, kept] = found
        files[runtime] = made[to, kept]
    return files, refused


def _tasks(
    plan: Plan, model: Model, name: str, method: str, precision: Precision, files: Mapping[str, Mapping[str, Path]]
) -> list[Task]:
    about = {"images": "", "device": plan.device, "threads": plan.threads, "method": method, "precision": precision}
    outputs = model.network.num_outputs
    of_torch = {**about, "model": name, "weights": plan.weights, "size": plan.size}
    tasks = []
    for runtime, found in files.items():
        tasks.append(Task(f"saccade {runtime}", "program", path=str(found["program"]), runtime=runtime, **about))
        of_file = {**about, "path": str(found["forward"]), "runtime": runtime, "outputs": outputs}
        tasks.append(Task(f"forward {runtime}", "forward", **of_file))
    tasks.append(Task(FORWARD_EAGER, FORWARD_EAGER, **of_torch))
    if precision == "float32":
        tasks.append(Task(HOOKS, HOOKS, **of_torch))
        for package, (_, methods) in PEERS.items():
            if plan.peers and method in methods:
                tasks.append(Task(package, package, **of_torch))
    return tasks


class Worker:
    """A contender's process."""

    def __init__(self, task: Task) -> None:
        self.name = task.name
        command = [sys.executable, "-W", "ignore", "-m", "saccade.bench.worker"]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self._send(dataclasses.asdict(task))

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def ready(self) -> str | None:
        """Wait until it is built; gives the reason where it cannot be."""
        found = self._receive()
        return None if found.get("ready") else str(found.get("reason", "it ended without a word"))

    def ask(self, **what: Any) -> dict[str, Any]:
        """Send a request and wait for its answer.

        Raises:
            SaccadeError: it failed, or its process is gone.
        """
        self._send(what)
        found = self._receive()
        if not found or "failed" in found:
            raise SaccadeError(f"bench: {self.name}: {found.get('failed', 'its process ended')}")
        return found

    def _send(self, what: Mapping[str, Any]) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(what) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # what it said before, or nothing, comes as its answer

    def _receive(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline() or "{}")


def _group(
    plan: Plan,
    model: Model,
    method: str,
    precision: Precision,
    batch: int,
    tasks: Sequence[Task],
    refused: Mapping[str, str],
    folder: Path,
    say: Say,
) -> dict[str, Any]:
    """One combination: build, compare, time."""
    from ..engine.compiler.proof import pictures

    inputs = np.stack([pictures(model.preprocessing, ["textured"] * batch, seed=10 + i) for i in range(BATCHES)])
    np.save(folder / "images.npy", inputs)
    exact, exactly = reference(model, method, inputs[0]), exactly_held(model, method, precision)
    seen = measuring.self_test(exact["map" if exactly else "logits"], TOLERANCE)
    refused, agreement = dict(refused), {}
    with ExitStack() as stack:
        workers: dict[str, Worker] = {}
        for task in tasks:
            module = PEERS.get(task.kind, ("json",))[0]
            if importlib.util.find_spec(module) is None:
                refused[task.name] = f"not installed (pip install {task.kind})"
                continue
            task = dataclasses.replace(task, images=str(folder / "images.npy"))
            worker = stack.enter_context(Worker(task))
            try:
                if reason := worker.ready():
                    raise SaccadeError(reason)
                found = worker.ask(do="answer", out=str(folder / "answer.npz"))
                with np.load(folder / "answer.npz") as answer:
                    agreement[task.name] = check(task.name, dict(answer), found["scaled"], exact, exactly, precision)
            except (SaccadeError, measuring.WrongAnswerError) as error:
                refused[task.name] = str(error)
                worker.__exit__()
                continue
            workers[task.name] = worker
        samples, failed = _turns(workers, plan)
        refused |= failed
        for name, reason in refused.items():
            say(f"  not {name}: {reason}")
        memory = {name: workers[name].ask(do="memory") for name in samples}
    rows = {name: _row(samples[name], batch) | memory[name] for name in samples}
    return {
        "model": model.network.name,
        "method": method,
        "precision": precision,
        "batch": batch,
        "rows": rows,
        "ratios": _ratios(samples, plan.runtimes),
        "refused": refused,
        "agreement": {
            "reference": "hooks and autograd in float64",
            "tolerance": TOLERANCE,
            "wrong answers refused": seen,
            **agreement,
        },
        "samples": samples,
    }


# ---- time ---------------------------------------------------------------------------------------------------------


def _turns(workers: Mapping[str, Worker], plan: Plan) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """Each contender's turns, `wall`, the median of each turn, `others` and every call's seconds; and why some did not
    last.
    """
    failed: dict[str, str] = {}
    calls, first = {}, dict.fromkeys(workers, 0)
    for name, worker in workers.items():
        try:
            warm = worker.ask(do="turn", calls=3, first=0)["wall"][-1]
            calls[name] = int(np.clip(TURN / warm, 1, MOST_CALLS))
        except SaccadeError as error:
            failed[name] = str(error)
    samples = {name: {"wall": [], "others": [], "cpu": [], "calls": [], "gpu": []} for name in workers}
    names, patience = list(workers), plan.patience
    for i in range(plan.rounds):
        for name in names if i % 2 else reversed(names):
            if name in failed:
                continue
            patience -= measuring.wait_for_quiet(patience)
            time.sleep(measuring.SETTLE)
            busy = measuring.busy_seconds()
            try:
                found = workers[name].ask(do="turn", calls=calls[name], first=first[name])
            except SaccadeError as error:  # out of memory beside the others, for one
                failed[name] = str(error)
                continue
            busy = measuring.busy_seconds() - busy
            first[name] += calls[name]
            kept = samples[name]
            kept["wall"].append(measuring.short(float(np.median(found["wall"]))))
            kept["others"].append(measuring.short(measuring.shares(sum(found["wall"]), found["cpu"], busy)))
            kept["cpu"].append(measuring.short(found["cpu"]))
            kept["calls"] += [measuring.short(s) for s in found["wall"]]
            kept["gpu"] += [measuring.short(s) for s in found["gpu"]]
    return {name: kept for name, kept in samples.items() if name not in failed}, failed


def _row(samples: Mapping[str, Any], batch: int) -> dict[str, Any]:
    """Latency in milliseconds and images per second, over all calls."""
    p50, p95, p99 = (measuring.short(1000 * v) for v in np.quantile(samples["calls"], [0.5, 0.95, 0.99]))
    row = {"p50_ms": p50, "p95_ms": p95, "p99_ms": p99, "images_per_second": measuring.short(1000 * batch / p50)}
    if samples["gpu"]:
        row["gpu_p50_ms"] = measuring.short(1000 * float(np.median(samples["gpu"])))
    return row | {"calls": len(samples["calls"])}


def _ratios(samples: Mapping[str, Mapping[str, Any]], runtimes: Sequence[str]) -> list[dict[str, Any]]:
    """The program over its own runtime's forward, all over eager `model(x)`, and the peers over the fastest program."""
    pairs = [(f"saccade {r}", f"forward {r}") for r in runtimes]
    pairs += [(name, FORWARD_EAGER) for name in samples if not name.startswith("forward ")]
    programs = [n for n in samples if n.startswith("saccade ")]
    if programs:
        fastest = min(programs, key=lambda n: float(np.median(samples[n]["wall"])))
        pairs += [(name, fastest) for name in samples if name in (HOOKS, *PEERS)]
    found = []
    for above, below in pairs:
        if above in samples and below in samples:
            found.append(measuring.ratio(samples, above, below))
    return found
