"""Work on many images at once, with a bar that shows how far it is."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from rich.console import Console
from rich.progress import track

CHUNK = 64


def for_each(count: int, work: Callable[[int], None], title: str) -> None:
    """Call ``work`` with each number below ``count``, on several threads: Pillow decodes outside Python's lock.

    Args:
        count: How often.
        work: What is done; its first error ends the rest.
        title: What the bar on stderr says.
    """

    def chunk(start: int) -> None:
        for i in range(start, min(start + CHUNK, count)):
            work(i)

    starts = range(0, count, CHUNK)
    with ThreadPoolExecutor() as pool:
        try:
            for _ in track(pool.map(chunk, starts), title, len(starts), console=Console(stderr=True)):
                pass
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
