import os
import stat
import threading
from pathlib import Path

import pytest

from saccade.engine.contract import SaccadeError, replacing


def test_the_name_appears_with_the_whole_content(tmp_path: Path):
    final = tmp_path / "new" / "folder" / "result.txt"
    with replacing(final) as temporary:
        temporary.write_text("half")
        assert not final.exists()
        assert temporary.parent == final.parent
        assert temporary.suffix == ".txt"
    assert final.read_text() == "half"
    assert list(final.parent.iterdir()) == [final]


def fail_with(error: BaseException, final: Path) -> None:
    with replacing(final) as temporary:
        temporary.write_text("half")
        raise error


@pytest.mark.parametrize("error", [RuntimeError(), KeyboardInterrupt()])
def test_an_error_leaves_what_was_there(tmp_path: Path, error: BaseException):
    final = tmp_path / "result.txt"
    final.write_text("before")
    with pytest.raises(type(error)):
        fail_with(error, final)
    assert final.read_text() == "before"
    assert list(tmp_path.iterdir()) == [final]


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path):
    message = r"^write: cannot write .*result.txt: No space left on device; free some space"
    with pytest.raises(SaccadeError, match=message):
        fail_with(OSError(28, "No space left on device"), tmp_path / "result.txt")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_a_file(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SaccadeError, match="cannot write"), replacing(tmp_path / "file" / "result.txt"):
        pytest.fail("there is nowhere to write")


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_permissions_are_those_of_any_new_file_in_threads_too(tmp_path: Path):
    before = os.umask(0o027)
    try:

        def write(number: int) -> None:
            for i in range(30):
                with replacing(tmp_path / f"{number}-{i}") as temporary:
                    temporary.write_text("")

        threads = [threading.Thread(target=write, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        modes = {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
        assert modes == {0o640}
        assert len(list(tmp_path.iterdir())) == 240
    finally:
        after = os.umask(before)
    assert after == 0o027
