"""A run: shard after shard, here or by workers, gone on with where it stopped, with a sheet at its end."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import json
import os
import socket
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .. import decode, execute, sinks
from ..contract import SaccadeError, UsageError
from ..render import Caption, Gallery
from .crew import Crew
from .explaining import Job, Task, has_shown, job_to_json, work
from .folder import MANIFEST, RunFolder
from .options import WITHOUT_EFFECT, WORTH_A_PROCESS, RunOptions, RunResult, Standing, check_options, shard_size
from .processes import Process
from .programs import evenly
from .sheets import sheet, title_of

_REFRESH = 2.0
"""Seconds between two writes of run.json while a run is at work."""


def run(
    runner: execute.Runner,
    photos: Sequence[decode.Photo],
    out: str | os.PathLike[str] | RunFolder,
    options: RunOptions | None = None,
    on_progress: Callable[[Standing], None] = lambda standing: None,
    asked: Mapping[str, Any] | None = None,
) -> RunResult:
    """Run a program over photos: evidence, a contact sheet and, if wanted, an overlay for each photo.

    The manifest is cut into shards. A shard is whole or absent, so that a run which was killed goes on with the shards
    that are missing; that it was, and how often, makes no difference to a byte of the evidence.

    Args:
        runner: a loaded program.
        photos: the manifest.
        out: a folder without a run in it, or with one of the same program, photos and options, which is gone on with.
        on_progress: called after each batch and each shard.
        asked: what the photos were named by; goes into run.json (see `RunFolder.manifest`).

    Raises:
        UsageError: the folder holds another run, another process is at work in it, or an option does not fit the
            program.
        SaccadeError: something could not be written, or the source of the photos went away. What was finished is kept;
            the same call goes on with it.
    """
    options = options or RunOptions()
    check_options(runner.spec, options)
    with contextlib.ExitStack() as stack:
        folder = out if isinstance(out, RunFolder) else stack.enter_context(RunFolder(out))
        manifest = photos if isinstance(photos, decode.Manifest) else _kept(folder, photos)
        return _Run(runner, manifest, folder, options, on_progress, asked).go()


def _kept(folder: RunFolder, photos: Sequence[decode.Photo]) -> decode.Manifest:
    """A list of photos as the folder's manifest, or beside it where the run that is there has one."""
    if folder.found is None:
        return folder.manifest({}, lambda path: decode.keep_manifest(path, photos))
    with tempfile.TemporaryDirectory(prefix="saccade-") as beside:
        # Which are compared by their digests, as all that a run has to have in common with the one that is there.
        return decode.keep_manifest(Path(beside, MANIFEST), photos)


class _Run:
    """One start of a run."""

    def __init__(
        self,
        runner: execute.Runner,
        photos: decode.Manifest,
        folder: RunFolder,
        options: RunOptions,
        on_progress: Callable[[Standing], None],
        asked: Mapping[str, Any] | None,
    ) -> None:
        self._runner, self._photos, self._folder, self._options = runner, photos, folder, options
        self._on_progress, self._asked = on_progress, asked
        size = shard_size(len(photos), options.shard_size)
        shown = frozenset(evenly(len(photos), options.sheet_limit))
        self._job = Job(folder.path, self._shared(options, 1), size, shown)
        self._shards = -(-len(photos) // size)
        self._started, self._clock, self._written = time.time(), time.monotonic(), 0.0
        self._lines: dict[int, tuple[int, int]] = {}
        self._open: dict[int, tuple[int, int]] = {}
        self._seconds: Counter[str] = Counter()
        self._aside: dict[int, str] = {}
        self._before = 0
        self._lock = threading.Lock()
        self._same = self._what_is_the_same()
        self._fixed = self._what_does_not_change()
        self._starts = (folder.found or {}).get("starts", [])[-99:]
        self._here = {
            "host": socket.gethostname(),
            "process": os.getpid(),
            "began": self._started,
            "versions": execute.versions(runner.runtime),
        }
        self._done = self._failed = 0

    def go(self) -> RunResult:
        found = self._folder.found or {}
        if found:
            self._folder.check_same(found.get("same", {}), self._same)
            self._photos = decode.Manifest(self._folder.path / MANIFEST)
            self._look_for_what_is_there()
            self._before = self._done
        waiting = [n for n in range(self._shards) if n not in self._lines]
        picture = self._folder.path / "sheet.jpg"
        if found.get("status") == "finished" and not waiting:
            return self._result(picture if picture.exists() else None)
        # What is left to be refused is so before the run that is there is removed.
        sinks.evidence_schema(self._runner.spec, self._options.keep, self._photos.further)
        if not found:
            self._folder.begin(self._photos)
        self._write("running")
        try:
            self._work(waiting, killed=found.get("status") == "running")
            drawn = self._draw(picture) if self._job.shown else False
        except BaseException as error:
            with contextlib.suppress(SaccadeError):
                self._look_for_what_is_there()  # a worker that was stopped between its shard's rename and its word
            with contextlib.suppress(SaccadeError):
                self._write("interrupted" if isinstance(error, KeyboardInterrupt) else "failed")
            raise
        self._write("finished")
        sinks.remove_cells(self._folder.path)
        return self._result(picture if drawn else None)

    def _work(self, shards: list[int], killed: bool) -> None:
        """Have the shards worked on, here or by workers."""
        options, workers = self._options, self._options.workers
        if workers is None:
            # A run that was killed may have been so by one of its photos.
            workers = int(killed or len(shards) * self._job.size >= WORTH_A_PROCESS or options.engine == "ray")
        if not (workers and shards and self._runner.origin):
            work(self._runner, self._photos, self._job, map(Task, shards), self._hear)
            return
        with contextlib.ExitStack() as stack:
            stack.callback(self._folder.sweep)  # one that is ended may be writing
            if options.engine == "ray":
                from .ray_workers import Cluster

                cluster = stack.enter_context(Cluster(self._runner.device, options.workers, options.threads))
                count, start = min(cluster.workers, len(shards)), cluster.start
                shared = dataclasses.replace(options, threads=cluster.threads)
            else:
                count, start = min(workers, len(shards)), Process
                shared = self._shared(options, count)
            words = job_to_json(self._runner, self._photos.path, dataclasses.replace(self._job, options=shared))
            self._runner.release()
            crew = Crew(functools.partial(start, words), self._photos, self._job.size, count)
            for event in stack.enter_context(contextlib.closing(crew.work(shards))):
                self._hear(event)

    def _hear(self, event: dict[str, Any]) -> None:
        with self._lock:
            self._take(event)
            self._on_progress(self.standing())
            if time.monotonic() - self._written >= _REFRESH:
                self._write("running")

    def _take(self, event: dict[str, Any]) -> None:
        if "lost" in event:
            for shard in event["lost"]:
                self._open.pop(shard, None)
        elif "batch" in event:
            done, failed = self._open.get(event["shard"], (0, 0))
            self._open[event["shard"]] = done + event["batch"], failed + event["failed"]
        elif "photos" in event:
            self._open.pop(event["shard"], None)
            sinks.append_shard(self._folder.path, event)
            self._count(event)

    def _count(self, line: Mapping[str, Any]) -> None:
        self._lines[line["shard"]] = line["photos"], line["failed"]
        self._done += line["photos"]
        self._failed += line["failed"]
        self._seconds.update(line.get("seconds", {}))
        if "aside" in line:
            self._aside[line["shard"]] = line["aside"]

    def _look_for_what_is_there(self) -> None:
        """Count the shards that are on the disk and were not counted yet, as those of earlier starts."""
        lines = sinks.read_shards(self._folder.path)
        for shard in sorted(sinks.finished_shards(self._folder.path) - self._lines.keys()):
            size = min(self._job.size, len(self._photos) - shard * self._job.size)
            if lines.get(shard, {}).get("photos") != size:  # killed between the shard's rename and its line
                photos, failed = sinks.count_rows(self._folder.path, shard)
                if photos != size:
                    raise SaccadeError(
                        f"run: shard {shard} in {self._folder.path} has {photos} rows for {max(size, 0)} photos of the "
                        "manifest; remove its file, and it is made again"
                    )
                lines[shard] = {"shard": shard, "photos": photos, "failed": failed}
                sinks.append_shard(self._folder.path, lines[shard])
            self._open.pop(shard, None)
            self._count(lines[shard])

    def standing(self) -> Standing:
        running = self._open.values()
        return Standing(
            listed=len(self._photos),
            done=self._done + sum(done for done, _ in running),
            failed=self._failed + sum(failed for _, failed in running),
            before=self._before,
            shards=self._shards,
            finished=len(self._lines),
            current=tuple(sorted(self._open)),
            seconds=time.monotonic() - self._clock,
        )

    def _shared(self, options: RunOptions, workers: int) -> RunOptions:
        """The options of each of so many workers: together they have one thread for each core."""
        threads = options.threads or (os.cpu_count() or 1 if workers > 1 else None)
        return dataclasses.replace(options, threads=threads and max(1, threads // workers))

    def _what_is_the_same(self) -> dict[str, Any]:
        """What has to be the same for a run to be gone on with: all that its bytes depend on."""
        spec, runner = self._runner.spec, self._runner
        options = {k: v for k, v in self._options.to_json().items() if k not in WITHOUT_EFFECT}
        look = options.pop("look")
        return {
            **options,
            **look,
            "shard_size": self._job.size,
            "columns": _short(",".join(sinks.evidence_schema(spec, "small", self._photos.further).names)),
            "program": f"{spec.model} {_short(spec.hash)}",
            "classes": _short(json.dumps(spec.classes)),
            "runtime": runner.runtime,
            "device": runner.device,
            "precision": runner.precision,
            "photos": self._photos.digest[:19],
        }

    def _what_does_not_change(self) -> dict[str, Any]:
        """What run.json says of the whole start: it is written every other second."""
        return {
            "contract": json.loads(self._runner.spec.to_json()),
            "program": self._runner.origin and os.path.abspath(self._runner.origin.path),
            "same": self._same,
            "asked": self._asked,
            "options": self._options.to_json(),
            "runtime": self._runner.runtime,
            "device": self._runner.device,
            "precision": self._runner.precision,
            "measured": self._runner.measured,
        }

    def _write(self, status: str) -> None:
        standing = self.standing()
        self._written = time.monotonic()
        here = {**self._here, "before": self._before, "seconds": round(standing.seconds, 3)}
        sinks.write_run(
            self._folder.path,
            {
                "status": status,
                **self._fixed,
                "photos": {"listed": standing.listed, "done": standing.done, "failed": standing.failed},
                "shards": {
                    "all": self._shards,
                    "finished": standing.finished,
                    "size": self._job.size,
                    "current": list(standing.current),
                    "aside": {str(k): v for k, v in self._aside.items()},
                },
                "seconds": {k: round(v, 3) for k, v in sorted(self._seconds.items())},
                "updated": time.time(),
                "starts": [*self._starts, here],
            },
        )

    def _draw(self, path: Path) -> bool:
        """The contact sheet; whether there is anything on it."""
        standing = self.standing()
        said = f"{standing.done:,} photos"
        said += f", {standing.failed} could not be read." if standing.failed else "."
        try:
            gallery = self._gallery()
        except (SaccadeError, TypeError, KeyError, ValueError):  # a shard was made again, or came from elsewhere
            names = ", ".join("'" + self._photos[i].name.replace("'", "''") + "'" for i in sorted(self._job.shown))
            with contextlib.suppress(UsageError):  # none of them could be read
                sheet(self._folder.path, path, f"name IN ({names})", look=self._options.look, subtitle=said)
                return True
            return False
        if not gallery.cells:
            return False
        if len(gallery.cells) < standing.done - standing.failed:
            said += f" {len(gallery.cells)} of them are shown, spread evenly."
        sinks.write_picture(path, gallery.draw(title_of(self._runner.spec), said))
        return True

    def _gallery(self) -> Gallery:
        """The photos that the shards have kept for the sheet."""
        gallery = Gallery(self._runner.spec, self._options.look, self._job.shown)
        shards = (shard for shard in range(self._shards) if has_shown(self._job, shard))
        kept = sinks.read_cells(self._folder.path, shards)
        if gallery.look.scale == "batch" and (cells := list(kept)):  # scaled over all that is shown
            captions, images, maps = zip(*cells, strict=True)
            together = {name: np.concatenate([m[name] for m in maps]) for name in maps[0]}
            kept = iter([([c for part in captions for c in part], np.concatenate(images), together)])
        for captions, images, maps in kept:
            gallery.add([Caption(**caption) for caption in captions], images, maps)
        return gallery

    def _result(self, sheet: Path | None) -> RunResult:
        return RunResult(
            self._done, self._failed, self._before, time.monotonic() - self._clock, sheet, dict(self._aside)
        )


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
