from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from saccade.engine.contract import PhotoError, UsageError
from saccade.engine.decode import Storage, list_photos

datasets = pytest.importorskip("datasets")


def made(pictures: list[bytes]) -> Any:
    features = datasets.Features(
        {
            "id": datasets.Value("string"),
            "img": datasets.Image(),
            "label": datasets.ClassLabel(names=["cat", "dog"]),
            "kind": datasets.ClassLabel(names=["day", "night"]),
            "width": datasets.Value("int32"),
            "boxes": datasets.List(datasets.Value("float32")),
        }
    )
    count = len(pictures)
    columns = {
        "id": [f"a{i}" for i in range(count)],
        "img": [{"bytes": p, "path": None} for p in pictures],
        "label": [i % 2 for i in range(count)],
        "kind": [1] * count,
        "width": [131] * count,
        "boxes": [[1.0]] * count,
    }
    return datasets.Dataset.from_dict(columns, features=features)


def read_all(path: Path) -> None:
    with Storage(0) as storage:
        for photo in list_photos([str(path)]):
            storage.fetch(photo)


def test_a_set_end_to_end(tmp_path: Path, through, pictures, expected) -> None:
    made(pictures).save_to_disk(tmp_path / "set")
    records, images = through(tmp_path / "set")
    assert [r.error for r in records] == [None] * 12
    np.testing.assert_array_equal(images, expected)
    assert [r.label for r in records] == ["cat", "dog"] * 6
    assert [r.name for r in records] == [f"{i:08}" for i in range(12)]
    assert [(r.member, r.offset) for r in records] == [(f"img[{i}]", i) for i in range(12)]
    assert dict(records[3].further) == {"id": "a3", "kind": "night", "width": 131}


def test_splits_several_shards_and_a_selection(tmp_path: Path, through, pictures, expected) -> None:
    whole = made(pictures)
    splits = datasets.DatasetDict({"train": whole.select([3, 1, 2]), "test": whole.select(range(4, 12))})
    splits.save_to_disk(tmp_path / "set", num_shards={"train": 1, "test": 2})
    records, images = through(tmp_path / "set")
    assert [r.name for r in records[:4]] == ["train/00000000", "train/00000001", "train/00000002", "test/00000000"]
    np.testing.assert_array_equal(images, [expected[i] for i in (3, 1, 2, *range(4, 12))])


def test_labels_that_are_texts_or_missing(tmp_path: Path, pictures) -> None:
    columns = {"image": [{"bytes": p, "path": None} for p in pictures[:2]]}
    for label, expected in ((["x", ""], ["x", None]), ([7, 8], ["7", "8"]), (None, [None, None])):
        features = {"image": datasets.Image()}
        if label:
            features["label"] = datasets.Value("string" if label[0] == "x" else "int64")
        rows = columns | ({"label": label} if label else {})
        path = tmp_path / str(label)
        datasets.Dataset.from_dict(rows, features=datasets.Features(features)).save_to_disk(path)
        assert [p.label for p in list_photos([str(path)])] == expected


def test_a_set_of_files_holds_their_bytes(tmp_path: Path, folder: Path, through) -> None:
    paths = [str(folder / "cat" / "0.jpg"), str(folder / "dog" / "1.jpg")]
    rows = datasets.Dataset.from_dict({"image": paths}).cast_column("image", datasets.Image())
    rows.save_to_disk(tmp_path / "set")
    records, images = through(tmp_path / "set")
    assert [r.error for r in records] == [None, None]
    (folder / "dog" / "1.jpg").unlink()
    np.testing.assert_array_equal(through(tmp_path / "set")[1], images)


def test_sets_that_are_none(tmp_path: Path, pictures) -> None:
    datasets.Dataset.from_dict({"text": ["a"]}).save_to_disk(tmp_path / "text")
    made(pictures[:2]).save_to_disk(tmp_path / "cut")
    arrow = next((tmp_path / "cut").glob("*.arrow"))
    arrow.write_bytes(arrow.read_bytes()[: arrow.stat().st_size // 3])
    made(pictures[:2]).save_to_disk(tmp_path / "json")
    (tmp_path / "json" / "state.json").write_text("[")
    (tmp_path / "made_up").mkdir()
    for name in ("state.json", "dataset_info.json"):
        (tmp_path / "made_up" / name).write_text("{}")
    for name, says in (("text", "no column of pictures"), ("cut", "cut"), ("json", "damaged"), ("made_up", "damaged")):
        with pytest.raises((UsageError, PhotoError), match=says) as error:
            read_all(tmp_path / name)
        assert str(error.value).isprintable()
        assert name in str(error.value)


def test_rows_without_pictures(tmp_path: Path, pictures) -> None:
    rows = {"image": [{"bytes": pictures[0], "path": None}, None]}
    features = datasets.Features({"image": datasets.Image()})
    datasets.Dataset.from_dict(rows, features=features).save_to_disk(tmp_path / "set")
    first, second = list_photos([str(tmp_path / "set")])
    with Storage(0) as storage:
        assert storage.fetch(first) == pictures[0]
        with pytest.raises(PhotoError, match="holds no bytes"):
            storage.fetch(second)


def test_without_the_package(tmp_path: Path, pictures, monkeypatch: pytest.MonkeyPatch) -> None:
    made(pictures[:1]).save_to_disk(tmp_path / "set")
    monkeypatch.setitem(__import__("sys").modules, "datasets", None)
    with pytest.raises(UsageError, match=r"pip install 'saccade\[datasets\]'"):
        list_photos([str(tmp_path / "set")])
