"""Boxes in files and in the evidence: read, matched with their photos, and refused in one line."""

from __future__ import annotations

import json
import types
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest

from saccade.audit import boxes as boxes_module
from saccade.audit.evidence import Evidence
from saccade.audit.objects import Objects
from saccade.engine.contract import UsageError

Floats = npt.NDArray[np.float32]
HEADER = "path,box_left,box_top,box_right,box_bottom\n"


def read_csv(tmp_path: Path, text: str, *names: str) -> dict[str, list[list[float]]]:
    (tmp_path / "b.csv").write_text(text, encoding="utf-8")
    return {name: found.tolist() for name, found in boxes_module.read_boxes(tmp_path / "b.csv", names).items()}


def test_photos_are_found_by_name_path_or_bare_name(tmp_path: Path) -> None:
    names = ("cat/1.jpg", "dog/1.jpg", "dog/2.jpg", "3.jpg")
    text = HEADER + "cat/1.jpg,0,0,1,1\n/data/set/dog/1.jpg,0,0,2,2\n2.jpg,0,0,3,3\n./3.jpg,0,0,4,4\n"
    expected = {"cat/1.jpg": 1, "dog/1.jpg": 2, "dog/2.jpg": 3, "3.jpg": 4}
    assert read_csv(tmp_path, text, *names) == {name: [[0, 0, n, n]] for name, n in expected.items()}
    several = HEADER.replace("path", "x,name") + ",3.jpg,0,0,1,1\n,3.jpg,1.5,0,2,1\n,4.jpg,0,0,1,1\n"
    assert read_csv(tmp_path, several, *names) == {"3.jpg": [[0, 0, 1, 1], [1.5, 0, 2, 1]]}
    with pytest.raises(UsageError, match=r"has no box for any photo of the run \(it names '1.jpg', they are like"):
        read_csv(tmp_path, HEADER + "1.jpg,0,0,1,1\n", *names)
    with pytest.raises(UsageError, match=r"boxes for 'b/3\.jpg' and for 'a/3\.jpg', which may both be '3\.jpg'"):
        read_csv(tmp_path, HEADER + "a/3.jpg,0,0,1,1\nb/3.jpg,0,0,1,1\n", *names)
    with pytest.raises(UsageError, match="has no box for any photo"):
        read_csv(tmp_path, HEADER + "/" * 2**16 + ",0,0,1,1\n", *names)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("5,0,1,1", "5, 0, 1, 1"),
        ("0,2,1,1", "0, 2, 1, 1"),
        ("nan,0,1,1", "nan"),
        ("0,0,inf,1", "inf"),
        ("0,0,1e300,1", "1e300"),
        ("0,0,1", "None"),
        ("0,0,,1", "0, 0, , 1"),
        ("left,0,1,1", "left"),
        ("0,0,\x1b[2J,1", "\\\\x1b"),
    ],
)
def test_rows_that_are_no_box(tmp_path: Path, row: str, said: str) -> None:
    with pytest.raises(UsageError, match=f"line 3 is no box .*{said}.*; expected left ≤ right") as error:
        read_csv(tmp_path, f"{HEADER}a.jpg,0,0,1,1\na.jpg,{row}\n", "a.jpg")
    assert str(error.value).isprintable()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"path,label\na.jpg,cat\n", "has the columns path, label; expected path or name, and box_left"),
        (b"", r"has the columns \(none\)"),
        (HEADER.encode() + b"\xff\xfe,0,0,1,1\n", "is not a CSV file in UTF-8"),
        (HEADER.encode() + b"x" * 2**21, "is not a CSV file"),
    ],
)
def test_csv_files_that_are_none(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "b.csv").write_bytes(content)
    with pytest.raises(UsageError, match=says):
        boxes_module.read_boxes(tmp_path / "b.csv", ["a.jpg"])


def test_files_of_another_kind(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is no file of boxes"):
        boxes_module.read_boxes(tmp_path / "b.txt", ["a.jpg"])
    for name in ("b.csv", "b.json"):
        with pytest.raises(UsageError, match="No such file or directory; check its path"):
            boxes_module.read_boxes(tmp_path / name, ["a.jpg"])


def test_a_photo_has_so_many_boxes_at_most(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boxes_module, "MAX_BOXES", 3)
    row = "a.jpg,0,0,1,1\n"
    assert len(read_csv(tmp_path, HEADER + 3 * row, "a.jpg")["a.jpg"]) == 3
    with pytest.raises(UsageError, match=r"over 3 boxes for 'a\.jpg'"):
        read_csv(tmp_path, HEADER + 4 * row, "a.jpg")


def read_coco(tmp_path: Path, whole: Any) -> boxes_module.Boxes:
    text = whole if isinstance(whole, str) else json.dumps(whole)
    (tmp_path / "b.json").write_text(text)
    return boxes_module.read_boxes(tmp_path / "b.json", ["train/000.jpg", "train/001.jpg"])


def test_coco(tmp_path: Path) -> None:
    found = read_coco(
        tmp_path,
        {
            "images": [{"id": 7, "file_name": "000.jpg"}, {"id": "x", "file_name": "train/001.jpg"}],
            "annotations": [
                {"image_id": 7, "bbox": [1, 2, 3.5, 4], "segmentation": [[0] * 99], "category_id": 1},
                {"image_id": "x", "bbox": [0, 0, 1, 1]},
                {"image_id": 7, "bbox": [5, 5, 0, 1], "iscrowd": 1},
            ],
        },
    )
    assert {name: boxes.tolist() for name, boxes in found.items()} == {
        "train/000.jpg": [[1, 2, 4.5, 6], [5, 5, 5, 6]],
        "train/001.jpg": [[0, 0, 1, 1]],
    }


@pytest.mark.parametrize(
    ("whole", "says"),
    [
        ("[" * 200_000, "is not a JSON file"),
        ("{", "is not a JSON file"),
        ('{"images": ' + "9" * 5000 + "}", "is not a JSON file"),
        ([], "not in COCO's format"),
        ({"images": {}, "annotations": []}, "not in COCO's format"),
        ({"images": [3], "annotations": []}, r"images\[0\] has no id and file_name"),
        ({"images": [{"id": [], "file_name": "a"}], "annotations": []}, r"images\[0\] has no id"),
        ({"images": [], "annotations": [{"image_id": 1, "bbox": [0, 0, 1, 1]}]}, r"annotations\[0\] names no image"),
        ({"images": [], "annotations": [{"image_id": {}, "bbox": [0, 0, 1, 1]}]}, r"annotations\[0\] names no image"),
        ({"images": [], "annotations": []}, "has no box for any photo"),
    ],
)
def test_coco_files_that_are_none(tmp_path: Path, whole: Any, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        read_coco(tmp_path, whole)


@pytest.mark.parametrize(
    "box", ["[0, 0, -1, 1]", "[0, 0, NaN, 1]", "[0, 0, 1]", '"0011"', "null", "[0, 0, true, 1]", "[0, 0, 1e999, 1]"]
)
def test_coco_boxes_that_are_none(tmp_path: Path, box: str) -> None:
    image = '{"images": [{"id": 1, "file_name": "000.jpg"}], "annotations": [{"image_id": 1, "bbox": %s}]}'
    assert len(read_coco(tmp_path, image % "[0, 0, 1, 1]")) == 1
    with pytest.raises(UsageError, match=r"annotations\[0\] is no box"):
        read_coco(tmp_path, image % box)


def test_a_huge_json_file_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boxes_module, "MAX_JSON", 100)
    with pytest.raises(UsageError, match="over 100 bytes"):
        read_coco(tmp_path, " " * 101)


def stored(tmp_path: Path, **columns: pa.ChunkedArray) -> Evidence:
    """As much of a run's evidence as boxes are read from."""
    name = pa.chunked_array([["a.jpg", "b.jpg"], ["c.jpg"]])
    return cast(Evidence, types.SimpleNamespace(folder=tmp_path, name=name, further=columns))


def column(*values: Any) -> pa.ChunkedArray:
    return pa.chunked_array([list(values[:1]), list(values[1:])], type=pa.array(values).type)


def test_boxes_in_the_evidence(tmp_path: Path) -> None:
    given = {"box_left": column(1, None, 0), "box_top": column(2, None, 0), "box_right": column(3, None, 8)}
    assert Objects.from_evidence(stored(tmp_path, **given)) is None
    given["box_bottom"] = column(4.5, None, 3.0)
    objects = Objects.from_evidence(stored(tmp_path, **given))
    assert objects is not None
    whole = ((0.0, 0.0, 8.0, 6.0), (8, 6), (2, 1))
    assert objects.mask("b.jpg", *whole) is None
    np.testing.assert_allclose(cast(Floats, objects.mask("c.jpg", *whole)), [[1], [0]], atol=1e-7)
    given["box_top"] = column(2, None, None)
    with pytest.raises(UsageError, match=r"'c\.jpg' in .* is no box \(0\.0, nan, 8\.0, 3\.0\)"):
        Objects.from_evidence(stored(tmp_path, **given))
    given["box_top"] = column("2", None, "0")
    with pytest.raises(UsageError, match="the column box_top holds no numbers"):
        Objects.from_evidence(stored(tmp_path, **given))
