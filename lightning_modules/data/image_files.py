"""Data sets of single image files: where the files are, how they are decoded, and a transform around any set."""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from PIL import Image
from timm.data import get_img_extensions
from timm.data.readers.reader import Reader
from torch import Tensor
from torch.utils.data import Dataset, get_worker_info

from lightning_modules.seeding import seed_generators
from ops import ArgumentError


def image_files(folder: Path) -> Iterator[str]:
    """Yield every file below a folder whose extension is that of an image; hidden files and folders are left out."""
    extensions = get_img_extensions(as_set=True)
    for parent, folders, files in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            # Archives made on macOS hold a hidden ._NAME.jpg, which is not an image, beside every NAME.jpg.
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in extensions:
                yield os.path.join(parent, name)


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
    """

    def __init__(self, reader: Reader, argument: str, mode: str = "RGB"):
        self.reader, self.argument, self.mode = reader, argument, mode

    def __len__(self) -> int:
        return len(self.reader)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        file, label = self.reader[index]
        try:
            with file, Image.open(file) as image:
                return image.convert(self.mode), label
        except Exception as error:  # Pillow raises many types for damaged files
            name = self.name(index)
            raise ArgumentError(self.argument, f"{name!r}, which is damaged ({error})", "images only") from error

    def name(self, index: int) -> str:
        """Return the path of an image, or its number where the set has no paths."""
        return self.reader.filename(index, absolute=True) or str(index)


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


def open_unlabelled(folder: Path, mode: str) -> Decoded:
    """Open every image below a folder, in the order of their paths, with label -1.

    Args:
        folder: The folder.
        mode: Pillow's mode of the images, ``"RGB"`` or ``"L"``.

    Raises:
        ArgumentError: The folder does not exist or has no images.
    """
    if not folder.is_dir():
        raise ArgumentError("data.predict_folder", f"{str(folder)!r}, which does not exist", "a folder of images")
    paths = sorted(image_files(folder))
    if not paths:
        raise ArgumentError("data.predict_folder", f"{str(folder)!r} without images", "a folder with images")
    return Decoded(FileReader(paths, [-1] * len(paths), {}), "data.predict_folder", mode)
