"""A tiny data set of images with masks, in folders: squares of three colours on a fourth, which are the classes."""

from pathlib import Path

import numpy as np
from PIL import Image

COLOURS = np.array([[40, 40, 40], [220, 40, 40], [40, 220, 40], [40, 40, 220]], np.uint8)
PALETTE = [[0, 0, 0], [250, 0, 0], [0, 250, 0], [0, 0, 250]]  # other colours than the images have
SIDE = 16
NAMES = ["ground", "red", "green", "loss"]  # a class may be called as a figure is


def write_masked_folder(root: Path, counts: dict[str, int], size: tuple[int, int] = (48, 64)) -> Path:
    """Write ``root/SPLIT/{images,masks}``; the first column of every mask has no class (255), and return ``root``.

    Args:
        root: The folder.
        counts: Images of each split.
        size: Height and width in pixels.
    """
    generator = np.random.default_rng(0)
    for split, count in counts.items():
        for kind in ("images", "masks"):
            (root / split / kind).mkdir(parents=True)
        for number in range(count):
            mask = np.zeros(size, np.uint8)
            for label in (1, 2, 3):
                top, left = generator.integers(0, size[0] - SIDE), generator.integers(0, size[1] - SIDE)
                mask[top : top + SIDE, left : left + SIDE] = label
            image = COLOURS[mask].astype(int) + generator.integers(-20, 20, (*size, 3))
            mask[:, 0] = 255
            Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(root / split / "images" / f"{number}.png")
            Image.fromarray(mask).save(root / split / "masks" / f"{number}.png")
    (root / "classes.txt").write_text("\n".join(NAMES) + "\n")
    return root
