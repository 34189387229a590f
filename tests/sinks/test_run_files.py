"""The lines of finished shards, and what a sheet's photos are kept in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from saccade.engine.contract import SaccadeError
from saccade.engine.sinks import append_shard, read_cells, read_shards, remove_cells, write_cells


def test_lines_of_shards_come_back(tmp_path: Path):
    assert read_shards(tmp_path) == {}
    lines = [{"shard": i, "photos": 10 - i, "failed": i, "seconds": {"write": 0.5}} for i in range(3)]
    for line in lines:
        append_shard(tmp_path, line)
    assert read_shards(tmp_path) == dict(enumerate(lines))


def test_a_torn_line_costs_itself_alone(tmp_path: Path):
    append_shard(tmp_path, {"shard": 0, "photos": 1, "failed": 0})
    path = tmp_path / "shards.jsonl"
    with open(path, "a", encoding="utf-8") as file:
        file.write('\n{"shard": 1, "pho')
    append_shard(tmp_path, {"shard": 2, "photos": 3, "failed": 0})
    assert set(read_shards(tmp_path)) == {0, 2}


@pytest.mark.parametrize(
    "line",
    [
        "[" * 100_000,
        '{"shard": -1, "photos": 1, "failed": 0}',
        '{"shard": true, "photos": 1, "failed": 0}',
        '{"shard": 1, "photos": 1}',
        '{"shard": 1, "photos": 1, "failed": 0, "seconds": 3}',
        "7",
        '{"shard": 1, "photos": 1, "failed": 0, "seconds": {"a": NaN}}',
        '{"shard": 1, "photos": 1, "failed": 0, "seconds": {"a": "x"}}',
        '{"shard": 1, "photos": 1' + 400 * "0" + ', "failed": 0}',
        "\udcff",
    ],
)
def test_somebody_elses_lines_are_left_out(tmp_path: Path, line: str):
    (tmp_path / "shards.jsonl").write_text(line + "\n", encoding="utf-8", errors="surrogateescape")
    append_shard(tmp_path, {"shard": 2, "photos": 3, "failed": 0})
    assert set(read_shards(tmp_path)) == {2}


def test_cells_come_back_in_order(tmp_path: Path):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (3, 4, 5, 3), dtype=np.uint8)
    maps = rng.random((3, 2, 2), np.float32)
    for shard in (2, 0, 1):
        write_cells(tmp_path, shard, [{"index": shard}], [images[shard]], {"grad_cam": [maps[shard]]})
    write_cells(tmp_path, 3, [], [], {})
    found = list(read_cells(tmp_path, range(4)))
    assert [captions for captions, _, _ in found] == [[{"index": i}] for i in range(3)]
    np.testing.assert_array_equal(np.concatenate([i for _, i, _ in found]), images)
    np.testing.assert_array_equal(np.concatenate([m["grad_cam"] for _, _, m in found]), maps)
    remove_cells(tmp_path)
    with pytest.raises(SaccadeError, match="there is none; make it with saccade sheet"):
        list(read_cells(tmp_path, [0]))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut", b"\x80\x04."])
def test_cells_that_are_damaged_are_refused(tmp_path: Path, content: bytes):
    write_cells(tmp_path, 0, [{}], [np.zeros((1, 1, 3), np.uint8)], {})
    next((tmp_path / ".sheet").iterdir()).write_bytes(content)
    with pytest.raises(SaccadeError, match="make it with saccade sheet"):
        list(read_cells(tmp_path, [0]))


def test_cells_hold_no_pickles(tmp_path: Path):
    (tmp_path / ".sheet").mkdir()
    with open(tmp_path / ".sheet" / "shard-00000.npz", "wb") as file:
        np.savez(file, captions=np.array([{}], object), images=np.zeros((1, 1, 1, 3), np.uint8))
    with pytest.raises(SaccadeError, match="pickle"):
        list(read_cells(tmp_path, [0]))
