"""Loaders whose order depends on the seed and the epoch alone, so that a resumed run repeats an uninterrupted one."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count, islice
from typing import Any

import torch
from lightning.pytorch.utilities.seed import isolate_rng
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset
from torch.utils.data.distributed import DistributedSampler

from lightning_modules.interruption import waiting


def epoch_seed(seed: int, epoch: int) -> int:
    """Return a seed that no other pair of a small seed and an epoch has."""
    return seed * 1_000_003 + epoch


def epoch_order(samples: int, seed: int, epoch: int) -> Tensor:
    """Return the order in which an epoch visits its samples."""
    return torch.randperm(samples, generator=torch.Generator().manual_seed(epoch_seed(seed, epoch)))


def drops_last(samples: int, batch_size: int, drop_last: bool) -> bool:
    """Tell whether an epoch of a process ends before an incomplete last batch.

    It does if that is asked for, and if the batch would be a single sample, which BatchNorm cannot be trained on. Fewer
    samples than a batch are always served.
    """
    return samples > batch_size and (drop_last or samples % batch_size == 1)


def last_batch(samples: int, batch_size: int, drop_last: bool) -> int:
    """Return the size of the last batch of an epoch of a process."""
    if drops_last(samples, batch_size, drop_last):
        return batch_size
    return samples % batch_size or batch_size


def interruptible(batches: Iterator[Any]) -> Iterator[Any]:
    """Yield batches; a signal that comes while one is read ends the reading at once."""
    while True:
        with waiting():
            try:
                batch = next(batches)
            except StopIteration:
                return
        yield batch


class InterruptibleLoader(DataLoader):
    """A ``DataLoader`` in which nobody who ends a training has to wait for the next batch."""

    def __iter__(self) -> Iterator[Any]:
        return interruptible(super().__iter__())


class Resumable:
    """Leaves out batches of an epoch that a training had behind it when it stopped.

    How many these are, the trainer knows: ``behind`` asks it when a pass starts, and a checkpoint need not keep it.
    Lightning warns of loaders without the two methods that are for checkpoints.
    """

    behind: Callable[[], int] | None

    def _left_out(self) -> int:
        return 0 if self.behind is None else self.behind()

    def state_dict(self) -> dict[str, Any]:
        """Return nothing: the position in the epoch is the trainer's."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take nothing over."""


class _Rest:
    """The lists of indices that a batch sampler yields, without the first ones."""

    def __init__(self, batches: Any, left_out: int):
        self.batches, self.left_out = batches, left_out

    def __len__(self) -> int:
        return max(0, len(self.batches) - self.left_out)

    def __iter__(self) -> Iterator[Any]:
        return islice(self.batches, self.left_out, None)


class OwnSampler(DistributedSampler):
    """Serves a process its part of the samples of an evaluation, in order; no sample is served twice.

    PyTorch's own sampler repeats samples until all processes have the same number, which evaluations would count twice.
    Trainers leave loaders with a ``DistributedSampler`` as they are.

    Args:
        samples: Number of samples.
        rank: This process.
        world_size: Number of processes.
    """

    def __init__(self, samples: int, rank: int, world_size: int):
        super().__init__(range(samples), world_size, rank, shuffle=False)
        self.num_samples = len(range(rank, samples, world_size))

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.rank, len(self.dataset), self.num_replicas))

    def __len__(self) -> int:
        # 1 also where there is no sample: a trainer passes over such a process, and the others would wait for it.
        return max(1, self.num_samples)


class EpochSampler(DistributedSampler):
    """Serves a process its part of the samples of an epoch, in :func:`epoch_order`.

    Every process is served the same number. The samples that are left then, fewer than there are processes, are left
    out of this epoch.

    Args:
        samples: Number of samples.
        seed: Seed of the orders.
        epoch: Returns the number of the epoch that starts; by default, the sampler counts.
        rank: This process.
        world_size: Number of processes.
    """

    def __init__(
        self, samples: int, seed: int, epoch: Callable[[], int] | None = None, rank: int = 0, world_size: int = 1
    ):
        super().__init__(range(samples), world_size, rank, seed=seed, drop_last=True)
        self.num_samples = samples // world_size
        self._epoch = epoch or count().__next__  # a Trainer sets `epoch`, to a number that need not be the epoch's

    def __iter__(self) -> Iterator[int]:
        order = epoch_order(len(self.dataset), self.seed, self._epoch())
        return iter(order[self.rank :: self.num_replicas][: self.num_samples].tolist())


class EpochLoader(Resumable, InterruptibleLoader):
    """A ``DataLoader`` whose workers draw random numbers that depend on the seed, the epoch and the rank alone.

    Left to itself, it seeds them from PyTorch's generator, which a resumed run has in another state. Batches that were
    served before a training stopped are not read again.

    Args:
        dataset: The set.
        seed: Seed of the numbers.
        epoch: Returns the number of the epoch that starts; by default, the loader counts.
        behind: Returns how many batches of that epoch to leave out; by default none.
        rank: This process.
        kwargs: Further arguments of the ``DataLoader``.
    """

    def __init__(
        self,
        dataset: Dataset,
        seed: int = 0,
        epoch: Callable[[], int] | None = None,
        behind: Callable[[], int] | None = None,
        rank: int = 0,
        **kwargs: Any,
    ):
        self.seed, self.epoch, self.behind, self.rank = seed, epoch or count().__next__, behind, rank
        self._first = 0
        super().__init__(dataset, **{**kwargs, "generator": torch.Generator()})

    def __iter__(self) -> Iterator[Any]:
        # Run at the first batch: a Trainer makes the iterator before it knows which epoch goes on.
        self.generator.manual_seed(epoch_seed(self.seed, self.epoch()) * 1_009 + self.rank)
        self._first = self._left_out()
        batches = super().__iter__()
        self._first = 0  # the length is that of whole epochs
        yield from batches

    @property
    def _index_sampler(self) -> Any:
        """Where the parent class, which has no public way to begin elsewhere, takes the indices of the batches from."""
        batches = super()._index_sampler
        return _Rest(batches, self._first) if self._first else batches


class ShardLoader(Resumable):
    """Serves batches of an iterable set of timm's, whose order of shards and samples is drawn anew for each epoch.

    A training that goes on in the middle of an epoch reads the shards from the epoch's start again. In training, timm
    fills the last batch with samples of the next pass, so that no sample is left out.

    Args:
        data: The set.
        batch_size: Samples per batch.
        training: Serve full batches only.
        seed: Seed of the orders.
        epoch: Returns the number of the epoch that starts; by default, the loader counts.
        behind: Returns how many batches of that epoch to leave out; by default none.
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
        behind: Callable[[], int] | None = None,
        rank: int = 0,
        world_size: int = 1,
        num_workers: int = 0,
        **kwargs: Any,
    ):
        reader = data.reader
        shards = reader.all_shards = getattr(reader, "all_shards", reader.split_info.filenames)
        if training:
            # The reader may have been opened before the processes knew of each other.
            reader.dist_rank, reader.dist_num_replicas = rank, world_size
        else:  # among several processes, the reader would leave samples out and repeat others
            reader.dist_rank, reader.dist_num_replicas = 0, 1
            shards = shards[rank::world_size]
        reader.split_info = replace(reader.split_info, filenames=tuple(shards))
        # A worker without a shard serves nothing, and its share of the epoch would be missing.
        workers = min(num_workers, max(1, len(shards) // reader.dist_num_replicas))
        reader.ds = None
        data.set_loader_cfg(num_workers=workers)
        # The reader adds the epoch to its seed: neighbouring seeds must not share their orders.
        self.data, self.seed, self.epoch, self.behind, self._now = data, seed, epoch or count().__next__, behind, 0
        reader.common_seed = epoch_seed(seed, 0)
        self.loader = EpochLoader(
            data,
            seed,
            lambda: self._now,
            rank=rank,
            batch_size=batch_size,
            num_workers=workers,
            drop_last=training,
            **kwargs,
        )
        if training:
            self.batches = len(self.loader)
        else:
            # Every worker may end with an incomplete batch, and how many samples a shard has is not known. Lightning
            # stops at the length, so it is the largest one.
            self.batches = -(-reader.num_samples // batch_size) + max(0, workers - 1)

    def __len__(self) -> int:
        return self.batches

    def __iter__(self) -> Iterator[Any]:
        if not self.data.reader.split_info.filenames:
            return
        self._now = self.epoch()
        self.data.set_epoch(self._now)
        # Without workers, the reader would keep its generator, and with it the history of the epochs before.
        self.data.reader.ds, self.data.reader.worker_seed = None, epoch_seed(self.seed, self._now)
        left_out = self._left_out()
        if left_out >= self.batches:
            return
        batches = iter(self.loader)
        with isolate_rng():  # without workers, reading draws from this process's generators
            for _ in range(left_out):
                next(batches)
        yield from batches
