"""A segmented image as a picture: image, truth, prediction and error side by side, with the names of the colours."""

from collections.abc import Sequence
from io import BytesIO

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from PIL import Image
from torch import Tensor

from lightning_modules.data.segmentation.palette import VOID, WHITE, Colour

COLOURS: tuple[Colour, ...] = tuple(
    tuple(round(255 * value) for value in colour) for name in ("tab20", "tab20b") for colour in colormaps[name].colors
)
"""Colours of the classes where the data has none; they begin again after forty classes."""

WRONG: Colour = (213, 94, 0)
"""The colour of wrong pixels, which stands out for colour-blind eyes too."""


def draw_row(
    image: Tensor, truth: Tensor, predicted: Tensor, names: Sequence[str], palette: Sequence[Colour], title: str
) -> Image.Image:
    """Return image, truth, prediction and error side by side.

    Args:
        image: Pixels ``(H, W, 3)``, uint8.
        truth: Classes ``(H, W)``, uint8; 255 for pixels without one, which are white.
        predicted: Classes ``(H, W)``.
        names: Of the classes.
        palette: Their colours: red, green and blue from 0 to 255.
        title: What stands above.
    """
    pixels, mask, guess = (each.numpy() for each in (image, truth, predicted))
    colours = np.full((256, 3), WHITE, np.uint8)
    colours[: len(names)] = [palette[k % len(palette)] for k in range(len(names))]
    void, wrong = mask == VOID, (mask != guess) & (mask != VOID)
    panels = {
        "image": pixels,
        "truth": colours[mask],
        "prediction": colours[guess],
        f"error ({wrong.sum() / max(1, (~void).sum()):.1%} of pixels)": _error(pixels, wrong, void),
    }
    height, width = mask.shape
    shown = [k for k in np.union1d(mask, guess) if k < len(names)]
    rows = -(-(len(shown) + 2) // 8)
    figure = Figure(figsize=(11, 11 / 4 * height / width + 0.55 + 0.22 * rows), layout="constrained")
    figure.suptitle(title, fontsize=10)
    for axes, (name, panel) in zip(figure.subplots(1, 4), panels.items()):
        axes.imshow(panel, interpolation="nearest")
        axes.set_title(name, fontsize=9)
        axes.set_axis_off()
    patches = [Patch(facecolor=colours[k] / 255, edgecolor="grey", label=names[k]) for k in shown]
    patches.append(Patch(facecolor="white", edgecolor="grey", label="(no class)"))
    patches.append(Patch(facecolor=np.array(WRONG) / 255, edgecolor="grey", label="(wrong)"))
    figure.legend(handles=patches, loc="outside lower center", ncols=8, fontsize=8, frameon=False)
    file = BytesIO()
    figure.savefig(file, format="png", dpi=110)
    return Image.open(file)


def _error(pixels: np.ndarray, wrong: np.ndarray, void: np.ndarray) -> np.ndarray:
    """Return the image, pale and grey, with the wrong pixels in colour and those without a class white."""
    grey = 128 + pixels.mean(2, keepdims=True).astype(np.uint8) // 2
    shown = np.repeat(grey, 3, 2)
    shown[wrong] = WRONG
    shown[void] = WHITE
    return shown
