"""The folder of a run: each has one of its own; its checkpoints are whole, or are said not to be."""

import errno
import os
from concurrent.futures import ThreadPoolExecutor

import torch

from lightning_modules.runs import claim_folder, find_checkpoint


def test_runs_that_start_together_get_folders_of_their_own(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        folders = list(pool.map(lambda _: claim_folder(tmp_path, "same/name"), range(24)))
    assert sorted(int(f.name.split("_")[1]) for f in folders) == list(range(24))


def checkpoints(folder, **contents):
    for name, content in contents.items():
        torch.save(content, folder / f"{name}.ckpt")
    return folder


def test_a_damaged_checkpoint_names_one_beside_it(tmp_path, raises):
    last = checkpoints(tmp_path, last=torch.zeros(100)) / "last.ckpt"
    last.write_bytes(last.read_bytes()[:-100])
    with raises("ckpt_path", "last.ckpt', truncated or damaged", "a whole checkpoint"):
        find_checkpoint(str(last), tmp_path, "run")
    checkpoints(tmp_path, best=1)
    with raises("ckpt_path", "truncated or damaged", f"a whole checkpoint, perhaps '{tmp_path / 'best.ckpt'}'"):
        find_checkpoint(str(last), tmp_path, "run")


def test_a_byte_that_has_changed_is_found(tmp_path, raises):
    path = checkpoints(tmp_path, last=torch.zeros(1000)) / "last.ckpt"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with raises("ckpt_path", "truncated or damaged", "a whole checkpoint"):
        find_checkpoint(str(path), tmp_path, "run")


def test_a_checkpoint_that_cannot_be_read_is_not_called_damaged(tmp_path, raises, monkeypatch):
    path = checkpoints(tmp_path, last=1) / "last.ckpt"

    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    for method in ("open", "is_file"):  # of the file; of its folder
        with monkeypatch.context() as patch:
            patch.setattr(type(path), method, refuse)
            with raises("ckpt_path", "last.ckpt' (Permission denied)", "a file that can be read"):
                find_checkpoint(str(path), tmp_path, "run")
