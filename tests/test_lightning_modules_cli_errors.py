"""What the user can put right is one line of ``dyc``, however it is wrapped; a fault of the program is not."""

import errno
import os
import subprocess
import sys

import pytest
import torch
from lightning.pytorch.accelerators import CUDAAccelerator
from lightning.pytorch.utilities import rank_zero_only
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from lightning_modules.callbacks.finite_loss import LossNotFinite
from lightning_modules.cli import main
from lightning_modules.cli import models as models_command
from lightning_modules.cli.errors import first_of_all, user_error
from ops import ArgumentError

FIT = [
    "fit",
    "--model.model=test_resnet",
    "--data.image_size=32",
    "--data.batch_size=4",
    "--trainer.max_epochs=1",
    "--trainer.limit_train_batches=1",
    "--trainer.limit_val_batches=1",
    "--trainer.limit_test_batches=1",
    "--trainer.enable_progress_bar=false",
    "--trainer.logger=false",
]


@pytest.fixture
def dyc(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def run(*argv: str) -> tuple[int, list[str]]:
        """Run a command; return its status and the lines of stderr that name the command."""
        monkeypatch.setattr(sys, "argv", ["dyc", *argv])
        status = main(argv)
        error = capsys.readouterr().err
        assert "Traceback" not in error
        return status, [line for line in error.splitlines() if line.startswith(f"dyc {argv[0]}: error: ")]

    return run


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_damaged_image_is_one_line_also_from_a_worker(tmp_path, dyc, write_classes, num_workers):
    write_classes(tmp_path / "images" / "train")
    write_classes(tmp_path / "images" / "val", 1)
    path = tmp_path / "images" / "val" / "class1" / "0.png"
    path.write_bytes(b"not an image")
    data = ["--data.dataset=folder", f"--data.root={tmp_path / 'images'}", f"--data.num_workers={num_workers}"]
    status, lines = dyc(*FIT, "--trainer.accelerator=cpu", *data)
    assert status == 2
    (line,) = lines
    assert line.startswith(
        f"dyc fit: error: data.root: got '{path}', which is not an image, or is damaged; need images only"
    )
    assert line.endswith("(--data.skip_damaged true leaves out what cannot be read)")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--trainer.accelerator=gpu"],
            "trainer.accelerator: got 'gpu' (No supported gpu backend found!); need auto or",
        ),
        (["--trainer.accelerator=tpu"], "trainer.accelerator: got 'tpu' ("),
        (["--trainer.accelerator=gpus"], "trainer.accelerator: got 'gpus' (You selected an invalid accelerator name"),
        (["--trainer.accelerator=cpu", "--trainer.strategy=ddq"], "trainer: You selected an invalid strategy name"),
        (["--trainer.accelerator=cpu", "--trainer.devices=0"], "trainer"),
        (["--trainer.accumulate_grad_batches=0"], "trainer.accumulate_grad_batches: got 0; need at least 1"),
    ],
)
def test_what_the_trainer_refuses(dyc, tmp_path, monkeypatch, options, message):
    monkeypatch.setattr(CUDAAccelerator, "is_available", staticmethod(lambda: False))
    status, lines = dyc(*FIT, *options)
    assert status == 2
    (line,) = lines
    assert line.startswith(f"dyc fit: error: {message}")
    assert list(tmp_path.iterdir()) == []


def test_a_list_of_files_to_predict(tmp_path, dyc, write_image):
    for i in range(3):
        write_image(tmp_path / f"{i}.png", i, "L")
    assert dyc(*FIT, "--trainer.accelerator=cpu", "--data.skip_damaged=true")[0] == 0
    predict = ["predict", "--trainer.accelerator=cpu", "--ckpt_path=last", "--trainer.enable_progress_bar=false"]
    assert dyc(*predict, "--data.predict_folder=[2.png, 0.png]")[0] == 0
    rows = (tmp_path / "runs/run/version_1/predictions.csv").read_text().splitlines()
    assert [row.partition(",")[0] for row in rows[1:]] == ["2.png", "0.png"]


WORKER = (
    "Caught ArgumentError in DataLoader worker process 0.\nOriginal Traceback (most recent call last):\n"
    "  File x\nOSError: y\n\nops.errors.ArgumentError: data.root: got 'x'; need y\n"
)
FULL = OSError(errno.ENOSPC, "No space left on device", "runs/metrics.csv")
CAUSES = {
    "argument": (ArgumentError("a", 1, "2"), "a: got 1; need 2"),
    "worker": (ArgumentError(WORKER), "data.root: got 'x'; need y"),
    "full_disk": (FULL, "No space left on device for 'runs/metrics.csv'; free some space"),
    "read_only": (OSError(errno.EROFS, "Read-only file system", "x"), "Read-only file system for 'x'; choose a place"),
    "ended_worker": (
        RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. "),
        "data.num_workers: a process that reads images was killed (Killed): too little memory is the usual reason; lo",
    ),
    "lightning": (MisconfigurationException("No such\n thing"), "trainer: No such thing"),
    "fault": (ZeroDivisionError("division by zero"), None),
    "other_file": (FileNotFoundError(errno.ENOENT, "No such file", "x"), None),
}


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize(("error", "line"), CAUSES.values(), ids=CAUSES)
def test_user_error(error, line, wrapped):
    if wrapped:
        outer = ValueError("Parser key 'x'")
        outer.__cause__ = error
        error = outer
    found = user_error(error)
    assert found is None if line is None else found.startswith(line) and "\n" not in found


@pytest.mark.parametrize(
    ("rank", "joined", "error", "silent"),
    [
        (None, False, ArgumentError("a", 1, "2"), False),
        ("0", True, LossNotFinite("a", 1, "2"), False),
        ("1", True, LossNotFinite("a", 1, "2"), True),
        ("1", False, ArgumentError("a", 1, "2"), True),
        ("1", True, ArgumentError("a", 1, "2"), False),  # an image that this process alone has read
    ],
)
def test_one_process_speaks_for_all(monkeypatch, capsys, rank, joined, error, silent):
    def fail(argv):
        raise error

    monkeypatch.setattr(models_command, "main", fail)
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: joined)
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    if rank is not None:
        monkeypatch.setenv("LOCAL_RANK", rank)
    assert main(["models"]) == 2
    assert capsys.readouterr().err == ("" if silent else "dyc models: error: a: got 1; need 2\n")


@pytest.mark.parametrize("lines", [1, 100_000])  # noticed at the end, and in the middle
def test_a_reader_that_has_seen_enough_ends_the_command_quietly(lines):
    script = (
        "import sys, types; from lightning_modules import cli; prints = types.ModuleType('prints');"
        f"prints.main = lambda argv: print('line\\n' * {lines}); sys.modules['prints'] = prints;"
        "cli.COMMANDS['prints'] = ('prints', ''); sys.argv = ['dyc', 'prints']; sys.exit(cli.main())"
    )
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([sys.executable, "-c", script], stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


def test_the_first_process_of_another_machine_is_not_the_first_of_all(monkeypatch):
    monkeypatch.setattr(rank_zero_only, "rank", 0)
    monkeypatch.delenv("NODE_RANK", raising=False)
    assert first_of_all()
    monkeypatch.setenv("NODE_RANK", "1")  # which is all that Lightning's own way to start processes knows
    assert not first_of_all()


def test_a_fault_of_the_program_keeps_its_traceback(monkeypatch):
    def fail(argv):
        raise ZeroDivisionError

    monkeypatch.setattr(models_command, "main", fail)
    with pytest.raises(ZeroDivisionError):
        main(["models"])
