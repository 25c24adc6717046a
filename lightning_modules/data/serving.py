"""Which loader serves a split: whole batches of a set in memory, single images, or shards; to each process its part."""

import sys
from collections.abc import Callable
from typing import Any

import torch
from lightning.pytorch import Trainer
from torch.utils.data import IterableDataset

from lightning_modules.data.image_files import Converted, Transformed
from lightning_modules.data.image_tensors import ImageTensors, TensorLoader
from lightning_modules.data.loaders import (
    EpochLoader,
    EpochSampler,
    InterruptibleLoader,
    OwnSampler,
    ShardLoader,
    drops_last,
)
from lightning_modules.resume import batches_behind, only_validation_left


def own_samples(data: Any, world_size: int) -> int:
    """Return how many training images each process is served, which is the same number for all of them."""
    return len(data) // world_size


def _left_out(trainer: Trainer) -> int:
    """Return how many batches of an epoch that goes on are not served again."""
    # Of an epoch that needs nothing more, a loader may have further batches: those after the Trainer's limit.
    return sys.maxsize if only_validation_left(trainer) else batches_behind(trainer)


def build_loader(
    data: Any,
    build_transform: Callable[[], Any],
    trainer: Trainer | None,
    *,
    training: bool,
    ordered: bool = False,
    mode: str,
    batch_size: int,
    drop_last: bool,
    num_workers: int,
    seed: int,
    transformed: type[Transformed] = Transformed,
) -> Any:
    """Return the loader that serves a split.

    Args:
        data: A set in memory, of single images, or of shards.
        build_transform: Returns the transform of single images.
        trainer: Says which epoch starts, on which device, and which part is this process's; without it, the loaders
            count their epochs themselves.
        training: Shuffle, and leave out incomplete batches as ``drop_last`` says.
        ordered: Serve shards in order, for predictions.
        mode: Pillow's mode of the images of shards, ``"RGB"`` or ``"L"``.
        batch_size: Images per batch.
        drop_last: Leave out the last batch of a training epoch if it is incomplete.
        num_workers: Processes that read single images or shards.
        seed: Seed of the order.
        transformed: What puts single images and the transform together.
    """
    rank, world_size = (0, 1) if trainer is None else (trainer.global_rank, trainer.world_size)
    order = {"seed": seed, "epoch": None if trainer is None else lambda: trainer.current_epoch}
    behind = (lambda: _left_out(trainer)) if training and trainer is not None else None
    if isinstance(data, ImageTensors):
        device = torch.device("cpu") if trainer is None else trainer.strategy.root_device
        order |= {"shuffle": training, "drop_last": drop_last, "rank": rank, "world_size": world_size}
        return TensorLoader(data.near(device), batch_size, behind=behind, **order)
    transform = build_transform()
    # Workers start anew each epoch, seeded by it; those that stay would go on with the numbers of the last one.
    options = {"num_workers": num_workers, "pin_memory": torch.cuda.is_available()}
    if isinstance(data, IterableDataset):
        if ordered:  # several workers take turns, each with its own shards
            options["num_workers"] = min(1, num_workers)
        data.transform = Converted(transform, mode)
        options |= {"training": training, "behind": behind, "rank": rank, "world_size": world_size}
        return ShardLoader(data, batch_size, **order, **options)
    # By name: Lightning rebuilds the loader for prediction.
    options |= {"dataset": transformed(data, transform), "batch_size": batch_size}
    if not training:
        sampler = OwnSampler(len(data), rank, world_size) if world_size > 1 else None
        return InterruptibleLoader(sampler=sampler, **options)
    options["drop_last"] = drops_last(own_samples(data, world_size), batch_size, drop_last)
    sampler = EpochSampler(len(data), **order, rank=rank, world_size=world_size)
    return EpochLoader(sampler=sampler, behind=behind, rank=rank, **order, **options)
