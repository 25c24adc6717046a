"""Data sets read image by image: folders, WebDataset shards and Hugging Face sets, through timm's dataset factory."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from timm.data import create_dataset, get_img_extensions
from torch.utils.data import Dataset

from lightning_modules.data.images import image_files
from ops import ArgumentError

TRAIN, VALIDATION, TEST = ("train", "training"), ("val", "valid", "validation", "eval", "evaluation"), ("test",)


@dataclass
class Splits:
    """The splits of a data set; ``val`` and ``test`` may be missing. Classes as a name-to-label map, if known."""

    train: Dataset
    val: Dataset | None
    test: Dataset | None
    class_to_idx: dict[str, int] | None


def _class_folders(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))


def _child(root: Path, names: tuple[str, ...]) -> Path | None:
    return next((root / name for name in names if (root / name).is_dir()), None)


def _open_folder(folder: Path, class_to_idx: dict[str, int] | None = None) -> Dataset:
    """Open one split, a folder with one folder of images per class."""
    classes = _class_folders(folder)
    if not classes:
        raise ArgumentError("data.root", f"{str(folder)!r} without class folders", "one folder of images per class")
    empty = [c.name for c in classes if next(image_files(c), None) is None]
    if empty:
        kinds = ", ".join(sorted(get_img_extensions()))
        raise ArgumentError("data.root", f"no image in {str(folder)!r} for {', '.join(empty)}", f"images ({kinds})")
    unknown = [c.name for c in classes if class_to_idx is not None and c.name not in class_to_idx]
    if unknown:
        raise ArgumentError(
            "data.root", f"classes {', '.join(unknown)} in {str(folder)!r}", "the classes of the training folder only"
        )
    return create_dataset("", root=str(folder), class_map=class_to_idx)


def open_folder(root: Path) -> Splits:
    """Open ``root/{train,val,test}/CLASS/*`` or, without such folders, ``root/CLASS/*`` as the training split.

    Raises:
        ArgumentError: The folder is missing, empty, has no classes, or a class without images.
    """
    if not root.is_dir():
        raise ArgumentError("data.root", f"{str(root)!r}, which does not exist", "a folder of images")
    if not any(root.iterdir()):
        raise ArgumentError("data.root", f"{str(root)!r}, which is empty", "train/CLASS/IMAGE or CLASS/IMAGE in it")
    train_folder = _child(root, TRAIN)
    train = _open_folder(train_folder or root)
    classes = train.reader.class_to_idx
    found = {
        name: _child(root, names) if train_folder else None for name, names in (("val", VALIDATION), ("test", TEST))
    }
    opened = {name: None if folder is None else _open_folder(folder, classes) for name, folder in found.items()}
    return Splits(train, opened["val"], opened["test"], classes)


def open_timm(
    name: str, root: Path, splits: dict[str, str | None], batch_size: int, seed: int, **kwargs: Any
) -> Splits:
    """Open ``wds/NAME`` or ``hfds/NAME``.

    Args:
        name: The data set.
        root: Folder of the shards (wds) or of the cache (hfds).
        splits: Name of the split for each of train, val and test; None for none.
        batch_size: Hint for iterable sets.
        seed: Seed of the order of shards.
        kwargs: Further arguments of timm's reader, such as ``input_key`` and ``target_key``.

    Raises:
        ArgumentError: A package that the set needs is not installed, or the set cannot be opened.
    """
    kind = name.split("/", 1)[0]

    def one(role: str) -> Dataset | None:
        if splits[role] is None:
            return None
        try:
            return create_dataset(
                name,
                root=str(root),
                split=splits[role],
                is_training=role == "train",
                batch_size=batch_size,
                seed=seed,
                **kwargs,
            )
        except ImportError as error:
            raise ArgumentError("data.dataset", f"{name!r} ({error})", f"pip install 'dyc[{kind}]'") from error
        except Exception as error:  # readers raise many types; all mean that this split cannot be opened
            if "install" in str(error).lower():
                raise ArgumentError("data.dataset", f"{name!r} ({error})", f"pip install 'dyc[{kind}]'") from error
            raise ArgumentError(
                f"data.{role}_split", f"{splits[role]!r} of {name!r} in {str(root)!r} ({error})", "a split that exists"
            ) from error

    train, val, test = one("train"), one("val"), one("test")
    return Splits(train, val, test, getattr(train.reader, "class_to_idx", None) or None)
