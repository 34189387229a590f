"""The work on a run's shards in one process: photos are decoded, explained and written at the same time."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from .. import decode, execute, render, sinks
from ..contract import Batch, Maps, PhotoError, Record, Spec, UsageError, read_spec
from ..render import Caption, Gallery, Look
from .options import RunOptions
from .sheets import comparable

T = TypeVar("T")
Report = Callable[[dict[str, Any]], None]
"""Takes what happened: {"shard", "photos", "failed"} of a shard that is written, with its "seconds" for each stage, and
with "batch" of one that is explained; {"error", "usage"} when writing failed. It is called from two threads."""


@dataclass(frozen=True)
class Job:
    """What a process must know to work on a run's shards, but for the program and the photos.

    Attributes:
        out: the run's folder.
        options: how it is run.
        size: photos in a shard.
        shown: the photos on the sheet, by their place in the manifest.
    """

    out: Path
    options: RunOptions
    size: int
    shown: frozenset[int]


def has_shown(job: Job, shard: int) -> bool:
    """Whether a shard has photos of the sheet."""
    return any(shard * job.size <= i < (shard + 1) * job.size for i in job.shown)


@dataclass(frozen=True)
class Task:
    """A shard to be worked on.

    Attributes:
        shard: its number.
        skip: name → why: photos that become rows with that error and are not read, for they ended a process.
        alone: explain each photo in a call of its own.
        aside: why none of its photos is read; each becomes a row with that error.
    """

    shard: int
    skip: Mapping[str, str] = field(default_factory=dict)
    alone: bool = False
    aside: str | None = None


def work(
    runner: execute.Runner,
    photos: decode.Manifest,
    job: Job,
    tasks: Iterable[Task],
    report: Report,
) -> None:
    """Work on shards, one after the other without a pause between them.

    The next batches decode while this one runs, and the one before is being written; each queue is bounded, so that
    memory does not grow with the number of photos. A batch never spans two shards, so that a shard's bytes depend on
    its photos alone.

    Args:
        runner: the loaded program.
        photos: all of the manifest.
        tasks: asked for the next one two batches ahead; may wait.

    Raises:
        SaccadeError: something could not be written, or the source of the photos went away. Shards that were reported
            are whole, others are not there.
    """
    options = job.options
    with contextlib.ExitStack() as stack:
        storage = stack.enter_context(_Storage(options.patience))
        batches = stack.enter_context(
            decode.Decoder(
                _batches(photos, job, tasks, storage),
                runner.spec.preprocessing,
                options.decode,
                options.threads,
                storage=storage,
            )
        )
        sink = stack.enter_context(_Sink(runner.spec, photos, job, storage, report))
        while True:
            start = time.perf_counter()
            batch = next(batches, None)
            if batch is None:
                break
            decoded = time.perf_counter()
            maps = runner.run(batch.images, options.target) if len(batch.images) else None
            explained = time.perf_counter()
            report(
                {
                    "shard": batch.records[0].index // job.size,
                    "batch": len(batch.records),
                    "failed": sum(r.error is not None for r in batch.records),
                }
            )
            sink.put(batch, maps, {"wait_for_decode": decoded - start, "execute": explained - decoded})


class _Storage(decode.Storage):
    """Does not fetch what ended a process before."""

    def __init__(self, patience: float) -> None:
        super().__init__(patience)
        self.skip: dict[str, str] = {}

    def read(self, photo: decode.Photo, use: Callable[[str | bytes], T], stop: threading.Event | None = None) -> T:
        if photo.name in self.skip:
            raise PhotoError(self.skip[photo.name])
        return super().read(photo, use, stop)


def _batches(
    photos: Sequence[decode.Photo], job: Job, tasks: Iterable[Task], storage: _Storage
) -> Iterator[tuple[int, Sequence[decode.Photo]]]:
    for task in tasks:
        begin = task.shard * job.size
        end = min(begin + job.size, len(photos))
        storage.skip.update(task.skip)
        if task.aside is not None:
            storage.skip.update((photo.name, task.aside) for photo in photos[begin:end])
        yield from decode.batches_of(photos, 1 if task.alone else job.options.batch_size, begin, end)


class _Sink:
    """Writes batches on a thread of its own while the next one runs; at most two wait."""

    def __init__(self, spec: Spec, photos: decode.Manifest, job: Job, storage: decode.Storage, report: Report) -> None:
        self._spec, self._job, self._storage, self._report = spec, job, storage, report
        self._listed = len(photos)
        self._further = photos.further
        self._gallery = Gallery(spec, job.options.look, ())
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="saccade-write")
        self._pool = ThreadPoolExecutor(
            job.options.threads or os.cpu_count() or 1, thread_name_prefix="saccade-overlay"
        )
        self._waiting: deque[Future[None]] = deque()
        self._writer: sinks.EvidenceWriter | None = None
        self._cells: list[tuple[Caption, npt.NDArray[np.uint8], dict[str, npt.NDArray[np.float32]]]] = []
        self._seconds: Counter[str] = Counter()
        self._broken = False

    def __enter__(self) -> _Sink:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            while self._waiting and kind is None:
                self._waiting.popleft().result()
        finally:
            # What was handed over is still written: a shard that it completes is part of what was finished.
            self._thread.shutdown(wait=True)
            self._pool.shutdown(wait=True, cancel_futures=True)
            if self._writer is not None:
                self._writer.discard()

    def put(self, batch: Batch, maps: Maps | None, seconds: Mapping[str, float]) -> None:
        """Hand over a batch; waits while two are being written. Raises what writing raised."""
        start = time.perf_counter()
        while len(self._waiting) > 1:
            self._waiting.popleft().result()
        waited = time.perf_counter() - start
        self._waiting.append(self._thread.submit(self._write, batch, maps, {**seconds, "wait_for_write": waited}))

    def _write(self, batch: Batch, maps: Maps | None, seconds: Mapping[str, float]) -> None:
        if self._broken:  # batches that were handed over before it was known: nothing may complete a shard with holes
            return
        try:
            self._take(batch, maps, seconds)
        except BaseException as error:
            self._broken = True
            # It is raised at the next `put`, but until then the caller may be waiting for shards, and us for this one.
            self._report({"error": str(error) or repr(error), "usage": isinstance(error, UsageError)})
            raise

    def _take(self, batch: Batch, maps: Maps | None, seconds: Mapping[str, float]) -> None:
        start = time.perf_counter()
        shard = batch.records[0].index // self._job.size
        options = self._job.options
        if self._writer is None:
            self._writer = sinks.EvidenceWriter(self._job.out, self._spec, options.keep, shard, self._further)
        self._writer.write(batch, maps)
        written = time.perf_counter()
        if maps is not None:
            self._keep_cells(batch, maps)
            if options.overlays:
                self._overlays(batch, maps)
        rendered = time.perf_counter()
        self._seconds.update(seconds)
        self._seconds.update(decode=sum(r.seconds for r in batch.records), write=written - start)
        self._seconds.update(render=rendered - written)
        if batch.records[-1].index + 1 == min((shard + 1) * self._job.size, self._listed):
            self._finish(shard)

    def _finish(self, shard: int) -> None:
        assert self._writer is not None
        start = time.perf_counter()
        if has_shown(self._job, shard):
            kept, self._cells = self._cells, []
            maps = {m.name: [values[m.name] for _, _, values in kept] for m in self._spec.maps}
            captions = [dataclasses.asdict(caption) for caption, _, _ in kept]
            sinks.write_cells(self._job.out, shard, captions, [image for _, image, _ in kept], maps)
        writer, self._writer = self._writer, None
        writer.close()
        self._seconds["write"] += time.perf_counter() - start
        seconds, self._seconds = self._seconds, Counter()
        rounded = {stage: round(value, 4) for stage, value in sorted(seconds.items())}
        self._report({"shard": shard, "photos": writer.rows, "failed": writer.failed, "seconds": rounded})

    def _keep_cells(self, batch: Batch, maps: Maps) -> None:
        chosen = [i for i, r in enumerate(batch.good) if r.index in self._job.shown]
        if not chosen:
            return
        spec, sure, answers = self._spec, self._spec.confidence(maps.logits), self._spec.answers(maps.logits)
        for i in chosen:
            r = batch.good[i]
            confidence = None if sure is None else float(sure[i])
            caption = Caption(r.index, r.name, r.label, answers[i], confidence, comparable(spec, answers[i]))
            self._cells.append((caption, batch.images[i], {name: values[i] for name, values in maps.maps.items()}))

    def _overlays(self, batch: Batch, maps: Maps) -> None:
        drawn = [m for m in self._spec.maps if m.kind != "activations"]
        ranges = {m.name: self._gallery.ranges(m, maps.maps[m.name]) for m in drawn}
        jobs = []
        for i, record in enumerate(batch.good):
            limits = {name: (float(r[i, 0]), float(r[i, 1])) for name, r in ranges.items()}
            own = {name: values[i] for name, values in maps.maps.items()}
            jobs.append(self._pool.submit(self._overlay, record, own, limits))
        for job in jobs:
            job.result()

    def _overlay(self, record: Record, maps: dict[str, npt.NDArray], limits: dict[str, tuple[float, float]]) -> None:
        look = self._job.options.look
        pictures = {  # a layer's channels have no one place on the photo: one grey picture for each
            name: render.channel_mosaic(values, limit=None) for name, values in maps.items() if name not in limits
        }
        # The photo may have gone since it was decoded, or the view be thinner than a pixel: the row has the rest.
        with contextlib.suppress(PhotoError, UsageError):
            place = decode.photo_of(record)
            photo = self._storage.read(place, lambda s: decode.read_upright(s, place.place)) if limits else None
            for name, shown in limits.items():
                assert record.view is not None
                pictures[name] = render.overlay_on_photo(
                    maps[name], photo, record.view, shown, look.colormap, look.opacity, threads=1
                )
        for name, picture in pictures.items():
            sinks.write_picture(sinks.overlay_path(self._job.out, record.name, name), picture)


# ---- a job as words ------------------------------------------------------------------------------------------------


def job_to_json(runner: execute.Runner, manifest: Path, job: Job) -> dict[str, Any]:
    """A job for another process, with its program and its photos."""
    assert runner.origin is not None
    return {
        "program": dataclasses.asdict(runner.origin),
        "contract": runner.spec.to_json(),
        "manifest": str(manifest.absolute()),
        "out": str(job.out.absolute()),
        "options": job.options.to_json(),
        "size": job.size,
        "shown": sorted(job.shown),
    }


def job_from_json(info: dict[str, Any]) -> tuple[execute.Runner, decode.Manifest, Job]:
    """What `job_to_json` said, with the program loaded and the manifest opened.

    Raises:
        SaccadeError: the program is not to be had any more, or is another one.
    """
    spec = read_spec(info["contract"])
    options = RunOptions(**{**info["options"], "look": Look(**info["options"]["look"])})
    if spec.target == "unit" and isinstance(options.target, list):  # one for all, and not one for each
        options = dataclasses.replace(options, target=tuple(options.target))
    # Trusted by the one who started the run.
    runner = execute.load(**info["program"], threads=options.threads, trust=True)
    if runner.spec.hash != spec.hash:
        raise UsageError(f"run: {info['program']['path']} was replaced while it was run; put the first one back")
    runner.spec = spec  # with the names of classes that were given to the run
    return (
        runner,
        decode.Manifest(info["manifest"]),
        Job(Path(info["out"]), options, info["size"], frozenset(info["shown"])),
    )
