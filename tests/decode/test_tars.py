from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from saccade.engine.contract import PhotoError, UsageError
from saccade.engine.decode import Photo, Storage, cursors, list_photos, tars
from saccade.engine.decode.sources import expanded

PACKED: dict[str, Callable[[bytes], bytes]] = {
    ".tar": bytes,
    ".tar.gz": gzip.compress,
    ".tgz": gzip.compress,
    ".tar.bz2": bz2.compress,
    ".tar.xz": lzma.compress,
    ".tar.zst": lambda data: pa.compress(data, "zstd", asbytes=True),
}


def member(name: str, content: bytes = b"", **attributes: Any) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for key, value in attributes.items():
        setattr(info, key, value)
    return info, content


def packed(*members: tuple[tarfile.TarInfo, bytes], format: int = tarfile.PAX_FORMAT) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=format) as tar:
        for info, content in members:
            tar.addfile(info, io.BytesIO(content) if info.isreg() else None)
    return file.getvalue()


def shard(pictures: list[bytes]) -> bytes:
    """A sample for each picture, its label beside it, before or after; and what is no sample's picture."""
    members = [member("README", b"x")]
    for i, picture in enumerate(pictures):
        label = member(f"{i:04}.cls", str(i % 3).encode())
        image = member(f"{i:04}.jpg", picture)
        members += [image, label] if i % 2 else [label, image]
        members += [member(f"{i:04}.json", b'{"a": 1}'), member(f"{i:04}.seg.png", b"no photo")]
    return packed(*members)


def refusal(path: Path) -> str:
    with pytest.raises(UsageError) as error:
        list_photos([str(path)])
    line = str(error.value)
    assert line.startswith("decode: ")
    assert line.isprintable()
    assert path.name in line
    return line


def attempted(call: Callable[[], Any]) -> Any:
    """What a call gives, or the one line with which it refuses."""
    try:
        return call()
    except (PhotoError, UsageError) as error:
        line = str(error)
    assert line.isprintable()
    return line


@pytest.mark.parametrize("ending", PACKED)
def test_every_kind_of_shard_end_to_end(tmp_path: Path, through, pictures, expected, ending: str) -> None:
    (tmp_path / f"a{ending}").write_bytes(PACKED[ending](shard(pictures)))
    records, images = through(tmp_path / f"a{ending}")
    assert [r.error for r in records] == [None] * 12
    np.testing.assert_array_equal(images, expected)
    assert [r.name for r in records] == [f"a/{i:04}.jpg" for i in range(12)]
    assert [r.label for r in records] == [str(i % 3) for i in range(12)]
    assert [r.member for r in records] == [f"{i:04}.jpg" for i in range(12)]
    assert [r.length for r in records] == [len(p) for p in pictures]
    assert {r.path for r in records} == {str(tmp_path / f"a{ending}")}


def test_several_shards_by_brace_glob_and_folder(tmp_path: Path, through, pictures, expected) -> None:
    for i in range(3):
        (tmp_path / "set" / "deep").mkdir(parents=True, exist_ok=True)
        data = shard(pictures[4 * i : 4 * i + 4])
        (tmp_path / "set" / "deep" / f"s-{i:03}.tar").write_bytes(data)
        (tmp_path / "set" / "deep" / f"s-{i:03}.tar.gz").write_bytes(gzip.compress(data))
    for word in ("set/deep/s-{000..002}.tar", "set/deep/*.tar", "set/**/*.tar", "set/deep/s-{000,001,002}.tar.gz"):
        records, images = through(tmp_path / word)
        assert [r.name for r in records] == [f"s-{i:03}/{j:04}.jpg" for i in range(3) for j in range(4)]
        np.testing.assert_array_equal(images, expected)
    for path in (tmp_path / "set" / "deep").glob("*.gz"):
        path.unlink()
    records, images = through(tmp_path / "set", tmp_path / "set" / "deep" / "s-001.tar")
    assert len(records) == 12, "a shard that is named twice counts once"
    np.testing.assert_array_equal(images, expected)
    (tmp_path / "set" / "1.jpg").write_bytes(pictures[0])
    assert [p.name for p in list_photos([str(tmp_path / "set")])] == ["1.jpg"], "a folder of photos stays one"


def test_braces() -> None:
    assert expanded("a-{08..11}.tar") == ["a-08.tar", "a-09.tar", "a-10.tar", "a-11.tar"]
    assert expanded("{x,y}/{1..2}") == ["x/1", "x/2", "y/1", "y/2"]
    assert expanded("plain{}") == ["plain{}"]
    for word in ("{3..1}.tar", "{0..999999999999}.tar", "{0..999}{0..999}.tar"):
        with pytest.raises(UsageError, match="stands for"):
            expanded(word)
    with pytest.raises(UsageError, match="gone-1"):
        list_photos(["gone-{1..2}.tar"])


def test_a_sample_is_what_shares_a_name_up_to_the_first_dot(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(
        packed(
            member("x/1.left.jpg", b"a"),
            member("x/1.right.jpg", b"b"),
            member("x/1.cls", b" cat \n"),
            member("y/1.png", b"c"),
            member("y/._1.png", b"apple"),
            member("y/2.cls", b"no photo"),
            member("y/3.JPEG", b"d"),
        )
    )
    photos = list_photos([str(tmp_path / "a.tar")])
    assert [(p.name, p.label) for p in photos] == [
        ("a/x/1.left.jpg", "cat"),
        ("a/y/1.png", None),
        ("a/y/3.JPEG", None),
    ]


def test_links_devices_folders_and_names_that_lead_out(tmp_path: Path, through, pictures) -> None:
    kinds = (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE)
    members = [member(f"{i}.jpg", type=kind, linkname="/etc/passwd") for i, kind in enumerate(kinds)]
    members += [member("../../etc/a.jpg", pictures[0]), member("/b.jpg", pictures[1]), member("c/./d.jpg", pictures[2])]
    (tmp_path / "a.tar").write_bytes(packed(*members))
    records, images = through(tmp_path / "a.tar")
    assert [r.name for r in records] == ["a/etc/a.jpg", "a/b.jpg", "a/c/d.jpg"]
    assert len(images) == 3


def test_members_of_one_name_keep_apart(tmp_path: Path, through, pictures, expected) -> None:
    names = ("1.jpg", "2.jpg", "1.jpg")
    (tmp_path / "a.tar").write_bytes(packed(*(member(n, p) for n, p in zip(names, pictures[:3], strict=True))))
    records, images = through(tmp_path / "a.tar")
    assert len({r.name for r in records}) == 3
    np.testing.assert_array_equal(images, expected[:3])


def header(**fields: Any) -> bytes:
    """A header whose fields are taken as they are, with the right checksum."""
    info = tarfile.TarInfo("a.jpg")
    info.size = fields.pop("size", 0)
    info.type = fields.pop("type", tarfile.REGTYPE)
    return info.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.XGLTYPE])
@pytest.mark.parametrize("ending", [".tar", ".tar.gz"])
def test_a_header_that_claims_gigabytes_takes_no_memory(tmp_path: Path, kind: bytes, ending: str) -> None:
    (tmp_path / f"a{ending}").write_bytes(PACKED[ending](header(type=kind, size=2**40) + b"x" * 2**16))
    tracemalloc.start()
    try:
        refusal(tmp_path / f"a{ending}")
        assert tracemalloc.get_traced_memory()[1] < 2**25
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("ending", PACKED)
def test_a_tar_that_ends_too_early_is_refused(tmp_path: Path, pictures, ending: str) -> None:
    whole = shard(pictures)
    last = whole.rstrip(b"\0")
    path = tmp_path / f"a{ending}"
    for length in (0, 100, 700, len(whole) // 2, len(last)):
        path.write_bytes(PACKED[ending](whole[:length]) if length else b"")
        refusal(path)
    stream = PACKED[ending](whole)
    for length in (10, len(stream) // 2, len(stream) * 9 // 10):
        path.write_bytes(stream[:length])
        refusal(path)


def test_garbage_between_members_is_no_end(tmp_path: Path, pictures) -> None:
    whole = bytearray(packed(member("1.jpg", pictures[0]), member("2.jpg", pictures[1])))
    (tmp_path / "a.tar").write_bytes(whole)
    assert len(list_photos([str(tmp_path / "a.tar")])) == 2
    second = 512 + -(-len(pictures[0]) // 512) * 512
    whole[second + 20] ^= 255
    (tmp_path / "a.tar").write_bytes(whole)
    assert "no member and no end mark" in refusal(tmp_path / "a.tar")


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_damage_never_gives_another_error(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    names = ["1.jpg", "x" * 150 + ".jpg", "1.cls", "é.png"]
    form = data.draw(st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT]))
    if form == tarfile.USTAR_FORMAT:
        names[1] = "x.jpg"
    content = bytearray(packed(*(member(n, b"12") for n in names), format=form))
    for place in data.draw(st.lists(st.integers(0, 4096), min_size=1, max_size=6)):
        content[place] = data.draw(st.sampled_from([0, 32, 48, 55, 128, 255]))
    if data.draw(st.booleans()):  # make checksums right again, so that the fields behind them are looked at
        for at in range(0, 5000, 512):
            if content[at + 257 : at + 262] == b"ustar":
                content[at + 148 : at + 156] = b" " * 8
                content[at + 148 : at + 156] = b"%06o\0 " % sum(content[at : at + 512])
    ending = data.draw(st.sampled_from([".tar", ".tgz", ".tar.xz"]))
    path = tmp_path_factory.mktemp("tar") / f"a{ending}"
    path.write_bytes(PACKED[ending](bytes(content)))
    photos = attempted(lambda: list_photos([str(path)]))
    with Storage(0) as storage:
        for photo in photos if isinstance(photos, list) else []:
            found = attempted(lambda photo=photo: storage.fetch(photo))
            assert isinstance(found, str) or len(found) == photo.length


@pytest.mark.parametrize("ending", [".tar", ".tar.gz"])
def test_a_tar_that_shrinks_after_it_was_listed(tmp_path: Path, pictures, ending: str) -> None:
    path = tmp_path / f"a{ending}"
    path.write_bytes(PACKED[ending](shard(pictures)))
    photos = list_photos([str(path)])
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    found = []
    with Storage(0) as storage:
        for photo in photos:
            content = attempted(lambda photo=photo: storage.fetch(photo))
            if isinstance(content, str):
                assert str(photo.member) in content
                assert "truncated" in content or "end" in content.lower()
                break
            found.append(content)
    assert 2 < len(found) < 11
    assert found == pictures[: len(found)]


def test_a_damaged_stream_is_gone_through_once(tmp_path: Path, pictures, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.tar.gz"
    path.write_bytes(gzip.compress(shard(pictures)))
    photos = list_photos([str(path)])
    path.write_bytes(path.read_bytes()[:6000])
    begun = []
    read = tars.read_photos
    monkeypatch.setattr(tars, "read_photos", lambda path: begun.append(path) or read(path))
    with Storage(0) as storage:
        for photo in photos[3:]:
            with pytest.raises(PhotoError, match="end"):
                storage.fetch(photo)
    assert len(begun) == 1


def test_a_claim_beyond_the_limit_is_refused(tmp_path: Path, pictures, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tars, "MAX_HELD", len(pictures[0]) - 1)
    for ending in (".tar", ".tar.gz"):
        path = tmp_path / f"a{ending}"
        path.write_bytes(PACKED[ending](packed(member("1.jpg", pictures[0]), member("2.jpg", b"small"))))
        with Storage(0) as storage:
            first, second = list_photos([str(path)])
            with pytest.raises(PhotoError, match="too large"):
                storage.fetch(first)
            assert storage.fetch(second) == b"small"


def test_places_of_a_manifest_from_elsewhere(tmp_path: Path, pictures) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(packed(member("1.jpg", pictures[0])))
    with Storage(0) as storage:
        for offset, length in ((2**62, 100), (0, 2**62), (0, 2**29), (None, None), (0, None)):
            with pytest.raises(PhotoError):
                storage.fetch(Photo(str(path), "x", member="1.jpg", offset=offset, length=length))


def test_what_is_behind_is_kept_and_what_is_further_behind_read_again(tmp_path: Path, monkeypatch) -> None:
    contents = [bytes([i]) * 1000 for i in range(50)]
    path = tmp_path / "a.tar.gz"
    path.write_bytes(gzip.compress(packed(*(member(f"{i:02}.jpg", c) for i, c in enumerate(contents)))))
    photos = list_photos([str(path)])
    begun = []
    read = tars.read_photos
    monkeypatch.setattr(tars, "read_photos", lambda path: begun.append(path) or read(path))
    monkeypatch.setattr(cursors, "KEPT", 10_000)
    with Storage(0) as storage:
        for i in (3, 1, 0, 2, 9, 8, 7, 6, 5, 4, 14, 10):
            assert storage.fetch(photos[i]) == contents[i]
        assert len(begun) == 1
        assert storage.fetch(photos[0]) == contents[0]
        assert storage.fetch(photos[49]) == contents[49]
        assert len(begun) == 2


def test_more_shards_than_are_kept_open(tmp_path: Path, through, pictures, expected) -> None:
    for i, picture in enumerate(pictures):
        (tmp_path / f"{i:02}.tgz").write_bytes(gzip.compress(packed(member("a.jpg", picture))))
    records, images = through(tmp_path / "*.tgz")
    np.testing.assert_array_equal(images, expected)
    assert len(records) == 12


def test_a_long_tar_is_listed_in_bounded_memory(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for i in range(5000):
            tar.addfile(*(lambda m: (m[0], io.BytesIO(m[1])))(member(f"{i:06}.jpg", b"x")))
    source = tars.source(str(tmp_path / "a.tar"))
    tracemalloc.start()
    try:
        assert sum(1 for _ in source.photos()) == 5000
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()
