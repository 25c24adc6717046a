"""How a command ends that a signal stopped, so that shells and queues know it."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from lightning.pytorch import Trainer
from lightning.pytorch.utilities.exceptions import SIGTERMException

from lightning_modules.interruption import Interruption, interruptible


@contextmanager
def told_by_exit_status() -> Iterator[Interruption]:
    """Turn Lightning's own ways to end into those of the shell.

    After SIGTERM the exit status is 143, which is 128 + 15, and after SIGUSR1 it is 138, instead of 0. After Ctrl-C,
    KeyboardInterrupt goes on instead of exit status 1.
    """
    with interruptible() as interruption:
        try:
            yield interruption
        except SIGTERMException:
            if interruption.by == signal.SIGINT:
                raise KeyboardInterrupt from None
            sys.exit(128 + (interruption.by or signal.SIGTERM))
        except SystemExit as stop:
            if isinstance(stop.__context__, KeyboardInterrupt):
                raise KeyboardInterrupt from None
            raise


def stop_if_told(trainer: Trainer) -> None:
    """Raise what SIGTERM raises in a loop of Lightning's, if it came where no loop looked: in the last batch, say."""
    if trainer.received_sigterm:
        raise SIGTERMException
