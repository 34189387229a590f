from __future__ import annotations

import errno
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from saccade.engine.contract import PhotoError, Preprocessing, SourceError
from saccade.engine.decode import (
    Decoder,
    Photo,
    Storage,
    batches_of,
    list_photos,
    opening,
    patience,
    read_upright,
    storage,
)
from saccade.engine.decode.cursors import Cursor

P = Preprocessing(8, 8, 3, "stretch")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "FIRST_DELAY", 0.002)
    monkeypatch.setattr(patience, "LONGEST_DELAY", 0.02)


def failing(monkeypatch: pytest.MonkeyPatch, number: int, times: float, only: str = "") -> list[str]:
    """Let `open` fail so many times with an error of the system; what is returned grows with each."""
    failed: list[str] = []

    def opening_it(path: Any, *arguments: Any, **options: Any) -> Any:
        if len(failed) < times and only in str(path):
            failed.append(str(path))
            raise OSError(number, os.strerror(number), str(path))
        return open(path, *arguments, **options)

    monkeypatch.setattr(opening, "open", opening_it, raising=False)
    return failed


def test_a_file_is_its_path(folder: Path) -> None:
    with Storage() as files:
        for photo in list_photos([str(folder)]):
            assert files.fetch(photo) == photo.path


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENOTCONN, errno.EHOSTDOWN])
def test_a_fault_that_passes_is_waited_for(folder: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    photos = list_photos([str(folder)])
    failed = failing(monkeypatch, number, 9)
    with Decoder(batches_of(photos, 4), P, threads=4) as decoder:
        records = [r for batch in decoder for r in batch.records]
    assert len(failed) == 9
    assert [r.error for r in records] == [None] * 6


@pytest.mark.parametrize("number", [errno.EACCES, errno.EISDIR, errno.ENAMETOOLONG])
def test_a_fault_that_does_not_pass_is_a_row_at_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    photos = list_photos([str(folder)])
    failed = failing(monkeypatch, number, 1, "2.jpg")
    with Decoder(batches_of(photos, 4), P, threads=4) as decoder:
        records = [r for batch in decoder for r in batch.records]
    assert len(failed) == 1
    assert [r.name for r in records if r.error] == ["cat/2.jpg"]


def test_a_bad_sector_is_a_row_in_the_end(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos = list_photos([str(folder)])
    failed = failing(monkeypatch, errno.EIO, float("inf"), "2.jpg")
    with Storage(0.05) as files, Decoder(batches_of(photos, 4), P, threads=2, storage=files) as decoder:
        records = [r for batch in decoder for r in batch.records]
    assert len(failed) > 2
    assert [r.name for r in records if r.error] == ["cat/2.jpg"]
    assert "Input/output error" in str(records[1].error)


def test_a_source_that_comes_back(folder: Path) -> None:
    photos = list_photos([str(folder)])
    away = folder.with_name("away")
    folder.rename(away)
    back = threading.Timer(0.2, lambda: away.rename(folder))
    back.start()
    with Storage(20) as files, Decoder(batches_of(photos, 2), P, threads=2, storage=files) as decoder:
        records = [r for batch in decoder for r in batch.records]
    back.join()
    assert [r.error for r in records] == [None] * 6


def test_a_source_that_stays_away_ends_the_run(folder: Path) -> None:
    photos = list_photos([str(folder)])
    seen = []

    def run() -> None:
        with Storage(0.1) as files, Decoder(batches_of(photos, 1), P, threads=2, ahead=1, storage=files) as decoder:
            for batch in decoder:
                seen.append(batch)
                if len(seen) == 2:
                    folder.rename(folder.with_name("away"))

    with pytest.raises(SourceError, match="went away") as error:
        run()
    assert str(error.value).isprintable()
    assert len(seen) < 5
    assert all(record.error is None for batch in seen for record in batch.records)


def test_a_photo_that_is_missing_is_a_row_at_once(folder: Path) -> None:
    photos = list_photos([str(folder)])
    (folder / "cat" / "2.jpg").unlink()
    began = time.monotonic()
    with Decoder(batches_of(photos, 4), P) as decoder:
        records = [r for batch in decoder for r in batch.records]
    assert time.monotonic() - began < patience.PATIENCE / 2
    assert [r.name for r in records if r.error] == ["cat/2.jpg"]


def test_a_folder_that_is_deleted_from_a_set_that_is_there_makes_rows_at_once(folder: Path) -> None:
    photos = list_photos([str(folder)])
    for path in (folder / "dog").iterdir():
        path.unlink()
    (folder / "dog").rmdir()
    began = time.monotonic()
    with Decoder(batches_of(photos, 2), P, threads=1) as decoder:
        records = [r for batch in decoder for r in batch.records]
    assert time.monotonic() - began < patience.PATIENCE / 2
    assert [r.name for r in records if r.error] == ["dog/1.jpg", "dog/3.jpg", "dog/5.jpg"]


@pytest.mark.parametrize("kind", ["tar", "tgz", "parquet"])
def test_a_container_that_comes_back_and_one_that_does_not(tmp_path: Path, pictures, kind: str) -> None:
    path = container(tmp_path / "share" / f"a.{kind}", pictures)
    photos = list_photos([str(path)])
    away = tmp_path / "away"
    path.parent.rename(away)
    back = threading.Timer(0.2, lambda: away.rename(path.parent))
    back.start()
    with Storage(20) as files:
        assert [files.fetch(p) for p in photos] == pictures
    back.join()
    path.parent.rename(away)
    with Storage(0.05) as files, pytest.raises(SourceError):
        files.fetch(photos[3])
    path.parent.mkdir()
    with Storage(20) as files, pytest.raises(PhotoError, match="does not exist"):
        files.fetch(photos[3])


def container(path: Path, pictures: list[bytes]) -> Path:
    import io
    import tarfile

    import pyarrow as pa
    import pyarrow.parquet as pq

    path.parent.mkdir(exist_ok=True)
    if path.suffix == ".parquet":
        pq.write_table(pa.table({"image": pictures}), path, row_group_size=5)
        return path
    with tarfile.open(path, "w:gz" if path.suffix == ".tgz" else "w") as tar:
        for i, picture in enumerate(pictures):
            info = tarfile.TarInfo(f"{i:02}.jpg")
            info.size = len(picture)
            tar.addfile(info, io.BytesIO(picture))
    return path


def test_closing_ends_the_waiting(folder: Path) -> None:
    photos = list_photos([str(folder)])
    folder.rename(folder.with_name("away"))
    decoder = Decoder(batches_of(photos, 4), P, threads=2)
    time.sleep(0.05)
    began = time.monotonic()
    decoder.close()
    assert time.monotonic() - began < patience.PATIENCE / 2


def test_one_storage_serves_several_decoders(tmp_path: Path, pictures) -> None:
    photos = list_photos([str(container(tmp_path / "a.tgz", pictures))])
    with Storage() as files:
        for _ in range(2):
            with Decoder(batches_of(photos, 5), P, threads=3, storage=files) as decoder:
                assert sum(len(batch.images) for batch in decoder) == 12
        content = files.fetch(photos[7])
        assert read_upright(content, photos[7].place).shape == (90, 131, 3)
        with pytest.raises(PhotoError, match=r"07\.jpg in .*a\.tgz is truncated"):
            read_upright(content[:-200], photos[7].place)
        with pytest.raises(PhotoError, match="is empty"):
            read_upright(b"", "x")


def test_a_file_that_shrinks_between_its_size_and_its_bytes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder / "cat" / "0.jpg"
    whole = path.read_bytes()
    for length in (0, 5, len(whole) // 2):
        path.write_bytes(whole)

        def shrunk(name: Any, *arguments: Any, length: int = length) -> Any:
            os.truncate(name, length)
            return open(name, *arguments)

        monkeypatch.setattr(opening, "open", shrunk, raising=False)
        with Storage(60) as files, pytest.raises(PhotoError, match=r"0\.jpg is truncated"):
            files.read(Photo(str(path), "0.jpg"), read_upright)


def numbered(count: int, begun: list[int]) -> Callable[[int], Iterator[tuple[int, str, bytes]]]:
    def read(begin: int) -> Iterator[tuple[int, str, bytes]]:
        begun.append(begin)
        for i in range(begin, count):
            yield i, str(i), b"%d" % i

    return read


@pytest.mark.parametrize("seed", range(5))
def test_threads_in_about_the_right_order_go_through_a_file_once(seed: int) -> None:
    """As the decoder's pool asks: each thread takes the next photo, and comes to it early or late."""
    rng = random.Random(seed)
    begun: list[int] = []
    cursor = Cursor("a.tgz", numbered(300, begun))
    waiting = iter(range(300))
    lock, wrong = threading.Lock(), []

    def work() -> None:
        while True:
            with lock:
                i = next(waiting, None)
            if i is None:
                return
            time.sleep(rng.random() / 2000)
            if cursor.get(i, str(i)) != b"%d" % i:
                wrong.append(i)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    assert wrong == []
    assert begun == [0]


def test_a_cursor_jumps_ahead_and_back_to_where_reading_can_begin() -> None:
    begun: list[int] = []
    cursor = Cursor("a", numbered(100, begun), lambda position: position // 10 * 10)
    for i in (3, 5, 57, 58, 62, 41):
        assert cursor.get(i, str(i)) == b"%d" % i
    assert begun == [0, 50, 60, 40]
    for position, name in ((100, "100"), (5, "6")):
        with pytest.raises(PhotoError, match="not where it was listed"):
            cursor.get(position, name)
    cursor.close()
    assert cursor.get(7, "7") == b"7"


def test_no_more_containers_stay_open_than_allowed(tmp_path: Path, pictures, monkeypatch: pytest.MonkeyPatch) -> None:
    photos = []
    for i in range(storage._OPEN + 3):
        photos += list_photos([str(container(tmp_path / f"{i}.tgz", pictures[i : i + 2]))])

    def opened() -> int:
        links = (Path("/proc/self/fd") / name for name in os.listdir("/proc/self/fd"))
        return sum(link.is_symlink() and os.readlink(link).endswith(".tgz") for link in links)

    with Storage() as files:
        for i, photo in enumerate(photos[::2]):
            assert files.fetch(photo) == pictures[i]
        assert opened() == storage._OPEN
    assert opened() == 0
