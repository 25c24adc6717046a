"""The data sets known by name: where they come from, and how their pixels are distributed."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD, create_dataset

from lightning_modules.data.image_tensors import ImageTensors
from lightning_modules.data.tiny_imagenet import CLASSES, open_tiny_imagenet
from lightning_modules.errors import first_line
from ops import ArgumentError, unknown_name

PREFIXES = ("wds/", "hfds/")


@dataclass(frozen=True)
class Known:
    """A data set that is kept in memory: classes, channel means and standard deviations (of pixels in 0..1)."""

    num_classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]


IN_MEMORY = {
    "digits": Known(10, (0.3054,), (0.3760,)),
    "torch/cifar10": Known(10, (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "torch/cifar100": Known(100, (0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
    "torch/mnist": Known(10, (0.1307,), (0.3081,)),
    "torch/fashion_mnist": Known(10, (0.2860,), (0.3530,)),
    "torch/kmnist": Known(10, (0.1918,), (0.3483,)),
    "tiny_imagenet": Known(CLASSES, IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD),
}
"""Statistics of the training splits, computed over all their pixels; of Tiny ImageNet, those of ImageNet."""

IMAGENET = Known(0, IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD)


def check_dataset_name(name: str) -> str:
    """Return a data set name that can be opened; raise with the closest names if it cannot."""
    known = [*IN_MEMORY, "folder"]
    if name in known or (name.startswith(PREFIXES) and name not in PREFIXES):
        return name
    listing = f"one of {', '.join(map(repr, known))}, 'wds/NAME' or 'hfds/NAME'"
    # Someone who types a bare name means torchvision's.
    if f"torch/{name}" in IN_MEMORY:
        raise ArgumentError("data.dataset", f"{name!r} (did you mean 'torch/{name}'?)", listing)
    raise unknown_name("data.dataset", name, known, listing=listing)


def open_in_memory(name: str, root: Path, download: bool) -> tuple[ImageTensors, ImageTensors]:
    """Load the training and test split of a data set of :data:`IN_MEMORY`.

    Args:
        name: The data set.
        root: Folder of the files (unused for ``digits``, which scikit-learn contains).
        download: Let torchvision download files that are missing.

    Raises:
        ArgumentError: The files are missing, damaged, or cannot be downloaded.
    """
    if name == "digits":
        return _digits()
    if name == "tiny_imagenet":
        return open_tiny_imagenet(root, download)
    return _torch(name, root, "train", download), _torch(name, root, "test", download)


def _digits() -> tuple[ImageTensors, ImageTensors]:
    """Load scikit-learn's 1,797 handwritten digits (8x8, one channel); one in five of each class is for testing."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    bunch = load_digits()
    images = torch.from_numpy(np.rint(bunch.images * (255 / 16)).astype(np.uint8))[:, None]
    labels = torch.from_numpy(bunch.target.astype(np.int64))
    everything = ImageTensors(images, labels)
    train, test = train_test_split(np.arange(len(labels)), test_size=0.2, stratify=bunch.target, random_state=0)
    return everything.subset(torch.from_numpy(train)), everything.subset(torch.from_numpy(test))


def _torch(name: str, root: Path, split: str, download: bool) -> ImageTensors:
    """Load one split of a torchvision data set whole."""
    try:
        if download:
            root.mkdir(parents=True, exist_ok=True)
        dataset = create_dataset(name, root=str(root), split=split, download=download)
    except Exception as error:  # torchvision raises many types for damaged files, some without a message
        reason = first_line(error)
        if download:
            sentence = f"{name} could not be downloaded ({reason}); check the network connection"
            raise ArgumentError("data.download", sentence=sentence) from error
        raise ArgumentError(
            "data.root",
            f"{str(root)!r} ({reason})",
            f"a folder with {name}, undamaged, or --data.download true to fetch it there",
        ) from error
    images = torch.as_tensor(np.asarray(dataset.data))
    images = images[:, None] if images.dim() == 3 else images.permute(0, 3, 1, 2)
    labels = torch.as_tensor(dataset.targets, dtype=torch.int64)
    return ImageTensors(images.contiguous(), labels, tuple(dataset.classes))
