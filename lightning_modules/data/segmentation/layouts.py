"""Where each data set keeps its images and masks."""

from pathlib import Path

from torchvision.datasets import VOCSegmentation

from lightning_modules.data.folders import TEST, TRAIN, VALIDATION, split_folder
from lightning_modules.data.segmentation.catalog import KNOWN
from lightning_modules.data.segmentation.masked_images import MaskedImages
from lightning_modules.data.segmentation.pairing import pair_listed, pair_up
from lightning_modules.data.splits import Splits
from lightning_modules.errors import first_line
from ops import ArgumentError


def fetch(dataset: str, root: Path) -> None:
    """Download a data set.

    Raises:
        ArgumentError: It cannot be downloaded, or not by a program.
    """
    if dataset != "voc":
        need = f"false, and in {str(root)!r} {KNOWN[dataset].source}"
        raise ArgumentError("data.download", f"true with {dataset!r}", need)
    try:
        _voc(root, "train")  # torchvision would unpack again what is there
        return
    except ArgumentError:
        root.mkdir(parents=True, exist_ok=True)
    try:
        VOCSegmentation(str(root), image_set="train", download=True)
    except Exception as error:  # of the network, of the disk, of the archive: no common type
        reason = first_line(error)
        sentence = f"{dataset} could not be downloaded ({reason}); check the network connection"
        raise ArgumentError("data.download", sentence=sentence) from error


def open_splits(dataset: str, root: Path) -> Splits:
    """Find the images and masks of every split.

    Raises:
        ArgumentError: A folder is missing or empty, an image has no mask, or a mask no image.
    """
    if not root.is_dir():
        raise ArgumentError("data.root", f"{str(root)!r}, which does not exist", f"a folder with {dataset!r} in it")
    return Splits(*LAYOUTS[dataset](root), class_to_idx=None)


def _camvid(root: Path) -> list[MaskedImages]:
    return [pair_up(root / split, root / f"{split}annot") for split in ("train", "val", "test")]


def _cityscapes(root: Path) -> list[MaskedImages | None]:
    """The test images have no masks that are public, so that papers report the validation images."""
    trees, ends = (root / "leftImg8bit", root / "gtFine"), ("_leftImg8bit", "_gtFine_labelIds")
    return [*(pair_up(*(tree / split for tree in trees), *ends) for split in ("train", "val")), None]


def _voc(root: Path, split: str) -> MaskedImages:
    try:
        found = VOCSegmentation(str(root), image_set=split)
    except (RuntimeError, OSError) as error:
        need = "a folder with VOCdevkit/VOC2012, or --data.download true to fetch it there"
        raise ArgumentError("data.root", f"{str(root)!r} ({error})", need) from error
    return pair_listed(found.images, found.masks)


def _folder(root: Path) -> list[MaskedImages | None]:
    """``ROOT/{train,val,test}/{images,masks}`` or, without a training folder, ``ROOT/{images,masks}``."""
    train = split_folder(root, TRAIN)
    if train is None and not (root / "images").is_dir():
        need = "train/images and train/masks in it, or images and masks"
        raise ArgumentError("data.root", f"{str(root)!r} without a training split", need)
    if train is None:
        return [pair_up(root / "images", root / "masks"), None, None]
    folders = (train, split_folder(root, VALIDATION), split_folder(root, TEST))
    return [None if each is None else pair_up(each / "images", each / "masks") for each in folders]


LAYOUTS = {
    "camvid": _camvid,
    "cityscapes": _cityscapes,
    "voc": lambda root: [_voc(root, "train"), _voc(root, "val"), None],
    "folder": _folder,
}
