"""A training that a signal stops: what it leaves, what it says, and how shells and queues know."""

import errno
import signal
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.trainer.states import TrainerFn

from lightning_modules import ImageClassifier, ImageData
from lightning_modules.callbacks import LastCheckpoint
from lightning_modules.cli import main, training
from lightning_modules.resume import epochs_behind

FIT = [
    "fit",
    "--name=stopped",
    "--model.model=test_resnet",
    "--data.image_size=32",
    "--data.batch_size=8",
    "--trainer.max_epochs=2",
    "--trainer.limit_train_batches=4",
    "--trainer.limit_val_batches=1",
    "--trainer.limit_test_batches=1",
    "--trainer.accelerator=cpu",
    "--trainer.enable_progress_bar=false",
    "--wandb=disabled",
]
LAST = Path("runs/stopped/version_0/checkpoints/last.ckpt")


class Send(Callback):
    """Send this process a signal in a step, as a queue or a user would."""

    def __init__(self, number, epoch, batch, hook="on_train_batch_start"):
        self.number, self.at = number, (epoch, batch)
        setattr(self, hook, self.send)

    def send(self, trainer, pl_module, batch, batch_idx, dataloader_idx=0):
        if (trainer.current_epoch, batch_idx) == self.at and not trainer.sanity_checking:
            signal.raise_signal(self.number)


@pytest.fixture
def stop(tmp_path, monkeypatch):
    """Run ``dyc fit`` in this process, and stop it by a signal."""
    monkeypatch.chdir(tmp_path)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    callbacks = training.run_callbacks

    def run(number, epoch, batch, expected, *more, **options):
        def with_signal(*args):
            return [*callbacks(*args), Send(number, epoch, batch, **options)]

        with monkeypatch.context() as patch:
            patch.setattr(training, "run_callbacks", with_signal)
            with pytest.raises(expected) as stopped:
                main([*FIT, *more])
        return stopped.value

    yield run
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("batch", [1, 3])
def test_sigterm_leaves_a_checkpoint_of_the_step_and_exit_status_143(stop, capsys, batch):
    assert stop(signal.SIGTERM, 1, batch, SystemExit).code == 143
    assert f"interrupted; resume with --ckpt_path {LAST.resolve()}" in capsys.readouterr().out
    checkpoint = torch.load(LAST, weights_only=True)
    assert checkpoint["global_step"] == 4 + batch + 1
    assert epochs_behind(checkpoint) == 1 + (batch == 3)
    if batch == 1:  # the epoch is not finished, so that the same command goes on
        assert main([*FIT, "--ckpt_path=last"]) == 0
        last = torch.load("runs/stopped/version_1/checkpoints/last.ckpt", weights_only=True)
        assert last["global_step"] == 8
        shown = capsys.readouterr().out
        assert "epoch 2/2" in shown
        assert "epoch 1/2" not in shown


@pytest.mark.parametrize(("number", "status"), [(signal.SIGUSR1, 138), (signal.SIGINT, None)])
def test_other_signals_do_the_same(stop, capsys, number, status):
    stopped = stop(number, 1, 1, SystemExit if status else KeyboardInterrupt)
    assert getattr(stopped, "code", None) == status
    shown = capsys.readouterr().out
    assert f"interrupted; resume with --ckpt_path {LAST.resolve()}" in shown
    assert "6 steps and 1 of 2 epochs are trained\n" in shown
    assert f"  last checkpoint: {LAST}\n" in shown
    assert torch.load(LAST, weights_only=True)["global_step"] == 6


def test_a_validation_that_was_stopped_is_repeated(stop, capsys):
    more = ["--trainer.max_epochs=1", "--trainer.limit_val_batches=3"]
    stop(signal.SIGUSR1, 0, 1, SystemExit, *more, hook="on_validation_batch_start")
    assert "4 steps and 0 of 1 epochs are trained" in capsys.readouterr().out
    assert main([*FIT, *more, "--ckpt_path=auto"]) == 0
    shown = capsys.readouterr().out
    assert "last.ckpt (step 4, 0 epochs finished); this run writes to runs/stopped/version_1" in shown
    assert "epoch 1/1: loss " in shown
    assert ", val loss " in shown
    last = torch.load("runs/stopped/version_1/checkpoints/last.ckpt", weights_only=True)
    assert (last["global_step"], epochs_behind(last)) == (4, 1)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
def test_before_the_training_it_ends_at_once(stop, monkeypatch, capsys, number):
    monkeypatch.setattr(ImageData, "setup", lambda data, stage: signal.raise_signal(number))
    stop(number, 9, 9, (SystemExit, KeyboardInterrupt))
    assert not list(Path.cwd().iterdir())


@pytest.fixture
def checkpoint(tmp_path):
    """A checkpoint of a network that was not trained."""
    classifier = ImageClassifier("test_resnet", {"in_chans": 1}, num_classes=10)
    trainer = Trainer(logger=False, accelerator="cpu", enable_checkpointing=False, enable_progress_bar=False)
    trainer.strategy.connect(classifier)
    trainer.save_checkpoint(tmp_path / "x.ckpt", weights_only=True)
    return tmp_path / "x.ckpt"


@pytest.mark.parametrize(("command", "batch"), [("predict", 1), ("predict", 2), ("test", 2), ("validate", 0)])
def test_sigterm_stops_every_command(stop, checkpoint, monkeypatch, capsys, command, batch):
    """The last batch is number 2: no loop looks for the signal after it."""
    step = {"predict": "predict_step", "test": "test_step", "validate": "validation_step"}[command]
    original, done = getattr(ImageClassifier, step), []

    def signalled(classifier, images, batch_idx):
        done.append(batch_idx)
        if batch_idx == batch:
            signal.raise_signal(signal.SIGTERM)
        return original(classifier, images, batch_idx)

    monkeypatch.setattr(ImageClassifier, step, signalled)
    options = ["--data.dataset=digits", "--data.batch_size=8", "--data.image_size=32", "--trainer.accelerator=cpu"]
    limit = f"--trainer.limit_{command.replace('validate', 'val')}_batches=3"
    with pytest.raises(SystemExit) as stopped:
        main([command, f"--ckpt_path={checkpoint}", *options, limit, "--trainer.enable_progress_bar=false"])
    assert stopped.value.code == 143
    assert done == list(range(batch + 1))
    if command == "predict":
        table = Path("runs/run/version_0/predictions.csv")
        assert len(table.read_text().splitlines()) == 1 + 8 * (batch + 1)
        said = f"interrupted; {table} has the first 16 images" if batch == 1 else f"predictions: {table}"
        assert said in capsys.readouterr().out


@pytest.mark.parametrize("there", [True, False])
def test_a_full_disk_names_a_checkpoint_only_where_there_is_one(tmp_path, capsys, there):
    last, state = LastCheckpoint(tmp_path), SimpleNamespace(fn=TrainerFn.FITTING)
    if there:
        (tmp_path / "last.ckpt").touch()
    trainer = SimpleNamespace(state=state, ckpt_path=None)
    last.on_exception(trainer, None, OSError(errno.ENOSPC, "No space left on device", "metrics.csv"))
    expected = f"resume with --ckpt_path {tmp_path / 'last.ckpt'}\n" if there else "before the first checkpoint\n"
    assert capsys.readouterr().out.endswith(expected)
    state.fn = TrainerFn.PREDICTING
    last.on_exception(trainer, None, OSError(errno.ENOSPC, "No space left on device", "predictions.csv"))
    assert not capsys.readouterr().out


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_in_the_first_step(stop, capsys, number):
    stop(number, 0, 0, (SystemExit, KeyboardInterrupt))
    assert torch.load(LAST, weights_only=True)["global_step"] == 1  # after the step during which it came
    assert "resume with" in capsys.readouterr().out


def test_console_shows_no_traceback_of_ctrl_c(monkeypatch, capsys):
    def interrupt(argv):
        raise KeyboardInterrupt

    monkeypatch.setattr(sys, "argv", ["dyc", "fit"])
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr(training, "main", interrupt)
    with pytest.raises(KeyboardInterrupt) as stopped:
        main()
    sys.excepthook(stopped.type, stopped.value, stopped.tb)
    assert capsys.readouterr().err == ""
