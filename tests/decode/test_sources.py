from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saccade.engine.contract import UsageError
from saccade.engine.decode import list_photos
from saccade.engine.decode.entry import EXTENSIONS
from saccade.engine.decode.folders import matches


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    return folder


def one_line(error: pytest.ExceptionInfo[UsageError]) -> str:
    text = str(error.value)
    assert "\n" not in text
    assert text.startswith("decode: ")
    return text


def test_a_folder_is_searched_sorted_and_labelled_by_its_first_subfolder(folder: Path) -> None:
    photos = list_photos([str(folder)])
    assert [p.name for p in photos] == [f"cat/{i}.jpg" for i in (0, 2, 4)] + [f"dog/{i}.jpg" for i in (1, 3, 5)]
    assert [p.label for p in photos] == ["cat"] * 3 + ["dog"] * 3
    assert all(os.path.isabs(p.path) and os.path.samefile(p.path, folder / p.name) for p in photos)


def test_deeper_folders_keep_the_first_ones_label_and_a_flat_folder_has_none(tmp_path: Path) -> None:
    touch(tmp_path, "cat/indoor/1.jpg", "2.jpg")
    assert [(p.name, p.label) for p in list_photos([str(tmp_path)])] == [("2.jpg", None), ("cat/indoor/1.jpg", "cat")]


def test_every_extension_counts_in_any_case(tmp_path: Path) -> None:
    touch(tmp_path, *(f"a{e}" for e in EXTENSIONS), *(f"b{e.upper()}" for e in EXTENSIONS), "c.txt", "jpg", ".jpg")
    assert len(list_photos([str(tmp_path)])) == 2 * len(EXTENSIONS)


def test_hidden_files_and_folders_are_skipped(tmp_path: Path) -> None:
    touch(tmp_path, ".cache/1.jpg", "._2.jpg", "3.jpg")
    assert [p.name for p in list_photos([str(tmp_path)])] == ["3.jpg"]


def test_a_broken_link_is_listed_and_a_circle_of_links_ends(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.jpg")
    (tmp_path / "a" / "gone.jpg").symlink_to("nowhere.jpg")
    (tmp_path / "a" / "self.jpg").symlink_to("self.jpg")
    (tmp_path / "a" / "up").symlink_to("..")
    (tmp_path / "a" / "again").symlink_to(".")
    assert [p.name for p in list_photos([str(tmp_path)])] == ["a/1.jpg", "a/gone.jpg", "a/self.jpg"]


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("*.jpg", ["top.jpg"]),
        ("*/*.jpg", ["cat/1.jpg", "dog/2.jpg"]),
        ("**/*.jpg", ["cat/1.jpg", "cat/deep/3.jpg", "dog/2.jpg", "top.jpg"]),
        ("**", ["cat/1.jpg", "cat/4.png", "cat/deep/3.jpg", "dog/2.jpg", "top.jpg"]),
        ("cat/**", ["1.jpg", "4.png", "deep/3.jpg"]),
        ("[cd]*/?.jpg", ["cat/1.jpg", "dog/2.jpg"]),
        ("**/deep/*", ["cat/deep/3.jpg"]),
    ],
)
def test_globs(tmp_path: Path, pattern: str, names: list[str]) -> None:
    touch(tmp_path, "cat/1.jpg", "cat/4.png", "dog/2.jpg", "cat/deep/3.jpg", "top.jpg", "cat/labels.csv")
    assert [p.name for p in list_photos([str(tmp_path / pattern)])] == names


def test_a_relative_glob_and_its_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "cat/1.jpg", "dog/2.jpg")
    monkeypatch.chdir(tmp_path)
    assert [(p.name, p.label) for p in list_photos(["*/*.jpg"])] == [("cat/1.jpg", "cat"), ("dog/2.jpg", "dog")]


def test_a_file_whose_name_looks_like_a_glob_is_that_file(tmp_path: Path) -> None:
    touch(tmp_path, "photo[1].jpg", "photo1.jpg")
    assert [p.name for p in list_photos([str(tmp_path / "photo[1].jpg")])] == ["photo[1].jpg"]


@given(st.lists(st.sampled_from(["a", "b", "ab"]), min_size=1, max_size=5))
def test_matching_parts(parts: list[str]) -> None:
    assert matches(parts, ["**"])
    assert matches(parts, parts)
    assert matches(parts, ["*"] * len(parts))
    assert matches(parts, ["**", parts[-1]])
    assert not matches(parts, [*parts, "*"])
    assert not matches(parts, parts[:-1])


def test_a_file_named_itself_may_end_in_anything(tmp_path: Path) -> None:
    touch(tmp_path, "frame.dat")
    assert [(p.name, p.label) for p in list_photos([str(tmp_path / "frame.dat")])] == [("frame.dat", None)]


def test_names_are_unique_and_a_photo_named_twice_counts_once(tmp_path: Path) -> None:
    touch(tmp_path, "x/a/1.jpg", "x/1.jpg", "y/1.jpg", "z/y/1.jpg")
    sources = [str(tmp_path / s) for s in ("x", "x/1.jpg", "y", "z/y", "y")]
    assert [p.name for p in list_photos(sources)] == ["1.jpg", "a/1.jpg", "y/1.jpg", "y-2/1.jpg"]


@pytest.mark.parametrize("source", ["missing", "empty", "missing/*.jpg", "empty/**", "sub/*.gif"])
def test_sources_without_photos_are_refused(tmp_path: Path, source: str) -> None:
    (tmp_path / "empty").mkdir()
    touch(tmp_path, "sub/1.jpg", "empty/readme.txt")
    with pytest.raises(UsageError) as error:
        list_photos([str(tmp_path / "sub"), str(tmp_path / source)])
    assert source in one_line(error)


def test_no_source_is_refused() -> None:
    with pytest.raises(UsageError) as error:
        list_photos([])
    one_line(error)


def test_a_folder_that_may_not_be_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(UsageError, match="Permission denied") as error:
        list_photos([str(tmp_path)])
    one_line(error)


@pytest.mark.parametrize("path", ["cat/0.jpg", "0.jpg", "./cat/0.jpg"])
def test_labels_match_by_path_or_bare_name_and_replace_folders(folder: Path, tmp_path: Path, path: str) -> None:
    labels = tmp_path / "labels.csv"
    labels.write_text(f"path,label,source\n{path},tabby,x\nunknown.jpg,y,z\n")
    assert [(p.name, p.label) for p in list_photos([str(folder)], str(labels)) if p.label] == [("cat/0.jpg", "tabby")]


def test_labels_are_relative_to_their_own_folder_first(tmp_path: Path) -> None:
    touch(tmp_path, "set/1.jpg", "set/dog/1.jpg", "set/dog/2.jpg")
    labels = tmp_path / "set" / "labels.csv"
    labels.write_text("\ufeffpath,label\n1.jpg,top\ndog/2.jpg,\n", encoding="utf-8")
    found = list_photos([str(tmp_path / "set"), str(tmp_path / "set" / "dog")], str(labels))
    assert [(p.name, p.label) for p in found] == [("1.jpg", "top"), ("dog/1.jpg", None), ("dog/2.jpg", None)]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "No such file"),
        (b"", "(none)"),
        (b"file,class\na.jpg,1\n", "file, class"),
        (b"path,label\n", "names none"),
        (b"path,label\nelsewhere.jpg,1\n", "elsewhere.jpg"),
        (b"path,label\n0.jpg,1\n0.jpg,2\n", "line 3"),
        (b"path,label\n\xff\xfe,1\n", "UTF-8"),
        (b'path,label\n"' + b"x" * 200_000 + b'",1\n', "not a CSV"),
    ],
)
def test_labels_files_that_do_not_fit_are_refused(
    folder: Path, tmp_path: Path, content: bytes | None, says: str
) -> None:
    labels = tmp_path / "labels.csv"
    if content is not None:
        labels.write_bytes(content)
    with pytest.raises(UsageError) as error:
        list_photos([str(folder)], str(labels))
    assert says in one_line(error)
    assert "labels.csv" in one_line(error)
