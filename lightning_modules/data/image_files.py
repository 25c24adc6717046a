"""Data sets of single image files: where the files are, and a transform around any set."""

import errno
import os
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from lightning.pytorch.utilities import rank_zero_warn
from PIL import Image
from timm.data.readers.reader import Reader
from torch import Tensor
from torch.utils.data import Dataset, get_worker_info

from lightning_modules.data.decode import UnusableImage, read_image, to_8_bits
from lightning_modules.data.find_images import EXTENSIONS, describe_left_out, find_images
from lightning_modules.seeding import seed_generators
from ops import ArgumentError


def warn_of_left_out(place: str, left_out: Counter[str], why: str) -> None:
    """Say how many files were left out, by extension."""
    if left_out:
        rank_zero_warn(f"{place}: {describe_left_out(left_out, why)}")


class FileReader(Reader):
    """A list of files with a label each, as a reader of timm's.

    Args:
        paths: The files.
        labels: Their labels.
        class_to_idx: Label of each class name; empty for files without classes.
    """

    def __init__(self, paths: Sequence[str], labels: Sequence[int], class_to_idx: dict[str, int]):
        super().__init__()
        self.paths, self.labels, self.class_to_idx = paths, labels, class_to_idx

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[BinaryIO, int]:
        return open(self.paths[index], "rb"), self.labels[index]

    def _filename(self, index: int, basename: bool = False, absolute: bool = False) -> str:
        return os.path.basename(self.paths[index]) if basename else self.paths[index]


class Decoded(Dataset):
    """The images of a reader. One that cannot be decoded is an error; timm's own set serves another in its place.

    Args:
        reader: A reader of timm's with random access.
        argument: The argument that an error is about.
        mode: Pillow's mode of the images, ``"RGB"`` or ``"L"``.
        kept: Numbers of the images that are served; by default all.
    """

    def __init__(self, reader: Reader, argument: str, mode: str = "RGB", kept: Sequence[int] | None = None):
        self.reader, self.argument, self.mode = reader, argument, mode
        self.kept = range(len(reader)) if kept is None else kept

    def __len__(self) -> int:
        return len(self.kept)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        try:
            return self.decode(index)
        except UnusableImage as error:
            need = f"{error.need} (--data.skip_damaged true leaves out what cannot be read)"
            raise ArgumentError(self.argument, f"{self.name(index)!r}, {error}", need) from error

    def decode(self, index: int) -> tuple[Image.Image, int]:
        """Return an image and its label.

        Raises:
            UnusableImage: The image is damaged, or of a kind that is not read.
            ArgumentError: The file cannot be opened or read.
        """
        try:
            file, label = self.reader[self.kept[index]]
            with file:
                return read_image(file, self.mode), label
        except OSError as error:  # not a fault of the image, so that it is not left out with damaged ones
            need = "files that you may read"
            if error.errno in (errno.EMFILE, errno.ENFILE):
                need = "a smaller --data.num_workers, or a higher limit of open files (ulimit -n)"
            got = f"{self.name(index)!r}, which cannot be read ({error.strerror or error})"
            raise ArgumentError(self.argument, got, need) from error

    def name(self, index: int) -> str:
        """Return the path of an image, or its number where the set has no paths."""
        return self.reader.filename(self.kept[index], absolute=True) or str(self.kept[index])


class Transformed(Dataset):
    """A data set whose images go through a transform; the same images can be served in several ways.

    In a worker, the random numbers of a batch depend on the loader's seed and the batch alone: not on how many workers
    there are, nor on the batches that this one has read before.
    """

    def __init__(self, data: Dataset, transform: Callable[[Any], Tensor]):
        self.data, self.transform = data, transform

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image, label = self.data[index]
        return self.transform(image), label

    def __getitems__(self, indices: Sequence[int]) -> list[tuple[Tensor, int]]:
        worker = get_worker_info()
        if worker is not None:
            seed_generators(worker.seed - worker.id, indices[0])
        return [self[index] for index in indices]


class Converted:
    """A transform for shards, whose reader opens the images: their pixels are made ours first.

    Args:
        transform: What follows.
        mode: Pillow's mode of the images, ``"RGB"`` or ``"L"``.
    """

    def __init__(self, transform: Callable[[Any], Tensor], mode: str):
        self.transform, self.mode = transform, mode

    def __call__(self, image: Image.Image) -> Tensor:
        """Return an opened image as a tensor."""
        try:
            return self.transform(to_8_bits(image, self.mode))
        except UnusableImage as error:
            raise ArgumentError("data.dataset", f"a shard with an image {error}", error.need) from error


def open_unlabelled(places: Sequence[Path], mode: str) -> Decoded:
    """Open files, and every image below folders, in the order given and then of their paths, with label -1.

    Args:
        places: Files, whatever their extension, and folders.
        mode: Pillow's mode of the images, ``"RGB"`` or ``"L"``.

    Raises:
        ArgumentError: A place does not exist, or a folder has no images.
    """
    argument, left_out, paths = "data.predict_folder", Counter(), []
    for place in places:
        if not place.exists():
            raise ArgumentError(argument, f"{str(place)!r}, which does not exist", "a folder of images, or an image")
        found = find_images(place, left_out) if place.is_dir() else [str(place)]
        if not found:
            need = f"a folder with images: files that end with {', '.join(EXTENSIONS)}"
            raise ArgumentError(argument, f"{str(place)!r} without images", need)
        paths += found
    warn_of_left_out(argument, left_out, "not images by their extension")
    return Decoded(FileReader(paths, [-1] * len(paths), {}), argument, mode)
