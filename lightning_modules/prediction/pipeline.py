"""Images through a network: threads read and prepare them while the network computes."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from lightning_modules.data.decode import UnusableImage, read_image
from lightning_modules.data.preparation import Preparation
from lightning_modules.errors import ArgumentError


class Predicted(NamedTuple):
    """An image with its probabilities ``(num_classes,)``, or with the reason why it could not be read."""

    path: str
    probabilities: np.ndarray | None
    error: str = ""


def read_input(path: str, prepare: Preparation) -> np.ndarray | str:
    """Return the network's input for an image file, or why there is none."""
    try:
        return prepare(read_image(path, prepare.mode))
    except UnusableImage as error:  # its message goes on after the name of the file
        return str(error).removeprefix("which ")
    except MemoryError:
        return "does not fit into memory"
    except OSError as error:
        return error.strerror or str(error)


def predict_images(
    paths: Iterable[str],
    prepare: Preparation,
    run: Callable[[np.ndarray], np.ndarray],
    batch_size: int,
    workers: int | None = None,
) -> Iterator[list[Predicted]]:
    """Yield the predictions of images in order, as soon as a batch is full; images that cannot be read take no place.

    Args:
        paths: Image files.
        prepare: Makes an image an input.
        run: Returns logits ``(B, num_classes)`` for a batch ``(B, C, H, W)``, float32.
        batch_size: Inputs per batch; the last one may have fewer.
        workers: Threads that read; by default as many as the process has processors.
    """
    batch: list[tuple[str, np.ndarray | str]] = []
    full = 0
    workers = workers or len(os.sched_getaffinity(0))
    for path, found in _read_ahead(paths, prepare, workers, 2 * batch_size + workers):
        batch.append((path, found))
        full += not isinstance(found, str)
        if full == batch_size:
            yield _finished(batch, run)
            batch, full = [], 0
    if batch:
        yield _finished(batch, run)


def _finished(
    batch: Sequence[tuple[str, np.ndarray | str]], run: Callable[[np.ndarray], np.ndarray]
) -> list[Predicted]:
    """Return the predictions of images, of which some have no input but the reason why."""
    inputs = [found for _, found in batch if not isinstance(found, str)]
    rows = iter(softmax(_checked(run(np.stack(inputs)), len(inputs)))) if inputs else iter(())
    return [
        Predicted(path, None, found) if isinstance(found, str) else Predicted(path, next(rows)) for path, found in batch
    ]


def _read_ahead(
    paths: Iterable[str], prepare: Preparation, workers: int, ahead: int
) -> Iterator[tuple[str, np.ndarray | str]]:
    """Yield images with their inputs, in order; threads are so many images ahead."""
    pending: deque[tuple[str, Future]] = deque()
    pool = ThreadPoolExecutor(workers)
    try:
        for path in paths:
            pending.append((path, pool.submit(read_input, path, prepare)))
            if len(pending) > ahead:
                first, future = pending.popleft()
                yield first, future.result()
        for path, future in pending:
            yield path, future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return the probabilities ``(B, num_classes)`` of logits."""
    with np.errstate(invalid="ignore"):  # infinite logits: what is not finite is reported image by image
        shifted = np.exp(logits.astype(np.float64) - logits.max(1, keepdims=True))
        return shifted / shifted.sum(1, keepdims=True)


def _checked(logits: np.ndarray, images: int) -> np.ndarray:
    if logits.ndim != 2 or len(logits) != images:
        got = f"outputs of shape {tuple(logits.shape)} for {images} images"
        raise ArgumentError("model", got, "a classifier, with logits (batch, classes)")
    return logits
