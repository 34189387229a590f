from __future__ import annotations

import gzip
import http.server
import io
import re
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from saccade.engine.contract import PhotoError, Preprocessing, SourceError, UsageError
from saccade.engine.decode import Decoder, Photo, Storage, absolute, list_photos, patience, urls

P = Preprocessing(8, 8, 3, "stretch")


@pytest.fixture
def memory() -> Iterator[MemoryFileSystem]:
    fs = fsspec.filesystem("memory")
    fs.store.clear()
    fs.pseudo_dirs[:] = [""]
    yield fs
    fs.store.clear()


def shard(pictures: list[bytes]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for i, picture in enumerate(pictures):
            info = tarfile.TarInfo(f"{i}.jpg")
            info.size = len(picture)
            tar.addfile(info, io.BytesIO(picture))
    return file.getvalue()


def table(pictures: list[bytes]) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table({"image": pictures}), file, row_group_size=5)
    return file.getvalue()


def fill(memory: MemoryFileSystem, pictures: list[bytes]) -> None:
    for i, picture in enumerate(pictures):
        memory.pipe(f"/set/{('cat', 'dog')[i % 2]}/{i:02}.jpg", picture)
    memory.pipe("/set/notes.txt", b"no photo")
    memory.pipe("/set/.hidden.jpg", b"no photo")
    memory.pipe(
        "/m/list.csv",
        ("path,label,n\n" + "".join(f"../set/{('cat', 'dog')[i % 2]}/{i:02}.jpg,x,{i}\n" for i in range(12))).encode(),
    )
    memory.pipe("/m/a.tar", shard(pictures))
    memory.pipe("/m/a.tar.gz", gzip.compress(shard(pictures)))
    memory.pipe("/m/a.tar.zst", pa.compress(shard(pictures), "zstd", asbytes=True))
    memory.pipe("/m/a.parquet", table(pictures))


KINDS = ["m/list.csv", "m/a.tar", "m/a.tar.gz", "m/a.tar.zst", "m/a.parquet"]


@pytest.mark.parametrize("path", KINDS)
def test_every_kind_in_memory(memory, through, pictures, expected, path: str) -> None:
    fill(memory, pictures)
    records, images = through(f"memory://{path}")
    assert [r.error for r in records] == [None] * 12
    np.testing.assert_array_equal(images, expected)
    assert all(r.path.startswith("memory://") for r in records)
    if path.endswith("csv"):
        assert [(r.label, r.further["n"]) for r in records] == [("x", i) for i in range(12)]


def test_folders_globs_and_single_photos(memory, through, pictures, expected) -> None:
    fill(memory, pictures)
    order = [*range(0, 12, 2), *range(1, 12, 2)]
    for word in ("memory://set", "memory://set/", "memory://set/*/*.jpg", "memory://set/**"):
        records, images = through(word)
        np.testing.assert_array_equal(images, [expected[i] for i in order])
        assert [r.name for r in records] == [f"{('cat', 'dog')[i % 2]}/{i:02}.jpg" for i in order]
        assert [r.label for r in records] == ["cat"] * 6 + ["dog"] * 6
    records, images = through("memory://set/cat/04.jpg")
    assert [(r.name, r.label) for r in records] == [("04.jpg", None)]
    np.testing.assert_array_equal(images, [expected[4]])
    assert len(list_photos(["memory://m/*.tar"])) == 12
    assert len(list_photos(["memory://m/a.{tar,parquet}"])) == 24
    memory.pipe("/shards/b.tar", shard(pictures[:2]))
    memory.pipe("/shards/a.tar", shard(pictures[:3]))
    assert [p.name for p in list_photos(["memory://shards"])] == [f"a/{i}.jpg" for i in range(3)] + [
        "b/0.jpg",
        "b/1.jpg",
    ]


@pytest.mark.parametrize(
    "word",
    [
        "memory://gone",
        "memory://gone/*.jpg",
        "memory://set/*.gif",
        "memory://gone/a.tar",
        "memory://gone.csv",
        "memory://gone.parquet",
        "nonesuch://x/y",
        "memory://empty",
    ],
)
def test_what_is_not_there(memory, pictures, word: str) -> None:
    fill(memory, pictures)
    memory.pipe("/empty/readme.txt", b"x")
    with pytest.raises(UsageError) as error:
        list_photos([word])
    assert str(error.value).isprintable()
    assert word in str(error.value)


def test_a_photo_that_went_is_a_row_at_once(memory, pictures) -> None:
    fill(memory, pictures)
    photos = list_photos(["memory://set"])
    memory.rm("/set/cat/00.jpg")
    with Storage(60) as storage, pytest.raises(PhotoError, match="does not exist"):
        storage.fetch(photos[0])


def test_local_files_and_what_lies_in_a_zip(tmp_path: Path, folder: Path, through) -> None:
    plain, images = through(folder)
    for scheme in ("file", "local"):
        records, found = through(f"{scheme}://{folder}")
        assert records == plain
        np.testing.assert_array_equal(found, images)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for path in sorted(folder.rglob("?.jpg")):
            archive.write(path, path.relative_to(folder))
        archive.writestr("list.csv", "path\ncat/2.jpg\n")
    for word in (
        f"zip://**/*.jpg::{tmp_path}/a.zip",
        f"zip://*/*.jpg::file://{tmp_path}/a.zip",
        f"zip://::{tmp_path}/a.zip",
    ):
        records, found = through(word)
        np.testing.assert_array_equal(found, images)
        assert [(r.name, r.label) for r in records] == [(r.name, r.label) for r in plain]
    records, found = through(f"zip://list.csv::{tmp_path}/a.zip")
    np.testing.assert_array_equal(found, images[1:2])


def test_a_package_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "s3fs", None)
    with pytest.raises(UsageError, match="pip install s3fs"):
        list_photos(["s3://bucket/set"])
    monkeypatch.setitem(__import__("sys").modules, "aiohttp", None)
    with pytest.raises(UsageError, match="pip install aiohttp"):
        list_photos(["https://host/a.jpg"])


def test_a_row_of_a_scheme_that_does_not_exist_is_a_row_with_an_error(folder: Path, through) -> None:
    (folder / "m.csv").write_text("path\ncat/0.jpg\nnonesuch://a/b.jpg\nmemory://gone.jpg\n")
    records, images = through(folder / "m.csv")
    assert len(images) == 1
    assert "nonesuch://a/b.jpg is no URL that fsspec knows" in str(records[1].error)
    assert "does not exist" in str(records[2].error)


def test_a_package_that_is_missing_ends_a_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "m.csv").write_text("path\ncat/0.jpg\ns3://a/b.jpg\n")
    monkeypatch.setitem(__import__("sys").modules, "s3fs", None)
    photos = list_photos([str(folder / "m.csv")])
    with pytest.raises(UsageError, match="pip install s3fs"), Decoder([(0, photos)], P) as decoder:
        next(decoder)


class Flaky(MemoryFileSystem):
    """Memory that fails with what `faults` has, as long as there is one."""

    protocol = "flaky"
    store: ClassVar[dict] = {}  # pyright: ignore
    pseudo_dirs: ClassVar[list[str]] = [""]
    faults: ClassVar[list[BaseException]] = []
    lock = threading.Lock()

    @classmethod
    def _strip_protocol(cls, path):
        return super()._strip_protocol(path.removeprefix("flaky://"))

    def fail(self) -> None:
        with self.lock:
            if self.faults:
                raise self.faults.pop()

    def cat_file(self, path, start=None, end=None, **kwargs):
        self.fail()
        return super().cat_file(path, start, end, **kwargs)

    def ls(self, path, detail=True, **kwargs):
        self.fail()
        return super().ls(path, detail, **kwargs)

    def _open(self, path, mode="rb", **kwargs):  # pyright: ignore
        if mode == "rb":
            self.fail()
        return super()._open(path, mode, **kwargs)


fsspec.register_implementation("flaky", Flaky, clobber=True)


@pytest.fixture
def flaky(pictures: list[bytes], monkeypatch: pytest.MonkeyPatch) -> type[Flaky]:
    monkeypatch.setattr(patience, "FIRST_DELAY", 0.001)
    Flaky.store.clear()
    Flaky.faults = []
    fill(Flaky(), pictures)
    return Flaky


FAULTS = [
    OSError(5, "Input/output error"),
    ConnectionResetError(104, "reset"),
    TimeoutError(),
    OSError(116, "Stale file handle"),
]


@pytest.mark.parametrize("path", ["set", *KINDS])
def test_faults_that_pass_while_listing_and_reading(flaky, through, pictures, path: str) -> None:
    flaky.faults = [*FAULTS, *FAULTS]
    listed = list_photos([f"flaky://{path}"])
    assert flaky.faults == []
    assert listed == list_photos([f"flaky://{path}"])
    with Storage(20) as storage:
        flaky.faults = [*FAULTS, *FAULTS]
        order = pictures if path != "set" else pictures[::2] + pictures[1::2]
        assert [storage.fetch(p) for p in listed] == order
        assert flaky.faults == []


def test_faults_that_do_not_pass(flaky, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "PATIENCE", 0.05)
    photos = list_photos(["flaky://set"])
    flaky.faults = [OSError(5, "Input/output error")] * 100_000
    with pytest.raises(SourceError, match="Input/output error"):
        list_photos(["flaky://set"])
    with Storage(0.05) as storage, pytest.raises(SourceError, match=r"within 0\.05 s"):
        storage.fetch(photos[0])
    flaky.faults = [PermissionError(13, "Permission denied")]
    with Storage(60) as storage, pytest.raises(PhotoError, match="Permission denied"):
        storage.fetch(photos[0])


def test_one_broken_photo_of_a_source_that_answers_is_a_row(flaky) -> None:
    good, bad = list_photos(["flaky://set"])[:2]

    class Broken(Flaky):
        def cat_file(self, path, start=None, end=None, **kwargs):
            if path.endswith(Path(bad.path).name):
                storage.fetch(good)  # as another thread does meanwhile
                raise OSError(5, "Input/output error")
            return super().cat_file(path, start, end, **kwargs)

    fsspec.register_implementation("flaky", Broken, clobber=True)
    try:
        with Storage(0.05) as storage, pytest.raises(PhotoError, match="Input/output error"):
            storage.fetch(bad)
    finally:
        fsspec.register_implementation("flaky", Flaky, clobber=True)


class Server(http.server.ThreadingHTTPServer):
    """A folder on 127.0.0.1; `failures` requests are answered with `status` first."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.failures, self.status, self.requests, self.ranges = folder, 0, 503, 0, True
        self.short = False
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server  # pyright: ignore

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self.server.requests += 1
        if self.server.failures:
            self.server.failures -= 1
            self.send_error(self.server.status)
            return
        path = self.server.folder / self.path.partition("?")[0].lstrip("/")
        if not path.is_file():
            self.send_error(404)
            return
        data, begin, size = path.read_bytes(), 0, path.stat().st_size
        found = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", "")) if self.server.ranges else None
        if found:
            begin = int(found[1])
            data = data[begin : int(found[2]) + 1]
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {begin}-{begin + len(data) - 1}/{size}")
        else:
            self.send_response(200)
        if self.server.ranges:
            self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data[: len(data) // 2] if self.server.short else data)

    def log_message(self, format: str, *args: object) -> None:
        """Not on the terminal."""


@pytest.fixture
def server(tmp_path: Path, pictures: list[bytes], monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    pytest.importorskip("aiohttp")
    monkeypatch.setattr(patience, "FIRST_DELAY", 0.001)
    folder = tmp_path / "served"
    folder.mkdir()
    for i, picture in enumerate(pictures):
        (folder / f"{i}.jpg").write_bytes(picture)
    (folder / "list.csv").write_text("url,label,n\n" + "".join(f"{i}.jpg,x,{i}\n" for i in range(12)))
    (folder / "a.tar").write_bytes(shard(pictures))
    (folder / "a.tar.gz").write_bytes(gzip.compress(shard(pictures)))
    (folder / "a.parquet").write_bytes(table(pictures))
    server = Server(folder)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("path", ["list.csv", "a.tar", "a.tar.gz", "a.parquet"])
def test_every_kind_on_the_web(server: Server, through, expected, path: str) -> None:
    server.failures = 3
    records, images = through(f"{server.url}/{path}")
    assert [r.error for r in records] == [None] * 12
    np.testing.assert_array_equal(images, expected)
    assert server.failures == 0


def test_a_photo_on_the_web_takes_one_request(server: Server, pictures) -> None:
    (photo,) = list_photos([f"{server.url}/3.jpg?size=large"])
    assert photo.name == server.url.removeprefix("http://") + "/3.jpg"
    server.requests = 0
    with Storage(0) as storage:
        assert storage.fetch(photo) == pictures[3]
    assert server.requests == 1


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_server_that_is_busy_is_asked_again(server: Server, pictures, status: int) -> None:
    server.failures, server.status = 4, status
    with Storage(20) as storage:
        assert storage.fetch(Photo(f"{server.url}/3.jpg", "x")) == pictures[3]
    assert server.failures == 0
    server.failures = 10**9
    with Storage(0.05) as storage, pytest.raises(SourceError, match=str(status)):
        storage.fetch(Photo(f"{server.url}/3.jpg", "x"))


@pytest.mark.parametrize("status", [403, 404, 410])
def test_a_photo_that_a_server_does_not_give_is_a_row_at_once(server: Server, status: int) -> None:
    server.failures, server.status = 10**9, status
    server.requests = 0
    with Storage(60) as storage, pytest.raises(PhotoError):
        storage.fetch(Photo(f"{server.url}/3.jpg", "x"))
    assert server.requests == 1


def test_a_server_that_is_away(server: Server) -> None:
    url = server.url
    server.server_close()
    with Storage(0.05) as storage, pytest.raises(SourceError, match="went away"):
        storage.fetch(Photo(f"{url}/3.jpg", "x"))


def test_a_body_that_is_shorter_than_announced(server: Server) -> None:
    server.short = True
    with Storage(0.05) as storage, pytest.raises(SourceError):
        storage.fetch(Photo(f"{server.url}/3.jpg", "x"))


def test_too_many_bytes_and_a_server_without_ranges(server: Server, pictures, monkeypatch) -> None:
    photos = list_photos([f"{server.url}/a.tar"])
    server.ranges = False
    with Storage(0.05) as storage:
        with pytest.raises(PhotoError, match="range"):
            storage.fetch(photos[5])
        monkeypatch.setattr(urls, "MAX_HELD", len(pictures[3]) - 1)
        with pytest.raises(PhotoError, match="too large"):
            storage.fetch(Photo(f"{server.url}/3.jpg", "x"))


def test_the_web_has_no_folders(server: Server) -> None:
    for word in ("/", "/*.jpg"):
        with pytest.raises(UsageError, match="manifest"):
            list_photos([server.url + word])


def test_what_is_inside_a_local_file_is_found_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        archive.writestr("cat/1.png", b"x")
    monkeypatch.chdir(tmp_path)
    (photo,) = list_photos(["zip://**/*.png::set.zip"])
    assert photo.path == f"zip://cat/1.png::{tmp_path / 'set.zip'}"
    monkeypatch.chdir("/")
    with Storage() as storage:
        assert storage.fetch(photo) == b"x"
    words = ["a.csv", "s3://bucket/k", "zip://a::s3://bucket/k.zip", "zip://a::k.zip", "/b"]
    assert [absolute(word) for word in words] == ["/a.csv", words[1], words[2], "zip://a::/k.zip", "/b"]
