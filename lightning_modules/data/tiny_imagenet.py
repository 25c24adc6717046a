"""Tiny ImageNet: read from its folder of JPEG files once, and from one file of tensors from then on.

Source: http://cs231n.stanford.edu/tiny-imagenet-200.zip. Its test images have no labels, so that papers test on its
validation images.
"""

import os
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torchvision.datasets.utils import download_and_extract_archive

from lightning_modules.data.decode import UnusableImage, read_image
from lightning_modules.data.image_tensors import ImageTensors
from lightning_modules.data.parallel import for_each
from lightning_modules.errors import first_line
from lightning_modules.whole_files import save_whole
from ops import ArgumentError

URL = "http://cs231n.stanford.edu/tiny-imagenet-200.zip"
MD5 = "90528d7ca1a48142e341f4ef8d21d0de"
FOLDER, CACHE = "tiny-imagenet-200", "tiny-imagenet-200.pt"
CLASSES, SIZE = 200, 64


@dataclass(frozen=True)
class Contents:
    """What the folder holds: image files with the numbers of their classes, and what each class is in words."""

    train: list[tuple[Path, int]]
    val: list[tuple[Path, int]]
    classes: tuple[str, ...]

    @property
    def counts(self) -> list[int]:
        """Number of training images of each class, then of validation images."""
        return [*np.bincount([label for _, label in self.train], minlength=CLASSES).tolist(), len(self.val)]


def open_tiny_imagenet(root: Path, download: bool = False) -> tuple[ImageTensors, ImageTensors]:
    """Load the training and the validation images: 100,000 and 10,000, of 64 x 64 pixels, of 200 classes.

    The first call decodes every file and writes ``tiny-imagenet-200.pt`` (1.4 GB) beside the folder. Later calls map
    that file into memory, unless the folder then holds another number of images. Classes are numbered in the order of
    their WordNet identifiers, as by every reader that goes by the names of folders.

    Args:
        root: The folder that holds ``tiny-imagenet-200``.
        download: Fetch and unpack the archive if images are missing.

    Raises:
        ArgumentError: Files are missing or damaged, or cannot be downloaded.
    """
    try:
        contents = _list(root / FOLDER)
    except ArgumentError:
        if not download:
            raise
        _fetch(root)
        contents = _list(root / FOLDER)
    images = _read_cache(root / CACHE, contents.counts)
    if images is None:
        images = [
            _decode(files, split) for split, files in (("training", contents.train), ("validation", contents.val))
        ]
        _write_cache(root / CACHE, contents.counts, images)
    labels = (torch.tensor([label for _, label in files]) for files in (contents.train, contents.val))
    train, val = (ImageTensors(*split, contents.classes) for split in zip(images, labels))
    return train, val


def _fetch(root: Path) -> None:
    try:
        download_and_extract_archive(URL, str(root), filename=f"{FOLDER}.zip", md5=MD5)
    except Exception as error:  # of the network, of the disk, of the archive: no common type
        reason = first_line(error)
        advice = f"check the network connection, or put {FOLDER}.zip into {root}"
        raise ArgumentError("data.download", sentence=f"{URL} failed ({reason}); {advice}") from error


def _unusable(folder: Path, reason: str) -> ArgumentError:
    return ArgumentError(
        "data.root",
        f"{str(folder.parent)!r} ({reason})",
        f"a folder with {FOLDER} as its archive unpacks, or --data.download true to fetch it there",
    )


def _list(folder: Path) -> Contents:
    """List the images of both splits, and raise if some are missing."""
    needed = ("wnids.txt", "words.txt", "train", "val/images", "val/val_annotations.txt")
    missing = [f"{FOLDER}/{name}" for name in needed if not (folder / name).exists()]
    if missing:
        raise _unusable(folder, f"no {', '.join(missing)}")
    numbers = {wnid: label for label, wnid in enumerate(sorted((folder / "wnids.txt").read_text().split()))}
    lines = [line.partition("\t") for line in (folder / "words.txt").read_text(encoding="utf-8").splitlines()]
    words = {wnid: description for wnid, _, description in lines}
    if len(numbers) != CLASSES or not numbers.keys() <= words.keys():
        raise _unusable(folder, f"{len(numbers)} classes in wnids.txt, {len(words)} in words.txt, of {CLASSES}")

    train = []
    for wnid, label in numbers.items():
        images = folder / "train" / wnid / "images"
        names = sorted(os.listdir(images)) if images.is_dir() else []
        train += [(images / name, label) for name in names if name.endswith(".JPEG")]
    rows = [line.split("\t") for line in (folder / "val/val_annotations.txt").read_text().splitlines()]
    try:
        val = [(folder / "val/images" / row[0], numbers[row[1]]) for row in rows]
    except (IndexError, KeyError) as error:
        raise _unusable(folder, f"{FOLDER}/val/val_annotations.txt names no class of wnids.txt: {error}") from error
    contents = Contents(train, val, tuple(words[wnid] for wnid in numbers))

    there = set(os.listdir(folder / "val/images"))
    absent = [path.name for path, _ in val if path.name not in there]
    if absent or not val:
        raise _unusable(folder, f"{len(absent)} of {len(val)} images are missing in {FOLDER}/val/images")
    counts = dict(zip(numbers, contents.counts))
    fewest, most = min(counts, key=counts.get), max(counts.values())
    if counts[fewest] < most or not most:  # the set has as many images of every class, so that a rest of one shows
        raise _unusable(folder, f"{counts[fewest]} images in {FOLDER}/train/{fewest}/images, {most} of other classes")
    return contents


def _decode(files: list[tuple[Path, int]], split: str) -> Tensor:
    """Decode image files into ``(N, 3, 64, 64)``, uint8."""
    images = torch.empty(len(files), 3, SIZE, SIZE, dtype=torch.uint8)
    pixels = images.numpy()

    def fill(i: int) -> None:
        pixels[i] = _read(files[i][0]).transpose(2, 0, 1)

    for_each(len(files), fill, f"Tiny ImageNet, {split}")
    return images


def _read(path: Path) -> np.ndarray:
    try:
        pixels = np.asarray(read_image(path))
    except UnusableImage as error:
        raise _damaged(path, str(error)) from error
    if pixels.shape != (SIZE, SIZE, 3):
        raise _damaged(path, f"{pixels.shape[1]} x {pixels.shape[0]} pixels")
    return pixels


def _damaged(path: Path, reason: str) -> ArgumentError:
    need = f"whole images of {SIZE} x {SIZE} pixels: delete the file, and --data.download true unpacks it again"
    return ArgumentError("data.root", f"{str(path)!r} ({reason})", need)


def _read_cache(path: Path, counts: list[int]) -> list[Tensor] | None:
    """Return the images of both splits, or None if there is no file of as many."""
    if not path.exists():
        return None
    try:
        kept = torch.load(path, weights_only=True, mmap=True)  # pages are read when used, and shared by processes
        if kept["counts"] == counts:
            return kept["images"]
        reason = "the folder holds other images now"
    except Exception as error:  # zip, pickle and key errors have no common type
        reason = first_line(error)
    warnings.warn(f"{path} is made anew: {reason}", stacklevel=2)
    return None


def _write_cache(path: Path, counts: list[int], images: list[Tensor]) -> None:
    """Write the images of both splits; whoever reads meanwhile finds a whole file or none."""
    try:
        save_whole({"counts": counts, "images": images}, path)
    except OSError as error:
        warnings.warn(f"{path} cannot be written, so that every start decodes all images: {error}", stacklevel=2)
