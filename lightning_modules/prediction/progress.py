"""How far a prediction is, on stderr: a line that is rewritten on a terminal, elsewhere one every ten seconds."""

import sys
import time

LINES_EVERY = 10.0
REDRAWN_EVERY = 0.2


class Progress:
    """Count images, and show their number, how many a second, and the time that is left.

    Args:
        total: Number of images.
        line: Whether a line may be rewritten: not while rows are shown on the same terminal.
    """

    def __init__(self, total: int, line: bool = True):
        self.total, self.done = total, 0
        self.redraws = line and sys.stderr.isatty()
        self.began = self.shown = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.perf_counter() - self.began

    @property
    def rate(self) -> float:
        """Images per second since the start."""
        return self.done / max(self.seconds, 1e-9)

    def advance(self, count: int) -> None:
        """Count images, and show how far it is, now and then."""
        self.done += count
        now = time.perf_counter()
        if now - self.shown < (REDRAWN_EVERY if self.redraws else LINES_EVERY):
            return
        self.shown = now
        left = round((self.total - self.done) / self.rate)
        text = f"{self.done:,} of {self.total:,} images, {self.rate:,.0f} images/s, {left // 60}:{left % 60:02} left"
        start, end = ("\r", "\033[K") if self.redraws else ("", "\n")
        print(f"{start}{text}", end=end, file=sys.stderr, flush=True)

    def say(self, text: str) -> None:
        """Print a line of its own."""
        print(f"\r\033[K{text}" if self.redraws else text, file=sys.stderr, flush=True)
