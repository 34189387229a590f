"""Questions in SQL of one's own: one SELECT over the evidence, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from saccade.engine.contract import Batch, Maps, SaccadeError, Spec, UsageError
from saccade.engine.sinks import EvidenceWriter, query_evidence, read_evidence

MakeBatch = Callable[..., tuple[Batch, Maps]]


@pytest.fixture
def run(tmp_path: Path, spec: Spec, make_batch: MakeBatch) -> Path:
    for shard in range(3):
        with EvidenceWriter(tmp_path / "o'ut", spec, shard=shard) as writer:
            writer.write(*make_batch(10 * shard, 10, bad={10 * shard + 1}))
    return tmp_path / "o'ut"


def ask(run: Path, question: str) -> list[dict]:
    return query_evidence(run, question).read_all().to_pylist()


def test_a_question_of_ones_own(run: Path):
    rows = read_evidence(run).to_pylist()
    found = ask(run, "SELECT prediction, count(*) AS n FROM evidence WHERE error IS NULL GROUP BY ALL ORDER BY n DESC")
    classes = {row["prediction"] for row in rows if row["prediction"]}
    assert {row["prediction"]: row["n"] for row in found} == {
        name: sum(row["prediction"] == name for row in rows) for name in classes
    }
    assert ask(run, "FROM evidence SELECT name LIMIT 2") == [{"name": "0.jpg"}, {"name": "1.jpg"}]
    assert ask(run, "SELECT max(spread) = max(grad_cam_spread) AS same FROM evidence") == [{"same": True}]
    assert ask(run, "WITH a AS (SELECT 1 AS x) SELECT x FROM a") == [{"x": 1}]
    empty = query_evidence(run, "SELECT name FROM evidence WHERE false")
    assert (empty.schema.names, empty.read_all().num_rows) == (["name"], 0)


@pytest.mark.parametrize(
    "question",
    [
        "SELECT 1; SELECT 2",
        "DROP VIEW evidence",
        "COPY evidence TO 'x.csv'",
        "COPY (SELECT 1) TO 'evidence/x.parquet'",
        "INSTALL httpfs",
        "SET enable_external_access = true",
        "ATTACH 'x.db'",
        "CREATE TABLE a (b INT)",
        "EXPLAIN SELECT 1",
        "",
        "-- nothing",
    ],
)
def test_only_one_select(run: Path, question: str):
    before = sorted(run.rglob("*"))
    with pytest.raises(UsageError, match="query: ") as error:
        ask(run, question)
    assert "\n" not in str(error.value)
    assert sorted(run.rglob("*")) == before


@pytest.mark.parametrize("file", ["/etc/passwd", "../secret.csv"])
def test_no_other_file_is_read(run: Path, file: str):
    (run.parent / "secret.csv").write_text("a\n1\n")
    with pytest.raises(SaccadeError, match="query: "):
        ask(run, f"SELECT * FROM read_csv('{run / file}')")


def test_a_wrong_question_says_what_there_is(run: Path):
    with pytest.raises(UsageError, match=r"query: .*borders.*; the table is evidence, its columns: path, name"):
        ask(run, "SELECT borders FROM evidence")
    with pytest.raises(UsageError, match=r"query: .*Conversion"):
        ask(run, "SELECT CAST(name AS INT) FROM evidence")


def test_no_run(tmp_path: Path):
    with pytest.raises(UsageError, match="holds no evidence"):
        ask(tmp_path, "SELECT 1")
