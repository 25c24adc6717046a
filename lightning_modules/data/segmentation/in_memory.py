"""Keep images and masks in memory, as the tensors that small sets of images are kept in."""

import torch

from lightning_modules.data.decode_all import check_memory_for
from lightning_modules.data.image_tensors import ImageTensors
from lightning_modules.data.parallel import for_each
from lightning_modules.data.segmentation.joint_transform import evaluation_transform
from lightning_modules.data.segmentation.masked_images import MaskedImages, TransformedPairs
from lightning_modules.data.segmentation.windows import Size


def decode_pairs(data: MaskedImages, size: Size, title: str, together: int) -> ImageTensors:
    """Decode every image and mask into uint8 tensors; the masks take the place of labels.

    Args:
        data: The images and masks.
        size: Height and width in pixels, to which those of another size are resized.
        title: Name of the split.
        together: Number of images that will be in memory, those of the other splits included.

    Raises:
        ArgumentError: The machine has not as much memory.
    """
    height, width = size
    check_memory_for(together, 4 * height * width, f"images of {height} x {width} pixels with masks")
    pairs = TransformedPairs(data, evaluation_transform(size))
    images = torch.empty(len(data), 3, height, width, dtype=torch.uint8)
    masks = torch.empty(len(data), height, width, dtype=torch.uint8)

    def fill(index: int) -> None:
        images[index], masks[index] = pairs[index]

    for_each(len(data), fill, f"decoding {title}")
    return ImageTensors(images, masks, names=tuple(map(data.name, range(len(data)))))
