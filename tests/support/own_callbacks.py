"""Callbacks of a user's own, for trainings that are killed: a schedule with a state, and what kills."""

import io
import os
import signal
import threading
import time
from pathlib import Path

import PIL.Image
import torch
from lightning.pytorch import Callback

import dyc
from lightning_modules.callbacks import rewiring


def kill():
    """End this process as ``kill -9`` does."""
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)  # in a thread, say, until it is gone


class OwnSchedule(Callback):
    """Lowers the temperature by a count of its own, and moves a weight after each validation and each epoch."""

    def __init__(self):
        self.seen, self.drift = 0, torch.zeros(())

    def state_dict(self):
        return {"seen": self.seen, "drift": self.drift.clone()}

    def load_state_dict(self, state_dict):
        self.seen, self.drift = state_dict["seen"], state_dict["drift"]

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.seen += 1
        dyc.set_temperature(pl_module, 1 + 29 / self.seen)

    def on_validation_end(self, trainer, pl_module):
        if not trainer.sanity_checking:
            self.drift = self.drift + trainer.callback_metrics["val/loss"]

    def on_train_epoch_end(self, trainer, pl_module):
        self.drift = self.drift + trainer.callback_metrics["train/loss"]
        with torch.no_grad():
            next(pl_module.net.parameters()).add_(self.drift, alpha=1e-3)


class Kill(Callback):
    """Kills its process: in a ``step``, in ``validation``, while ``writing`` a checkpoint, and so on.

    Args:
        moment: ``step``, ``validation``, ``writing`` (half a file), ``renaming`` (a whole one, under its temporary
            name), ``rewiring`` (between network and moving average), ``epoch_end`` or ``time``.
        count: At which time that this comes; for ``time``, milliseconds after the training began.
    """

    def __init__(self, moment: str, count: int):
        self.moment, self.left = moment, count
        if moment == "rewiring":
            apply = rewiring.apply_rewiring
            rewiring.apply_rewiring = lambda *args: (apply(*args), self._at("rewiring"))

    def _at(self, moment):
        if moment == self.moment:
            self.left -= 1
            if self.left == 0:
                kill()

    def on_train_start(self, trainer, pl_module):
        if self.moment == "time":
            timer = threading.Timer(self.left / 1000, kill)
            timer.daemon = True
            timer.start()

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        self._at("step")

    def on_validation_batch_start(self, trainer, pl_module, batch, batch_idx, dataloader_idx=0):
        if not trainer.sanity_checking:
            self._at("validation")

    def on_train_epoch_end(self, trainer, pl_module):
        self._at("epoch_end")

    def on_save_checkpoint(self, trainer, pl_module, checkpoint):
        if self.moment not in ("writing", "renaming"):
            return
        self.left -= 1
        if self.left == 0 and self.moment == "renaming":
            os.fsync = lambda file: kill()
        elif self.left == 0:
            save = torch.save

            def half(value, file):
                whole = io.BytesIO()
                save(value, whole)
                file.write(whole.getvalue()[: whole.tell() // 2])
                file.flush()
                kill()

            torch.save = half


class Wait(Callback):
    """Lets a training last where a signal comes, and makes a file ``now`` when that place is reached.

    Args:
        moment: ``step`` (3 seconds), ``validation`` (half a second for each batch), ``loading`` of the next image after
            three steps, of the ``first`` one, or of that of the second ``epoch`` (10 minutes).
    """

    def __init__(self, moment: str):
        self.moment = moment

    @staticmethod
    def _now(*_, **__):
        Path("now").touch()

    def _slow(self):
        PIL.Image.open = lambda *args, **options: (self._now(), time.sleep(600))

    def on_train_start(self, trainer, pl_module):
        if self.moment == "first":
            self._slow()

    def on_train_epoch_start(self, trainer, pl_module):
        if self.moment == "epoch" and trainer.current_epoch == 1:
            self._slow()

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        if self.moment == "step" and trainer.global_step == 2:
            self._now()
            time.sleep(3)

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if self.moment == "loading" and trainer.global_step == 3:
            self._slow()

    def on_validation_batch_start(self, trainer, pl_module, batch, batch_idx, dataloader_idx=0):
        if self.moment == "validation" and not trainer.sanity_checking:
            self._now()
            time.sleep(0.5)


class Signal(Callback):
    """Sends a signal to the last of several processes.

    Args:
        moment: ``step`` (the eighth, the third of its epoch) or ``validation`` (the first batch of the second one).
        number: The signal's number.
    """

    def __init__(self, moment: str, number: int):
        self.moment, self.number = moment, number

    def _at(self, moment, trainer):
        if (moment, trainer.global_rank) == (self.moment, trainer.world_size - 1):
            os.kill(os.getpid(), self.number)

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        if trainer.global_step == 7:
            self._at("step", trainer)

    def on_validation_batch_start(self, trainer, pl_module, batch, batch_idx, dataloader_idx=0):
        if trainer.current_epoch == 1 and batch_idx == 0 and not trainer.sanity_checking:
            self._at("validation", trainer)
