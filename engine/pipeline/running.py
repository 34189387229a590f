"""A run: photos are decoded, explained and written at the same time."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy.typing as npt

from .. import decode, execute, render, sinks
from ..contract import Batch, Maps, PhotoError, Record, SaccadeError, Spec, UsageError
from ..render import Caption, Gallery, Look
from .programs import evenly
from .sheets import SHEET_LIMIT, check_look, comparable, title_of


@dataclass(frozen=True)
class RunOptions:
    """How to run a program over photos.

    Attributes:
        target: what to explain, as `execute.Runner.run` takes it for all images; None for the program's choice.
        batch_size: photos for one call of the program.
        decode: "fast" (JPEG at reduced scale) or "exact" (the model library's own pixels).
        look: colormap, scaling and opacity of pictures.
        overlays: whether to write one picture for each photo and map.
        keep: "small" or "full", see `sinks.EvidenceWriter`.
        sheet_limit: photos on the sheet, spread evenly over the run; 0 for no sheet.
        threads: decoding threads; None for one per core.
    """

    target: Any = None
    batch_size: int = 16
    decode: Literal["fast", "exact"] = "fast"
    look: Look = field(default_factory=Look)
    overlays: bool = False
    keep: Literal["small", "full"] = "small"
    sheet_limit: int = SHEET_LIMIT
    threads: int | None = None


@dataclass(frozen=True)
class RunResult:
    """What a run did: photos seen, photos that failed (their rows carry the error), seconds, the sheet if any."""

    photos: int
    failed: int
    seconds: float
    sheet: Path | None


def check_options(spec: Spec, options: RunOptions) -> None:
    """See that a program can be run so; `run` does it too.

    Raises:
        UsageError: an option does not fit the program.
    """
    if options.batch_size < 1:
        raise UsageError(f"run: batch size must be 1 or more; got {options.batch_size}")
    if spec.pixels != "uint8":
        raise UsageError(
            f"run: {spec.model} was compiled for ascent, to change a picture (saccade dream); it has no maps"
        )
    execute.program_inputs(spec, 1, options.target)
    check_look(spec, options.look)


def run(
    runner: execute.Runner,
    photos: Sequence[decode.Photo],
    out: str | os.PathLike[str],
    options: RunOptions | None = None,
    on_progress: Callable[[int, int], None] = lambda done, failed: None,
) -> RunResult:
    """Run a program over photos: evidence, a contact sheet and, if wanted, an overlay for each photo.

    The next batches decode while this one runs, and the one before is being written; each queue is bounded, so that
    memory does not grow with the number of photos.

    Args:
        runner: a loaded program.
        photos: the manifest, of `decode.list_photos`.
        out: a folder without a run in it.
        on_progress: called with (photos done, photos failed) after each batch.

    Raises:
        UsageError: the folder holds a run, or an option does not fit the program.
        SaccadeError: something could not be written. Shards that were finished stay readable.
    """
    options = options or RunOptions()
    out, spec = Path(out), runner.spec
    check_options(spec, options)
    gallery = Gallery(spec, options.look, evenly(len(photos), options.sheet_limit))
    writer = sinks.EvidenceWriter(out, spec, options.keep)
    state = _RunFile(out, runner, options, len(photos))
    state.write("running")
    started = time.perf_counter()
    try:
        with contextlib.ExitStack() as stack:
            batches = stack.enter_context(
                decode.Decoder(photos, spec.preprocessing, options.batch_size, options.decode, options.threads)
            )
            stack.enter_context(writer)
            sink = stack.enter_context(_Sink(writer, gallery, out, options))
            for batch in batches:
                with state.timed("execute"):
                    maps = runner.run(batch.images, options.target) if len(batch.images) else None
                with state.timed("wait_for_write"):
                    sink.put(batch, maps)
                state.count(batch)
                on_progress(state.done, state.failed)
        state.seconds["write"] = sink.seconds
        sheet = None
        if options.sheet_limit and gallery.cells:
            sheet = out / "sheet.jpg"
            sinks.write_picture(sheet, gallery.draw(title_of(spec), state.describe(len(gallery.cells))))
    except BaseException as error:
        with contextlib.suppress(SaccadeError):
            state.write("interrupted" if isinstance(error, KeyboardInterrupt) else "failed")
        raise
    state.write("finished")
    return RunResult(state.done, state.failed, time.perf_counter() - started, sheet)


class _RunFile:
    """run.json, and the counts and times that go into it."""

    def __init__(self, out: Path, runner: execute.Runner, options: RunOptions, photos: int) -> None:
        self._out, self._runner, self._options, self._photos = out, runner, options, photos
        self._started = time.time()
        self.done = self.failed = 0
        self.seconds: dict[str, float] = {}

    def count(self, batch: Batch) -> None:
        self.done += len(batch.records)
        self.failed += sum(r.error is not None for r in batch.records)

    @contextlib.contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - start

    def write(self, status: str) -> None:
        sinks.write_run(
            self._out,
            {
                "status": status,
                "contract": json.loads(self._runner.spec.to_json()),
                "options": dataclasses.asdict(self._options),
                "runtime": self._runner.runtime,
                "device": self._runner.device,
                "precision": self._runner.precision,
                "measured": self._runner.measured,
                "photos": {"listed": self._photos, "done": self.done, "failed": self.failed},
                "seconds": {"total": time.time() - self._started, **self.seconds},
            },
        )

    def describe(self, shown: int) -> str:
        failed = f", {self.failed} could not be read" if self.failed else ""
        some = f" {shown} of them are shown, spread evenly." if shown < self.done - self.failed else ""
        return f"{self.done:,} photos{failed}.{some}"


class _Sink:
    """Writes batches on a thread of its own while the next one runs; at most two wait."""

    def __init__(self, writer: sinks.EvidenceWriter, gallery: Gallery, out: Path, options: RunOptions) -> None:
        self._writer, self._gallery, self._out, self._options = writer, gallery, out, options
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="saccade-write")
        self._pool = ThreadPoolExecutor(options.threads or os.cpu_count() or 1, thread_name_prefix="saccade-overlay")
        self._waiting: deque[Future[None]] = deque()
        self.seconds = 0.0

    def __enter__(self) -> _Sink:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            while self._waiting and kind is None:
                self._waiting.popleft().result()
        finally:
            # What was handed over is still written: after Ctrl-C it is part of what was finished.
            self._thread.shutdown(wait=True)
            self._pool.shutdown(wait=True, cancel_futures=True)

    def put(self, batch: Batch, maps: Maps | None) -> None:
        """Hand over a batch; waits while two are being written. Raises what writing raised."""
        while len(self._waiting) > 1:
            self._waiting.popleft().result()
        self._waiting.append(self._thread.submit(self._write, batch, maps))

    def _write(self, batch: Batch, maps: Maps | None) -> None:
        start = time.perf_counter()
        self._writer.write(batch, maps)
        if maps is not None:
            self._gallery.add(self._captions(batch, maps), batch.images, maps.maps)
            if self._options.overlays:
                self._overlays(batch, maps)
        self.seconds += time.perf_counter() - start

    def _captions(self, batch: Batch, maps: Maps) -> list[Caption]:
        spec = self._gallery.spec
        sure = spec.confidence(maps.logits)
        return [
            Caption(r.index, r.name, r.label, said, None if sure is None else float(sure[i]), comparable(spec, said))
            for i, (r, said) in enumerate(zip(batch.good, spec.answers(maps.logits), strict=True))
        ]

    def _overlays(self, batch: Batch, maps: Maps) -> None:
        drawn = [m for m in self._gallery.spec.maps if m.kind != "activations"]
        ranges = {m.name: self._gallery.ranges(m, maps.maps[m.name]) for m in drawn}
        jobs = []
        for i, record in enumerate(batch.good):
            limits = {name: (float(r[i, 0]), float(r[i, 1])) for name, r in ranges.items()}
            own = {name: values[i] for name, values in maps.maps.items()}
            jobs.append(self._pool.submit(self._overlay, record, own, limits))
        for job in jobs:
            job.result()

    def _overlay(self, record: Record, maps: dict[str, npt.NDArray], limits: dict[str, tuple[float, float]]) -> None:
        look = self._options.look
        pictures = {  # a layer's channels have no one place on the photo: one grey picture for each
            name: render.channel_mosaic(values, limit=None) for name, values in maps.items() if name not in limits
        }
        # The photo may have gone since it was decoded, or the view be thinner than a pixel: the row has the rest.
        with contextlib.suppress(PhotoError, UsageError):
            photo = decode.read_upright(record.path) if limits else None
            for name, shown in limits.items():
                assert record.view is not None
                pictures[name] = render.overlay_on_photo(
                    maps[name], photo, record.view, shown, look.colormap, look.opacity, threads=1
                )
        for name, picture in pictures.items():
            sinks.write_picture(sinks.overlay_path(self._out, record.name, name), picture)
