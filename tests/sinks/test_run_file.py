from __future__ import annotations

import json
from pathlib import Path

import pytest

from saccade.engine.contract import SaccadeError, UsageError
from saccade.engine.sinks import read_run, write_run


def test_it_reads_back(tmp_path: Path) -> None:
    info = {"program": "résnet.onnx", "photos": 3, "options": {"threads": None, "sources": ["a", "b"]}}
    write_run(tmp_path / "new", info)
    assert read_run(tmp_path / "new") == {**info, "schema": 2}
    write_run(tmp_path / "new", {"photos": 4})
    assert read_run(tmp_path / "new") == {"photos": 4, "schema": 2}
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["run.json"]


def test_a_name_that_is_not_utf8(tmp_path: Path) -> None:
    write_run(tmp_path, {"source": "caf\udce9"})
    assert read_run(tmp_path)["source"] in ("caf\udce9", "caf\\udce9")


@pytest.mark.parametrize("info", [{"a": float("nan")}, {"a": {1, 2}}])
def test_what_json_cannot_say_leaves_the_old_file(tmp_path: Path, info: dict) -> None:
    write_run(tmp_path, {"photos": 1})
    with pytest.raises((ValueError, TypeError)):
        write_run(tmp_path, info)
    assert read_run(tmp_path)["photos"] == 1


def test_a_folder_that_is_no_run(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path, tmp_path / "missing", tmp_path / "file"):
        with pytest.raises(UsageError, match="not the folder of a run") as error:
            read_run(folder)
        assert str(error.value).isprintable()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"{}",
        b'{"schema": 1}',
        b'{"schema": 3}',
        b'{"schema": true}',
        b'{"schema": "2"}',
        b"\xff",
        b"[" * 10**5,
    ],
)
def test_a_damaged_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "run.json").write_bytes(content)
    with pytest.raises(SaccadeError) as error:
        read_run(tmp_path)
    assert str(error.value).isprintable()
    assert "run.json" in str(error.value)


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    with open(tmp_path / "run.json", "wb") as file:
        file.truncate(2**40)  # sparse
    with pytest.raises(SaccadeError, match="bytes"):
        read_run(tmp_path)


def test_it_is_json_that_a_person_can_read(tmp_path: Path) -> None:
    write_run(tmp_path, {"photos": 1})
    text = (tmp_path / "run.json").read_text()
    assert json.loads(text)["photos"] == 1
    assert text.count("\n") > 2
