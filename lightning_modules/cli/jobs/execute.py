"""Run several trainings, some at once, each a process of its own; what fails stops no other."""

import os
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any

from lightning_modules.cli.jobs import history
from lightning_modules.cli.jobs.environment import environment_of, gpus_of, threads_of
from lightning_modules.cli.jobs.progress import Lines, Watch
from lightning_modules.cli.jobs.training import Training
from lightning_modules.disk import disk_error, is_of_the_disk
from ops import ArgumentError

POLL = 0.3
"""Seconds between two looks at the processes."""

STOPPED = {
    sign(number)
    for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT, signal.SIGKILL)
    for sign in (lambda number: -number, lambda number: 128 + number)
}
"""Exit statuses of a process that a signal ended: a cluster may send it to this process and to those that it starts."""

SAID = 8
"""Lines of the output that are shown of a training that failed."""


@dataclass(frozen=True)
class Outcome:
    """How a training ended: ``finished``, ``failed``, ``stopped`` by a signal, or ``elsewhere`` where another runs it.

    Args:
        training: The training.
        kind: One of these words.
        message: What to tell about it.
    """

    training: Training
    kind: str
    message: str = ""


@dataclass
class _Running:
    training: Training
    process: subprocess.Popen
    lock: IO[str]
    log_start: int
    slot: int
    watch: Watch


class Execution:
    """Runs trainings, ``jobs`` of them at once.

    Cores are divided among the processes that run at once, unless ``OMP_NUM_THREADS`` is set; of several GPUs, each
    process gets one in turn, unless its ``trainer.devices`` asks for more. Every process writes to ``log.txt`` in the
    folder of its training.

    Args:
        trainings: What to run, in this order.
        jobs: How many at once.
        ended: Called with every training that has come to its end, as soon as it has.
        show: Shows how they go.
        settings: What :func:`history.begin` notes for each training.
        catch: Catch signals; without, whoever runs this calls :meth:`stop`.
    """

    def __init__(
        self,
        trainings: Sequence[Training],
        jobs: int = 1,
        ended: Callable[[Training], None] = lambda training: None,
        show: Lines | None = None,
        settings: Callable[[Training], dict[str, Any]] = lambda training: {},
        catch: bool = True,
    ):
        self.waiting, self.ended, self.settings, self.catch = deque(trainings), ended, settings, catch
        self.jobs = max(1, min(jobs, len(trainings)))
        self.running: list[_Running] = []
        self.outcomes: list[Outcome] = []
        self.stopped_by: int | None = None
        self.signals = self._handled = 0
        self.show = show or Lines()

    def run(self) -> list[Outcome]:
        """Run them all, and return how each ended; after a signal, see ``stopped_by``."""
        with self._signals():
            self.show.begin(list(self.waiting), self.jobs)
            try:
                while self.running or (self.waiting and self.stopped_by is None):
                    self._hand_on_signals()
                    while self.waiting and len(self.running) < self.jobs and self.stopped_by is None:
                        self._start(self.waiting.popleft())
                    self.show.update([each.watch for each in self.running], list(self.waiting))
                    for each in list(self.running):
                        if each.process.poll() is not None:
                            self._end(each)
                    if self.running:
                        time.sleep(POLL)
            finally:
                self.stop()
                self.show.end()
        return self.outcomes

    def stop(self, number: int = signal.SIGTERM) -> None:
        """End every process, and wait for it: after SIGTERM it saves the step that it is in."""
        for each in self.running:
            self.stopped_by = self.stopped_by or number
            _signal(each.process, number)
        for each in list(self.running):
            each.process.wait()
            self._end(each)

    def _start(self, training: Training) -> None:
        try:
            held = history.lock(training)
        except OSError as error:
            self._note(Outcome(training, "failed", f"{training.folder} cannot be written ({error.strerror})"))
            return
        if held is None:
            self._note(Outcome(training, "elsewhere", "is being run by another process"))
            return
        try:
            kind = training.state().kind if training.resume else "new"
            if kind == "finished":
                held.close()
                self._note(Outcome(training, "finished"))
                return
            each = self._begun(training, kind, held)
        except (ArgumentError, OSError) as error:  # a file is damaged, the disk is full
            held.close()
            self._note(Outcome(training, "failed", disk_error(error) if is_of_the_disk(error) else str(error)))
            return
        self.running.append(each)
        self.show.started(each.watch)

    def _begun(self, training: Training, kind: str, held: IO[str]) -> _Running:
        slot = min(set(range(self.jobs)) - {each.slot for each in self.running})
        environment = environment_of(training, self.jobs, slot)
        facts = history.machine_facts(threads_of(environment), gpus_of(training, environment))
        history.begin(training, facts, self.settings(training))
        with training.log.open("a") as log:
            log_start = log.tell()
            process = subprocess.Popen(
                training.command(kind),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,  # Ctrl-C reaches this process alone, which tells the others to save
                pass_fds=[held.fileno()],
                preexec_fn=None if self.catch else _ignore_preemption,
            )
        return _Running(training, process, held, log_start, slot, Watch(training, kind == "interrupted"))

    def _end(self, each: _Running) -> None:
        self.running.remove(each)
        training, status = each.training, each.process.returncode
        try:
            history.end(training)
            if status == 0:
                self.ended(training)
                outcome = Outcome(training, "finished", each.watch.result())
            elif status in STOPPED and self.stopped_by is not None:
                outcome = Outcome(training, "stopped", each.watch.progress())
            else:
                outcome = Outcome(training, "failed", _failure(training, status, each.log_start))
        except (ArgumentError, OSError) as error:  # it was trained, and its figures could not be kept
            outcome = Outcome(training, "failed", disk_error(error) if is_of_the_disk(error) else str(error))
        finally:
            each.lock.close()
        self._note(outcome)

    def _note(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)
        self.show.ended(outcome.training, outcome.kind, outcome.message)

    def _hand_on_signals(self) -> None:
        """Tell the processes to save and end, and if told once more, end them."""
        if self.signals == self._handled:
            return
        again, self._handled = self._handled > 0 or self.signals > 1, self.signals
        self.show.say("stopping at once" if again else "stopping when each training has saved its step")
        for each in self.running:
            _signal(each.process, signal.SIGKILL if again else signal.SIGTERM)

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Note SIGINT, SIGTERM, SIGUSR1 and SIGHUP instead of ending."""

        def note(number: int, frame: Any) -> None:
            self.stopped_by = number
            self.signals += 1

        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)
        before = {number: signal.getsignal(number) for number in numbers}
        taken = [number for number in numbers if before[number] is not signal.SIG_IGN]  # as nohup ignores SIGHUP
        for number in taken if self.catch else ():
            signal.signal(number, note)
        try:
            yield
        finally:
            for number in taken if self.catch else ():
                signal.signal(number, before[number])


def _ignore_preemption() -> None:
    """Let a process live when a cluster sends to all what submitit answers for them."""
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)


def _signal(process: subprocess.Popen, number: int) -> None:
    """Send a signal to a process; a kill goes to those that it has started as well."""
    try:
        if number == signal.SIGKILL:
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
    except ProcessLookupError:  # it has just ended
        return


def _failure(training: Training, status: int, start: int) -> str:
    """Return the end of what a process said, the error alone where it is one of the user's."""
    with training.log.open("rb") as file:
        file.seek(start)
        lines = [line.rstrip() for line in file.read().decode(errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("dyc ") and ": error: " in line]
    shown = errors[-1:] if status == 2 and errors else lines[-SAID:]
    how = f"was killed by signal {-status}" if status < 0 else f"ended with exit status {status}"
    return "\n".join([f"{how}; its output: {training.log}", *(f"    {line}" for line in shown)])
