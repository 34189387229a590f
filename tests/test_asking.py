"""`saccade status`, `query`, and what a run says while it is at work."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from saccade.engine import execute, pipeline
from saccade.engine.contract import SaccadeError, UsageError
from saccade.engine.decode import list_photos
from saccade.engine.pipeline import RunOptions, Standing
from saccade.progress import Metrics, Progress, duration, numbers, status_lines

Say = Callable[..., Any]
HALFWAY = Standing(1000, 400, 3, 100, 20, 7, (8, 9), 60.0)


@pytest.fixture
def finished(program: Path, photos: Path, tmp_path: Path) -> Path:
    (photos / "red" / "1.png").write_bytes(b"broken")
    out = tmp_path / "out"
    pipeline.run(execute.load(program), list_photos([str(photos)]), out, RunOptions(shard_size=2, sheet_limit=0))
    return out


# ---- status --------------------------------------------------------------------------------------------------------


def test_the_status_of_a_finished_run(saccade_says: Say, finished: Path):
    said = saccade_says("status", finished)
    assert (said.code, said.err) == (0, "")
    lines = said.out.splitlines()
    assert lines[0] == "finished: 7 of 7 photos (100.0%), 1 failed"
    assert lines[1] == "  4 of 4 shards written"
    assert lines[2].startswith("  started as process ")
    assert lines[3].startswith("  time: ")
    found = json.loads(saccade_says("status", finished, "--json").out)
    assert (found["status"], found["done"], found["failed"], found["shards_finished"]) == ("finished", 7, 1, 4)
    assert found["stages"]["execute"] > 0


def test_a_run_that_nobody_works_on_was_killed(saccade_says: Say, finished: Path):
    info = json.loads((finished / "run.json").read_text())
    (finished / "run.json").write_text(json.dumps({**info, "status": "running"}))
    said = saccade_says("status", finished, "--follow")
    assert said.code == 1
    assert said.out.startswith("killed: 7 of 7 photos")
    assert "  repeat its command to go on\n" in said.out
    with pipeline.RunFolder(finished):
        said = saccade_says("status", finished)
        assert (said.code, said.out.partition(":")[0]) == (0, "running")


def test_a_run_on_another_machine_is_believed_for_a_minute(finished: Path):
    """Its lock may not be seen from here."""
    info = json.loads((finished / "run.json").read_text())
    info["status"], info["starts"][-1]["host"] = "running", "elsewhere"
    for silence, state in ((10, "running"), (100, "killed")):
        (finished / "run.json").write_text(json.dumps({**info, "updated": time.time() - silence}))
        assert pipeline.read_status(finished).state == state


@pytest.mark.parametrize(
    "change", [{"status": "sleeping"}, {"photos": None}, {"starts": []}, {"shards": {"all": "x"}}, {"seconds": [1]}]
)
def test_a_damaged_run_file_is_one_line(finished: Path, change: dict[str, Any]):
    info = json.loads((finished / "run.json").read_text())
    (finished / "run.json").write_text(json.dumps({**info, **change}))
    with pytest.raises(SaccadeError, match=r"status: run\.json of .* is damaged"):
        pipeline.read_status(finished)


def test_no_run_has_no_status(saccade_says: Say, tmp_path: Path):
    said = saccade_says("status", tmp_path)
    assert (said.code, "is not the folder of a run" in said.complaint) == (2, True)


def test_numbers_for_a_person():
    assert (HALFWAY.rate, HALFWAY.left) == (5.0, 120.0)
    nothing = Standing(10, 0, 0, 0, 1, 0, (), 0.0)
    assert (nothing.rate, nothing.left) == (0.0, None)
    words = [duration(s) for s in (5, 89, 95, 5000, 5401, 12_000, 200_000)]
    assert words == ["5 s", "89 s", "2 min", "83 min", "1 h 30 min", "3 h 20 min", "2 d 8 h"]
    status = pipeline.Status(
        "running", HALFWAY, "process 7 on here", 2, 1.0, {"execute": 3, "wait_for_write": 9}, {4: "x"}
    )
    assert status_lines(status).splitlines() == [
        "running: 400 of 1,000 photos (40.0%), 3 failed",
        "  7 of 20 shards written, at work on 8, 9",
        "  started 2 times, last as process 7 on here",
        "  5.0 photos per second, 2 min left; heard from 1 s ago",
        "  time: execute 100%",
        "  shard 4 was put aside: x",
    ]


# ---- progress ------------------------------------------------------------------------------------------------------


def test_a_line_of_json_for_a_scheduler(saccade_says: Say, program: Path, photos: Path, tmp_path: Path):
    said = saccade_says("run", program, photos, "-o", tmp_path / "out", "--progress", "json")
    assert said.code == 0
    (line,) = said.out.splitlines()
    assert json.loads(line).items() >= {"status": "finished", "photos": 7, "failed": 0, "before": 0}.items()
    said = saccade_says("run", program, photos, "-o", tmp_path / "out", "--progress", "quiet")
    assert (said.code, said.out, said.err) == (0, "", "")


def test_lines_of_json_come_every_few_seconds(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    moments = iter((100.0, 101.0, 104.0, 106.0, 106.0, 107.0, 112.0, 112.0))
    monkeypatch.setattr("saccade.progress.time.monotonic", lambda: next(moments))
    with Progress("json") as progress:
        for _ in range(5):
            progress(HALFWAY)
    assert next(moments, None) is None
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines == [{"status": "running", **numbers(HALFWAY)}] * 2
    assert numbers(HALFWAY)["seconds_left"] == 120.0


def test_the_bar_says_what_a_person_wants_to_know(capsys: pytest.CaptureFixture[str]):
    with Progress("bar") as progress:
        progress(HALFWAY)
    text = capsys.readouterr().err
    for words in ("400/1000", "5.0/s", "2 min left", "3 failed", "shard 8 of 20"):
        assert words in text


def test_prometheus_reads_it_on_this_machine_alone():
    with Metrics(0) as metrics:
        address = f"http://127.0.0.1:{metrics.port}/metrics"
        assert urllib.request.urlopen(address, timeout=5).read() == b""
        metrics(HALFWAY)
        with urllib.request.urlopen(address, timeout=5) as answer:
            assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
            lines = answer.read().decode().splitlines()
        assert lines[2:4] == ["# TYPE saccade_photos_done gauge", "saccade_photos_done 400"]
        with pytest.raises(UsageError, match=f"--metrics {metrics.port}: .*; choose another port"):
            Metrics(metrics.port)
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(address, timeout=5)


def test_a_run_answers_prometheus(
    saccade_says: Say, program: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    heard, left = [], Metrics.__exit__

    def leave(self: Metrics, *words: object) -> None:
        heard.append(urllib.request.urlopen(f"http://127.0.0.1:{self.port}", timeout=5).read().decode())
        left(self, *words)

    monkeypatch.setattr(Metrics, "__exit__", leave)
    assert saccade_says("run", program, photos, "-o", tmp_path / "out", "--metrics", "0").code == 0
    assert "\nsaccade_photos_done 7\n" in heard[0]


# ---- query ---------------------------------------------------------------------------------------------------------

QUESTION = "SELECT label, count(*) AS photos, avg(confidence) AS sure FROM evidence GROUP BY label ORDER BY label"


def test_a_question_in_three_forms(saccade_says: Say, finished: Path):
    table = saccade_says("query", finished, QUESTION)
    assert (table.code, table.err) == (0, "")
    assert [line.split()[:2] for line in table.out.splitlines()] == [["label", "photos"], ["bright", "4"], ["red", "3"]]
    rows = [json.loads(line) for line in saccade_says("query", finished, QUESTION, "--format", "json").out.splitlines()]
    assert [(row["label"], row["photos"]) for row in rows] == [("bright", 4), ("red", 3)]
    words = [sys.executable, "-c", "from saccade.cli import main; main()", "query", str(finished), QUESTION]
    text = subprocess.run([*words, "--format", "csv"], capture_output=True, text=True, check=True).stdout
    found = list(csv.DictReader(io.StringIO(text)))
    everything = saccade_says("query", finished, "FROM evidence", "--format", "csv")
    (cam,) = {
        len(json.loads(row["grad_cam"])) for row in csv.DictReader(io.StringIO(everything.out)) if row["grad_cam"]
    }
    assert (everything.code, cam) == (0, 64)
    assert saccade_says("query", finished, "SELECT 'nan'::FLOAT AS x", "--format", "json").out == '{"x": null}\n'
    assert [(row["label"], row["photos"]) for row in found] == [("bright", "4"), ("red", "3")]
    assert float(found[0]["sure"]) == pytest.approx(rows[0]["sure"])


def test_a_wrong_question_is_one_line(saccade_says: Say, finished: Path):
    said = saccade_says("query", finished, "DROP VIEW evidence")
    assert (said.code, said.complaint.partition(";")[0]) == (
        2,
        "query: expected one SELECT, such as: SELECT label, count(*) FROM evidence GROUP BY label",
    )
