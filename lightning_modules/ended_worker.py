"""A process that reads images and has ended by itself: killed for its memory, say."""

import re
import signal

ENDED = re.compile(
    r"DataLoader worker \(pid(\(s\))? [\d, ]+\) (is killed by signal: (?P<signal>[^.]*)|exited unexpectedly)"
)
"""What PyTorch raises, as a RuntimeError without a type of its own."""

REASONS = {
    signal.strsignal(signal.SIGKILL): "too little memory is the usual reason; ",
    signal.strsignal(signal.SIGBUS): "too little shared memory (/dev/shm) is the usual reason; make it larger, or ",
}


def is_ended_worker(error: BaseException) -> bool:
    """Tell whether an error is that of such a process."""
    return isinstance(error, RuntimeError) and ENDED.match(str(error)) is not None


def ended_worker(error: BaseException) -> str:
    """Return an error that :func:`is_ended_worker` as a line: how it ended, and what to do.

    Example:
        >>> ended_worker(RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. "))[:59]
        'data.num_workers: a process that reads images was killed (K'
    """
    how, reason = "ended", "its own output, if any, stands above; "
    cause: BaseException | None = error
    while cause is not None:  # the signal is known to the first error alone
        found = ENDED.match(str(cause))
        if found and found["signal"]:
            name = found["signal"].strip()
            how, reason = f"was killed ({name})", REASONS.get(name, "")
        cause = cause.__cause__
    return f"data.num_workers: a process that reads images {how}: {reason}lower --data.num_workers, which may be 0"
