"""Which mask belongs to which image: the one of the same name, in the same folder of another tree."""

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from lightning_modules.data.find_images import EXTENSIONS, find_images
from lightning_modules.data.image_files import warn_of_left_out
from lightning_modules.data.segmentation.masked_images import MaskedImages
from ops import ArgumentError


def pair_up(images: Path, masks: Path, image_end: str = "", mask_end: str = "") -> MaskedImages:
    """Pair the images below a folder with the masks below another, by their paths there without the extension.

    Args:
        images: The folder of the images.
        masks: The folder of the masks.
        image_end: How the names of images end, before the extension; other files are left out.
        mask_end: How the names of masks end.

    Raises:
        ArgumentError: A folder is missing or empty, an image has no mask or two, or a mask no image.
    """
    found, labels = _find(images, image_end, "images"), _find(masks, mask_end, "masks")
    _refuse([found[name] for name in found if name not in labels], "without a mask", f"one of the same name in {masks}")
    _refuse([labels[name] for name in labels if name not in found], "without an image", f"one of that name in {images}")
    return MaskedImages([found[name] for name in found], [labels[name] for name in found])


def pair_listed(images: Sequence[str], masks: Sequence[str]) -> MaskedImages:
    """Pair the files that a list of the data set names.

    Raises:
        ArgumentError: The list is empty, or a file does not exist.
    """
    if not images:
        raise ArgumentError("data.root", "a list of the data set without images", "at least one image")
    _refuse([path for path in images if not os.path.exists(path)], "missing", "every image that the data set lists")
    alone = [image for image, mask in zip(images, masks) if not os.path.exists(mask)]
    _refuse(alone, "without a mask", f"one of the same name in {os.path.dirname(masks[0])}")
    return MaskedImages(images, masks)


def _refuse(paths: list[str], what: str, need: str) -> None:
    if paths:
        more = f" and {len(paths) - 1:,} more" if len(paths) > 1 else ""
        raise ArgumentError("data.root", f"{paths[0]!r}{more} {what}", need)


def _find(folder: Path, end: str, kind: str) -> dict[str, str]:
    """Return the files below a folder by their paths there, without ``end`` and extension."""
    if not folder.is_dir():
        raise ArgumentError("data.root", f"{str(folder)!r}, which does not exist", f"a folder of {kind}")
    left_out: Counter[str] = Counter()
    found: dict[str, str] = {}
    for path in find_images(folder, left_out):
        name = os.path.splitext(os.path.relpath(path, folder))[0]
        if not name.endswith(end):
            continue
        other = found.setdefault(name.removesuffix(end), path)
        if other != path:
            raise ArgumentError("data.root", f"{other!r} and {path!r}", f"one file of that name among the {kind}")
    if not end:  # or else other kinds of files are meant to be there
        warn_of_left_out(f"data.root: {str(folder)!r}", left_out, "not images by their extension")
    if not found:
        kinds = ", ".join(end + extension for extension in EXTENSIONS)
        raise ArgumentError("data.root", f"{str(folder)!r} without {kind}", f"files that end with {kinds}")
    return found
