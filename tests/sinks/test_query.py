from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from saccade.engine.contract import Batch, Maps, SaccadeError, Spec, UsageError
from saccade.engine.sinks import EvidenceWriter, read_evidence, restore_map

MakeBatch = Callable[..., tuple[Batch, Maps]]


@pytest.fixture
def run(tmp_path: Path, spec: Spec, make_batch: MakeBatch) -> Path:
    """A run of 40 photos in 4 shards, in a folder whose name has characters that globs and SQL know."""
    folder = tmp_path / "o'ut[1]*"
    with EvidenceWriter(folder, spec, shard_size=11) as writer:
        for first in range(0, 40, 8):
            writer.write(*make_batch(first, 8, bad={first + 1}))
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
