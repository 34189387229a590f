"""What a run says while it is at work: a bar on a terminal, lines of JSON for a scheduler, or nothing; and its end."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from http.server import HTTPServer

    from rich.progress import Progress as Bar

    from .engine.pipeline import RunResult, Standing
    from .engine.pipeline.status import Status

Form = Literal["auto", "bar", "json", "quiet"]
_EVERY = 5.0
"""Seconds between two lines of JSON."""


class Progress:
    """Call it with a run's `Standing`.

    Args:
        form: "bar" on standard error; "json", a line on standard output every five seconds and one at the end; "quiet";
            "auto" for a bar where standard error is a terminal.
    """

    def __init__(self, form: Form) -> None:
        self._form = ("bar" if sys.stderr.isatty() else "plain") if form == "auto" else form
        self._bar: Bar | None = None
        self._task: Any = None
        self._said = time.monotonic()

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, standing: Standing) -> None:
        if self._form == "bar":
            self._draw(standing)
        elif self._form == "json" and time.monotonic() - self._said >= _EVERY:
            self._said = time.monotonic()
            print(json.dumps({"status": "running", **numbers(standing)}), flush=True)

    def finish(self, result: RunResult, out: Path) -> None:
        """Say what came of it."""
        new = result.photos - result.before
        rate = new / result.seconds if result.seconds else 0.0
        if self._form == "json":
            done = {"photos": result.photos, "failed": result.failed, "before": result.before, "aside": result.aside}
            print(json.dumps({"status": "finished", **done, "seconds": round(result.seconds, 3)}), flush=True)
        if self._form in ("json", "quiet"):
            return
        failed = f", {result.failed} failed (their rows say why)" if result.failed else ""
        if not new and result.before:
            lines = [f"{result.photos:,} photos were finished before{failed}"]
        else:
            lines = [f"{new:,} photos in {result.seconds:.1f} s ({rate:.1f} per second){failed}"]
            if result.before:
                lines[0] += f"; {result.before:,} were there before"
        lines += [f"  shard {shard} was put aside: {why}" for shard, why in result.aside.items()]
        lines += [f"  {result.sheet}"] if result.sheet else []
        lines.append(f"  {out / 'evidence'}")
        print("\n".join(lines))

    def _draw(self, standing: Standing) -> None:
        if self._bar is None:  # not before there is something to show: the first picture does not wait for it
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
            from rich.progress import Progress as Bar

            columns = (
                TextColumn("photos"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[rate]}  {task.fields[left]}  {task.fields[more]}"),
            )
            self._bar = Bar(*columns, console=Console(stderr=True, highlight=False))
            self._task = self._bar.add_task("photos", total=standing.listed, rate="", left="", more="")
            self._bar.start()
        more = [f"{standing.failed:,} failed"] if standing.failed else []
        if standing.shards > 1:
            more.append(f"shard {min(standing.finished + 1, standing.shards):,} of {standing.shards:,}")
        self._bar.update(
            self._task,
            completed=standing.done,
            rate=f"{standing.rate:.1f}/s",
            left="" if standing.left is None else f"{duration(standing.left)} left",
            more=", ".join(more),
        )


def numbers(standing: Standing) -> dict[str, Any]:
    """A run's standing for a program."""
    return {
        "photos": standing.listed,
        "done": standing.done,
        "failed": standing.failed,
        "before": standing.before,
        "shards": standing.shards,
        "shards_finished": standing.finished,
        "shards_current": list(standing.current),
        "seconds": round(standing.seconds, 3),
        "photos_per_second": round(standing.rate, 3),
        "seconds_left": None if standing.left is None else round(standing.left, 1),
    }


def duration(seconds: float) -> str:
    """Seconds as a person says them: 45 s, 12 min, 3 h 20 min, 2 d 4 h."""
    minutes, hours = round(seconds / 60), round(seconds / 3600)
    if seconds < 90:
        return f"{seconds:.0f} s"
    if minutes < 90:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"


def status_lines(status: Status) -> str:
    """A run's status for a person."""
    s = status.standing
    share = s.done / s.listed if s.listed else 1.0
    failed = f", {s.failed:,} failed" if s.failed else ""
    lines = [f"{status.state}: {s.done:,} of {s.listed:,} photos ({share:.1%}){failed}"]
    shards = f"{s.finished:,} of {s.shards:,} shards written"
    if s.current:
        shards += f", at work on {', '.join(map(str, s.current[:8]))}"
    lines.append(f"  {shards}")
    begun = f"  started {status.starts} times, last as " if status.starts > 1 else "  started as "
    lines.append(begun + status.where)
    if status.state == "running":
        left = "" if s.left is None else f", {duration(s.left)} left"
        lines.append(f"  {s.rate:.1f} photos per second{left}; heard from {duration(status.heard)} ago")
    elif status.state != "finished":
        lines.append("  repeat its command to go on")
    busy = {k: v for k, v in status.seconds.items() if not k.startswith("wait_")}
    if total := sum(busy.values()):
        shares = sorted(busy.items(), key=lambda item: -item[1])
        lines.append("  time: " + ", ".join(f"{stage} {value / total:.0%}" for stage, value in shares))
    lines += [f"  shard {shard} was put aside: {why}" for shard, why in status.aside.items()]
    return "\n".join(lines)


class Metrics:
    """A run's standing for Prometheus, on 127.0.0.1 alone, as long as the `with` block lasts.

    Args:
        port: where; 0 for any that is free (see `port`).

    Raises:
        UsageError: it is taken.
    """

    def __init__(self, port: int) -> None:
        from http.server import BaseHTTPRequestHandler, HTTPServer

        from .engine.contract.errors import UsageError

        metrics = self

        class Handler(BaseHTTPRequestHandler):
            timeout = 5

            def do_GET(self) -> None:
                text = metrics.text().encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._standing: Standing | None = None
        try:
            self._server: HTTPServer = HTTPServer(("127.0.0.1", port), Handler)
        except OSError as error:
            raise UsageError(f"run: --metrics {port}: {error.strerror}; choose another port") from None
        self.port: int = self._server.server_address[1]

    def __enter__(self) -> Metrics:
        import threading

        threading.Thread(target=self._server.serve_forever, daemon=True, name="saccade-metrics").start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def __call__(self, standing: Standing) -> None:
        self._standing = standing

    def text(self) -> str:
        """The answer: https://prometheus.io/docs/instrumenting/exposition_formats/."""
        s = self._standing
        values: Mapping[str, tuple[str, float]] = (
            {}
            if s is None
            else {
                "saccade_photos": ("gauge", s.listed),
                "saccade_photos_done": ("gauge", s.done),
                "saccade_photos_failed": ("gauge", s.failed),
                "saccade_shards": ("gauge", s.shards),
                "saccade_shards_finished_total": ("counter", s.finished),
                "saccade_photos_per_second": ("gauge", s.rate),
                "saccade_run_seconds_total": ("counter", s.seconds),
            }
        )
        return "".join(f"# TYPE {name} {kind}\n{name} {value}\n" for name, (kind, value) in values.items())
