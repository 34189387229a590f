"""A run that is killed, by workers or as a whole: each photo is in its evidence once, as if nothing had happened."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from saccade.engine import decode, execute, pipeline, sinks
from saccade.engine.contract import SaccadeError, UsageError
from saccade.engine.pipeline import RunFolder, RunOptions, processes, status
from saccade.engine.pipeline import crew as crew_module

SMALL = RunOptions(batch_size=4, shard_size=10, workers=0)


def shards(out: Path) -> dict[str, bytes]:
    """The evidence's files, byte for byte; temporary ones too."""
    return {path.name: path.read_bytes() for path in (out / "evidence").iterdir()}


def test_neither_workers_nor_interruptions_change_a_byte(program: Path, many: list[decode.Photo], tmp_path: Path):
    whole = pipeline.run(execute.load(program), many, tmp_path / "whole", SMALL)
    assert (whole.photos, whole.failed, whole.before) == (94, 2, 0)
    expected = shards(tmp_path / "whole")
    assert sorted(expected) == [f"shard-{n:05d}.parquet" for n in range(10)]
    sheet = (tmp_path / "whole" / "sheet.jpg").read_bytes()
    for workers in (1, 3):
        out = tmp_path / f"by-{workers}"
        pipeline.run(execute.load(program), many, out, dataclasses.replace(SMALL, workers=workers))
        assert shards(out) == expected
        assert (out / "sheet.jpg").read_bytes() == sheet

    class Enough(Exception):  # noqa: N818
        pass

    def stop(standing: pipeline.Standing) -> None:
        if standing.finished == standing.before // 10 + 2:
            raise Enough

    out = tmp_path / "stopped"
    for start, workers in enumerate((0, 2, 0), 1):
        with pytest.raises(Enough):
            pipeline.run(execute.load(program), many, out, dataclasses.replace(SMALL, workers=workers), stop)
        assert len(sinks.finished_shards(out)) >= 2 * start
    result = pipeline.run(execute.load(program), many, out, SMALL)
    assert (result.photos, result.failed) == (94, 2)
    assert result.before >= 60
    assert shards(out) == expected
    assert (out / "sheet.jpg").read_bytes() == sheet
    assert not (out / ".sheet").exists()
    info = json.loads((out / "run.json").read_text())
    assert (info["status"], len(info["starts"])) == ("finished", 4)
    assert info["photos"] == {"listed": 94, "done": 94, "failed": 2}


def test_a_finished_run_is_left_as_it_is(program: Path, many: list[decode.Photo], tmp_path: Path):
    out = tmp_path / "out"
    pipeline.run(execute.load(program), many, out, SMALL)
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*") if p.is_file() and p.name != ".lock"}
    result = pipeline.run(execute.load(program), many, out, SMALL)
    assert (result.photos, result.failed, result.before, result.sheet) == (94, 2, 94, out / "sheet.jpg")
    assert {p: p.stat().st_mtime_ns for p in out.rglob("*") if p.is_file() and p.name != ".lock"} == before


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"batch_size": 5}, "batch-size was 4, is 5"),
        ({"shard_size": 7, "keep": "full"}, "keep was small, is full; shard-size was 10, is 7"),
        ({"target": 1}, "target was not given, is 1"),
        ({"decode": "exact"}, "decode was fast, is exact"),
        ({"look": pipeline.Look("turbo")}, "colormap was viridis, is turbo"),
    ],
)
def test_other_options_are_refused_by_name(
    program: Path, many: list[decode.Photo], tmp_path: Path, changes: dict[str, Any], said: str
):
    out = tmp_path / "out"
    pipeline.run(execute.load(program), many[:20], out, SMALL)
    before = shards(out)
    with pytest.raises(UsageError) as error:
        pipeline.run(execute.load(program), many[:20], out, dataclasses.replace(SMALL, **changes))
    assert str(error.value) == (
        f"run: {out} holds a run with other options: {said}; repeat its command to go on, choose another folder, or "
        "--restart to remove it"
    )
    assert shards(out) == before


def test_other_photos_or_another_program_are_refused(
    program: Path, reworded: Callable[..., Path], many: list[decode.Photo], tmp_path: Path
):
    out = tmp_path / "out"
    pipeline.run(execute.load(program), many[:20], out, SMALL)
    with pytest.raises(UsageError, match="holds a run with other options: photos was"):
        pipeline.run(execute.load(program), many[:21], out, SMALL)
    with pytest.raises(UsageError, match=r"program was .*, is "):
        pipeline.run(execute.load(reworded(resize="stretch", shorter=None)), many[:20], out, SMALL)
    assert not list(out.glob(".manifest*"))


def test_what_changes_no_byte_may_differ(program: Path, many: list[decode.Photo], tmp_path: Path):
    out = tmp_path / "out"
    pipeline.run(execute.load(program), many, out, SMALL)
    before, sheet = shards(out), (out / "sheet.jpg").read_bytes()
    for shard in (3, 7):
        (out / "evidence" / f"shard-{shard:05d}.parquet").unlink()
    result = pipeline.run(
        execute.load(program, threads=1), many, out, dataclasses.replace(SMALL, workers=1, threads=1, patience=1.0)
    )
    assert (result.photos, result.before) == (94, 74)
    assert shards(out) == before
    assert (out / "sheet.jpg").exists()
    assert (out / "sheet.jpg").read_bytes() != sheet, (
        "what it kept for the sheet is gone: it is drawn from the evidence"
    )


def test_a_write_that_failed_once_completes_no_shard(
    program: Path, many: list[decode.Photo], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Batches that were handed over before it was known must not fill up a shard with holes, or another one's."""
    out, real, calls = tmp_path / "out", sinks.EvidenceWriter.write, []

    def once(self: sinks.EvidenceWriter, *words: Any) -> None:
        calls.append(words)
        if len(calls) == 1:
            raise SaccadeError("write: not now")
        real(self, *words)

    monkeypatch.setattr(sinks.EvidenceWriter, "write", once)
    with pytest.raises(SaccadeError, match="not now"):
        pipeline.run(execute.load(program), many, out, dataclasses.replace(SMALL, batch_size=5))
    assert sinks.finished_shards(out) == set()
    monkeypatch.undo()
    result = pipeline.run(execute.load(program), many, out, dataclasses.replace(SMALL, batch_size=5))
    assert (result.photos, result.before, sinks.read_evidence(out).num_rows) == (94, 0, 94)


def test_a_shard_of_another_size_is_refused(program: Path, many: list[decode.Photo], tmp_path: Path):
    out = tmp_path / "out"
    pipeline.run(execute.load(program), many, out, SMALL)
    evidence = out / "evidence"
    (evidence / "shard-00003.parquet").write_bytes((evidence / "shard-00009.parquet").read_bytes())
    (out / "shards.jsonl").unlink()
    with pytest.raises(SaccadeError, match=r"shard 3 in .* has 4 rows for 10 photos of the manifest; remove its file"):
        pipeline.run(execute.load(program), many, out, SMALL)
    (evidence / "shard-00003.parquet").unlink()
    assert pipeline.run(execute.load(program), many, out, SMALL).photos == 94


# ---- the folder ----------------------------------------------------------------------------------------------------


def test_a_folder_has_one_writer(program: Path, many: list[decode.Photo], tmp_path: Path):
    with RunFolder(tmp_path / "out") as folder:
        pipeline.run(execute.load(program), many[:20], folder, SMALL)
        hold = f"""
            import sys
            from saccade.engine.pipeline import RunFolder, is_held
            assert is_held({str(tmp_path / "out")!r})
            with RunFolder({str(tmp_path / "out")!r}):
                pass
        """
        found = subprocess.run([sys.executable, "-c", textwrap.dedent(hold)], capture_output=True, text=True)
        assert f"is being written by process {os.getpid()} on" in found.stderr
        assert pipeline.is_held(tmp_path / "out")
    assert not pipeline.is_held(tmp_path / "out")
    assert not pipeline.is_held(tmp_path / "missing")
    with RunFolder(tmp_path / "out") as folder:
        assert folder.found is not None


def test_what_did_not_begin_leaves_no_trace(tmp_path: Path):
    with RunFolder(tmp_path / "new"):
        pass
    assert not (tmp_path / "new").exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with RunFolder(tmp_path / "mine", restart=True):
        pass
    assert [p.name for p in (tmp_path / "mine").iterdir()] == ["notes.txt"]


def test_restart_removes_the_run_and_nothing_else(program: Path, many: list[decode.Photo], tmp_path: Path):
    out = tmp_path / "out"
    pipeline.run(execute.load(program), many[:20], out, dataclasses.replace(SMALL, overlays=True))
    (out / "notes.txt").write_text("mine")
    with RunFolder(out, restart=True) as folder:
        assert folder.found is None
    assert (out / "overlays").is_dir(), "it is removed when another one begins, and not before"
    with RunFolder(out, restart=True) as folder:
        result = pipeline.run(execute.load(program), many[:10], folder, SMALL)
    assert (result.photos, result.before) == (10, 0)
    assert len(list((out / "evidence").iterdir())) == 1
    assert not (out / "overlays").exists()
    assert (out / "notes.txt").read_text() == "mine"


def test_evidence_without_its_run_file_is_not_removed(program: Path, many: list[decode.Photo], tmp_path: Path):
    out = tmp_path / "out"
    pipeline.run(execute.load(program), many[:20], out, SMALL)
    (out / "run.json").unlink()
    with pytest.raises(UsageError, match=r"holds evidence without its run\.json; .* --restart to remove it"):
        pipeline.run(execute.load(program), many[:20], out, SMALL)
    assert len(shards(out)) == 2
    with RunFolder(out, restart=True) as folder:
        pipeline.run(execute.load(program), many[:20], folder, SMALL)


def test_a_restart_that_is_cut_off_can_be_repeated(
    program: Path, many: list[decode.Photo], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    out = tmp_path / "out"
    pipeline.run(execute.load(program), many[:20], out, SMALL)

    def interrupted(path: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("shutil.rmtree", interrupted)
    with pytest.raises(KeyboardInterrupt), RunFolder(out, restart=True) as folder:
        pipeline.run(execute.load(program), many[:20], folder, SMALL)
    monkeypatch.undo()
    with RunFolder(out, restart=True) as folder:
        assert pipeline.run(execute.load(program), many[:20], folder, SMALL).before == 0


@pytest.mark.parametrize("name", [".lock", "shards.jsonl"])
def test_no_file_elsewhere_is_written_through_a_link(
    program: Path, many: list[decode.Photo], tmp_path: Path, name: str
):
    (tmp_path / "mine.txt").write_text("mine")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).symlink_to(tmp_path / "mine.txt")
    (tmp_path / "out" / "manifest.arrow").write_text("")
    if name == ".lock":
        with pytest.raises(SaccadeError, match=r"cannot write .*\.lock"):
            pipeline.run(execute.load(program), many[:20], tmp_path / "out", SMALL)
    else:
        pipeline.run(execute.load(program), many[:20], tmp_path / "out", SMALL)
    assert (tmp_path / "mine.txt").read_text() == "mine"


@pytest.mark.parametrize("name", ["evidence", "overlays", "sheet.jpg"])
def test_somebody_elses_files_are_left_alone(tmp_path: Path, name: str):
    (tmp_path / "out" / name).mkdir(parents=True)
    with pytest.raises(UsageError, match="which is no run's"), RunFolder(tmp_path / "out", restart=True):
        pass
    assert (tmp_path / "out" / name).is_dir()


def test_what_a_killed_start_was_writing_is_swept_away(program: Path, many: list[decode.Photo], tmp_path: Path):
    out = tmp_path / "out"
    pipeline.run(execute.load(program), many[:20], out, SMALL)
    half = out / "evidence" / ".shard-00001-0123456789ab.part.parquet"
    mine = out / ".mine.part.parquet"
    for path in (half, mine):
        path.write_bytes(b"half")
    (out / "evidence" / "shard-00001.parquet").unlink()
    result = pipeline.run(execute.load(program), many[:20], out, SMALL)
    assert result.photos == 20
    assert (half.exists(), mine.exists()) == (False, True)


@pytest.mark.parametrize("stopped", [True, False])
def test_what_a_worker_was_writing_is_swept_away_at_the_end(
    program: Path, many: list[decode.Photo], tmp_path: Path, stopped: bool
):
    out = tmp_path / "out"
    half, mine = out / "overlays" / "a" / ".1.png.grad_cam-0123456789ab.part.jpg", out / ".mine.part.jpg"

    def begin_another(_: pipeline.Standing) -> None:
        for path in (half, mine):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"half")
        if stopped:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) if stopped else contextlib.nullcontext():
        pipeline.run(execute.load(program), many, out, dataclasses.replace(SMALL, workers=1), begin_another)
    assert (half.exists(), mine.exists()) == (False, True)


def test_a_shard_whose_line_was_lost_is_counted_from_its_rows(program: Path, many: list[decode.Photo], tmp_path: Path):
    out = tmp_path / "out"
    pipeline.run(execute.load(program), many, out, SMALL)
    (out / "shards.jsonl").write_text('{"shard": 0, "photos": 10, "failed": 0}\n{"shard": 1, "pho')
    result = pipeline.run(execute.load(program), many, out, SMALL)
    assert (result.photos, result.failed, result.before) == (94, 2, 94)


def test_a_shard_whose_word_came_too_late_is_counted_at_the_end(
    program: Path, many: list[decode.Photo], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def interrupted(*_: object) -> None:
        monkeypatch.undo()
        raise KeyboardInterrupt

    out = tmp_path / "out"
    monkeypatch.setattr(sinks, "append_shard", interrupted)
    with pytest.raises(KeyboardInterrupt):
        pipeline.run(execute.load(program), many, out, SMALL)
    info = json.loads((out / "run.json").read_text())
    there = len(sinks.finished_shards(out))
    assert there > 0
    assert (info["status"], info["shards"]["finished"]) == ("interrupted", there)
    assert pipeline.run(execute.load(program), many, out, SMALL).before == 10 * there


# ---- deaths --------------------------------------------------------------------------------------------------------


def test_a_worker_that_dies_costs_its_shards_work(program: Path, many: list[decode.Photo], tmp_path: Path):
    """Each worker is killed once in the middle of the run."""
    pipeline.run(execute.load(program), many, tmp_path / "whole", SMALL)
    killed: list[int] = []

    def kill(standing: pipeline.Standing) -> None:
        if standing.finished in (2, 5) and len(killed) < standing.finished // 2:
            children = Path(f"/proc/{os.getpid()}/task/{threading.get_native_id()}/children").read_text().split()
            killed.append(int(children[-1]))
            os.kill(killed[-1], signal.SIGKILL)

    options = dataclasses.replace(SMALL, workers=2)
    result = pipeline.run(execute.load(program), many, tmp_path / "out", options, kill)
    assert len(killed) == 2
    assert (result.photos, result.failed, result.aside) == (94, 2, {})
    assert shards(tmp_path / "out") == shards(tmp_path / "whole")


def deadly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, condition: str, first: str = "pass") -> None:
    """Have worker processes die while a photo is read, on a condition over its `source` (a path) and `running`."""
    (tmp_path / "poison").mkdir()
    (tmp_path / "poison" / "sitecustomize.py").write_text(
        textwrap.dedent(f"""
            import os, sys, time
            if "saccade.engine.pipeline.worker" in " ".join(sys.orig_argv):
                from saccade.engine import decode
                from saccade.engine.decode import decoder
                def poisoned(source, *words, real=decode.read_view):
                    running = sys._getframe(1).f_code.co_qualname
                    if {condition}:
                        {first}
                        os.kill(os.getpid(), 9)
                    return real(source, *words)
                decode.read_view = decoder.read_view = poisoned
        """)
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "poison"))


@pytest.mark.parametrize("leaves", [False, True])
def test_a_process_that_a_library_forked_keeps_nobody_waiting(
    program: Path, many: list[decode.Photo], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, leaves: bool
):
    """It has the worker's output open. It is ended with the worker, unless it has left the worker's process group."""
    pipeline.run(execute.load(program), many, tmp_path / "whole", SMALL)
    forked = tmp_path / "forked"
    leave = "os.setpgid(pid, pid); " if leaves else ""
    fork = f"pid = os.fork() or time.sleep(300); {leave}open({str(forked)!r}, 'w').write(str(pid))"
    deadly(tmp_path, monkeypatch, f"source.endswith('/042.png') and not os.path.exists({str(forked)!r})", fork)
    monkeypatch.setattr(processes, "_REST", 0.5)
    try:
        result = pipeline.run(execute.load(program), many, tmp_path / "out", dataclasses.replace(SMALL, workers=1))
    finally:
        there = Path("/proc", forked.read_text()) if forked.exists() else None
        alive = there is not None and there.is_dir() and "(zombie)" not in (there / "status").read_text()
        if alive:
            os.kill(int(forked.read_text()), signal.SIGKILL)
    assert alive == leaves
    assert (result.photos, result.failed, result.aside) == (94, 2, {})
    assert shards(tmp_path / "out") == shards(tmp_path / "whole")


def test_a_photo_that_kills_becomes_a_row(
    program: Path, many: list[decode.Photo], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    pipeline.run(execute.load(program), many, tmp_path / "whole", SMALL)
    deadly(tmp_path, monkeypatch, "source.endswith(('/042.png', '/047.png'))")
    result = pipeline.run(execute.load(program), many, tmp_path / "out", dataclasses.replace(SMALL, workers=2))
    assert (result.photos, result.failed, result.aside) == (94, 4, {})
    expected = sinks.read_evidence(tmp_path / "whole").to_pylist()
    rows = sinks.read_evidence(tmp_path / "out").to_pylist()
    dead = [row for row in rows if row["name"] in ("042.png", "047.png")]
    assert [row["error"] for row in dead] == [
        "run: reading or explaining this photo ended the worker process, which was ended by SIGKILL; look at the file"
    ] * 2
    assert [row["name"] for row in rows] == [row["name"] for row in expected]
    others = [(a, b) for a, b in zip(rows, expected, strict=True) if a not in dead]
    assert [a["prediction"] for a, _ in others] == [b["prediction"] for _, b in others]
    same = {n for n, data in shards(tmp_path / "out").items() if shards(tmp_path / "whole")[n] == data}
    assert len(same) == 9, "the other shards are what they would have been"


def test_a_shard_of_killers_is_put_aside_and_the_rest_goes_on(
    program: Path, many: list[decode.Photo], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    deadly(tmp_path, monkeypatch, "source.split('/')[-1][:2] == '04'")
    monkeypatch.setattr(crew_module, "_DEATHS", 4)
    result = pipeline.run(execute.load(program), many, tmp_path / "out", dataclasses.replace(SMALL, workers=1))
    assert result.photos == 94
    assert list(result.aside) in ([4], [4, 5])  # 040 to 049 are photos 41 to 50
    assert "one photo of photos 40 to 49 after the other ended the worker" in result.aside[4].replace("  ", " ")


def test_a_module_in_the_current_folder_is_not_run(
    program: Path, many: list[decode.Photo], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "queue.py").write_text("import os\nos._exit(7)\n")
    monkeypatch.chdir(tmp_path)
    assert pipeline.run(
        execute.load(program), many[:20], tmp_path / "out", dataclasses.replace(SMALL, workers=1)
    ).photos


def test_a_shard_that_kills_though_no_photo_does_is_put_aside(
    program: Path, many: list[decode.Photo], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """It kills in a run, where a decoder's thread reads it, and not when it is read alone."""
    deadly(tmp_path, monkeypatch, "source.endswith('/042.png') and '_probe' not in running")
    options = dataclasses.replace(SMALL, workers=1)
    result = pipeline.run(execute.load(program), many, tmp_path / "out", options)
    assert (result.photos, result.failed) == (94, 12)
    assert list(result.aside) == [4]
    assert "though on none of them alone" in result.aside[4]
    errors = sinks.read_evidence(tmp_path / "out", "error like '%none of them alone%'")["name"].to_pylist()
    assert errors == [photo.name for photo in many[40:50]]
    assert pipeline.run(execute.load(program), many, tmp_path / "out", options).aside == result.aside


@pytest.mark.parametrize("condition", ["True", "'_probe' not in running"])
def test_workers_that_die_whatever_the_photos_end_the_run(
    program: Path, many: list[decode.Photo], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, condition: str
):
    deadly(tmp_path, monkeypatch, condition)
    monkeypatch.setattr(crew_module, "_ASIDE", 2)
    monkeypatch.setattr(crew_module, "_DEATHS", 4)
    with pytest.raises(SaccadeError, match="it is not the photos"):
        pipeline.run(execute.load(program), many[:40], tmp_path / "out", dataclasses.replace(SMALL, workers=1))
    assert status.read_status(tmp_path / "out").state == "failed"


def test_a_worker_that_cannot_start(
    program: Path, many: list[decode.Photo], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    runner = execute.load(program)
    assert runner.origin is not None
    runner.origin = dataclasses.replace(runner.origin, path=str(tmp_path / "gone.onnx"))
    with pytest.raises(UsageError, match=r"cannot open program .*gone\.onnx"):
        pipeline.run(runner, many, tmp_path / "out", dataclasses.replace(SMALL, workers=2))
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(SaccadeError, match="a worker process ended with exit code 1 before it began"):
        pipeline.run(execute.load(program), many, tmp_path / "out", dataclasses.replace(SMALL, workers=2))


def test_a_disk_that_is_full_ends_workers_too(
    program: Path, many: list[decode.Photo], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """In a worker the error comes from a thread, while the main one waits for the next shard."""
    (tmp_path / "poison").mkdir()
    (tmp_path / "poison" / "sitecustomize.py").write_text(
        textwrap.dedent("""
            import errno, os, sys
            if "saccade.engine.pipeline.worker" in " ".join(sys.orig_argv):
                def full(descriptor):
                    raise OSError(errno.ENOSPC, "No space left on device")
                os.fsync = full
        """)
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "poison"))
    out = tmp_path / "out"
    with pytest.raises(
        SaccadeError, match=r"^write: cannot write .*\.parquet: No space left on device; free some space"
    ):
        pipeline.run(execute.load(program), many, out, dataclasses.replace(SMALL, workers=2, sheet_limit=0))
    assert shards(out) == {}
    monkeypatch.delenv("PYTHONPATH")
    result = pipeline.run(execute.load(program), many, out, dataclasses.replace(SMALL, workers=2, sheet_limit=0))
    assert result.photos == 94


def test_the_whole_command_killed_again_and_again(program: Path, many: list[decode.Photo], tmp_path: Path):
    """SIGKILL after each few shards: the workers go with it, and the next start goes on."""
    pipeline.run(execute.load(program), many, tmp_path / "whole", SMALL)
    out = tmp_path / "out"
    script = f"""
        import os, sys
        from saccade.engine import decode, execute, pipeline
        def die(standing):
            if standing.finished * 10 >= standing.before + 30:
                os.kill(os.getpid(), 9)
        photos = decode.list_photos([{str(tmp_path / "many")!r}])
        options = pipeline.RunOptions(batch_size=4, shard_size=10, workers=int(sys.argv[1]))
        pipeline.run(execute.load({str(program)!r}), photos, {str(out)!r}, options, die)
    """
    codes, marked = [], {**os.environ, "SACCADE_TEST_OF": str(out)}
    for workers in ("2", "0", "1", "2"):
        found = subprocess.run([sys.executable, "-c", textwrap.dedent(script), workers], env=marked, timeout=120)
        codes.append(found.returncode)
        if codes[-1] == -9:
            assert status.read_status(out).state == "killed"
    assert codes == [-9, -9, -9, 0]
    assert shards(out) == shards(tmp_path / "whole")
    assert status.read_status(out).starts == 4
    deadline = time.monotonic() + 20
    while orphans := [p for p in Path("/proc").glob("[0-9]*/environ") if str(out).encode() in _read(p)]:
        assert time.monotonic() < deadline, orphans
        time.sleep(0.1)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
