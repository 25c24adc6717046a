"""What a paper consists of: tables, rows, printed figures and claims."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from experiments.papers.metrics import METRICS, WAYS, Metric
from experiments.papers.observations import Analysis, Observation


@dataclass(frozen=True)
class Figure:
    """One number that a paper prints.

    Args:
        metric: What it is, as ``published.csv`` names it, such as ``top1_accuracy``.
        value: The number as printed; empty where the status is ``ours``.
        unit: Its unit, such as ``%``, ``fraction``, ``M`` or ``ms``.
        status: ``published`` where the paper's own text was read, ``quoted`` where others quote it, ``derived`` where
            it follows from other numbers; ``ours`` where the paper prints none, and the row is a question of our own.
        spread: Standard deviation as printed, in the same unit; None where none is printed.
        note: What is special about it, such as a misprint.
        reason: Why it is not measured here; empty where it is.
        model: The network as printed, where this figure names it in another way than its row.
        dataset: The data set as printed, in the same case.
        options: What measuring needs beside the row: ``convention``, ``classifier``, ``binary``,
            ``operations_per_mac``, ``ratio``, ``difference``.
    """

    metric: str
    value: str
    unit: str
    status: str = "published"
    spread: str | None = None
    note: str = ""
    reason: str = ""
    model: str | None = None
    dataset: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def kind(self) -> Metric:
        """What the metric is."""
        return METRICS[self.metric]

    @property
    def how(self) -> str:
        """How it is measured, one of :data:`WAYS`; ``"none"`` where there is a reason not to."""
        return "none" if self.reason else self.kind.how


@dataclass(frozen=True)
class Shortened:
    """What the quick protocol changes about a row, beside what it changes about every row.

    Args:
        arguments: Arguments of the network, added to those of the row.
        options: Options of ``dyc fit``, added to those of the row.
        note: What is measured then, where it is not what the paper measured.
    """

    arguments: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True)
class Row:
    """One network of a table on one data set: how it is measured, and what is printed about it.

    Args:
        path: ``PAPER/TABLE/ROW``.
        model: The network as printed.
        dataset: The data set as printed.
        figures: The printed figures by metric.
        network: The network's name in timm; None where no network is run.
        arguments: Arguments of the network.
        segmentation: Where the network is the backbone of one that classifies every pixel: arguments of
            :func:`dyc.segmentation.create_segmentation`.
        recipe: Configuration files of ``dyc fit``, the later ones laid over the earlier ones.
        options: Further options of ``dyc fit``, dotted, such as ``data.dataset``.
        image_size: Height and width of the images that are counted or timed, one number where they are the same; None
            for the network's own.
        num_classes: Outputs of the classifier that is counted or timed; None for the network's own.
        benchmark: What timing needs beside these: ``batch_size``; ``backend``; for a single layer, ``layer``
            (``static``, ``dy`` or ``dyc``), ``channels``, ``kernel_size`` and ``stride``.
        quick: What the quick protocol changes about it.
        same_as: Path of the row whose network and runs this one shares.
        note: What is special about it.
    """

    path: str
    model: str
    dataset: str
    figures: Mapping[str, Figure]
    network: str | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    segmentation: Mapping[str, Any] = field(default_factory=dict)
    recipe: tuple[Path, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    image_size: int | tuple[int, int] | None = None
    num_classes: int | None = None
    benchmark: Mapping[str, Any] = field(default_factory=dict)
    quick: Shortened = Shortened()
    same_as: str | None = None
    note: str = ""

    @property
    def name(self) -> str:
        """Its name in the table."""
        return self.path.split("/", 2)[2]

    @property
    def measured_as(self) -> str:
        """The path under which its measurements are kept."""
        return self.same_as or self.path

    def measured_by(self, how: str) -> list[Figure]:
        """Return the figures that are measured in one of :data:`WAYS`, such as ``"train"``."""
        return [figure for figure in self.figures.values() if figure.how == how]


@dataclass(frozen=True)
class Table:
    """One table or figure of a paper.

    Args:
        path: ``PAPER/TABLE``.
        source: Its name in ``published.csv``; None where the paper has no such table, and its figures are ``ours``.
        title: What it shows.
        rows: Its rows by name.
        note: What is special about it.
    """

    path: str
    source: str | None
    title: str
    rows: Mapping[str, Row]
    note: str = ""

    @property
    def ways(self) -> tuple[str, ...]:
        """The ways in which its figures are measured, in the order of :data:`WAYS`."""
        found = {figure.how for row in self.rows.values() for figure in row.figures.values()}
        return tuple(how for how in WAYS if how in found)


@dataclass(frozen=True)
class Claim:
    """A sentence of a paper that compares two rows by one figure.

    Args:
        name: Its name.
        text: The sentence.
        better: Path of the row that is better.
        than: Path of the other row.
        figure: The metric.
        factor: How much better: the first value is compared with the second one times this.
        note: What is special about it.
    """

    name: str
    text: str
    better: str
    than: str
    figure: str
    factor: float = 1.0
    note: str = ""

    def holds(self, better: float, than: float) -> bool:
        """Return whether the sentence is right for these values of the two rows."""
        limit = than * self.factor
        return better < limit if METRICS[self.figure].smaller_is_better else better > limit


@dataclass(frozen=True)
class Paper:
    """A paper with its tables and claims; or comparisons of our own, without a source, whose figures are ``ours``.

    Args:
        name: Its name in commands.
        source: Its name in ``published.csv``; None for comparisons of our own.
        title: Its title.
        url: Where it is; None where it is not on the web.
        tables: Its tables by name.
        claims: Its claims.
        analyses: By what its observations are looked for, by name.
        observations: What it observes inside networks.
    """

    name: str
    source: str | None
    title: str
    url: str | None
    tables: Mapping[str, Table]
    claims: tuple[Claim, ...]
    analyses: Mapping[str, Analysis] = field(default_factory=dict)
    observations: tuple[Observation, ...] = ()
