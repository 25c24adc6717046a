"""The images that an analysis shows to a network: some of the test split, spread over it, in an order that is drawn."""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import IterableDataset, Subset

import lightning_modules
from lightning_modules.cli.option_errors import OneLineParser
from lightning_modules.cli.trained_settings import take_data_settings
from lightning_modules.data import ImageData, SegmentationData
from lightning_modules.data.image_tensors import ImageTensors
from lightning_modules.data.splits import item_names
from lightning_modules.tasks import TASKS, USUAL, task_of_checkpoint
from ops import ArgumentError

NO_CLASS = "no class"
"""What stands in the place of a class for images whose pixels all have none."""


class Images:
    """Labelled images in batches.

    The label of an image with a mask is the class that most of its pixels have.

    Args:
        data: The data, set up for tests: images with labels, or with masks.
        count: Number of images, or all there are if these are fewer; of shards, the first.
        seed: Seed of their order.
        device: Where batches are put.
    """

    def __init__(self, data: ImageData | SegmentationData, count: int, seed: int = 0, device: str = "cpu"):
        self.data, self.device = data, device
        split = data.splits.test
        self.count = count
        if not isinstance(split, IterableDataset):
            self.count = min(count, len(split))
            chosen = spread(len(split), self.count, seed)
            picked = split.subset(chosen) if isinstance(split, ImageTensors) else Subset(split, chosen.tolist())
            data.splits.test = picked

    @property
    def batches(self) -> int:
        """Number of batches."""
        return -(-self.count // self.data.eval_batch_size)

    @property
    def class_names(self) -> list[str]:
        """Names of the classes, or their numbers."""
        names = list(self.data.class_names or map(str, range(self.data.num_classes)))
        return [*names, NO_CLASS] if self.masked else names

    @property
    def masked(self) -> bool:
        """Whether there is a class for each pixel rather than for each image."""
        return isinstance(self.data, SegmentationData)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield images ``(B, C, H, W)``, prepared for the network, and labels ``(B,)``."""
        left = self.count
        for batch in self.data.test_dataloader():
            x, labels = self.data.on_after_batch_transfer(tuple(batch), 0)
            x, labels = x[:left], labels[:left]
            labels = most_frequent(labels, self.data.num_classes, self.data.ignore_index) if self.masked else labels
            left -= len(x)
            yield x.to(self.device, memory_format=torch.channels_last), labels.to(self.device)
            if left <= 0:
                return

    @property
    def names(self) -> Sequence[str]:
        """Paths of the images where there are files, or else their numbers in the order in which they are served."""
        split = self.data.splits.test
        return list(map(str, range(self.count))) if isinstance(split, IterableDataset) else item_names(split)

    def pick(self, numbers: Sequence[int]) -> tuple[Tensor, list[int]]:
        """Return some images, ``(N, C, H, W)``, and their labels, by their numbers in the order of serving."""
        wanted, found, first = set(numbers), {}, 0
        for x, labels in self:
            for number in wanted & set(range(first, first + len(x))):
                found[number] = x[number - first].cpu(), int(labels[number - first])
            first += len(x)
        return torch.stack([found[number][0] for number in numbers]), [found[number][1] for number in numbers]

    def shown(self, x: Tensor) -> Tensor:
        """Return prepared images ``(B, C, H, W)`` as they look, ``(B, H, W, 3)`` between 0 and 1."""
        mean, std = (torch.tensor(v).view(1, -1, 1, 1) for v in (self.data.mean, self.data.std))
        return (x.cpu() * std + mean).clamp(0, 1).expand(-1, 3, -1, -1).permute(0, 2, 3, 1)


def most_frequent(masks: Tensor, classes: int, ignore_index: int) -> Tensor:
    """Return the class that most pixels of each mask have, ``(B,)``; where no pixel has any, ``classes``.

    Example:
        >>> most_frequent(torch.tensor([[[0, 2, 2, 255]], [[255, 255, 255, 255]]]), 3, 255).tolist()
        [2, 3]
    """
    counts = [mask[mask != ignore_index].bincount(minlength=classes) for mask in masks]
    return torch.stack([count.argmax() if count.any() else count.new_tensor(classes) for count in counts])


def spread(length: int, count: int, seed: int) -> Tensor:
    """Return ``count`` numbers below ``length``, evenly spread, as sets are often sorted by class, in a drawn order."""
    numbers = (torch.arange(count) * length) // count
    return numbers[torch.randperm(count, generator=torch.Generator().manual_seed(seed))]


def unread_data(data_options: Sequence[str], checkpoint: Mapping[str, Any] | None) -> ImageData | SegmentationData:
    """Return the data of the options, and where these say nothing, of the checkpoint, before any image is read.

    Args:
        data_options: ``--data...`` with their values.
        checkpoint: The network's checkpoint, if it has one.

    Raises:
        ArgumentError: An option is wrong.
    """
    task = USUAL if checkpoint is None else task_of_checkpoint(checkpoint)
    kind = getattr(lightning_modules, TASKS[task].data)
    parser = OneLineParser(prog="dyc analyze", allow_abbrev=False)
    parser.add_class_arguments(kind, "data")
    settings = parser.parse_args(list(data_options)).data
    given = parser.parse_args(list(data_options), defaults=False).get("data")
    if checkpoint is not None:
        take_data_settings(settings, given, checkpoint)
    return kind(**settings.as_dict())


def open_images(
    options: argparse.Namespace,
    data_options: Sequence[str],
    checkpoint: Mapping[str, Any] | None,
    opened: dict[str, Images],
) -> Images:
    """Return the images of the options, and where these say nothing, of the checkpoint.

    Args:
        options: ``images``, ``seed`` and ``device``.
        data_options: As for :func:`unread_data`.
        checkpoint: As for :func:`unread_data`.
        opened: What was opened by its settings; taken from there, and added to: images take long to decode.

    Raises:
        ArgumentError: An option is wrong, the data cannot be read or has its classes in another order than the
            checkpoint, or its images with masks have several sizes.
    """
    data = unread_data(data_options, checkpoint)
    kind = type(data).__name__
    key = repr((kind, dict(data.hparams), options.images, options.seed, options.device))
    if key not in opened:
        data.prepare_data()
        data.setup("test")
        if data.image_size is None and isinstance(data, SegmentationData):
            need = "one for all, such as '[180, 240]': the images have several sizes"
            raise ArgumentError("data.image_size", None, need)
        opened[key] = Images(data, options.images, options.seed, options.device)
    if checkpoint is not None:
        opened[key].data.load_state_dict(checkpoint.get(kind) or {})
    return opened[key]
