"""A run whose workers are actors of a Ray cluster: two nodes of this machine, and what dies of them."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from saccade.engine import decode, execute, pipeline, sinks
from saccade.engine.contract import SaccadeError, UsageError
from saccade.engine.pipeline import RunOptions, ray_workers, status
from saccade.engine.pipeline import crew as crew_module

SMALL = RunOptions(batch_size=4, shard_size=10, workers=0)
ON_RAY = dataclasses.replace(SMALL, engine="ray", workers=2, threads=1)


@pytest.fixture(scope="module")
def bare() -> Iterator[Any]:
    """A cluster with one node without CPUs, for the run itself."""
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    found = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    try:
        ray.init(address=found.address, log_to_driver=False, logging_level="ERROR")
        yield found
    finally:
        ray.shutdown()
        found.shutdown()


@pytest.fixture
def cluster(bare: Any) -> Any:
    """It and two nodes of one CPU each."""
    while len(bare.worker_nodes) < 2:
        bare.add_node(num_cpus=1)
    return bare


def actors(*nodes: Any) -> list[psutil.Process]:
    """The actors that are on these nodes."""
    raylets = [psutil.Process(node.all_processes["raylet"][0].process.pid) for node in nodes]
    return [child for raylet in raylets for child in raylet.children() if _is_actor(child)]


def _is_actor(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return "".join(process.cmdline()[:1]).startswith(("ray::Served", "ray::Changed"))
    return False


def change(monkeypatch: pytest.MonkeyPatch, act: Callable[[dict[str, Any]], None]) -> None:
    """Have actors do something in their process before they begin, which may change the job."""

    class Changed(ray_workers.Served):
        def __init__(self, job: str) -> None:
            words = json.loads(job)
            act(words)
            super().__init__(json.dumps(words))

    monkeypatch.setattr(ray_workers, "Served", Changed)


def before_each_photo(do: Callable[[str], None]) -> Callable[[dict[str, Any]], None]:
    """For `change`: `do` is called with a photo's path before it is read."""

    def act(job: dict[str, Any]) -> None:
        from saccade.engine import decode
        from saccade.engine.decode import decoder

        real = decode.read_view

        def read(source: Any, *words: Any) -> Any:
            do(source)
            return real(source, *words)

        decode.read_view = decoder.read_view = read

    return act


def slowly(source: str) -> None:
    time.sleep(0.05)


@pytest.fixture
def whole(program: Path, many: list[decode.Photo], tmp_path: Path) -> Path:
    """The run in this process."""
    pipeline.run(execute.load(program), many, tmp_path / "whole", SMALL)
    return tmp_path / "whole"


def shards(out: Path) -> dict[str, bytes]:
    """The evidence's files, byte for byte; temporary ones too."""
    return {path.name: path.read_bytes() for path in (out / "evidence").iterdir()}


# ---- without a cluster ---------------------------------------------------------------------------------------------


def test_without_ray_it_is_one_line(
    program: Path, many: list[decode.Photo], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match=r"^run: Ray is not installed; pip install 'saccade\[ray\]'$"):
        pipeline.run(execute.load(program), many, tmp_path / "out", ON_RAY)
    assert not (tmp_path / "out").exists()


def test_ray_is_imported_only_when_it_is_asked_for(program: Path):
    code = f"""
        import sys
        from saccade.engine import execute, pipeline
        options = pipeline.RunOptions(engine="ray")
        pipeline.check_options(execute.load({str(program)!r}).spec, options)
        assert "ray" not in sys.modules
    """
    pytest.importorskip("ray")
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True)


def test_no_work_is_done_by_the_run_itself(program: Path, many: list[decode.Photo], tmp_path: Path):
    with pytest.raises(UsageError, match="expected 1 or more, got 0"):
        pipeline.run(execute.load(program), many, tmp_path / "out", dataclasses.replace(ON_RAY, workers=0))


@pytest.mark.parametrize(
    ("nodes", "cuda", "asked", "found"),
    [
        ([(2, 0)], False, (None, None), (1, 2)),
        ([(16, 0), (16, 0)], False, (None, None), (8, 4)),
        ([(2, 0), (2, 0), (8, 0)], False, (None, None), (6, 2)),  # four would leave a third of the CPUs idle
        ([(2, 0), (64, 0)], False, (None, None), (16, 4)),
        ([(0, 0), (1, 0), (1, 0)], False, (None, None), (2, 1)),
        ([(16, 0), (16, 0)], False, (4, None), (4, 8)),
        ([(16, 0), (16, 0)], False, (3, None), (3, 8)),
        ([(2, 0)], False, (5, None), (5, 1)),  # two at a time
        ([(8, 0), (4, 0)], False, (None, 3), (3, 3)),
        ([(8, 0), (4, 0)], False, (2, 6), (2, 6)),
        ([(64, 0), (32, 4), (16, 2)], True, (None, None), (6, 8)),
        ([(32, 4)], True, (2, None), (2, 16)),
        ([(32, 4)], True, (None, 16), (2, 16)),
    ],
)
def test_how_many_actors_there_is_room_for(
    nodes: list[tuple[int, int]], cuda: bool, asked: tuple[int | None, int | None], found: tuple[int, int]
):
    assert ray_workers.room(nodes, cuda, *asked) == found


@pytest.mark.parametrize(
    ("nodes", "cuda", "threads", "said"),
    [
        ([(8, 0), (4, 0)], False, 9, "no node of the Ray cluster has 9 CPUs; use --threads 8 or fewer"),
        ([(8, 0)], True, None, "no node of the Ray cluster has CPUs and a GPU"),
        ([], False, None, "no node of the Ray cluster has CPUs; start one"),
    ],
)
def test_no_room(nodes: list[tuple[int, int]], cuda: bool, threads: int | None, said: str):
    with pytest.raises(UsageError, match=said):
        ray_workers.room(nodes, cuda, 1, threads)


# ---- with one ------------------------------------------------------------------------------------------------------


def test_actors_write_what_a_local_run_writes(
    cluster: Any, program: Path, many: list[decode.Photo], whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    change(monkeypatch, before_each_photo(slowly))
    there: set[int] = set()

    def look(standing: pipeline.Standing) -> None:
        there.update(n for n, node in enumerate(cluster.worker_nodes) if actors(node))

    options = dataclasses.replace(ON_RAY, workers=None, threads=None)
    result = pipeline.run(execute.load(program), many, tmp_path / "out", options, look)
    assert (result.photos, result.failed, result.aside) == (94, 2, {})
    assert shards(tmp_path / "out") == shards(whole)
    assert (tmp_path / "out" / "sheet.jpg").read_bytes() == (whole / "sheet.jpg").read_bytes()
    assert there == {0, 1}
    assert pipeline.run(execute.load(program), many, tmp_path / "out", SMALL).before == 94, "a local run may go on"


def test_an_actor_that_dies_costs_its_shards_work(
    cluster: Any, program: Path, many: list[decode.Photo], whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    change(monkeypatch, before_each_photo(slowly))
    killed: list[int] = []

    def kill(standing: pipeline.Standing) -> None:
        if standing.finished >= 2 + 2 * len(killed) and len(killed) < 2:
            there = actors(*cluster.worker_nodes)
            if there:
                killed.append(there[0].pid)
                there[0].kill()

    result = pipeline.run(execute.load(program), many, tmp_path / "out", ON_RAY, kill)
    assert len(killed) == 2
    assert (result.photos, result.failed, result.aside) == (94, 2, {})
    assert shards(tmp_path / "out") == shards(whole)


def test_a_photo_that_kills_becomes_a_row(
    cluster: Any, program: Path, many: list[decode.Photo], whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def die(source: str) -> None:
        if source.endswith("/042.png"):
            os.kill(os.getpid(), signal.SIGKILL)

    change(monkeypatch, before_each_photo(die))
    result = pipeline.run(execute.load(program), many, tmp_path / "out", ON_RAY)
    assert (result.photos, result.failed, result.aside) == (94, 3, {})
    rows = sinks.read_evidence(tmp_path / "out").to_pylist()
    assert [row["error"] for row in rows if row["name"] == "042.png"] == [
        "run: reading or explaining this photo ended the worker process, which crashed or was killed; look at the file"
    ]
    same = {n for n, data in shards(tmp_path / "out").items() if shards(whole).get(n) == data}
    assert len(same) == 9, "the other shards are what they would have been"


def test_a_node_that_cannot_work_says_why(
    cluster: Any, program: Path, many: list[decode.Photo], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def blind(job: dict[str, Any]) -> None:
        job["manifest"] = "/elsewhere/manifest.arrow"

    change(monkeypatch, blind)
    with pytest.raises(UsageError, match=r"^run: /elsewhere/manifest.arrow is not there; .* same path \(on .*\)$"):
        pipeline.run(execute.load(program), many, tmp_path / "out", ON_RAY)
    assert status.read_status(tmp_path / "out").state == "failed"
    monkeypatch.undo()

    def broken(job: dict[str, Any]) -> None:
        raise ModuleNotFoundError("no saccade here")

    change(monkeypatch, broken)
    with pytest.raises(SaccadeError, match=r"ended with ModuleNotFoundError: no saccade here before it began; Ray's"):
        pipeline.run(execute.load(program), many, tmp_path / "out", ON_RAY)
    monkeypatch.undo()

    def failing(job: dict[str, Any]) -> None:
        from saccade.engine.pipeline import worker

        def fail(info: dict[str, Any]) -> Any:
            raise KeyError("a mistake")

        worker.job_from_json = fail

    change(monkeypatch, failing)
    with pytest.raises(SaccadeError, match=r"ended with KeyError: 'a mistake' before it began"):
        pipeline.run(execute.load(program), many, tmp_path / "out", ON_RAY)


def test_the_run_itself_is_stopped_and_killed(
    cluster: Any, program: Path, many: list[decode.Photo], whole: Path, tmp_path: Path
):
    """Ctrl-C, then SIGKILL: the actors go with it, and the next start goes on."""
    out = tmp_path / "out"
    script = f"""
        import os, signal, sys
        from saccade.engine import decode, execute, pipeline
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a job of a shell's background has it ignored
        def stop(standing):
            if standing.finished > standing.before // 10:
                os.kill(os.getpid(), int(sys.argv[1]))
        photos = decode.list_photos([{str(tmp_path / "many")!r}])
        options = pipeline.RunOptions(batch_size=4, shard_size=10, workers=2, threads=1, engine="ray")
        pipeline.run(execute.load({str(program)!r}), photos, {str(out)!r}, options, stop)
    """
    for number, state in ((signal.SIGINT, "interrupted"), (signal.SIGKILL, "killed")):
        words = [sys.executable, "-c", textwrap.dedent(script), str(int(number))]
        seen, deadline = 0, time.monotonic() + 60
        with subprocess.Popen(words, env={**os.environ, "RAY_ADDRESS": cluster.address}) as process:
            while process.poll() is None:
                seen = max(seen, len(actors(*cluster.worker_nodes)))
                assert time.monotonic() < deadline
                time.sleep(0.05)
        assert (process.returncode, status.read_status(out).state) == (-number, state)
        assert seen
        while left := actors(*cluster.worker_nodes):
            assert time.monotonic() < deadline, left
            time.sleep(0.1)
    result = pipeline.run(execute.load(program), many, out, ON_RAY)
    assert result.before >= 20
    assert shards(out) == shards(whole)


def test_a_node_that_goes_away_costs_its_shards_work(
    cluster: Any, program: Path, many: list[decode.Photo], whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """There is no room for another actor then: one does the rest."""
    change(monkeypatch, before_each_photo(slowly))
    gone: list[Any] = []
    lost: list[str] = []
    died = crew_module.Crew._died

    def remove(standing: pipeline.Standing) -> None:
        if standing.finished >= 2 and not gone and all(actors(node) for node in cluster.worker_nodes):
            gone.append(next(iter(cluster.worker_nodes)))
            cluster.remove_node(gone[0], allow_graceful=False)

    def watch(self: Any, worker: Any) -> Any:
        lost.append(worker.transport.cause().kind)
        return died(self, worker)

    monkeypatch.setattr(crew_module.Crew, "_died", watch)
    result = pipeline.run(execute.load(program), many, tmp_path / "out", ON_RAY, remove)
    assert (len(gone), lost) == (1, ["away"])
    assert (result.photos, result.failed, result.aside) == (94, 2, {})
    assert shards(tmp_path / "out") == shards(whole)
