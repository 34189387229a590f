from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from saccade.engine.contract import SaccadeError
from saccade.engine.decode import Manifest, Photo, list_photos, write_manifest
from saccade.engine.decode.manifest import ROWS

COUNT = 2 * ROWS + 100


@pytest.fixture(scope="module")
def listed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Photo]]:
    folder = tmp_path_factory.mktemp("listed")
    lines = [f"{i:05}.jpg,{i % 3},{i},{i / 2},{i % 5 == 0}" for i in range(COUNT)]
    (folder / "m.csv").write_text("path,label,i,half,fifth\n" + "\n".join(lines))
    return folder / "m.csv", list_photos([str(folder / "m.csv")])


@pytest.fixture(scope="module")
def manifest(listed: tuple[Path, list[Photo]]) -> Manifest:
    return write_manifest(listed[0].with_name("m.arrow"), [str(listed[0])])


def test_every_slice_is_that_of_the_list(listed: tuple[Path, list[Photo]], manifest: Manifest) -> None:
    photos = listed[1]
    assert len(manifest) == len(photos) == COUNT
    assert list(manifest) == photos
    edges = (None, 0, 1, 5, ROWS - 1, ROWS, ROWS + 1, 2 * ROWS, COUNT - 1, COUNT, COUNT + 9, -1, -ROWS)
    for begin in edges:
        for end in edges:
            assert manifest[begin:end] == photos[begin:end]
    assert manifest[10:ROWS:1000] == photos[10:ROWS:1000]
    assert manifest[5:0:-2] == photos[5:0:-2]
    for i in (0, 7, ROWS - 1, ROWS, COUNT - 1, -1, -COUNT):
        assert manifest[i] == photos[i]
    for i in (COUNT, -COUNT - 1):
        with pytest.raises(IndexError):
            manifest[i]


def test_threads_may_share_it(listed: tuple[Path, list[Photo]], manifest: Manifest) -> None:
    wrong: list[int] = []

    def read(first: int) -> None:
        wrong.extend(i for i in range(first, COUNT, 997) if manifest[i : i + 3] != listed[1][i : i + 3])

    threads = [threading.Thread(target=read, args=(i * 1300,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_the_digest_is_of_the_content(listed: tuple[Path, list[Photo]], manifest: Manifest, tmp_path: Path) -> None:
    source = listed[0]
    again = write_manifest(tmp_path / "again.arrow", [str(source)])
    assert again.digest == manifest.digest == Manifest(tmp_path / "again.arrow").digest
    text = source.read_text()
    for old, new in (("00007.jpg,1", "00007.jpg,2"), (",7,3.5", ",7,3.25"), ("half", "h")):
        changed = text.replace(old, new)
        assert changed != text
        (source.parent / "changed.csv").write_text(changed)
        assert write_manifest(tmp_path / "c.arrow", [str(source.parent / "changed.csv")]).digest != manifest.digest


def test_progress_and_labels(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("path,label\n0.jpg,zero\nset/dog/1.jpg,one\ncat/2.jpg,two\n")
    seen: list[int] = []
    manifest = write_manifest(tmp_path / "m.arrow", [str(folder)], str(tmp_path / "labels.csv"), seen.append)
    assert [p.label for p in manifest] == ["zero", "two", None, "one", None, None]
    assert seen == [6]
    assert list(manifest) == list_photos([str(folder)], str(tmp_path / "labels.csv"))


def test_nothing_is_left_of_a_listing_that_fails(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(SaccadeError):
        write_manifest(tmp_path / "out" / "m.arrow", [str(folder), str(tmp_path / "gone")])
    (tmp_path / "bad.csv").write_text("path\n" + "a.jpg\n" * 10 + ",\n")
    with pytest.raises(SaccadeError):
        write_manifest(tmp_path / "out" / "m.arrow", [str(tmp_path / "bad.csv")])
    assert not list((tmp_path / "out").glob("*"))


def test_names_that_are_no_text(tmp_path: Path) -> None:
    path = os.path.join(os.fsencode(tmp_path), b"\xff\n.jpg")
    with open(path, "wb") as file:
        file.write(b"x")
    photos = list_photos([str(tmp_path)])
    assert os.fsencode(photos[0].path) == path
    assert list(write_manifest(tmp_path / "m.arrow", [str(tmp_path)])) == photos


def refusal(path: Path) -> str:
    with pytest.raises(SaccadeError) as error:
        list(Manifest(path))
    line = str(error.value)
    assert line.startswith("decode: ")
    assert line.isprintable()
    assert path.name in line
    return line


def test_files_that_are_no_manifest(tmp_path: Path, folder: Path) -> None:
    path = tmp_path / "m.arrow"
    refusal(path)
    for content in (b"", b"ARROW1", b"x" * 1000):
        path.write_bytes(content)
        refusal(path)
    schema = pa.schema([("path", pa.string())])
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, schema) as writer:
        writer.write_batch(pa.record_batch([["a"]], schema=schema))
    assert "not of this program" in refusal(path)
    marked = schema.with_metadata({"saccade": "manifest 1"})
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, marked) as writer:
        writer.write_batch(pa.record_batch([["a"]], schema=marked))
    assert "columns" in refusal(path)
    write_manifest(path, [str(folder)])
    whole = path.read_bytes()
    for length in (10, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        refusal(path)


def test_rows_that_lie(tmp_path: Path, folder: Path) -> None:
    path = tmp_path / "m.arrow"
    write_manifest(path, [str(folder)])
    reader = pa.ipc.open_file(path)
    batch, end = reader.get_batch(0), reader.get_batch_with_custom_metadata(1)

    def write(*batches: pa.RecordBatch, **metadata: str) -> None:
        told = {k.decode(): v.decode() for k, v in dict(end.custom_metadata).items()} | metadata
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, reader.schema) as writer:
            for one in batches:
                writer.write_batch(one)
            writer.write_batch(end.batch, custom_metadata=told)

    write(batch)
    assert len(list(Manifest(path))) == 6
    write(batch, rows="7")
    assert "6 rows" in refusal(path)
    write(batch, rows=str(10**15))
    assert "parts" in refusal(path)
    write(batch, rows="-1")
    refusal(path)
    write(batch, digest="x")
    refusal(path)
    write(batch.set_column(0, reader.schema.field(0), pa.nulls(6, pa.binary())))
    assert "no path" in refusal(path)
    write(batch.set_column(4, reader.schema.field(4), pa.array([-1] * 6)))
    assert "below 0" in refusal(path)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("small")
    (folder / "m.csv").write_text("path,label,i,text\n" + "\n".join(f"{i}.jpg,{i},{i},t{i}" for i in range(20)))
    write_manifest(folder / "m.arrow", [str(folder / "m.csv")])
    return folder / "m.arrow"


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_damage_never_gives_another_error(small: Path, data: st.DataObject) -> None:
    content = bytearray(small.read_bytes())
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=6)):
        content[place] = data.draw(st.integers(0, 255))
    damaged = small.with_name("damaged.arrow")
    damaged.unlink(missing_ok=True)  # another manifest may still be mapped
    damaged.write_bytes(content)
    try:
        photos = list(Manifest(damaged))
    except SaccadeError as error:
        lines = str(error).splitlines()
    else:
        lines = ["read"]
        assert len(photos) == 20
    assert len(lines) == 1


def test_listing_takes_little_memory(tmp_path: Path) -> None:
    """50,000 rows of a long path: their texts alone would be 15 MB."""
    with open(tmp_path / "m.csv", "w") as file:
        file.write("path,label,camera\n")
        for i in range(50_000):
            file.write(f"{'folder/' * 20}{i:08}.jpg,{i % 1000},camera {i}\n")
    code = (
        "import sys, resource, pyarrow; from saccade.engine.decode import write_manifest\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "before = peak(); m = write_manifest(sys.argv[2], [sys.argv[1]]); print(len(m), peak() - before)"
    )
    words = [sys.executable, "-c", code, str(tmp_path / "m.csv"), str(tmp_path / "m.arrow")]
    count, grown = map(int, subprocess.run(words, capture_output=True, text=True, check=True).stdout.split())
    assert count == 50_000
    assert grown < 60_000, f"{grown:,} KB"


def test_opening_and_slicing_do_not_read_the_rest(manifest: Manifest, listed: tuple[Path, list[Photo]]) -> None:
    opened = Manifest(listed[0].with_name("m.arrow"))
    assert opened._reader.stats.num_record_batches == 1, "the last one"
    opened[ROWS + 5 : ROWS + 10]
    assert opened._reader.stats.num_record_batches == 2
    list(opened)
    assert opened._reader.stats.num_record_batches > 3, "the counter counts"
