"""Read every image and mask once before a training, and note what is in the masks.

What was found is kept in the cache folder, by the sizes and times of the files, so that the next start reads only what
has changed.
"""

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch.utilities import rank_zero_warn
from PIL import Image, __version__

from dyc.whole_files import written_whole
from lightning_modules.alone import load_alone
from lightning_modules.data.decode import UnusableImage
from lightning_modules.data.parallel import for_each
from lightning_modules.data.segmentation.masked_images import MaskedImages
from ops import ArgumentError

FORMAT = 3
"""Number of the way in which files are read and their facts are written."""
NAMED = 10
"""How many files are named that cannot be used."""
MIRRORED_OR_TURNED_ROUND = (2, 3, 4)
"""Orientations of EXIF that leave height and width as they are."""


@dataclass(frozen=True)
class Facts:
    """What is in a mask.

    Args:
        size: Width and height, as those of its image.
        counts: How many pixels have each value.
        colours: What the mask's palette says each of these values looks like; None without a palette.
    """

    size: tuple[int, int]
    counts: dict[int, int]
    colours: dict[int, tuple[int, ...]] | None


def survey(data: MaskedImages, title: str) -> list[Facts]:
    """Read the images and masks of a split, and return what is in each mask.

    Args:
        data: The split.
        title: Its name.

    Raises:
        ArgumentError: An image or mask cannot be used, or their sizes differ; the first ones are named.
    """
    pairs = [tuple(map(os.path.abspath, pair)) for pair in zip(data.reader.paths, data.reader.labels)]
    stamps = [[*_stamp(image), mask, *_stamp(mask)] for image, mask in pairs]
    file = _file([image for image, _ in pairs], title)
    kept = _read(file)
    found: list[Facts | None] = []
    for (image, _), stamp in zip(pairs, stamps):
        before, facts = kept.get(image, (None, None))
        found.append(facts if before == stamp else None)
    missing = [index for index, facts in enumerate(found) if facts is None]
    faults: dict[int, tuple[str, str, str]] = {}

    def look(number: int) -> None:
        index = missing[number]
        try:
            found[index] = _facts(data, index)
        except _Fault as fault:
            faults[index] = fault.args

    if missing:
        for_each(len(missing), look, f"checking images and masks of {title}")
    if faults:
        first, *others = (faults[index] for index in sorted(faults))
        _, got, need = first
        more = more_such("file", [path for path, *_ in others], "that cannot be used")
        raise ArgumentError("data.root", got + more, need)
    if missing:
        _write(file, {image: [stamp, asdict(facts)] for (image, _), stamp, facts in zip(pairs, stamps, found)})
    return found


def more_such(kind: str, paths: Sequence[str], what: str) -> str:
    """Return a bracket that names more files beside the one that an error is about; nothing where there are none.

    Example:
        >>> more_such("mask", ["b.png", "c.png"], "with such values")
        " (and 2 more masks with such values: 'b.png', 'c.png')"
    """
    if not paths:
        return ""
    names = ", ".join(map(repr, paths[: NAMED - 1])) + (", ..." if len(paths) >= NAMED else "")
    return f" (and {len(paths):,} more {kind}{'s' if len(paths) > 1 else ''} {what}: {names})"


class _Fault(Exception):
    """The file, what was got, and what is needed."""


def _facts(data: MaskedImages, index: int) -> Facts:
    path, mask_path = data.name(index), data.mask_name(index)
    (wide, high), turned = _usable(path, lambda: data.look_at_image(index))
    values, palette = _usable(mask_path, lambda: data.read_mask(index))
    height, width = values.shape
    if (wide, high) != (width, height):
        got = f"the mask {mask_path!r} of {width} x {height} pixels"
        raise _Fault(mask_path, got, f"{wide} x {high}, the size of its image {path!r}")
    if turned in MIRRORED_OR_TURNED_ROUND or (turned != 1 and width == height):
        need = "an image that is saved upright: its mask does not tell whether it was drawn before or after that"
        raise _Fault(path, f"{path!r}, which its EXIF turns or mirrors", need)
    there, counts = np.unique(values, return_counts=True) if values.dtype.itemsize > 1 else _histogram(values)
    colours = None if palette is None else {int(v): tuple(palette[3 * v : 3 * v + 3]) for v in there}
    return Facts((width, height), {int(value): int(count) for value, count in zip(there, counts)}, colours)


def _histogram(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    counts = np.asarray(Image.fromarray(values).histogram())
    return np.flatnonzero(counts), counts[counts > 0]


def _usable(path: str, read: Any) -> Any:
    try:
        return read()
    except UnusableImage as error:
        raise _Fault(path, f"{path!r}, {error}", error.need) from error


def _stamp(path: str) -> list[int]:
    status = os.stat(path)
    return [status.st_size, status.st_mtime_ns]


def _file(images: Sequence[str], title: str) -> Path:
    name = hashlib.sha256(f"{title}:{os.path.commonpath(images)}".encode()).hexdigest()[:20]
    folder = load_alone("ops/backends/cache.py", "ops.backends.cache").cache_folder()
    return folder / "masks" / f"{name}.json"


def _read(file: Path) -> dict[str, tuple[list[Any], Facts]]:
    try:
        kept = json.loads(file.read_bytes())
        if kept["format"] != [FORMAT, __version__]:
            return {}
        return {path: (stamp, _from_json(**facts)) for path, (stamp, facts) in kept["pairs"].items()}
    except (OSError, ValueError, KeyError, TypeError):  # nothing is there, or nothing that could be used
        return {}


def _from_json(size: list[int], counts: dict[str, int], colours: dict[str, list[int]] | None) -> Facts:
    by_value = None if colours is None else {int(value): tuple(colour) for value, colour in colours.items()}
    return Facts(tuple(size), {int(value): count for value, count in counts.items()}, by_value)


def _write(file: Path, pairs: dict[str, Any]) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(file) as opened:
            opened.write(json.dumps({"format": [FORMAT, __version__], "pairs": pairs}).encode())
    except OSError as error:
        rank_zero_warn(f"{file} cannot be written, so that every start reads all masks: {error}")
