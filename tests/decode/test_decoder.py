from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from saccade.engine.contract import ATTRIBUTES, Batch, PhotoError, Preprocessing, SaccadeError
from saccade.engine.decode import Decoder, Photo, View, batches_of, list_photos, read_view
from saccade.engine.decode import decoder as decoder_module

P = Preprocessing(8, 8, 3, "crop", 10)


def decoding_threads() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name.startswith("saccade-decode")]


@pytest.fixture(autouse=True)
def no_thread_stays() -> Iterator[None]:
    yield
    assert decoding_threads() == []


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Photos without files: photo i is filled with i, every seventh is bad, each takes its own while."""
    begun: list[int] = []

    def read(path: str, preprocessing: Preprocessing, mode: str, name: str | None) -> View:
        number = int(path)
        begun.append(number)
        time.sleep(number * 7919 % 11 / 5000)
        if number % 7 == 3:
            raise PhotoError(f"decode: {path} is bad; copy it again")
        pixels = np.full((preprocessing.height, preprocessing.width, preprocessing.channels), number % 256, np.uint8)
        return View(pixels, (number + 1, 2), (0.0, 0.0, 1.0, 1.0), {"format": f"kind {number}"})

    monkeypatch.setattr(decoder_module, "read_view", read)
    return begun


def manifest(count: int) -> list[Photo]:
    return [Photo(str(i), f"{i}.jpg", "even" if i % 2 == 0 else None) for i in range(count)]


def check(batches: list[Batch], count: int) -> None:
    """The batches are those of `count` pretended photos, complete and in order."""
    records = [r for b in batches for r in b.records]
    assert [r.index for r in records] == list(range(count))
    assert [r.name for r in records] == [f"{i}.jpg" for i in range(count)]
    assert [r.error is not None for r in records] == [i % 7 == 3 for i in range(count)]
    for batch in batches:
        assert batch.images.dtype == np.uint8
        assert len(batch.images) == len(batch.good)
        for record, image in zip(batch.good, batch.images, strict=True):
            assert (image == record.index % 256).all()
            assert record.size == (record.index + 1, 2)
            assert tuple(record.attributes) == ATTRIBUTES
            assert record.facts == {"format": f"kind {record.index}"}


def test_the_check_sees_a_wrong_order(pretended: list[int]) -> None:
    with Decoder(batches_of(manifest(12), 5), P) as decoder:
        batches = list(decoder)
    check(batches, 12)
    with pytest.raises(AssertionError):
        check(batches[::-1], 12)
    batches[0].images[[0, 1]] = batches[0].images[[1, 0]]
    with pytest.raises(AssertionError):
        check(batches, 12)


@pytest.mark.parametrize("threads", [1, 2, 7])
@pytest.mark.parametrize(("count", "batch_size", "ahead"), [(60, 8, 2), (60, 7, 1), (3, 8, 4), (0, 8, 2), (16, 8, 3)])
def test_order_is_kept(pretended: list[int], threads: int, count: int, batch_size: int, ahead: int) -> None:
    with Decoder(batches_of(manifest(count), batch_size), P, threads=threads, ahead=ahead) as decoder:
        batches = list(decoder)
        assert decoding_threads() == [], "the threads end with the last batch"
    check(batches, count)
    assert [len(b.records) for b in batches] == [min(batch_size, count - i) for i in range(0, count, batch_size)]


def test_a_batch_of_bad_photos_only(tmp_path: Path) -> None:
    with Decoder([(0, [Photo(str(tmp_path / "gone.jpg"), "gone.jpg")])], P) as decoder:
        (batch,) = decoder
    assert batch.images.shape == (0, 8, 8, 3)
    (record,) = batch.records
    assert record.error is not None
    assert "gone.jpg" in record.error
    assert (record.size, record.view, record.attributes, record.facts) == (None, None, {}, {})


def test_it_decodes_ahead_while_the_consumer_works_and_no_further(pretended: list[int]) -> None:
    batch_size, ahead = 4, 2
    with Decoder(batches_of(manifest(100), batch_size), P, threads=3, ahead=ahead) as decoder:
        for handed_out, _ in enumerate(decoder, 1):
            limit = (handed_out + ahead) * batch_size
            deadline = time.monotonic() + 5
            while len(pretended) < min(limit, 100) and time.monotonic() < deadline:
                time.sleep(0.001)
            time.sleep(0.01)
            assert len(pretended) == min(limit, 100)
            if handed_out == 6:
                break


def test_an_early_close_stops_promptly(pretended: list[int]) -> None:
    with Decoder(batches_of(manifest(10_000), 500), P, threads=4, ahead=3) as decoder:
        begun = time.monotonic()
    assert time.monotonic() - begun < 1
    assert len(pretended) < 100
    decoder.close()
    assert list(decoder) == []


def test_an_error_of_the_consumer_stops_the_threads(pretended: list[int]) -> None:
    def consume() -> None:
        with Decoder(batches_of(manifest(1000), 50), P, threads=4) as decoder:
            for _ in decoder:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        consume()
    assert decoding_threads() == []


def test_a_fault_in_decoding_is_raised_and_stops_the_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    def fault(*_: object) -> None:
        raise ZeroDivisionError("a fault of the program")

    monkeypatch.setattr(decoder_module, "read_view", fault)
    decoder = Decoder(batches_of(manifest(10), 2), P)
    with pytest.raises(ZeroDivisionError):
        next(decoder)
    assert decoding_threads() == []


@pytest.mark.parametrize("arguments", [(0, 1, 1), (1, 0, 1), (1, 1, 0), (-1, None, 1)])
def test_sizes_that_make_no_sense(arguments: tuple[int, int | None, int]) -> None:
    batch_size, threads, ahead = arguments
    with pytest.raises(ValueError, match="1 "):
        Decoder(batches_of([], batch_size), P, threads=threads, ahead=ahead)


def test_batches_of_a_part() -> None:
    photos = manifest(10)
    assert [(i, len(p)) for i, p in batches_of(photos, 4)] == [(0, 4), (4, 4), (8, 2)]
    parts = list(batches_of(photos, 3, 2, 9))
    assert [i for i, _ in parts] == [2, 5, 8]
    assert [p.path for _, part in parts for p in part] == [str(i) for i in range(2, 9)]
    assert list(batches_of(photos, 3, 5, 5)) == []


def test_the_index_is_what_the_batch_says_and_empty_batches_are_skipped(pretended: list[int]) -> None:
    photos = manifest(8)
    with Decoder([(100, photos[:2]), (7, []), (50, photos[4:6])], P, threads=2) as decoder:
        batches = list(decoder)
    assert [[r.index for r in b.records] for b in batches] == [[100, 101], [50, 51]]


def test_batches_are_asked_for_only_when_one_is_handed_out(pretended: list[int]) -> None:
    asked: list[int] = []

    def endless() -> Iterator[tuple[int, list[Photo]]]:
        while True:
            asked.append(len(asked))
            yield asked[-1], [Photo("1", "1.jpg")]

    with Decoder(endless(), P, threads=2, ahead=3) as decoder:
        assert len(asked) == 3
        next(decoder)
        assert len(asked) == 4


@pytest.mark.parametrize("good", [0, 3])
def test_a_list_that_fails_is_raised_and_stops_the_threads(pretended: list[int], good: int) -> None:
    def failing() -> Iterator[tuple[int, list[Photo]]]:
        for i in range(good):
            yield i, [Photo("1", "1.jpg")]
        raise SaccadeError("the manifest is damaged")

    def consume() -> None:
        for _ in Decoder(failing(), P):
            pass

    with pytest.raises(SaccadeError, match="manifest is damaged"):
        consume()
    assert decoding_threads() == []


def test_records_carry_what_the_manifest_knows(pretended: list[int]) -> None:
    photo = Photo("1", "one", "x", "member", 3, 4, {"a": 1})
    with Decoder([(0, [photo])], P) as decoder:
        (record,) = next(decoder).records
    assert (record.member, record.offset, record.length, record.further) == ("member", 3, 4, {"a": 1})


@pytest.mark.parametrize("mode", ["fast", "exact"])
@pytest.mark.parametrize("channels", [1, 3])
def test_real_files(folder: Path, mode: decoder_module.Mode, channels: int) -> None:
    (folder / "cat" / "1.jpg").write_text("no photo")
    Image.new("RGB", (5, 5)).save(folder / "dog" / "9.png")
    p = Preprocessing(32, 40, channels, "stretch")
    photos = list_photos([str(folder)])
    runs = []
    for threads in (1, 4):
        with Decoder(batches_of(photos, 3), p, mode, threads) as decoder:
            runs.append(list(decoder))
    records = [r for b in runs[0] for r in b.records]
    assert [r.name for r in records] == [p.name for p in photos]
    assert [r.label for r in records] == [p.label for p in photos]
    assert [r.name for r in records if r.error] == ["cat/1.jpg"]
    for one, other in zip(*runs, strict=True):
        assert one.records == other.records
        np.testing.assert_array_equal(one.images, other.images)
        for record, image in zip(one.good, one.images, strict=True):
            expected = read_view(record.path, p, mode)
            np.testing.assert_array_equal(image, expected.image)
            assert (record.size, record.view, record.facts) == expected[1:]
            assert record.facts["format"] == ("PNG" if record.path.endswith(".png") else "JPEG")
            assert record.facts["jpeg_quality"] == (None if record.path.endswith(".png") else 92)
