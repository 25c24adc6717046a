"""Where an analysis goes: a new folder with tables as CSV and pictures as SVG and PNG, written whole or not at all."""

import csv
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure

from dyc.whole_files import folder_written_whole
from experiments.drawing import GREY, INK
from ops import ArgumentError

ROOT = Path("analyses")
"""Where folders are made unless another is named."""

COLUMN = 3.35
"""Inches: the width of a column of a paper."""

STYLE = {
    "font.size": 7, "axes.titlesize": 7.5, "axes.labelsize": 7, "xtick.labelsize": 6.5, "ytick.labelsize": 6.5,
    "legend.fontsize": 6.5, "legend.frameon": False, "axes.titlelocation": "left", "lines.linewidth": 1.2,
    "axes.linewidth": 0.6, "xtick.major.width": 0.6, "ytick.major.width": 0.6, "svg.hashsalt": "dyc",
    "axes.edgecolor": GREY, "image.cmap": "cividis", "text.color": INK,
}  # fmt: skip
"""How pictures look: letters of seven points at the width of a column."""


def new_folder(given: Path | None, analysis: str) -> Path:
    """Return the folder to write, which does not exist or is empty.

    Raises:
        ArgumentError: The named one has something in it, or cannot be a folder.
    """
    if given is None:
        taken = [path.name.removeprefix("version_") for path in (ROOT / analysis).glob("version_*")]
        return ROOT / analysis / f"version_{max((int(n) for n in taken if n.isdigit()), default=-1) + 1}"
    if given.exists() and (not given.is_dir() or any(given.iterdir())):
        what = "which has files in it" if given.is_dir() else "which is a file"
        raise ArgumentError("--output", f"{str(given)!r}, {what}", "a folder that does not exist yet")
    return given


@contextmanager
def written(folder: Path) -> Iterator["Output"]:
    """Yield what takes tables and pictures; they are in the folder at the end, and after a failure nothing is.

    Args:
        folder: As :func:`new_folder` returns it.
    """
    with folder_written_whole(folder) as unfinished, rc_context(STYLE):
        yield Output(unfinished)


class Output:
    """Takes tables and pictures.

    Args:
        folder: Where to.
    """

    def __init__(self, folder: Path):
        self.folder, self.names = folder, []

    def table(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write ``NAME.csv``, floats with six figures.

        Args:
            name: The file's name.
            rows: Values by column; all rows have the columns of the first.
        """
        with (self.folder / f"{name}.csv").open("x", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows({key: _number(value) for key, value in row.items()} for row in rows)
        self.names.append(f"{name}.csv")

    def picture(self, name: str, figure: Figure) -> None:
        """Write ``NAME.svg`` and ``NAME.png``."""
        figure.savefig(self.folder / f"{name}.svg", metadata={"Date": None})
        figure.savefig(self.folder / f"{name}.png", dpi=300)
        self.names += [f"{name}.svg", f"{name}.png"]


def headline(figure: Figure, text: str) -> None:
    """Put what is seen above a picture, in lines that fit its width."""
    width = int(figure.get_figwidth() * 16.5)  # letters of the headline's size
    figure.suptitle("\n".join(textwrap.wrap(text, width)), fontsize=7.5, x=0.01, ha="left")


def legend_columns(labels: Iterable[str], most: int = 3) -> int:
    """Return how many columns of a legend fit into the width of a column of a paper."""
    widest = 0.45 + 0.056 * max(map(len, labels))  # a line and letters of the legend's size, in inches
    return max(1, min(most, int(COLUMN / widest)))


def _number(value: Any) -> Any:
    return f"{value:.6g}" if isinstance(value, float) else value
