"""Which epochs a network changes before, and whether the training is long enough for it."""

import math
from dataclasses import dataclass

from lightning.pytorch import Trainer
from lightning.pytorch.utilities import rank_zero_warn

from ops import ArgumentError


@dataclass(frozen=True)
class RewiringSchedule:
    """Epochs that a change comes before: every ``every``-th one, until a share or a number of them is done.

    Args:
        until: A share of the training up to 1.0, or from 2 on a number of epochs.
        every: Epochs between two changes.

    Raises:
        ArgumentError: An argument is out of range.
    """

    until: int | float
    every: int

    def __post_init__(self) -> None:
        until, every = self.until, self.every
        if isinstance(until, bool) or not isinstance(until, int | float) or not until > 0:
            raise ArgumentError("ChannelRewiring.until", repr(until), "a share in (0, 1], or a number of epochs")
        if isinstance(until, float) and until > 1:
            raise ArgumentError(
                "ChannelRewiring.until", repr(until), "a share of the training, at most 1.0, or an int for epochs"
            )
        if not isinstance(every, int) or isinstance(every, bool) or every < 1:
            raise ArgumentError("ChannelRewiring.every", repr(every), "an int, at least 1")

    @property
    def counts_epochs(self) -> bool:
        """Whether ``until`` is a number of epochs rather than a share."""
        return isinstance(self.until, int) and self.until > 1

    def last(self, max_epochs: int | None) -> int:
        """Return the last epoch, counted from 0, that a change may come before.

        Args:
            max_epochs: Length of the training; None or negative where it is unknown, which a share cannot be of.
        """
        known = max_epochs is not None and max_epochs >= 0
        # 0.1 of 30 epochs is 3, which floating point exceeds.
        last = self.until if self.counts_epochs else math.ceil(round(self.until * max_epochs, 6))
        return min(last, max_epochs - 1) if known else last

    def changes_before(self, epoch: int, max_epochs: int | None) -> bool:
        """Tell whether the network changes before this epoch, counted from 0."""
        return epoch % self.every == 0 and 1 <= epoch <= self.last(max_epochs)

    def check(self, trainer: Trainer) -> None:
        """Raise ArgumentError if the training is shorter than the schedule, or too short for a single change."""
        epochs = trainer.max_epochs
        if trainer.fast_dev_run:
            return
        if epochs is None or epochs < 0:
            if not self.counts_epochs:
                need = f"a number of epochs, as ChannelRewiring.until={self.until} is a share of it"
                raise ArgumentError("trainer.max_epochs", epochs, need)
        elif self.counts_epochs and self.until > epochs:
            raise ArgumentError(
                "ChannelRewiring.until", f"{self.until} epochs", f"at most {epochs}, the trainer's max_epochs"
            )
        elif epochs < 2:
            raise ArgumentError(
                "trainer.max_epochs", epochs, "at least 2, as ChannelRewiring changes the network between epochs"
            )
        last = self.last(epochs)
        if last < 1:
            raise ArgumentError(
                "ChannelRewiring.until",
                f"{self.until} of {epochs} epochs",
                f"at least {1 / epochs:.2g}, which is one epoch",
            )
        if self.every > last:
            raise ArgumentError(
                "ChannelRewiring.every",
                f"{self.every} epochs",
                f"at most {last}, the last epoch before which the network can change with until={self.until} and the "
                f"trainer's max_epochs={epochs}",
            )

    def check_steps(self, trainer: Trainer) -> None:
        """Warn if the trainer's ``max_steps`` ends the training before the last change."""
        batches, steps = trainer.num_training_batches, trainer.max_steps
        if trainer.fast_dev_run or steps < 1 or math.isinf(batches) or batches < 1:
            return
        last = self.last(trainer.max_epochs) // self.every * self.every
        begun = (steps - 1) // math.ceil(batches / trainer.accumulate_grad_batches)  # the last epoch that begins
        if begun < last:
            rank_zero_warn(
                f"trainer.max_steps={steps} ends the training in epoch {begun}, counted from 0, but ChannelRewiring "
                f"changes the network until epoch {last}"
            )
