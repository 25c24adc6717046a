"""Which images a command line names: folders, files, lists of paths."""

import os
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from lightning_modules.data.find_images import EXTENSIONS, describe_left_out, find_images
from lightning_modules.errors import ArgumentError

STDIN, LIST = "-", ".txt"


def named_images(places: Sequence[str]) -> list[str]:
    """Return the paths of all images, in the order given, and sorted inside folders.

    What is no folder and no list is taken for an image, whatever its name and whether or not it exists: reading it
    tells.

    Args:
        places: Folders, images, lists (``.txt``) with a path per line, and ``-`` for a list on stdin. The lists hold
            images and folders, relative to the current folder.

    Raises:
        ArgumentError: A folder has no images, a list cannot be read or is empty, or there are no places.
    """
    found: list[str] = []
    for place in places:
        if place == STDIN:
            found += _listed(sys.stdin.buffer.read(), "stdin")
        elif place.lower().endswith(LIST):
            found += _listed(_content(place), repr(place))
        else:
            found += _images(place)
    return found


def _content(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ArgumentError("images", f"the list {path!r} ({error.strerror})", "a text file of paths") from error


def _listed(content: bytes, place: str) -> list[str]:
    """Return the images of a list, whose paths end with a new line, or with NUL as by ``find -print0``."""
    lines = content.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").split(b"\0" if b"\0" in content else b"\n")
    paths = [os.fsdecode(line) for line in lines if line.strip()]
    if not paths:
        raise ArgumentError("images", f"an empty list ({place})", "a path in each line")
    return [image for path in paths for image in _images(path)]


def _images(place: str) -> list[str]:
    if not os.path.isdir(place):
        return [place]
    left_out: Counter[str] = Counter()
    found = find_images(Path(place), left_out)
    why = "not images by their extension"
    if not found:
        others = f" ({describe_left_out(left_out, why)})" if left_out else ""
        need = f"a folder with images: files that end with {', '.join(EXTENSIONS)}"
        raise ArgumentError("images", f"{place!r} without images{others}", need)
    if left_out:
        print(f"{place}: {describe_left_out(left_out, why)}", file=sys.stderr)
    return found
