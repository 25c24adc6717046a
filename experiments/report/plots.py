"""The report's pictures: accuracy against size, learning curves with the temperature, times against the image size."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Picture
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from experiments.compare.groups import Group
from experiments.compare.plots import STYLES, draw_curves, look
from experiments.compare.run import Run
from experiments.curves import METRICS, Epoch
from experiments.drawing import COLOURS, PAGE, inline_svg, size_axis, tidy
from experiments.papers.entries import Figure, Row, Table
from experiments.report.measured import All
from experiments.report.numbers import points
from experiments.report.results import measured_of
from experiments.report.sizes import SIZES, size, trained_size
from experiments.report.summary import anchor
from lightning_modules.tasks import TASKS, USUAL, WATCHED

WIDTH = 4.8
"""Inches: the width of a phone, at which letters have their own size."""

LOOKS = {
    "published": ("s", COLOURS[0], "none"),
    "full": ("o", COLOURS[1], "full"),
    "bf16": ("^", COLOURS[3], "full"),
    "quick": ("D", COLOURS[2], "full"),
}
"""Marker, colour and filling of what is printed, and of what was trained by each protocol."""

USUAL_WATCHED = TASKS[USUAL].watched

PROTOCOLS = [each for each in LOOKS if each != "published"]


@dataclass(frozen=True)
class Drawn:
    """A picture; none is drawn of what is only published.

    Args:
        title: What it shows.
        svg: The element of the page.
    """

    title: str
    svg: str


def pictures(table: Table, found: All, epochs: Sequence[Epoch]) -> list[Drawn]:
    """Return the pictures of a table, as far as there is something to draw."""
    drawn = []
    with rc_context({**PAGE, "svg.fonttype": "none", "font.family": "sans-serif"}):
        makers = (_accuracies(table, found), _curves(table, epochs), _times(table, found))
        for title, picture in (each for maker in makers for each in maker):
            name = f"{anchor(table.path)}-{len(drawn)}"
            drawn.append(Drawn(title, inline_svg(picture, name, f"{title}. The numbers are in the table.")))
    return drawn


def _datasets(table: Table) -> Iterator[tuple[str, list[Row]]]:
    """Yield the rows of each data set, since one picture of all would compare what cannot be compared."""
    for dataset in dict.fromkeys(row.dataset for row in table.rows.values()):
        yield dataset, [row for row in table.rows.values() if row.dataset == dataset]


@dataclass(frozen=True)
class _Point:
    row: Row
    label: str
    look: str
    value: float
    spread: float
    sizes: dict[str, float | None]


def _accuracies(table: Table, found: All) -> Iterator[tuple[str, Picture]]:
    for dataset, rows in _datasets(table):
        dots = [dot for row in rows for dot in _dots(row, found)]
        names = [name for name in SIZES if len({dot.sizes[name] for dot in dots} - {None}) > 1]
        if not names or not any(dot.look in PROTOCOLS for dot in dots):
            continue
        picture = Picture(figsize=(WIDTH, 0.7 + 2.5 * len(names)), layout="constrained")
        panels = picture.subplots(len(names), 1, sharey=True, squeeze=False)[:, 0]
        for axes, name in zip(panels, names):
            _scatter(axes, [dot for dot in dots if dot.sizes[name] is not None], name)
        quick = ", quick" if any(dot.look == "quick" for dot in dots) else ""
        used = [each for each in LOOKS if any(dot.look == each for dot in dots)]
        handles = [_marker(each, label=each) for each in used]
        picture.legend(handles=handles, loc="outside upper center", ncols=3, frameon=False, fontsize=9)
        sizes = " and ".join(SIZES[name] for name in reversed(names))
        what = "Accuracy" if dots[0].label.endswith("accuracy") else dots[0].label.replace("mean", "Mean")
        yield f"{what} against {sizes}, {dataset}{quick}", picture


def _dots(row: Row, found: All) -> Iterator[_Point]:
    figure = _trained(row)
    if figure is None:
        return
    label = figure.kind.label.replace("error", "accuracy")
    if figure.value:
        sizes = {name: size(row, name, found) for name in SIZES}
        yield _Point(row, label, "published", _percent(figure, float(figure.value)), 0.0, sizes)
    for each in measured_of(row, figure, found):
        sizes = {name: trained_size(row, name, each, found) for name in SIZES}
        yield _Point(
            row, label, each.protocol, _percent(figure, each.mean), points(figure) * (each.deviation or 0), sizes
        )


def _trained(row: Row) -> Figure | None:
    """Return the first figure of a row that is trained, by which its pictures go."""
    return next((each for each in row.figures.values() if each.kind.how == "train"), None)


def _percent(figure: Figure, value: float) -> float:
    percent = points(figure) * value
    return 100 - percent if figure.kind.smaller_is_better else percent


def _marker(look: str, **others: object) -> Line2D:
    marker, colour, filling = LOOKS[look]
    return Line2D([], [], ls="", marker=marker, color=colour, fillstyle=filling, **others)


def _scatter(axes: Axes, dots: Sequence[_Point], name: str) -> None:
    for dot in dots:
        marker, colour, filling = LOOKS[dot.look]
        axes.errorbar(
            dot.sizes[name], dot.value, dot.spread or None, fmt=marker, color=colour, fillstyle=filling, capsize=3, ms=6
        )
    size_axis(axes, [dot.sizes[name] for dot in dots])
    axes.margins(y=0.15)
    axes.set_xlabel(f"{SIZES[name]} of one image" if name == "macs" else SIZES[name], fontsize=9)
    axes.set_ylabel(f"{dots[0].label}, %", fontsize=9)
    tidy(axes)
    few = len(dots) <= 12
    _write_names(axes, [dot for dot in dots if few or dot.look != "published"], name)


def _write_names(axes: Axes, dots: Sequence[_Point], name: str) -> None:
    """Write the rows' names beside their points; where names would cover each other, one text names all of them."""
    axes.get_xlim(), axes.get_ylim()  # settles the limits, which the places follow
    place = (axes.transData - axes.transAxes).transform
    groups: list[list[tuple[float, float, _Point]]] = []
    for x, y, dot in sorted(((*place((dot.sizes[name], dot.value)), dot) for dot in dots), key=lambda each: each[0]):
        near = (group for group in groups if x - group[-1][0] < 0.08 and abs(y - group[-1][1]) < 0.06)
        group = next(near, None)
        if group is None:
            groups.append(group := [])
        group.append((x, y, dot))
    for group in groups:
        x, _, dot = group[-1]
        text = ", ".join(dict.fromkeys(each.row.name.rpartition("/")[2] for _, _, each in group))
        left = x > 0.8 and len(group) > 1
        (offset, side), anchor = ((-6, "right"), group[0][2]) if left else ((6, "left"), dot)
        at = {"textcoords": "offset points", "xytext": (offset, 3), "ha": side, "fontsize": 7}
        axes.annotate(text, (anchor.sizes[name], anchor.value), **at)


def _curves(table: Table, epochs: Sequence[Epoch]) -> Iterator[tuple[str, Picture]]:
    for dataset, rows in _datasets(table):
        groups = []
        keys = [figure.kind.key for figure in map(_trained, rows) if figure is not None]
        watched = next((key for key in keys if key in WATCHED), USUAL_WATCHED)
        for row in rows:
            own = [each for each in epochs if f"{table.path.partition('/')[0]}/{each.row}" == row.measured_as]
            for protocol in dict.fromkeys(each.protocol for each in own):
                runs = _runs([each for each in own if each.protocol == protocol])
                groups.append(Group(f"{row.name.rpartition('/')[2]}, {protocol}", runs))
        if not groups:
            continue
        known = {name for group in groups for run in group.runs for name in run.curves}
        below = sum(name in known for name in ("attention/temperature", "attention/entropy"))
        picture = Picture(figsize=(WIDTH, 2.8 + below + 0.25 * len(groups)), layout="constrained")
        draw_curves(picture, groups, f"val/{watched}")
        picture.legend(handles=_lines(groups), loc="outside upper center", frameon=False, fontsize=9)
        quick = ", quick" if any(group.name.endswith("quick") for group in groups) else ""
        state = " with the attention's temperature and entropy" if below else ""
        yield f"Learning curves{state}, {dataset}{quick}", picture


def _lines(groups: Sequence[Group]) -> list[Line2D]:
    return [Line2D([], [], ms=4, label=group.name, **look(i)) for i, group in enumerate(groups)]


def _runs(epochs: Sequence[Epoch]) -> list[Run]:
    runs = []
    for seed in dict.fromkeys(each.seed for each in epochs):
        curves: dict[str, dict[int, float]] = {}
        for each in epochs:
            for column, metric in METRICS.items():
                if each.seed == seed and getattr(each, column):
                    curves.setdefault(metric, {})[int(each.epoch)] = float(getattr(each, column))
        runs.append(Run(seed, {"seed_everything": seed}, curves, {}, "finished"))
    return runs


def _times(table: Table, found: All) -> Iterator[tuple[str, Picture]]:
    """Yield the times of one image against its size, of a table that has several sizes."""
    lines: dict[tuple[str, str], list[tuple[int, float]]] = {}
    machines = set()
    for row in table.rows.values():
        for figure in row.measured_by("latency"):
            if figure.value:
                lines.setdefault((row.model, "published"), []).append((row.image_size, float(figure.value)))
            for each in measured_of(row, figure, found):
                machines.add(each.hardware)
                lines.setdefault((row.model, each.hardware), []).append((row.image_size, each.mean))
    sizes = sorted({pixels for line in lines.values() for pixels, _ in line})
    if len(sizes) < 2 or not machines:
        return
    picture = Picture(figsize=(WIDTH, 3.4 + 0.2 * len(lines)), layout="constrained")
    axes = picture.subplots()
    models, places = (list(dict.fromkeys(key[i] for key in lines)) for i in (0, 1))
    for (model, place), line in lines.items():
        drawn = {"color": COLOURS[models.index(model) % len(COLOURS)], "ls": STYLES[(places.index(place) + 1) % 4]}
        marker = {"marker": "s", "fillstyle": "none"} if place == "published" else {"marker": "o"}
        axes.plot(*zip(*sorted(line)), label=f"{model}: {_place(place, machines)}", lw=1.6, ms=5, **drawn, **marker)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.xaxis.set_major_locator(FixedLocator(sizes))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_xlabel("height and width of the image, pixels", fontsize=9)
    axes.set_ylabel("ms", fontsize=9)
    tidy(axes)
    picture.legend(loc="outside upper center", frameon=False, fontsize=8)
    yield f"Time of one image against its size, ours on {' and '.join(sorted(machines))}", picture


def _place(place: str, machines: set[str]) -> str:
    return place if place == "published" or len(machines) > 1 else "ours"
