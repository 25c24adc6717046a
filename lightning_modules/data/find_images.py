"""Which files of a folder are images. Only the standard library is needed."""

import os
from collections import Counter
from pathlib import Path

EXTENSIONS = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
"""The ends of the names of files that are taken for images, in lower or upper case."""


def find_images(folder: Path, left_out: Counter[str]) -> list[str]:
    """Return every image below a folder, sorted, and count other files by extension; what is hidden does not count."""
    found = []
    for parent, folders, files in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            # Archives made on macOS hold a hidden ._NAME.jpg, which is not an image, beside every NAME.jpg.
            if name.startswith("."):
                continue
            extension = os.path.splitext(name)[1].lower()
            if extension in EXTENSIONS:
                found.append(os.path.join(parent, name))
            else:
                left_out[extension or "without extension"] += 1
    return sorted(found)


def describe_left_out(left_out: Counter[str], why: str) -> str:
    """Say how many files were left out, by extension."""
    kinds = ", ".join(f"{count:,} {extension}" for extension, count in sorted(left_out.items()))
    return f"{left_out.total():,} left out, {why}: {kinds}"
