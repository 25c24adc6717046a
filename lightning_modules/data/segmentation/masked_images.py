"""Images of files, each with the mask of another file, whose values become the numbers of classes."""

from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image

from lightning_modules.data.decode import Read, UnusableImage, read_with, to_8_bits
from lightning_modules.data.image_files import Decoded, FileReader, Transformed
from lightning_modules.data.segmentation.joint_transform import as_tensors
from lightning_modules.data.segmentation.mask_file import LARGEST, orientation, read_mask
from ops import ArgumentError

UNKNOWN = -1


def label_table(values: Sequence[int], void: Sequence[int], ignore_index: int) -> np.ndarray:
    """Return the label of each value that a mask may have, ``(65536,)``, int16: its class, void, or unknown.

    Args:
        values: The value of each class, in order.
        void: Values of pixels without a class; what is named here is void even if it is a class's value.
        ignore_index: The label of void.
    """
    table = np.full(LARGEST + 1, UNKNOWN, np.int16)
    table[list(values)] = range(len(values))
    table[list(void)] = ignore_index
    return table


class MaskedImages(Decoded):
    """Images and their masks.

    Args:
        images: The files of the images.
        masks: The files of their masks, in the same order.
    """

    def __init__(self, images: Sequence[str], masks: Sequence[str]):
        super().__init__(FileReader(images, masks, {}), "data.root")
        self.table: np.ndarray | None = None

    def mask_name(self, index: int) -> str:
        """Return the path of a mask."""
        return self.reader.labels[index]

    def __getitem__(self, index: int) -> tuple[Image.Image, np.ndarray]:
        """Return an image and its labels ``(H, W)``, uint8.

        Raises:
            ArgumentError: A file has changed since it was checked, and cannot be used now.
        """
        at_fault = self.name(index)
        try:
            image, path = self.decode(index)
            at_fault = path
            labels = self.table[self.read_mask(index)[0]]
        except UnusableImage as error:
            raise ArgumentError(self.argument, f"{at_fault!r}, {error}", error.need) from error
        if labels.min() == UNKNOWN or labels.shape != image.size[::-1]:
            raise ArgumentError(self.argument, f"{path!r}, which has changed", "masks that stay as they were checked")
        return image, labels.astype(np.uint8)

    def read_mask(self, index: int) -> tuple[np.ndarray, list[int] | None]:
        """Read a mask's values and palette, see :func:`~lightning_modules.data.segmentation.mask_file.read_mask`.

        Raises:
            UnusableImage: The file cannot be opened or read, is damaged, or holds no numbers of classes.
        """
        return _readable(read_mask, self.mask_name(index))

    def look_at_image(self, index: int) -> tuple[tuple[int, int], int]:
        """Decode an image; return its width and height as it is shown, and the orientation that its EXIF gives.

        Raises:
            UnusableImage: The file cannot be opened or read, is damaged, or of a kind that is not read.
        """

        def look(image: Image.Image) -> tuple[tuple[int, int], int]:
            image.load()
            turned = orientation(image)
            return to_8_bits(image, self.mode).size, turned

        return _readable(lambda path: read_with(path, look), self.name(index))


def _readable(read: Callable[[str], Read], path: str) -> Read:
    try:
        return read(path)
    except OSError as error:
        raise UnusableImage(f"which cannot be read ({error.strerror or error})", "files that you may read") from error


class TransformedPairs(Transformed):
    """Images and masks that go through a transform of both, as uint8 tensors ``(3, H, W)`` and ``(H, W)``."""

    def __getitem__(self, index: int):
        return self.transform(*as_tensors(*self.data[index]))
