"""What SIGTERM, SIGUSR1 and Ctrl-C do: a training ends between two steps, or at once where it waits for data.

Lightning's loops look for SIGTERM after every batch. What is here adds the other two signals, and the places where no
loop looks: before the first step, and while images are read. Of several processes, all end after the same step,
whichever of them was sent a signal.
"""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import torch
import torch.distributed
from lightning.pytorch import Trainer
from lightning.pytorch.utilities.exceptions import SIGTERMException

SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)

AGAIN = b"\nends after this step; Ctrl-C once more ends at once\n"


class Interruption:
    """Notes the first of the signals, and ends what runs when nothing is lost by it.

    Until :meth:`hold` is called that is at once. From then on it is after the step that runs, or in :func:`waiting`. A
    second Ctrl-C ends the process at once, whatever it does.
    """

    def __init__(self) -> None:
        self.by: int | None = None
        """The first signal that came."""
        self.held = self._may_wait = False
        self._process = os.getpid()

    def hold(self, may_wait: bool) -> None:
        """Let signals wait for the end of a step from now on, as a loop begins; end here if there was one before.

        Args:
            may_wait: They may end the process in :func:`waiting`.
        """
        if self.by is not None:
            raise SIGTERMException
        self.held, self._may_wait = True, may_wait
        if _several() and threading.current_thread() is threading.main_thread():
            # Lightning's handler, which it has set by now, would talk to the other processes in the middle of a step.
            signal.signal(signal.SIGTERM, self.note)

    def note(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal."""
        if os.getpid() != self._process:  # a process that reads data has inherited this, and ends with its parent
            return
        if number == signal.SIGINT:
            if _several():  # whose steps end together, which no single one of them can see to
                raise KeyboardInterrupt
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            if self.by == signal.SIGINT:
                signal.raise_signal(signal.SIGINT)
            if self.held:
                os.write(2, AGAIN)  # print may be what was interrupted
        self.by = self.by or number
        if not self.held:
            raise SIGTERMException
        if number != signal.SIGTERM and not _several():
            signal.raise_signal(signal.SIGTERM)  # for which Lightning's loops look

    def agree(self, trainer: Trainer) -> None:
        """Let all processes of a training, which call this together, end after this step if one was sent a signal."""
        told = torch.tensor(self.by or 0, device=trainer.strategy.root_device)
        number = int(trainer.strategy.reduce(told, reduce_op="max"))
        if number > 0:
            self.by = number
            trainer._signal_connector.received_sigterm = True  # for which Lightning's loops look

    @contextmanager
    def released(self) -> Iterator[None]:
        """Let signals end the process at once."""
        if not self.held or not self._may_wait or _several():
            yield
            return
        self.held = False
        try:
            if self.by is not None:
                raise SIGTERMException
            yield
        finally:
            self.held = True


_now: list[Interruption] = []


@contextmanager
def interruptible() -> Iterator[Interruption]:
    """Handle the signals in the way of :class:`Interruption`; those that are ignored, as ``nohup`` has it, stay so."""
    interruption = Interruption()
    main = threading.current_thread() is threading.main_thread()
    before = {number: signal.getsignal(number) for number in SIGNALS if main}
    taken = {number: handler for number, handler in before.items() if handler is not signal.SIG_IGN}
    _now.append(interruption)
    try:
        for number in taken:
            signal.signal(number, interruption.note)
        yield interruption
    finally:
        _now.pop()
        for number, handler in taken.items():
            signal.signal(number, handler)


def hold(may_wait: bool) -> None:
    """Let signals wait for the end of a step from now on, see :meth:`Interruption.hold`."""
    if _now:
        _now[-1].hold(may_wait)


def agree(trainer: Trainer) -> None:
    """Let all processes of a training end after the same step, see :meth:`Interruption.agree`."""
    if _now and _several():
        _now[-1].agree(trainer)


@contextmanager
def waiting() -> Iterator[None]:
    """Let a signal end at once what only waits: for images, say. Nothing that is kept may change meanwhile."""
    if not _now:
        yield
        return
    with _now[-1].released():
        yield


def _several() -> bool:
    """Tell whether this is one of several processes that train together."""
    distributed = torch.distributed
    return distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1
