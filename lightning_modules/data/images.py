"""Data sets of single image files: a transform around any set, and a folder without labels."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from PIL import Image
from timm.data import get_img_extensions
from torch import Tensor
from torch.utils.data import Dataset

from ops import ArgumentError


def image_files(folder: Path) -> Iterator[Path]:
    """Yield every file below a folder whose extension is that of an image."""
    extensions = get_img_extensions(as_set=True)
    return (path for path in folder.rglob("*") if path.suffix.lower() in extensions and path.is_file())


class Transformed(Dataset):
    """A data set whose images go through a transform; the same images can be served in several ways."""

    def __init__(self, data: Dataset, transform: Callable[[Any], Tensor]):
        self.data, self.transform = data, transform

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image, label = self.data[index]
        return self.transform(image), label


class UnlabelledFolder(Dataset):
    """Every image below a folder, in the order of their paths, with label -1.

    Args:
        folder: The folder.
        mode: Pillow's mode of the images, ``"RGB"`` or ``"L"``.

    Raises:
        ArgumentError: The folder does not exist or has no images.
    """

    def __init__(self, folder: Path, mode: str):
        if not folder.is_dir():
            raise ArgumentError("data.predict_folder", f"{str(folder)!r}, which does not exist", "a folder of images")
        self.mode, self.paths = mode, sorted(image_files(folder))
        if not self.paths:
            raise ArgumentError("data.predict_folder", f"{str(folder)!r} without images", "a folder with images")

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        with Image.open(self.paths[index]) as image:
            return image.convert(self.mode), -1
