"""Pictures of a benchmark: a dot per shape and their geometric mean, or a dot per network. Imported for ``--plot``."""

import math
from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from dyc.benchmark import STATIC, ModelTiming, Timing, facts_line, means
from lightning_modules.disk import new_file

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")  # told apart by the colour-blind too
GREY = "#555555"


def ticks(low: float, high: float) -> list[float]:
    """Return round ratios between two positive ones, about four to ten of them."""
    span = high / low
    if span > 30:
        steps = (1, 2, 5)
    elif span > 4:
        steps = (1, 1.5, 2, 3, 5, 7)
    elif span > 1.6:
        steps = (1, 1.2, 1.4, 1.6, 1.8, 2, 2.5, 3, 4, 5, 6, 7, 8, 9)
    else:
        step = 0.05 if span > 1.1 else 0.01
        return [round(i * step, 2) for i in range(math.ceil(low / step), math.floor(high / step) + 1)]
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    return [value for d in decades for value in (step * 10.0**d for step in steps) if low <= value <= high]


def _three_digits(value: float) -> str:
    """Return a number to three digits or, from a thousand on, to the unit."""
    return f"{value:.3g}" if value < 999.5 else f"{value:,.0f}"


def _ratio_axis(axis: Axis, low: float, high: float) -> None:
    axis.set_major_locator(FixedLocator(ticks(low, high)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def _save(figure: Figure, path: Path, facts: dict[str, str]) -> None:
    """Write the figure to a new file, with the machine's facts and the command at its foot."""
    foot = f"{facts_line(facts)}\n{facts['command']}"
    figure.text(0.01, 0.008, foot, fontsize=7, color=GREY, va="bottom", wrap=True)
    save_new(figure, path)


def save_new(figure: Figure, path: Path) -> None:
    """Write a figure to a new file, in the format that its name ends with.

    Raises:
        ArgumentError: The file exists or cannot be made.
    """
    with new_file("--plot", path, "xb") as file:
        figure.savefig(file, format=path.suffix[1:], dpi=150)


def plot_shapes(path: Path, timings: Sequence[Timing], facts: dict[str, str]) -> None:
    """Draw the ratios to the static convolution of ``dyc bench ops`` or ``layers``.

    Args:
        path: A new file that ends with .png or .svg.
        timings: All timings.
        facts: The machine's facts and the command.
    """
    columns = list(dict.fromkeys(t.case.layout for t in timings))
    rows = list(dict.fromkeys((t.case.shapes, t.case.direction) for t in timings))
    batches = sorted({t.case.batch for t in timings})
    most = max(len({t.contestant for t in timings if t.case.layout == layout}) for layout in columns)
    size = (1.6 + len(columns) * max(2.8, 0.25 * most * len(batches) + 0.3 * most), 1.4 + 3.2 * len(rows))
    figure = Figure(figsize=size, layout="constrained")
    figure.get_layout_engine().set(rect=(0, 0.62 / size[1], 1, 1 - 0.97 / size[1]))
    panels = figure.subplots(len(rows), len(columns), squeeze=False, sharey="row")
    shown = [t for t in timings if t.contestant != STATIC]
    averages = means(shown)
    for i, (shapes, direction) in enumerate(rows):
        row = [t for t in shown if (t.case.shapes, t.case.direction) == (shapes, direction)]
        values = [t.ratios[STATIC] for t in row]
        low, high = min([*values, 0.9]) / 1.15, max([*values, 1.1]) * 1.15
        for j, layout in enumerate(columns):
            axes = panels[i][j]
            _panel(axes, [t for t in row if t.case.layout == layout], batches, averages)
            axes.set_yscale("log")
            axes.set_ylim(low, high)
            _ratio_axis(axes.yaxis, low, high)
            axes.set_title(f"{shapes}, {layout}, {direction}", fontsize=9, pad=7 + 9 * len(batches))
            if j == 0:
                axes.set_ylabel("time, x static in the same layout", fontsize=9)
    handles = [
        Line2D([], [], color=COLOURS[k % 6], marker="o", ls="", label=f"batch {b}") for k, b in enumerate(batches)
    ]
    handles.append(Line2D([], [], color=GREY, marker="_", markersize=14, mew=2.5, ls="", label="geometric mean"))
    handles.append(Line2D([], [], color="black", ls="--", lw=1, label="static"))
    figure.legend(handles=handles, loc="upper center", ncols=len(handles), frameon=False, fontsize=9)
    _save(figure, path, facts)


def _panel(axes: Axes, timings: Sequence[Timing], batches: Sequence[int], averages: dict) -> None:
    names = list(dict.fromkeys(t.contestant for t in timings))
    axes.axhline(1, color="black", ls="--", lw=1, zorder=1)
    width = 0.8 / len(batches)
    for k, batch in enumerate(batches):
        colour = COLOURS[k % len(COLOURS)]
        for x, name in enumerate(names):
            mine = [t for t in timings if t.contestant == name and t.case.batch == batch]
            if not mine:
                continue
            middle = x + (k - (len(batches) - 1) / 2) * width
            spread = [middle + width * 0.55 * ((n + 0.5) / len(mine) - 0.5) for n in range(len(mine))]
            axes.scatter(spread, [t.ratios[STATIC] for t in mine], s=13, color=colour, alpha=0.55, lw=0, zorder=2)
            case = mine[0].case
            mean = averages[(case.shapes, case.layout, case.batch, case.direction, name)][STATIC]
            axes.hlines(mean, middle - 0.4 * width, middle + 0.4 * width, color=colour, lw=2.5, zorder=3)
            above = {"xytext": (0, 4 + 9 * (len(batches) - 1 - k)), "textcoords": "offset points"}
            axes.annotate(
                f"{mean:.2f}",
                (x, 1),
                xycoords=("data", "axes fraction"),
                **above,
                ha="center",
                fontsize=7.5,
                color=colour,
            )
    axes.set_xticks(range(len(names)), [name.replace(" ", "\n") for name in names], fontsize=8)
    axes.set_xlim(-0.55, len(names) - 0.45)
    axes.tick_params(axis="y", labelsize=8)
    axes.grid(axis="y", color="#dddddd", lw=0.6, zorder=0)
    axes.set_axisbelow(True)


def plot_models(path: Path, timings: Sequence[Sequence[ModelTiming]], facts: dict[str, str]) -> None:
    """Draw the ratios to the baseline of ``dyc bench models``, time on the left and memory on the right.

    Args:
        path: A new file that ends with .png or .svg.
        timings: The timings of every case.
        facts: The machine's facts and the command.
    """
    heights = [0.9 + 0.36 * len(group) for group in timings]
    size = (11, 1.4 + sum(heights))
    figure = Figure(figsize=size, layout="constrained")
    figure.get_layout_engine().set(rect=(0, 0.62 / size[1], 1, 1 - 0.97 / size[1]))
    panels = figure.subplots(len(timings), 2, squeeze=False, sharey="row", height_ratios=heights)
    for (left, right), group in zip(panels, timings):
        base = group[0]
        spreads = [(t.p20_ms / base.median_ms, t.ratios["time"], t.p80_ms / base.median_ms) for t in group]
        floors = [t.ratios.get("floor") for t in group]
        _row_of_models(left, spreads, floors, [f"{_three_digits(t.median_ms)} ms" for t in group], COLOURS[0])
        memory = [(t.ratios["memory"],) * 3 for t in group]
        _row_of_models(
            right, memory, [None] * len(group), [f"{_three_digits(t.peak_mib)} MiB" for t in group], COLOURS[1]
        )
        left.set_yticks(range(len(group)), [t.contestant for t in group], fontsize=8)
        left.set_ylim(len(group) - 0.5, -0.5)
        left.set_title(f"{base.case}: time", fontsize=9, loc="left")
        right.set_title("peak memory", fontsize=9, loc="left")
    for axes in panels[-1]:
        axes.set_xlabel(f"x {timings[0][0].contestant}", fontsize=9)
    handles = [
        Line2D([], [], color=COLOURS[0], marker="o", lw=2, label="median, p20 to p80"),
        Line2D([], [], color=COLOURS[1], marker="o", ls="", label="peak of a call"),
        Line2D([], [], color="black", ls="--", lw=1, label="baseline"),
    ]
    if any("floor" in t.ratios for group in timings for t in group):
        label = "floor: baseline + reading the attention"
        handles.insert(1, Line2D([], [], color=COLOURS[2], marker="|", markersize=11, mew=2.5, ls="", label=label))
    figure.legend(handles=handles, loc="upper center", ncols=len(handles), frameon=False, fontsize=9)
    _save(figure, path, facts)


def _row_of_models(
    axes: Axes,
    spreads: Sequence[tuple[float, float, float]],
    floors: Sequence[float | None],
    labels: Sequence[str],
    colour: str,
) -> None:
    """Draw one panel of networks: (p20, median, p80) as ratios, the floor where there is one, and a label on each."""
    edge = [value for spread in spreads for value in spread] + [floor for floor in floors if floor]
    low, high = min(edge) / 1.03, max(edge)
    high *= max(high / low, 1.15) ** 0.5  # room for the labels
    axes.axvline(1, color="black", ls="--", lw=1, zorder=1)
    for y, ((p20, median, p80), floor, label) in enumerate(zip(spreads, floors, labels)):
        axes.plot([p20, p80], [y, y], color=colour, lw=2, alpha=0.5, zorder=2)
        axes.plot([median], [y], color=colour, marker="o", ms=6, zorder=3)
        if floor:
            axes.plot([floor], [y], color=COLOURS[2], marker="|", ms=12, mew=2.5, zorder=3)
        right = max(p80, floor or 0.0)
        axes.annotate(
            f"{median:.2f}  ({label})", (right, y), xytext=(7, 0), textcoords="offset points", va="center", fontsize=8
        )
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    _ratio_axis(axes.xaxis, low, high)
    axes.tick_params(axis="x", labelsize=8)
    axes.grid(axis="x", color="#dddddd", lw=0.6, zorder=0)
    axes.set_axisbelow(True)
