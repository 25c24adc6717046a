"""What of a picture lies outside it, and would be cut off."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.legend import Legend

EDGE = 0.02
"""Inches that stay free above the headline."""


def cut_off(figure: Figure) -> list[str]:
    """Return the panels with their labels, legends and headlines that reach over the edge of a picture."""
    figure.draw_without_rendering()  # which lays it out
    width, height = (side * figure.dpi for side in figure.get_size_inches())
    drawn = {f"{type(each).__name__} {number}": each for kind in (Axes, Legend) for number, each in
             enumerate(figure.findobj(kind))}  # fmt: skip
    drawn |= {repr(text.get_text()): text for text in figure.texts}
    boxes = {name: each.get_tightbbox() for name, each in drawn.items() if each.get_visible()}
    outside = [
        name
        for name, box in boxes.items()
        if box is not None and (box.x0 < -1 or box.y0 < -1 or box.x1 > width + 1 or box.y1 > height + 1)
    ]
    headlines = [each._suptitle for each in (figure, *figure.findobj(SubFigure)) if each._suptitle is not None]
    for text in headlines:
        box = text.get_window_extent()
        if box.y1 > height - EDGE * figure.dpi or box.x1 > width + 1:
            outside.append(repr(text.get_text()))
    return outside


def smallest_letters(figure: Figure) -> float:
    """Return the size of the smallest text of a picture, in points."""
    from matplotlib.text import Text

    return min(text.get_fontsize() for text in figure.findobj(Text) if text.get_text() and text.get_visible())
