"""Workers that share a run's shards, and what is done when one of them dies; where they run is not known here."""

from __future__ import annotations

import queue
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, Protocol

from .. import decode
from ..contract import SaccadeError, UsageError
from .explaining import Task

_WINDOW = 4
"""Shards that a worker has been given and not reported: it reads two batches ahead, each of which may be a shard, works
on one and writes one. With fewer it would wait for itself."""
_TRIES = 2
"""Times that a shard may end its worker before its photos are looked at one by one."""
_DEATHS, _ASIDE, _UNBORN = 10, 5, 3
"""Workers in a row that die without having done anything, shards in a row that are put aside, and workers in a row that
are ended before they began: then the run is stopped, for it is not the photos."""


_PAUSE = 2.0


@dataclass(frozen=True)
class Cause:
    """How a worker ended.

    Attributes:
        words: "was ended by SIGKILL".
        kind: "left": by itself, as it would again; "killed": it crashed or was killed; "away": its machine went away,
            which is no shard's fault.
        see: where more may be found about it.
    """

    words: str
    kind: Literal["left", "killed", "away"]
    see: str


class Transport(Protocol):
    """One worker that was started, wherever it runs; see `worker` for what is said to it and heard from it."""

    def say(self, words: dict[str, Any]) -> None:
        """Say something to it, if it is there; that it died is heard."""
        ...

    def cause(self) -> Cause:
        """How it ended, once that was heard."""
        ...

    def end(self) -> None:
        """End it at once; nothing is heard of it any more."""
        ...


Heard = Callable[[dict[str, Any] | None], None]
"""Takes what a worker says; None when it has ended, and nothing after that. May be called from any thread."""


class Crew:
    """Some workers. A worker that dies costs its shards' work and nothing else:

    what it had is done again, one shard at a time. A shard that ends its worker again has its photos read one by one;
    those that end a worker become rows with an error, and the shard is run without them. If it still ends its worker,
    all its photos become such rows.

    Args:
        start: starts a worker, which says what it hears from it to what it is given.
        photos: all of the manifest.
        size: photos in a shard.
        count: how many workers; some of them may have to wait until there is room for them.
    """

    def __init__(
        self, start: Callable[[Heard], Transport], photos: Sequence[decode.Photo], size: int, count: int
    ) -> None:
        self._start, self._photos, self._size, self._count = start, photos, size, count
        self._heard: queue.SimpleQueue[tuple[_Worker, dict[str, Any] | None]] = queue.SimpleQueue()
        self._workers: list[_Worker] = []
        self._pending: deque[int] = deque()
        self._again: deque[_Trouble] = deque()
        self._deaths = self._asides = self._unborn = 0

    def work(self, shards: Iterable[int]) -> Generator[dict[str, Any], None, None]:
        """Have the shards worked on; gives what `work` reports as it comes, {"lost": shards} when a worker died, and {}
        every other second where there is nothing to say.

        Raises:
            SaccadeError: what a worker raised; workers cannot be started, or die whatever the photos.
        """
        self._pending = deque(shards)
        try:
            self._hire()
            # One that has not begun yet is waited for only while there is work for it: there may be no room for it.
            while self._waiting() or any(worker.state not in ("starting", "done") for worker in self._workers):
                try:
                    worker, message = self._heard.get(timeout=_PAUSE)
                except queue.Empty:
                    yield {}
                    continue
                if worker not in self._workers:
                    continue  # a last word that came after its end
                if message is None:
                    yield from self._died(worker)
                elif "error" in message:
                    raise (UsageError if message["usage"] else SaccadeError)(message["error"])
                elif "ready" in message or "idle" in message:
                    self._unborn = 0
                    worker.state, worker.trouble = "idle", None
                    self._give(worker)
                elif "probe" in message:
                    self._deaths = 0
                    self._probe(worker, message["probe"] + 1)
                else:
                    yield from self._reported(worker, message)
        finally:
            self.close()

    def close(self) -> None:
        """End all workers, whatever they are doing."""
        for worker in self._workers:
            worker.transport.end()
        self._workers = []

    def _waiting(self) -> bool:
        return bool(self._pending or self._again)

    def _hire(self) -> None:
        """Start workers while some are missing and there is work for them."""
        while self._waiting() and len(self._workers) < self._count:
            worker = _Worker()
            worker.transport = self._start(lambda message, worker=worker: self._heard.put((worker, message)))
            self._workers.append(worker)

    def _reported(self, worker: _Worker, message: dict[str, Any]) -> Iterator[dict[str, Any]]:
        self._deaths = 0
        if "batch" in message:
            yield message
            return
        aside = worker.has.pop(message["shard"]).aside
        self._asides = self._asides + 1 if aside else 0
        yield message if aside is None else {**message, "aside": aside}
        self._give(worker)

    def _give(self, worker: _Worker) -> None:
        """Give a worker all that it may have now."""
        if worker.state == "idle" and not self._begin(worker):
            worker.state = "done"
        while worker.state == "open" and len(worker.has) < _WINDOW:
            if self._pending:
                worker.give(Task(self._pending.popleft()))
            else:
                worker.transport.say({"end": True})
                worker.state = "closing"

    def _begin(self, worker: _Worker) -> bool:
        """Give an idle worker its first shard, or one that has ended a worker; whether there is any."""
        if self._pending:
            worker.state = "open"
            worker.give(Task(self._pending.popleft()))
        elif self._again:
            self._try_again(worker, self._again.popleft())
        return worker.state != "idle"

    def _try_again(self, worker: _Worker, trouble: _Trouble) -> None:
        """One shard alone, so that it is known who ends the worker."""
        worker.trouble, worker.state = trouble, "closing"
        if trouble.probing is not None:
            self._probe(worker, trouble.probing)
        else:
            worker.give(trouble.task)
            worker.transport.say({"end": True})

    def _probe(self, worker: _Worker, photo: int) -> None:
        """Go on with the photos of a shard one by one; after the last one run what is left of it."""
        trouble = worker.trouble
        assert trouble is not None
        if photo < min((trouble.task.shard + 1) * self._size, len(self._photos)):
            trouble.probing = photo
            worker.transport.say({"probe": photo})
            return
        trouble.probing, trouble.probed = None, True
        self._try_again(worker, trouble)

    def _died(self, worker: _Worker) -> Iterator[dict[str, Any]]:
        how, trouble = worker.transport.cause(), worker.trouble
        worker.transport.end()
        self._workers.remove(worker)
        if worker.state == "starting":
            self._unborn += 1
            # Machines come and go; but who finds none again and again has no cluster.
            if how.kind == "left" or self._unborn >= (10 * _UNBORN if how.kind == "away" else _UNBORN):
                raise SaccadeError(f"run: a worker process {how.words} before it began; {how.see}")
        self._deaths += how.kind != "away"
        if trouble is not None and (worker.has or trouble.probing is not None):
            if how.kind != "away":
                self._judge(trouble, how)
            self._again.appendleft(trouble)
        elif how.kind != "away":
            self._again.extend(_Trouble(task, deaths=1) for task in worker.has.values())
        else:
            self._pending.extendleft(reversed(worker.has))
        if self._deaths >= _DEATHS or self._asides >= _ASIDE:
            what = f"{_DEATHS} times without doing anything" if self._deaths >= _DEATHS else f"on {_ASIDE} shards"
            what = f"{how.words}, {what}, one after the other"
            raise SaccadeError(f"run: the worker process {what}; it is not the photos")
        yield {"lost": list(worker.has), "how": how.words}
        for other in self._workers:  # those who are here before one who has to be started
            if other.state == "done":
                other.state = "idle"
                self._give(other)
        self._hire()

    def _judge(self, trouble: _Trouble, how: Cause) -> None:
        """Decide what becomes of a shard that has just ended its worker, being alone in it."""
        task = trouble.task
        where = f"photos {task.shard * self._size} to {(task.shard + 1) * self._size - 1}"
        if trouble.probing is not None:
            reason = "run: reading or explaining this photo ended the worker process, which "
            reason += f"{how.words}; look at the file"
            trouble.task = replace(task, skip={**task.skip, self._photos[trouble.probing].name: reason})
            trouble.probing += 1
            if self._deaths >= _DEATHS:  # the other shards show whether it is the photos: enough of this one
                reason = (
                    f"run: one photo of {where} after the other ended the worker process, which {how.words}; look at "
                )
                reason += "the files"
                trouble.task, trouble.probing, self._deaths = Task(task.shard, aside=reason), None, 0
        elif trouble.probed and not task.alone:
            trouble.task = replace(task, alone=True)
        elif trouble.probed:
            reason = f"run: the worker process {how.words} on {where}, though on none of them alone; repeat the run "
            reason += "with fewer photos at a time"
            trouble.task = Task(task.shard, aside=reason)
        else:
            trouble.deaths += 1
            if trouble.deaths >= _TRIES:
                trouble.probing = task.shard * self._size


@dataclass
class _Trouble:
    """A shard that is done again: how often its worker died, and at which photo it is where they go one by one."""

    task: Task
    deaths: int = 0
    probing: int | None = None
    probed: bool = False


@dataclass(eq=False)
class _Worker:
    """A worker, and what it has been given."""

    has: dict[int, Task] = field(default_factory=dict)
    trouble: _Trouble | None = None
    state: Literal["starting", "idle", "open", "closing", "done"] = "starting"
    """Whether it may be given more: once "open", it reads ahead until it is told the end, and then says "idle"."""
    transport: Transport = field(init=False)

    def give(self, task: Task) -> None:
        """Give it a shard."""
        self.has[task.shard] = task
        self.transport.say(asdict(task))
