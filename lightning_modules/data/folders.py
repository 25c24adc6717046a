"""Data sets read image by image: folders, and WebDataset shards and Hugging Face sets through timm's factory."""

from collections import Counter
from pathlib import Path
from typing import Any

from timm.data import create_dataset
from timm.utils import natural_key
from torch.utils.data import Dataset, IterableDataset

from lightning_modules.data.image_files import EXTENSIONS, Decoded, FileReader, find_images, warn_of_left_out
from lightning_modules.data.splits import Splits
from ops import ArgumentError

TRAIN, VALIDATION, TEST = ("train", "training"), ("val", "valid", "validation", "eval", "evaluation"), ("test",)


def split_folder(root: Path, names: tuple[str, ...]) -> Path | None:
    """Return the first folder in ``root`` that has one of the names of a split, such as :data:`TRAIN`."""
    return next((root / name for name in names if (root / name).is_dir()), None)


def _visible_file(path: Path) -> bool:
    return path.is_file() and not path.name.startswith(".")


def _open_folder(folder: Path, class_to_idx: dict[str, int] | None = None) -> Decoded:
    """Open one split, a folder with one folder of images per class; sub-folders belong to their class."""
    classes = [p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".")]
    classes.sort(key=lambda name: (natural_key(name), name))
    if not classes:
        raise ArgumentError("data.root", f"{str(folder)!r} without class folders", "a folder of images for each class")
    left_out: Counter[str] = Counter()
    found = {name: find_images(folder / name, left_out) for name in classes}
    empty = [name for name, paths in found.items() if not paths]
    if empty:
        kinds = ", ".join(EXTENSIONS)
        sentence = f"{str(folder)!r} has no image of {', '.join(empty)}; images are files that end with {kinds}"
        raise ArgumentError("data.root", sentence=sentence)
    labels = class_to_idx or {name: label for label, name in enumerate(classes)}
    unknown = [name for name in classes if name not in labels]
    if unknown:
        raise ArgumentError(
            "data.root", f"classes {', '.join(unknown)} in {str(folder)!r}", "the classes of the training folder only"
        )
    warn_of_left_out(f"data.root: {str(folder)!r}", left_out, "not images by their extension")
    beside = Counter(p.suffix.lower() or "without extension" for p in folder.iterdir() if _visible_file(p))
    warn_of_left_out(f"data.root: {str(folder)!r}", beside, "beside the class folders instead of in one")
    files = [(path, labels[name]) for name, paths in found.items() for path in paths]
    return Decoded(FileReader(*zip(*files), labels), "data.root")


def open_folder(root: Path) -> Splits:
    """Open ``root/{train,val,test}/CLASS/*`` or, without a training folder, ``root/CLASS/*`` as the training split.

    Classes are numbered in natural order (``class2`` before ``class10``).

    Raises:
        ArgumentError: The folder is missing, empty, has no classes, or a class without images.
    """
    if not root.is_dir():
        raise ArgumentError("data.root", f"{str(root)!r}, which does not exist", "a folder of images")
    if not any(root.iterdir()):
        raise ArgumentError("data.root", f"{str(root)!r}, which is empty", "train/CLASS/IMAGE or CLASS/IMAGE in it")
    train_folder = split_folder(root, TRAIN)
    named = {p.name for p in root.iterdir() if p.is_dir()}
    if named and named <= {*VALIDATION, *TEST}:  # or else val and test would become two classes
        raise ArgumentError("data.root", f"{str(root)!r} without a training split", "a folder named train in it")
    train = _open_folder(train_folder or root)
    classes = train.reader.class_to_idx
    found = {
        name: split_folder(root, names) if train_folder else None
        for name, names in (("val", VALIDATION), ("test", TEST))
    }
    opened = {name: None if folder is None else _open_folder(folder, classes) for name, folder in found.items()}
    return Splits(train, opened["val"], opened["test"], classes)


def open_timm(
    name: str, root: str, splits: dict[str, str | None], batch_size: int, seed: int, kwargs: dict[str, Any]
) -> Splits:
    """Open ``wds/NAME`` or ``hfds/NAME``.

    Args:
        name: The data set.
        root: Folder or address of the shards (wds), or folder of the cache (hfds).
        splits: Name of the split for each of train, val and test; None for none.
        batch_size: Hint for iterable sets.
        seed: Seed of the order of shards.
        kwargs: Further arguments of timm's reader, such as ``input_key`` and ``target_key``.

    Raises:
        ArgumentError: A package that the set needs is not installed, or the set cannot be opened.
    """
    kind = name.split("/", 1)[0]

    def one(role: str) -> Dataset | None:
        split = splits[role]
        if split is None:
            return None
        training = role == "train"
        # The pixels of shards are converted with ours, not by the reader.
        options = {"input_img_mode": "", **kwargs} if kind == "wds" else kwargs
        try:
            data = create_dataset(
                name, root=root, split=split, is_training=training, batch_size=batch_size, seed=seed, **options
            )
        except Exception as error:  # readers raise many types
            # The readers of timm say "Please install" in a RuntimeError or let the ImportError through.
            if isinstance(error, ImportError) or str(error).startswith("Please install"):
                raise ArgumentError("data.dataset", f"{name!r} ({error})", f"pip install 'dyc[{kind}]'") from error
            if isinstance(error, TypeError) and kwargs:
                raise ArgumentError(
                    "data.reader_kwargs", f"{kwargs} ({error})", "arguments of timm's reader"
                ) from error
            if kind == "wds" and not _remote(root) and not Path(root).is_dir():
                raise ArgumentError("data.root", f"{root!r}, which does not exist", "a folder of shards") from error
            need = "a split that exists" + ("" if training else ", or null")
            raise ArgumentError(f"data.{role}_split", f"{split!r} of {name!r} in {root!r} ({error})", need) from error
        if isinstance(data, IterableDataset):
            _check_shards(data, f"data.{role}_split", split, root)
            return data
        _check_columns(data.reader)
        return Decoded(data.reader, "data.dataset")

    train, val, test = one("train"), one("val"), one("test")
    return Splits(train, val, test, getattr(train.reader, "class_to_idx", None) or None)


def _check_columns(reader: Any) -> None:
    """Raise unless a Hugging Face set has the columns of images and labels, whose names differ from set to set."""
    columns = list(reader.dataset.column_names)
    wanted = {"input_key": [reader.image_key], "target_key": reader.label_key.split(",")}
    # Where there is no such column, the reader has made an empty one.
    if len(reader) and reader.dataset[0][reader.image_key] is None:
        columns.remove(reader.image_key)
    for argument, names in wanted.items():
        for name in names:
            if name.strip().split("/")[0] not in columns:  # after a slash comes a field of the column
                known = ", ".join(map(repr, columns))
                raise ArgumentError("data.reader_kwargs", f"{argument} {name.strip()!r}", f"one of {known}")


def _remote(address: str) -> bool:
    return "://" in address or address.startswith("pipe:")


def _check_shards(data: IterableDataset, argument: str, split: str, root: str) -> None:
    """Raise unless a split of shards has a length and its local files are there; a missing one would be skipped."""
    shards = data.reader.split_info
    if not shards.num_samples:
        raise ArgumentError(
            argument, f"{split!r}, whose length is not known", "its length, as SHARDS.tar|COUNT or in root/_info.json"
        )
    missing = [f for f in shards.filenames if not _remote(root) and not _remote(f) and not (Path(root) / f).exists()]
    if missing:
        got = f"{root!r} without {len(missing)} of {len(shards.filenames)} shards, such as {missing[0]}"
        raise ArgumentError("data.root", got, "a folder with every shard")
