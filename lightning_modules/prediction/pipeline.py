"""Images through a network: threads read and prepare them while the network computes."""

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np

from lightning_modules.data.decode import UnusableImage, read_image
from lightning_modules.data.preparation import Preparation
from lightning_modules.errors import ArgumentError

CHUNK = 8
"""Images that a thread hands over at once: one by one, small images cost more to hand over than to read."""


class Input(NamedTuple):
    """A network's input ``(C, H, W)``, and the width and height of the image that it was made of."""

    pixels: np.ndarray
    size: tuple[int, int]


class Predicted(NamedTuple):
    """An image with what was found for it and its width and height, or with the reason why it could not be read."""

    path: str
    found: Any = None
    size: tuple[int, int] = (0, 0)
    error: str = ""


def read_input(path: str, prepare: Preparation) -> Input | str:
    """Return the network's input for an image file, or why there is none."""
    try:
        image = read_image(path, prepare.mode)
        return Input(prepare(image), image.size)
    except UnusableImage as error:  # its message goes on after the name of the file
        return str(error).removeprefix("which ")
    except MemoryError:
        return "does not fit into memory"
    except OSError as error:
        return error.strerror or str(error)


def predict_images(
    paths: Sequence[str],
    prepare: Preparation,
    run: Callable[[np.ndarray], Sequence[Any]],
    batch_size: int,
    workers: int | None = None,
) -> Iterator[list[Predicted]]:
    """Yield the predictions of images in order, as soon as a batch is full; images that cannot be read take no place.

    Args:
        paths: Image files.
        prepare: Makes an image an input.
        run: Returns what is found for each image of a batch ``(B, C, H, W)``, float32.
        batch_size: Inputs per batch; the last one may have fewer, and where sizes differ, it is run in parts.
        workers: Threads that read; by default as many as the process has processors.
    """
    batch: list[tuple[str, Input | str]] = []
    full = 0
    for path, found in _read_ahead(paths, prepare, workers or len(os.sched_getaffinity(0)), batch_size):
        batch.append((path, found))
        full += not isinstance(found, str)
        if full == batch_size:
            yield _finished(batch, run)
            batch, full = [], 0
    if batch:
        yield _finished(batch, run)


def _read_ahead(
    paths: Sequence[str], prepare: Preparation, workers: int, batch_size: int
) -> Iterator[tuple[str, Input | str]]:
    """Yield images with their inputs, in order; the threads are two batches ahead."""

    def read(start: int) -> list[tuple[str, Input | str]]:
        return [(path, read_input(path, prepare)) for path in paths[start : start + chunk]]

    chunk = min(CHUNK, -(-batch_size // workers))
    ahead = -(-2 * batch_size // chunk) + workers
    starts = iter(range(0, len(paths), chunk))
    pool = ThreadPoolExecutor(workers)
    try:
        pending = deque(pool.submit(read, start) for _, start in zip(range(ahead), starts))
        while pending:
            found = pending.popleft().result()
            pending.extend(pool.submit(read, start) for _, start in zip(range(1), starts))
            yield from found
    finally:
        pool.shutdown(cancel_futures=True)


def _finished(batch: Sequence[tuple[str, Input | str]], run: Callable[[np.ndarray], Sequence[Any]]) -> list[Predicted]:
    """Return the predictions of images, of which some have no input but the reason why."""
    inputs = [found.pixels for _, found in batch if not isinstance(found, str)]
    parts = [np.stack(list(part)) for _, part in groupby(inputs, np.shape)]
    each = (found for part in parts for found in run(part))
    return [
        Predicted(path, error=found) if isinstance(found, str) else Predicted(path, next(each), found.size)
        for path, found in batch
    ]


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return the probabilities ``(B, num_classes)`` of logits."""
    with np.errstate(invalid="ignore"):  # infinite logits: what is not finite is reported image by image
        shifted = np.exp(logits.astype(np.float64) - logits.max(1, keepdims=True))
        return shifted / shifted.sum(1, keepdims=True)


def probabilities(logits: np.ndarray, images: int) -> np.ndarray:
    """Return the probabilities ``(B, num_classes)`` of images by their logits.

    Raises:
        ArgumentError: The logits have another shape.
    """
    if logits.ndim != 2 or len(logits) != images:
        got = f"outputs of shape {tuple(logits.shape)} for {images} images"
        raise ArgumentError("model", got, "a classifier, with logits (batch, classes)")
    return softmax(logits)
