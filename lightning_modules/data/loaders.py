"""Loaders whose order depends on the seed and the epoch alone, so that a resumed run repeats an uninterrupted one."""

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, Sampler


def epoch_seed(seed: int, epoch: int) -> int:
    """Return a seed that no other pair of a small seed and an epoch has."""
    return seed * 1_000_003 + epoch


def epoch_order(samples: int, seed: int, epoch: int) -> Tensor:
    """Return the order in which an epoch visits its samples."""
    return torch.randperm(samples, generator=torch.Generator().manual_seed(epoch_seed(seed, epoch)))


class EpochSampler(Sampler[int]):
    """Visits every sample once per epoch, in :func:`epoch_order`.

    Args:
        samples: Number of samples.
        seed: Seed of the orders.
        epoch: Returns the number of the epoch that starts; by default, the sampler counts.
    """

    def __init__(self, samples: int, seed: int, epoch: Callable[[], int] | None = None):
        self.samples, self.seed, self.epoch = samples, seed, epoch or count().__next__

    def __len__(self) -> int:
        return self.samples

    def __iter__(self) -> Iterator[int]:
        return iter(epoch_order(self.samples, self.seed, self.epoch()).tolist())


class EpochLoader(DataLoader):
    """A ``DataLoader`` whose workers draw random numbers that depend on the seed, the epoch and the rank alone.

    Left to itself, it seeds them from PyTorch's generator, which a resumed run has in another state.

    Args:
        dataset: The set.
        seed: Seed of the numbers.
        epoch: Returns the number of the epoch that starts; by default, the loader counts.
        rank: This process.
        kwargs: Further arguments of the ``DataLoader``.
    """

    def __init__(
        self, dataset: Dataset, seed: int = 0, epoch: Callable[[], int] | None = None, rank: int = 0, **kwargs: Any
    ):
        self.seed, self.epoch, self.rank = seed, epoch or count().__next__, rank
        super().__init__(dataset, **{**kwargs, "generator": torch.Generator()})

    def __iter__(self) -> Iterator[Any]:
        self.generator.manual_seed(epoch_seed(self.seed, self.epoch()) * 1_009 + self.rank)
        return super().__iter__()


class ShardLoader:
    """Serves batches of an iterable set of timm's, whose order of shards and samples is drawn anew for each epoch.

    Args:
        data: The set.
        batch_size: Samples per batch.
        training: Leave out incomplete batches.
        seed: Seed of the orders.
        epoch: Returns the number of the epoch that starts; by default, the loader counts.
        rank: This process.
        world_size: Number of processes.
        num_workers: Processes that read; no more than there are shards.
        kwargs: Further arguments of the ``DataLoader``.
    """

    def __init__(
        self,
        data: IterableDataset,
        batch_size: int,
        *,
        training: bool,
        seed: int,
        epoch: Callable[[], int] | None = None,
        rank: int = 0,
        world_size: int = 1,
        num_workers: int = 0,
        **kwargs: Any,
    ):
        reader = data.reader
        # The reader may have been opened before the processes knew of each other.
        reader.dist_rank, reader.dist_num_replicas = rank, world_size
        # A worker without a shard serves nothing, and its share of the epoch would be missing.
        workers = min(num_workers, max(1, len(reader.split_info.filenames) // world_size))
        reader.ds = None
        data.set_loader_cfg(num_workers=workers)
        # The reader adds the epoch to its seed: neighbouring seeds must not share their orders.
        self.data, self.seed, self.epoch, self._now = data, seed, epoch or count().__next__, 0
        reader.common_seed = epoch_seed(seed, 0)
        self.loader = EpochLoader(
            data,
            seed,
            lambda: self._now,
            rank,
            batch_size=batch_size,
            num_workers=workers,
            drop_last=training,
            **kwargs,
        )
        if training:
            self.batches = len(self.loader)
        else:
            # Every worker may end with an incomplete batch; Lightning stops at the length, so it is the largest one.
            own = len(data) if world_size > 1 else reader.num_samples
            self.batches = -(-own // batch_size) + max(0, workers - 1)

    def __len__(self) -> int:
        return self.batches

    def __iter__(self) -> Iterator[Any]:
        self._now = self.epoch()
        self.data.set_epoch(self._now)
        # Without workers, the reader would keep its generator, and with it the history of the epochs before.
        self.data.reader.ds, self.data.reader.worker_seed = None, epoch_seed(self.seed, self._now)
        return iter(self.loader)
