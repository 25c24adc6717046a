"""Some images of a checkpoint's data set or of a folder, prepared as the network evaluates them."""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import IterableDataset

from lightning_modules.data.image_data import ImageData
from lightning_modules.data.image_files import to_8_bits
from lightning_modules.data.image_tensors import ImageTensors
from lightning_modules.data.preparation import Preparation
from lightning_modules.data.segmentation.segmentation_data import SegmentationData
from lightning_modules.prediction.pipeline import read_input
from lightning_modules.tasks import TASKS, task_of_checkpoint
from ops import ArgumentError

BATCH = 16

PIXELS = 2**22
"""Pixels of a batch of larger images."""

Batches = Iterator[tuple[np.ndarray, np.ndarray | None]]
"""Images ``(B, C, H, W)`` and their labels ``(B,)`` or masks ``(B, H, W)``, or None."""


def data_of(checkpoint: Mapping[str, Any]) -> ImageData | SegmentationData:
    """Return the data set of a checkpoint, opened, without decoding images that are read from files.

    Only where damaged images were left out before a share was held out, those of the training are decoded once. The
    masks of the validation split are checked, as before an evaluation.

    Raises:
        ArgumentError: The checkpoint does not say, or the data is not where it was.
    """
    settings = checkpoint.get("datamodule_hyper_parameters")
    if not settings:
        raise ArgumentError("ckpt_path", sentence="the checkpoint does not say which data it was trained on")
    kind = {"ImageData": ImageData, "SegmentationData": SegmentationData}[TASKS[task_of_checkpoint(checkpoint)].data]
    known = inspect.signature(kind).parameters
    settings = {name: value for name, value in settings.items() if name in known}
    if kind is SegmentationData:
        data = SegmentationData(**{**settings, "in_memory": False, "num_workers": 0})
        data.setup("validate")
        data.load_state_dict(checkpoint.get("SegmentationData") or {})
        return data
    skips, held_out = settings.get("skip_damaged", False), settings.get("val_fraction", 0) > 0
    # Which images are held out depends on how many there are, after damaged ones were left out.
    data = ImageData(**{**settings, "in_memory": False, "skip_damaged": skips and held_out, "num_workers": 0})
    data.setup("validate")
    data.load_state_dict(checkpoint.get("ImageData") or {})
    data.hparams.skip_damaged = skips
    return data


def some_images(
    data: ImageData | SegmentationData, split: str, count: int, prepare: Preparation, seed: int = 0
) -> Batches:
    """Yield batches of a split, ``train`` or ``val``: drawn by the seed, or the first ones of shards.

    Args:
        data: The data, set up.
        split: The split.
        count: Images; all of them if the split has no more.
        prepare: Makes an image an input.
        seed: Draws them.
    """
    chosen = getattr(data.splits, split)
    if isinstance(chosen, IterableDataset):
        yield from _batches(islice(iter(chosen), count), prepare)
        return
    order = torch.randperm(len(chosen), generator=torch.Generator().manual_seed(seed))[:count]
    if isinstance(chosen, ImageTensors):
        chosen = list(zip(chosen.images[order].numpy(), chosen.labels[order].numpy()))
        order = torch.arange(len(chosen))
    yield from _batches(_readable(chosen, order.tolist(), data.hparams.get("skip_damaged", False)), prepare)


def _readable(samples: Any, order: Sequence[int], skips_damaged: bool) -> Iterator[tuple[Any, int]]:
    for index in order:
        try:
            yield samples[index]
        except ArgumentError:  # the training left it out, too
            if not skips_damaged:
                raise


def images_of_files(paths: Sequence[str], count: int, prepare: Preparation, seed: int = 0) -> Batches:
    """Yield batches of image files, drawn by the seed, without labels; those that cannot be read are left out."""
    order = torch.randperm(len(paths), generator=torch.Generator().manual_seed(seed)).tolist()
    found = (read_input(paths[i], prepare) for i in order)
    readable = islice((each.pixels for each in found if not isinstance(each, str)), count)
    while batch := list(islice(readable, _batch_size(prepare))):
        yield np.stack(batch), None


def _batch_size(prepare: Preparation) -> int:
    """Return how many images are run at once: one where their sizes differ, and fewer large ones."""
    _, height, width = prepare.input_size
    return max(1, min(BATCH, PIXELS // (height * width))) if prepare.resize else 1


def _batches(samples: Iterator[tuple[Any, int]], prepare: Preparation) -> Batches:
    def prepared(image: Any) -> np.ndarray:
        if isinstance(image, np.ndarray):  # (C, H, W), uint8
            image = Image.fromarray(image[0] if len(image) == 1 else np.ascontiguousarray(image.transpose(1, 2, 0)))
        return prepare(to_8_bits(image, prepare.mode))

    def of_size(label: Any, size: tuple[int, ...]) -> Any:
        if np.ndim(label) == 0 or label.shape == size:
            return label
        return np.asarray(Image.fromarray(label).resize(size[::-1], Image.Resampling.NEAREST))

    while batch := [(prepared(image), label) for image, label in islice(samples, _batch_size(prepare))]:
        images = [image for image, _ in batch]
        yield np.stack(images), np.array([of_size(label, image.shape[1:]) for image, label in batch])
