"""Signals end a command between two steps."""

from typing import Any

from lightning.pytorch import Callback

from lightning_modules.interruption import hold


class BetweenSteps(Callback):
    """Let SIGTERM, SIGUSR1 and Ctrl-C wait for the end of a step, from the first loop on; before, they end at once."""

    def on_train_start(self, *_: Any) -> None:
        """Hold signals; images may be waited for."""
        hold(may_wait=True)

    on_validation_start = on_test_start = on_train_start

    def on_predict_start(self, *_: Any) -> None:
        """Hold signals until the rows of a batch are written."""
        hold(may_wait=False)
