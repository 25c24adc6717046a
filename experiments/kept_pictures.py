"""Pictures that trainings drew, kept beside the records: ``pictures/PAPER/TABLE/ROW/PROTOCOL_NAME.webp``."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from dyc.whole_files import written_whole

FOLDER = "pictures"
"""Their folder, inside that of the records; and that of a run."""

NAMES = ("best_1", "worst_1")
"""The pictures of a run that are kept, see :class:`lightning_modules.callbacks.SegmentationPictures`."""

WIDTH = 1000
"""Pixels: wider pictures are made smaller."""


@dataclass(frozen=True)
class Kept:
    """A picture: its file, the protocol of the training, and which it is, such as ``best``."""

    path: Path
    protocol: str
    name: str


def keep(run: Path, row: str, protocol: str, results: Path) -> list[Path]:
    """Keep the pictures of a run, smaller, and return their files; those of an earlier run stay as they are.

    Args:
        run: The folder of the run, ``.../version_0``.
        row: ``PAPER/TABLE/ROW``.
        protocol: Of the training.
        results: The folder of the records.

    Raises:
        OSError: One cannot be written.
    """
    written = []
    for name in NAMES:
        source = run / FOLDER / f"{name}.png"
        path = results / FOLDER / row / f"{protocol}_{name.partition('_')[0]}.webp"
        if source.is_file() and not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            with Image.open(source) as picture, written_whole(path) as file:
                small = picture.convert("RGB")
                small.thumbnail((WIDTH, WIDTH))
                small.save(file, "WEBP", quality=85)
            written.append(path)
    return written


def kept(row: str, results: Path) -> Iterator[Kept]:
    """Yield the pictures that are kept of a row."""
    for path in sorted((results / FOLDER / row).glob("*.webp")):
        protocol, _, name = path.stem.rpartition("_")
        yield Kept(path, protocol, name)
