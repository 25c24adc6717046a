"""What all pictures of experiments have in common: their look, axes of sizes, and the way into a page."""

import io
import re
from collections.abc import Sequence
from html import escape

import matplotlib

matplotlib.use("Agg")

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from lightning_modules.cli.bench.plots import COLOURS, GREY, save_new

__all__ = ["COLOURS", "GREY", "PAGE", "inline_svg", "save_new", "short_count", "size_axis", "tidy"]

INK = "#010203"  # of text and axes, so that a page can put the colour of its own text in its place
PAGE = {
    "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": INK, "xtick.color": INK, "ytick.color": INK,
    "svg.hashsalt": "dyc",
}  # fmt: skip


def inline_svg(figure: Figure, name: str, label: str = "") -> str:
    """Return a picture as an element of a page, in the colour of its text and on its background.

    Args:
        figure: Drawn with the settings :data:`PAGE`.
        name: Another one for each picture of the page.
        label: What is read out in place of the picture.
    """
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    svg = text[text.index("<svg") :].replace(INK, "currentColor")
    # Two pictures of one page must not share the names of their parts.
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r"url\(#", f"url(#{name}-", svg)
    svg = re.sub(r'xlink:href="#', f'xlink:href="#{name}-', svg)
    return svg.replace("<svg", f'<svg role="img" aria-label="{escape(label)}"', 1) if label else svg


def size_axis(axes: Axes, sizes: Sequence[float]) -> None:
    """Make the x axis one of sizes, such as MACs: logarithmic, and with few, round numbers."""
    if not sizes:
        axes.set_xticks([])
        return
    low, high = min(sizes), max(sizes)
    margin = max((high / low) ** 0.15, 1.1)
    axes.set_xscale("log")
    axes.set_xlim(low / margin, high * margin)
    between = (1,) if high / low > 1000 else (1, 2, 5)  # more would lie on each other
    axes.xaxis.set_major_locator(LogLocator(subs=between) if high / low > 4 else MaxNLocator(5))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short_count(value)))


def short_count(value: float) -> str:
    """Return a count with its unit.

    Example:
        >>> short_count(4_025_280), short_count(2_500_000_000), short_count(900)
        ('4.03M', '2.5G', '900')
    """
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"


def tidy(axes: Axes) -> None:
    """Leave what helps to read: small numbers, a light grid, two spines."""
    axes.tick_params(labelsize=8)
    axes.grid(color="#888888", alpha=0.25, lw=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
