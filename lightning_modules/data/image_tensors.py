"""Data sets that fit in memory: uint8 tensors, served and augmented as whole batches."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_modules.data.loaders import Resumable, drops_last, epoch_order


@dataclass(frozen=True)
class ImageTensors:
    """Images ``(N, C, H, W)``, uint8, their labels, and names of the classes and of the images, if any.

    Labels are one for each image, ``(N,)``, int64, or one for each pixel, ``(N, H, W)``, uint8.
    """

    images: Tensor
    labels: Tensor
    classes: tuple[str, ...] = ()
    names: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.labels)

    def subset(self, indices: Tensor) -> "ImageTensors":
        """Return the chosen samples."""
        names = tuple(self.names[i] for i in indices.tolist()) if self.names else ()
        return replace(self, images=self.images[indices], labels=self.labels[indices], names=names)

    def to(self, device: torch.device) -> "ImageTensors":
        """Return the same samples on a device."""
        return replace(self, images=self.images.to(device), labels=self.labels.to(device))

    def near(self, device: torch.device) -> "ImageTensors":
        """Return the samples on a device, or as they are where they would take over a quarter of its free memory."""
        if device.type == "cpu":
            return self
        if device.type == "cuda" and 4 * self.images.nbytes > torch.cuda.mem_get_info(device)[0]:
            return self  # each batch is then moved by itself
        return self.to(device)

    def resize(self, size: int) -> "ImageTensors":
        """Return the images at ``size`` x ``size`` pixels, by antialiased bilinear interpolation."""
        if self.images.shape[-2:] == (size, size):
            return self
        chunks = (
            F.interpolate(chunk.float(), (size, size), mode="bilinear", antialias=True).round().clamp(0, 255).byte()
            for chunk in self.images.split(4096)
        )
        return replace(self, images=torch.cat(list(chunks)))


class TensorLoader(Resumable):
    """Serves batches of :class:`ImageTensors` by indexing, without any Python per image.

    The order of an epoch depends on the seed and the epoch alone, so that a resumed run sees what an uninterrupted
    one would have seen. Ranks take every ``world_size``-th sample.

    Args:
        data: The samples.
        batch_size: Samples per batch and rank.
        shuffle: Draw a new order each epoch, and give every rank the same number of samples.
        drop_last: Leave out the incomplete last batch of a shuffled epoch. One of a single sample is always left out.
        seed: Seed of the orders.
        epoch: Returns the number of the epoch that starts; by default, the loader counts.
        behind: Returns how many batches of that epoch to leave out; by default none.
        rank: This process.
        world_size: Number of processes.
    """

    def __init__(
        self,
        data: ImageTensors,
        batch_size: int,
        *,
        shuffle: bool = False,
        drop_last: bool = True,
        seed: int = 0,
        epoch: Callable[[], int] | None = None,
        behind: Callable[[], int] | None = None,
        rank: int = 0,
        world_size: int = 1,
    ):
        self.data, self.batch_size, self.shuffle = data, batch_size, shuffle
        self.seed, self.epoch, self.behind = seed, epoch or itertools.count().__next__, behind
        self.rank, self.world_size = rank, world_size
        own = len(data) // world_size if shuffle else len(range(rank, len(data), world_size))
        self.samples = own - own % batch_size if shuffle and drops_last(own, batch_size, drop_last) else own

    def __len__(self) -> int:
        # 1 also where there is no image: a trainer passes over such a process, and the others would wait for it.
        return max(int(not self.shuffle), -(-self.samples // self.batch_size))

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        count = len(self.data)
        order = epoch_order(count, self.seed, self.epoch()) if self.shuffle else torch.arange(count)
        order = order[self.rank :: self.world_size][: self.samples].to(self.data.labels.device)
        batches = order.split(self.batch_size) if self.samples else ()  # of nothing, split makes one of nothing
        for indices in batches[self._left_out() :]:
            yield self.data.images[indices], self.data.labels[indices]


def random_crop(images: Tensor, padding: int) -> Tensor:
    """Pad each image ``(B, C, H, W)`` with zeros and cut out a random window of the old size, one per image."""
    if padding == 0:
        return images
    batch, _, height, width = images.shape
    windows = F.pad(images, (padding,) * 4).unfold(2, height, 1).unfold(3, width, 1)
    top, left = torch.randint(0, 2 * padding + 1, (2, batch), device=images.device)
    return windows[torch.arange(batch, device=images.device), :, top, left]


def random_flip(images: Tensor, probability: float) -> Tensor:
    """Mirror each image ``(B, C, H, W)`` left to right with a probability."""
    if probability == 0:
        return images
    flip = torch.rand(len(images), device=images.device) < probability
    return torch.where(flip[:, None, None, None], images.flip(3), images)


def normalize(images: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Map uint8 images ``(B, C, H, W)`` to floats, ``(x / 255 - mean) / std`` per channel, in channels_last."""
    scale, shift = 1 / (255 * std), -mean / std
    floats = images.to(torch.float32, memory_format=torch.channels_last)
    return floats.mul_(scale[:, None, None]).add_(shift[:, None, None])
