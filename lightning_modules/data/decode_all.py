"""Keep a set of image files in memory: decode it once, into the tensors that known sets use."""

import os

import torch
from lightning.pytorch.utilities import rank_zero_only
from timm.data import create_transform

from lightning_modules.data.image_files import Decoded
from lightning_modules.data.image_tensors import ImageTensors
from lightning_modules.data.parallel import for_each
from ops import ArgumentError


def decode_all(
    data: Decoded, size: int | None, title: str, *, together: int | None = None, resize: bool
) -> ImageTensors:
    """Decode every image into uint8 tensors.

    Args:
        data: The images.
        size: Height and width in pixels; by default that of the first image.
        title: Name of the split.
        together: Number of images that will be in memory, those of the other splits included; by default these alone.
        resize: Resize images of another size by their shorter side, and crop them to their middle, as
            ``predict_folder`` does; or else they are an error.

    Raises:
        ArgumentError: Sizes differ, or the machine has not as much memory.
    """
    first, _ = data[0]
    side, channels = size or first.width, len(first.getbands())
    pixels = channels * side * side

    kind = f"images of {side} x {side} pixels"
    check_memory_for(together or len(data), pixels, kind)
    _say(f"{title}: {_line(len(data), pixels, kind)}")
    transform = create_transform((channels, side, side), crop_pct=1.0, normalize=False)
    images = torch.empty(len(data), channels, side, side, dtype=torch.uint8)
    labels = torch.empty(len(data), dtype=torch.int64)

    def fill(index: int) -> None:
        image, label = data[index]
        if image.size != (side, side) and not resize:
            got = f"{data.name(index)!r} of {image.width} x {image.height} pixels"
            need = f"{side} x {side}, the width of the first image, or --data.image_size to resize all of them"
            raise ArgumentError("data.in_memory", got, need)
        images[index], labels[index] = transform(image), label

    for_each(len(data), fill, f"decoding {title}")
    return ImageTensors(images, labels, names=tuple(map(data.name, range(len(data)))))


def check_memory_for(count: int, each: int, kind: str) -> None:
    """Raise an ArgumentError if the machine has not as much memory as images take.

    Args:
        count: Number of images.
        each: Bytes of one.
        kind: What they are, for the error: ``images of 32 x 32 pixels``.
    """
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if count * each > memory:
        there = f"this machine has {memory / 1e9:,.2f} GB"
        sentence = f"{_line(count, each, kind)}, and {there}; make data.image_size smaller, or leave it out"
        raise ArgumentError("data.in_memory", sentence=sentence)


def _line(count: int, each: int, kind: str) -> str:
    return f"{count:,} {kind}, {count * each / 1e9:,.2f} GB in memory"


@rank_zero_only
def _say(line: str) -> None:
    print(line, flush=True)
