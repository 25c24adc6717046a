"""Folders that are written whole or not at all; of files, see the tests of lightning_modules/whole_files.py."""

import errno
import os

import pytest

from dyc.whole_files import folder_written_whole, written_whole


def test_a_folder_appears_at_the_end(tmp_path):
    target = tmp_path / "above/folder"
    with folder_written_whole(target) as folder:
        (folder / "file").write_text("content")
        assert not target.exists()
    assert (target / "file").read_text() == "content"
    assert [path.name for path in target.parent.iterdir()] == ["folder"]


def test_nothing_is_left_of_a_failure(tmp_path):
    def fail():
        with folder_written_whole(tmp_path / "folder") as folder:
            (folder / "file").touch()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_others_have_filled_meanwhile_is_kept(tmp_path):
    target = tmp_path / "folder"

    def write():
        with folder_written_whole(target) as folder:
            (folder / "file").touch()
            target.mkdir()
            (target / "theirs").touch()

    with pytest.raises(OSError, match="not empty"):
        write()
    assert [path.name for path in target.iterdir()] == ["theirs"]


def test_a_full_disk_names_what_was_to_be_written(tmp_path):
    def fail(name):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), name)

    path = tmp_path / "network.onnx"
    with pytest.raises(OSError, match="No space left") as error, written_whole(path):
        fail(None)  # as that of a write
    assert error.value.filename == str(path)
    with pytest.raises(OSError, match="No space left") as error, folder_written_whole(tmp_path / "folder") as folder:
        fail(str(folder / "file"))
    assert error.value.filename == str(tmp_path / "folder/file")
    with pytest.raises(OSError, match="No such file") as error, written_whole(tmp_path / "none/file"):
        pass
    assert error.value.filename == str(tmp_path / "none/file")
    with pytest.raises(OSError, match="No space left") as error, written_whole(path):
        fail("another")
    assert error.value.filename == "another"
    assert list(tmp_path.iterdir()) == []


def test_an_error_of_words_keeps_them(tmp_path):
    with pytest.raises(OSError, match=r"^what a library says$"), written_whole(tmp_path / "file"):
        raise OSError("what a library says")
