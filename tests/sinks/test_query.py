from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from saccade.engine.contract import Batch, Maps, SaccadeError, Spec, UsageError
from saccade.engine.sinks import EvidenceWriter, every_row, is_further, query, read_evidence, restore_map, shape_of
from saccade.engine.sinks.query import iterate_evidence

MakeBatch = Callable[..., tuple[Batch, Maps]]


@pytest.fixture
def run(tmp_path: Path, spec: Spec, make_batch: MakeBatch) -> Path:
    """A run of 40 photos in 4 shards, in a folder whose name has characters that globs and SQL know."""
    folder = tmp_path / "o'ut[1]*"
    for shard in range(4):
        first = 11 * shard
        with EvidenceWriter(folder, spec, shard=shard) as writer:
            writer.write(*make_batch(first, min(11, 40 - first), bad=set(range(1, 40, 8))))
    return folder


def one_line(error: pytest.ExceptionInfo[SaccadeError]) -> str:
    text = str(error.value)
    assert "\n" not in text
    assert text.startswith("evidence: ")
    return text


def names(run: Path, **query: str | int | None) -> list[str]:
    return read_evidence(run, columns=["name"], **query)["name"].to_pylist()  # type: ignore[arg-type]


def test_the_default_is_everything_in_the_manifests_order(run: Path) -> None:
    assert names(run) == [f"{i}.jpg" for i in range(40)]


def test_conditions_orders_and_limits(run: Path) -> None:
    rows = read_evidence(run).to_pylist()
    cats = [r["name"] for r in rows if r["prediction"] == "cat"]
    assert 0 < len(cats) < 35
    assert names(run, where="prediction = 'cat'") == cats
    assert names(run, where="error is not null") == [f"{i}.jpg" for i in range(1, 40, 8)]
    found = read_evidence(run, "error is null", "confidence desc", 7)["confidence"].to_pylist()
    assert found == sorted((r["confidence"] for r in rows if r["error"] is None), reverse=True)[:7]
    assert names(run, limit=3) == ["0.jpg", "1.jpg", "2.jpg"]
    assert names(run, limit=0) == []
    assert names(run, where="false") == []


def test_ties_keep_the_manifests_order(run: Path) -> None:
    assert names(run, order_by="height is null") == names(run, where="error is null") + names(
        run, where="error is not null"
    )


def test_the_first_maps_statistics_go_by_their_bare_names(run: Path) -> None:
    for statistic in ("border_mass", "max", "mean", "center_x", "spread"):
        assert names(run, order_by=f"{statistic} desc") == names(run, order_by=f"grad_cam_{statistic} desc")
    some = names(run, where="border_mass > 0.44")
    assert some == names(run, where="grad_cam_border_mass > 0.44")
    assert some != names(run, where="saliency_border_mass > 0.44")
    assert "border_mass" not in read_evidence(run).schema.names


def test_bare_names_do_not_hide_columns(tmp_path: Path, spec: Spec, make_batch: MakeBatch) -> None:
    first = dataclasses.replace(spec.maps[0], name="spread")
    batch, maps = make_batch(0, 2)
    maps.maps["spread"] = maps.maps["grad_cam"]
    with EvidenceWriter(tmp_path, dataclasses.replace(spec, maps=(first, spec.maps[1]))) as writer:
        writer.write(batch, maps)
    assert len(names(tmp_path, where="len(spread) = 49 and border_mass = spread_border_mass")) == 2


def test_without_a_map_of_the_photo_there_are_no_bare_names(tmp_path: Path, spec: Spec, make_batch: MakeBatch) -> None:
    with EvidenceWriter(tmp_path, dataclasses.replace(spec, maps=spec.maps[2:])) as writer:
        writer.write(*make_batch(0, 2))
    assert len(names(tmp_path, where="activations_max is not null")) == 2
    with pytest.raises(UsageError):
        names(tmp_path, where="border_mass > 0")


def test_columns_come_in_the_asked_order(run: Path) -> None:
    table = read_evidence(run, "error is null", columns=["grad_cam_scale", "name", "grad_cam", "name"])
    assert table.schema.names == ["grad_cam_scale", "name", "grad_cam"]
    full = read_evidence(run, "error is null")
    np.testing.assert_array_equal(restore_map(table, "grad_cam"), restore_map(full, "grad_cam"))


@pytest.mark.parametrize(
    "where",
    [
        "nonsense = 1",
        "border_mass >",
        "true; drop table evidence",
        "true; select 1",
        "1 = 1) or (1 = 1",
        "",
        "name = 'unfinished",
        "name > 3 and",
        "confidence = 'not a number'",
        "path in (select content from read_text('/etc/hostname'))",
        "path in (select path from read_csv('/etc/hostname'))",
        "path in (select path from '/etc/hostname')",
        "exists (select * from glob('/etc/*'))",
        "sum(confidence) > 1",
        "a\nb",
    ],
)
def test_a_condition_that_does_not_work_is_refused(run: Path, where: str) -> None:
    with pytest.raises(UsageError) as error:
        read_evidence(run, where)
    line = one_line(error)
    assert "border_mass" in line
    assert "prediction_index" in line


@pytest.mark.parametrize("order_by", ["nonsense", "name; select 1", "name) limit (1", "(select getenv('HOME'))"])
def test_an_order_that_does_not_work_is_refused(run: Path, order_by: str) -> None:
    with pytest.raises(UsageError) as error:
        read_evidence(run, order_by=order_by)
    assert "prediction_index" in one_line(error)


def test_a_comment_hides_nothing(run: Path) -> None:
    assert names(run, where="error is null -- or", order_by="name desc --") == sorted(
        names(run, where="error is null"), reverse=True
    )


def test_columns_and_limits_that_make_no_sense(run: Path) -> None:
    with pytest.raises(UsageError) as error:
        read_evidence(run, columns=["nam"])
    assert "'nam'" in one_line(error)
    with pytest.raises(UsageError) as error:
        read_evidence(run, limit=-1)
    one_line(error)


def test_a_folder_without_evidence(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(UsageError) as error:
            read_evidence(folder)
        assert str(folder) in one_line(error)


@pytest.mark.parametrize("shard", [0, 2])
@pytest.mark.parametrize("keep_bytes", [0, 3, 1000])
def test_a_damaged_shard(run: Path, shard: int, keep_bytes: int) -> None:
    path = run / "evidence" / f"shard-0000{shard}.parquet"
    path.write_bytes(path.read_bytes()[:keep_bytes])
    with pytest.raises(SaccadeError) as error:
        read_evidence(run)
    assert path.name in one_line(error)
    assert not isinstance(error.value, UsageError)


def test_restoring_needs_the_map_and_its_scale(run: Path) -> None:
    table = read_evidence(run)
    for name in ("name", "grad_cam_max", "nonsense"):
        with pytest.raises(UsageError, match="grad_cam"):
            restore_map(table, name)
    with pytest.raises(UsageError):
        restore_map(table.drop_columns(["grad_cam_scale"]), "grad_cam")
    assert restore_map(table, "grad_cam", -1).shape == (7, 7)
    with pytest.raises(IndexError):
        restore_map(table, "grad_cam", 40)
    assert restore_map(table.slice(0, 0), "grad_cam").shape == (0, 7, 7)
    np.testing.assert_array_equal(restore_map(table.slice(8, 20), "grad_cam", 2), restore_map(table, "grad_cam", 10))


# ---- a few rows at a time -----------------------------------------------------------------------------------------


def same(slices: query.EvidenceSlices, table: pa.Table) -> None:
    """The same rows in the same order, whatever the width of a float in a list."""
    tables = list(slices)
    found = pa.concat_tables(tables)
    assert found.schema.names == table.schema.names
    assert found.schema.metadata == table.schema.metadata
    assert len(slices) == found.num_rows == table.num_rows
    for name in table.schema.names:
        if pa.types.is_list(found.schema.field(name).type):
            np.testing.assert_array_equal(restore_map(found, name), restore_map(table, name))
        else:
            assert found[name].to_pylist() == table[name].to_pylist(), name


QUESTIONS: list[dict[str, Any]] = [
    {},
    {"where": "prediction = 'cat' and border_mass > 0.4"},
    {"order_by": "confidence desc"},
    {"where": "error is null", "order_by": "hash(name)", "limit": 23},
    {"columns": ["grad_cam_scale", "name", "grad_cam", "name"], "limit": 12},
]


@pytest.mark.parametrize("asked", QUESTIONS)
@pytest.mark.parametrize("rows", [1, 7, 256])
def test_slices_are_what_is_read_at_once(run: Path, asked: dict[str, Any], rows: int) -> None:
    slices = iterate_evidence(run, **asked, rows=rows)
    table = read_evidence(run, **asked)
    same(slices, table)
    assert [part.num_rows for part in slices][:-1] == [rows] * (-(-table.num_rows // rows) - 1)  # once more
    with pytest.raises(AssertionError):
        same(slices, table.slice(1))


@pytest.mark.parametrize("order_by", [None, "name desc"])
def test_little_is_held_at_once(run: Path, order_by: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(query, "_READ_BYTES", 1)
    same(iterate_evidence(run, order_by=order_by, rows=3), read_evidence(run, order_by=order_by))


def test_nothing_found_gives_no_slice(run: Path) -> None:
    empty: list[dict[str, Any]] = [{"where": "false"}, {"limit": 0}]
    for asked in empty:
        slices = iterate_evidence(run, **asked)
        assert (len(slices), list(slices)) == (0, [])


@pytest.mark.parametrize("asked", [{"where": "true; select 1"}, {"order_by": "nonsense"}, {"limit": -1}])
def test_slices_of_a_question_that_does_not_work(run: Path, asked: dict[str, Any]) -> None:
    with pytest.raises(UsageError) as error:
        iterate_evidence(run, **asked)
    one_line(error)
    with pytest.raises(UsageError) as error:
        iterate_evidence(run, "path in (select content from read_text('/etc/hostname'))")
    one_line(error)
    with pytest.raises(UsageError, match="'nam'"):
        iterate_evidence(run, columns=["nam"])


def test_a_shard_that_is_damaged_while_it_is_read(run: Path) -> None:
    slices = iterate_evidence(run)
    path = run / "evidence" / "shard-00002.parquet"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(SaccadeError, match=path.name) as error:
        list(slices)
    one_line(error)


@pytest.mark.parametrize("package", ["pandas", "polars", "duckdb"])
def test_other_tools_read_the_files_as_they_are(run: Path, package: str) -> None:
    tool = pytest.importorskip(package)
    expected = read_evidence(run).to_pylist()
    if package == "pandas":
        table = tool.read_parquet(run / "evidence")
        cams, sure = list(table["grad_cam"]), table["confidence"].tolist()
    elif package == "polars":
        files = sorted((run / "evidence").glob("*.parquet"))
        table = tool.read_parquet(files, glob=False)  # the folder's name has characters that globs know
        cams, sure = table["grad_cam"].to_list(), table["confidence"].to_list()
    else:
        files = sorted(str(path) for path in (run / "evidence").glob("*.parquet"))
        rows = tool.connect().read_parquet(files).project("grad_cam, confidence").fetchall()
        cams, sure = [row[0] for row in rows], [row[1] for row in rows]
    assert len(cams) == len(expected) == 40
    for cam, found, row in zip(cams, sure, expected, strict=True):
        if row["error"]:
            assert cam is None
        else:
            assert [float(v) for v in cam] == [float(v) for v in row["grad_cam"]]
            assert found == pytest.approx(row["confidence"])


def test_every_row_is_what_is_found_without_a_condition(run: Path) -> None:
    found = every_row(run, ["name", "grad_cam"], rows=7)
    expected = iterate_evidence(run, columns=["name", "grad_cam"], rows=7)
    assert len(found) == 40
    assert [t.to_pylist() for t in found] == [t.to_pylist() for t in expected]
    assert [t.num_rows for t in found.of(["score"], 30)] == [30, 10]
    with pytest.raises(UsageError, match="there is no column 'nam'"):
        found.of(["nam"], 1)
    with pytest.raises(ValueError, match="rows must be"):
        every_row(run, rows=0)
    (run / "evidence" / "shard-00002.parquet").write_bytes(b"PAR1")
    with pytest.raises(SaccadeError, match=r"cannot read .*shard-00002"):
        every_row(run)


def test_rows_are_taken_in_the_order_in_which_they_are_named(run: Path) -> None:
    found = every_row(run, ["name", "grad_cam", "grad_cam_scale"])
    rows = [39, 0, 12, 12, 11, 10]
    table = found.take(rows)
    assert table["name"].to_pylist() == [f"{i}.jpg" for i in rows]
    whole = restore_map(read_evidence(run), "grad_cam")
    np.testing.assert_array_equal(restore_map(table, "grad_cam"), whole[rows])
    assert not np.array_equal(restore_map(table, "grad_cam"), whole[rows[::-1]])
    assert found.take([]).schema.names == ["name", "grad_cam", "grad_cam_scale"]
    assert found.take([]).num_rows == 0
    with pytest.raises(IndexError):
        found.take([40])


def test_a_column_says_its_shape_and_whose_it_is(run: Path) -> None:
    schema = read_evidence(run).schema
    assert shape_of(schema.field("grad_cam")) == (7, 7)
    assert shape_of(schema.field("features")) == (5,)
    with pytest.raises(SaccadeError, match="the column score has no shape"):
        shape_of(schema.field("score"))
    assert not any(is_further(field) for field in schema)
