from __future__ import annotations

import csv
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from saccade.engine.contract import PhotoError, SaccadeError, UsageError
from saccade.engine.decode import Photo, Storage, list_photos, parquet, write_manifest


def refusal(*paths: Path) -> str:
    with pytest.raises(UsageError) as error:
        list_photos([str(path) for path in paths])
    line = str(error.value)
    assert line.startswith("decode: ")
    assert line.isprintable()
    assert paths[-1].name in line
    return line


def write_pictures(path: Path, pictures: list[bytes], **options: Any) -> None:
    rows = [{"bytes": p, "path": "same.jpg"} for p in pictures]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    table = pa.table(
        {"image": pa.array(rows, kind), "label": [i % 2 for i in range(len(rows))], "score": [0.5] * len(rows)}
    )
    features = {"image": {"_type": "Image"}, "label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    pq.write_table(table.replace_schema_metadata(metadata), path, **options)


@pytest.mark.parametrize("kind", ["csv", "tsv", "parquet"])
def test_a_manifest_end_to_end(folder: Path, through, kind: str) -> None:
    rows = [
        {"path": "cat/0.jpg", "label": "tabby", "camera": "A, left", "taken": 2019, "score": 0.25, "id": "007"},
        {"path": str(folder / "dog" / "1.jpg"), "label": "", "camera": "B", "taken": 2020, "score": 1, "id": "12"},
        {"path": "../set/cat/2.jpg", "label": "7", "camera": "", "taken": None, "score": None, "id": "1e400x"},
    ]
    path = folder / f"list.{kind}"
    if kind == "parquet":
        rows = [{k: v if v != "" else None for k, v in row.items()} for row in rows]
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        with open(path, "w", newline="") as file:
            writer = csv.DictWriter(file, rows[0], dialect="excel" if kind == "csv" else "excel-tab")
            writer.writeheader()
            writer.writerows(rows)
    records, images = through(path)
    assert [r.error for r in records] == [None] * 3
    assert len(images) == 3
    assert [r.path for r in records] == [str(folder / n) for n in ("cat/0.jpg", "dog/1.jpg", "cat/2.jpg")]
    assert [r.name for r in records] == ["cat/0.jpg", "dog/1.jpg", "cat/2.jpg"]
    assert [r.label for r in records] == ["tabby", None, "7"]
    assert [r.further for r in records] == [
        {"camera": "A, left", "taken": 2019, "score": 0.25, "id": "007"},
        {"camera": "B", "taken": 2020, "score": 1.0, "id": "12"},
        {"camera": None, "taken": None, "score": None, "id": "1e400x"},
    ]
    manifest = write_manifest(folder / "m.arrow", [str(path)])
    assert {n: str(t) for n, t in manifest.further.items()} == {
        "camera": "string",
        "taken": "int64",
        "score": "double",
        "id": "string",
    }


def test_texts_that_look_like_numbers_in_part_stay_texts(tmp_path: Path) -> None:
    cells = {
        "zeros": ["01", "2"],
        "long": ["123456789012345678901", "1"],
        "late": ["1", "x"],
        "plus": ["+1", "2"],
        "none": ["", ""],
        "nan": ["nan", "1.5"],
        "float": ["1", "-2.5e3"],
        "int": ["-0", "17"],
        "gap": ["", "4"],
    }
    rows = [["path", *cells], ["a.jpg", *(c[0] for c in cells.values())], ["b.jpg", *(c[1] for c in cells.values())]]
    (tmp_path / "m.csv").write_text("\ufeff" + "\r\n".join(map(",".join, rows)) + "\r\n\r\n", encoding="utf-8")
    first, second = list_photos([str(tmp_path / "m.csv")])
    assert first.further == {
        "zeros": "01", "long": "123456789012345678901", "late": "1", "plus": "+1", "none": None, "nan": "nan",
        "float": 1.0, "int": 0, "gap": None,
    }  # fmt: skip
    assert second.further["float"] == -2500.0
    assert second.further["gap"] == 4


def test_names_lead_nowhere_and_are_unique(tmp_path: Path) -> None:
    paths = [
        "../../etc/a.jpg",
        "/b.jpg",
        "c/../d.jpg",
        "https://host/x/e.jpg?size=1",
        "file:///f.jpg",
        "d.jpg",
        "x/d.jpg",
    ]
    (tmp_path / "m.csv").write_text("path\n" + "\n".join(paths))
    photos = list_photos([str(tmp_path / "m.csv")])
    assert [p.path for p in photos][1:] == [
        "/b.jpg",
        str(tmp_path / "d.jpg"),
        "https://host/x/e.jpg?size=1",
        "/f.jpg",
        str(tmp_path / "d.jpg"),
        str(tmp_path / "x" / "d.jpg"),
    ]
    assert photos[0].path == os.path.normpath(tmp_path / "../../etc/a.jpg")
    names = [p.name for p in photos]
    assert len(set(names)) == len(names)
    assert all(not n.startswith("/") and ".." not in n.split("/") for n in names)
    assert names[3] == "host/x/e.jpg"


def test_several_manifests_agree_on_types(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("path,x,y,z\n1.jpg,1,1,a\n1.jpg,2,2,b\n")
    (tmp_path / "b.csv").write_text("url,x,y\n2.jpg,0.5,left\n1.jpg,9,9\n")
    (tmp_path / "3.jpg").write_bytes(b"x")
    words = [str(tmp_path / n) for n in ("a.csv", "b.csv", "3.jpg")]
    photos = list_photos(words)
    assert [(p.name, dict(p.further)) for p in photos] == [
        ("1.jpg", {"x": 1.0, "y": "1", "z": "a"}),
        (f"{tmp_path.name}/1.jpg", {"x": 2.0, "y": "2", "z": "b"}),
        ("2.jpg", {"x": 0.5, "y": "left"}),
        (f"{tmp_path.name}-2/1.jpg", {"x": 9.0, "y": "9"}),
        ("3.jpg", {}),
    ]
    manifest = write_manifest(tmp_path / "m.arrow", words)
    assert {n: str(t) for n, t in manifest.further.items()} == {"x": "double", "y": "string", "z": "string"}
    assert dict(manifest[4].further) == {"x": None, "y": None, "z": None}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "(none)"),
        (b"file,label\na.jpg,1\n", "file, label"),
        (b"path,label\n", "no rows"),
        (b"path,label\na.jpg,1\n,2\n", "line 3 has no path"),
        (b"path,label\na.jpg,1,2\n", "line 2 has 3 cells"),
        (b"path,path\na.jpg,1\n", "2 columns, 1 of them different"),
        (b"path,label\n\xff\xfe,1\n", "UTF-8"),
        (b'path,label\n"' + b"x" * 200_000 + b'",1\n', "not a CSV"),
        (b"path," + b",".join(b"c%d" % i for i in range(2000)), "2,001 columns"),
    ],
)
def test_manifests_that_are_none(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "m.csv").write_bytes(content)
    assert says in refusal(tmp_path / "m.csv")


def test_a_row_whose_file_is_missing_is_a_row_with_an_error(folder: Path, through) -> None:
    (folder / "m.csv").write_text("path\ncat/0.jpg\ncat/gone.jpg\n")
    records, _ = through(folder / "m.csv")
    assert [r.error is None for r in records] == [True, False]
    assert "gone.jpg does not exist" in str(records[1].error)


@pytest.mark.parametrize("rows", [1, 5, 100])
def test_pictures_inside_parquet_end_to_end(tmp_path: Path, through, pictures, expected, rows: int) -> None:
    write_pictures(tmp_path / "a.parquet", pictures, row_group_size=rows)
    records, images = through(tmp_path / "a.parquet")
    assert [r.error for r in records] == [None] * 12
    np.testing.assert_array_equal(images, expected)
    assert [r.label for r in records] == ["cat", "dog"] * 6
    assert [r.name for r in records] == [f"a/{i:08}" for i in range(12)]
    assert [(r.member, r.offset) for r in records] == [(f"image[{i}]", i) for i in range(12)]
    assert records[0].further == {"score": 0.5}


@pytest.mark.parametrize("column", ["jpg", "Image", "bytes"])
def test_a_column_of_bytes_and_a_glob(tmp_path: Path, through, pictures, expected, column: str) -> None:
    for i in range(2):
        part = pictures[6 * i : 6 * i + 6]
        pq.write_table(
            pa.table({column: part, "label": pa.array(["a"] * 6).dictionary_encode()}), tmp_path / f"{i}.parquet"
        )
    records, images = through(tmp_path / "*.parquet")
    np.testing.assert_array_equal(images, expected)
    assert {r.label for r in records} == {"a"}
    assert records[7].name == "1/00000001"


def test_a_column_of_sounds_is_no_picture(tmp_path: Path) -> None:
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    features = {"audio": {"_type": "Audio"}}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    table = pa.table({"audio": pa.array([{"bytes": b"x", "path": "y"}], kind)})
    pq.write_table(table.replace_schema_metadata(metadata), tmp_path / "a.parquet")
    assert "has the columns audio" in refusal(tmp_path / "a.parquet")
    pq.write_table(table, tmp_path / "a.parquet")
    assert len(list_photos([str(tmp_path / "a.parquet")])) == 1


def test_rows_without_bytes_and_rows_that_are_too_large(tmp_path: Path, pictures, monkeypatch) -> None:
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    rows = [
        {"bytes": None, "path": "/etc/passwd"},
        None,
        {"bytes": pictures[0], "path": None},
        {"bytes": b"12", "path": ""},
    ]
    pq.write_table(pa.table({"image": pa.array(rows, kind)}), tmp_path / "a.parquet")
    monkeypatch.setattr(parquet, "MAX_HELD", len(pictures[0]) - 1)
    photos = list_photos([str(tmp_path / "a.parquet")])
    with Storage(0) as storage:
        for photo, says in zip(photos, ("holds no bytes", "holds no bytes", "too large"), strict=False):
            with pytest.raises(PhotoError, match=says):
                storage.fetch(photo)
        assert storage.fetch(photos[3]) == b"12"
        with pytest.raises(PhotoError, match="not where it was listed"):
            storage.fetch(Photo(photos[0].path, "x", member="image[9]", offset=9))
        with pytest.raises(SaccadeError, match="no column other"):
            storage.fetch(Photo(photos[0].path, "x", member="other[0]", offset=0))


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_damage_never_gives_another_error(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = tmp_path_factory.mktemp("parquet") / "a.parquet"
    write_pictures(path, [bytes([i]) * 50 for i in range(6)], row_group_size=3)
    content = bytearray(path.read_bytes())
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=8)):
        content[place] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(len(content) // 2, len(content)))] + content[-8:])
    with Storage(0) as storage:
        try:
            photos = list_photos([str(path)])
        except UsageError:
            return
        for photo in photos:
            try:
                storage.fetch(photo)
            except (PhotoError, UsageError) as error:
                lines = str(error).splitlines()
            else:
                lines = ["read"]
            assert len(lines) == 1


def test_a_parquet_manifest_row_without_a_path(tmp_path: Path) -> None:
    pq.write_table(pa.table({"path": ["a.jpg", None]}), tmp_path / "a.parquet")
    assert "row 2 has no path" in refusal(tmp_path / "a.parquet")
    pq.write_table(pa.table({"path": [1, 2]}), tmp_path / "a.parquet")
    assert "expected path or url" in refusal(tmp_path / "a.parquet")


def test_each_row_of_a_manifest_counts(tmp_path: Path) -> None:
    """The same file in several rows is several photos; the manifest itself counts once, however often it is named."""
    rows = "".join(f"{('a', 'b')[i % 2]}.png,{i}\n" for i in range(20_000))
    (tmp_path / "list.csv").write_text("path,number\n" + rows)
    photos = list_photos([str(tmp_path / "list.csv"), str(tmp_path / "." / "list.csv")])
    assert len(photos) == len({photo.name for photo in photos}) == 20_000
    assert [photo.name for photo in photos[:5]] == [
        "a.png",
        "b.png",
        f"{tmp_path.name}/a.png",
        f"{tmp_path.name}/b.png",
        f"{tmp_path.name}-2/a.png",
    ]
    assert [photo.further["number"] for photo in photos] == list(range(20_000))
    assert {photo.path for photo in photos} == {str(tmp_path / "a.png"), str(tmp_path / "b.png")}


@pytest.mark.parametrize("name", ["x.csv", "x.tsv"])
def test_a_line_without_an_end_is_not_read_whole(tmp_path: Path, name: str) -> None:
    with open(tmp_path / name, "wb") as file:
        file.write(b"path,label\n" if name == "x.csv" else b"path\tlabel\n")
        file.truncate(2**40)  # sparse
    with pytest.raises(UsageError, match=r"a line of over 1,048,576 characters"):
        list_photos([str(tmp_path / name)])
    if name == "x.csv":
        (tmp_path / "1.jpg").write_bytes(b"x")
        with pytest.raises(UsageError, match=r"a line of over 1,048,576 characters"):
            list_photos([str(tmp_path / "1.jpg")], str(tmp_path / name))
