"""The papers, tables, rows and printed figures of the YAML files in this folder.

A file holds one paper; its name is the paper's name in commands, as in ``dyc run dyc/table1/cifar10/dyc``:

.. code-block:: yaml

    title: Dynamic Channel-wise Convolution
    source: DYC (Jung 2020)           # as published.csv names it
    url: null
    tables:
      table1:
        source: table1_accuracy       # as published.csv names it
        title: Top-1 accuracy on CIFAR-10 and CIFAR-100
        how: train                    # train, count, latency; or none, and then reason says why nothing is run
        recipe: [dyc_report/cifar10_dyc.yaml]    # configuration files of `dyc fit`, in the folder experiments
        rows:
          cifar10/dyc:
            model: DYC-MobileNetV2    # as printed
            dataset: CIFAR10          # as printed
            network: dyc_mobilenetv2_cifar       # timm's name
            arguments: {}             # of the network
            set: {data.dataset: torch/cifar10}   # further options of `dyc fit`
            published:
              top1_accuracy: {value: 0.9308, unit: fraction}   # status: published, unless said otherwise
    claims:
      dyc_beats_dy_cifar100:
        text: DYC is more accurate than DY on CIFAR-100
        better: table1/cifar100/dyc
        than: table1/cifar100/dy
        figure: top1_accuracy

``same_as: TABLE/ROW`` names a row whose run this one shares: papers print one network in several tables.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from ops import unknown_name

HERE = Path(__file__).parent
WAYS = ("train", "count", "latency", "none")
"""How a table is measured here; ``none`` where nothing is run."""


@dataclass(frozen=True)
class Figure:
    """One number that a paper prints.

    Args:
        metric: What it is, as ``published.csv`` names it, such as ``top1_accuracy``.
        value: The number as printed.
        unit: Its unit, such as ``%``, ``fraction``, ``M`` or ``ms``.
        status: ``published`` where the paper's own text was read, ``quoted`` where others quote it, ``derived`` where
            it follows from other numbers.
        spread: Standard deviation as printed, in the same unit; None where none is printed.
        note: What is special about it, such as a misprint.
        options: What measuring needs beside the row, such as the ``convention`` of a count.
    """

    metric: str
    value: str
    unit: str
    status: str = "published"
    spread: str | None = None
    note: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    """One network of a table on one data set: how it is measured, and what is printed about it.

    Args:
        path: ``PAPER/TABLE/ROW``.
        model: The network as printed.
        dataset: The data set as printed.
        figures: The printed figures by metric.
        network: The network's name in timm; None where it cannot be run here.
        arguments: Arguments of the network.
        recipe: Configuration files of ``dyc fit``.
        options: Further options of ``dyc fit``, dotted, such as ``data.dataset``.
        same_as: Path of the row whose runs this one shares.
        note: What is special about it.
    """

    path: str
    model: str
    dataset: str
    figures: Mapping[str, Figure]
    network: str | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    recipe: tuple[Path, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    same_as: str | None = None
    note: str = ""

    @property
    def measured_as(self) -> str:
        """The path under which its measurements are kept."""
        return self.same_as or self.path


@dataclass(frozen=True)
class Table:
    """One table or figure of a paper, ``path`` being ``PAPER/TABLE``.

    Args:
        path: ``PAPER/TABLE``.
        source: Its name in ``published.csv``.
        title: What it shows.
        how: One of :data:`WAYS`.
        rows: Its rows by name.
        reason: Why nothing is run, where ``how`` is ``none``.
        note: What is special about it.
    """

    path: str
    source: str
    title: str
    how: str
    rows: Mapping[str, Row]
    reason: str = ""
    note: str = ""


@dataclass(frozen=True)
class Claim:
    """A sentence of a paper that compares two rows by one figure.

    Args:
        name: Its name.
        text: The sentence.
        better: Path of the row that is better.
        than: Path of the other row.
        figure: The metric.
    """

    name: str
    text: str
    better: str
    than: str
    figure: str


@dataclass(frozen=True)
class Paper:
    """A paper with its tables and claims.

    Args:
        name: Its name in commands.
        source: Its name in ``published.csv``.
        title: Its title.
        url: Where it is; None where it is not on the web.
        tables: Its tables by name.
        claims: Its claims.
    """

    name: str
    source: str
    title: str
    url: str | None
    tables: Mapping[str, Table]
    claims: tuple[Claim, ...]


@cache
def papers() -> dict[str, Paper]:
    """Return every paper by name."""
    return {path.stem: _paper(path.stem, yaml.safe_load(path.read_text())) for path in sorted(HERE.glob("*.yaml"))}


def find(path: str) -> list[Row]:
    """Return the rows of ``PAPER``, ``PAPER/TABLE`` or ``PAPER/TABLE/ROW``; a row's name may be cut at a ``/``.

    Raises:
        ArgumentError: There is no such paper, table or row; names the known ones, close ones first.
    """
    name, _, rest = path.strip("/").partition("/")
    if name not in papers():
        raise unknown_name("paper", name, papers())
    paper, (table, _, row) = papers()[name], rest.partition("/")
    if not table:
        return [row for each in paper.tables.values() for row in each.rows.values()]
    if table not in paper.tables:
        raise unknown_name(f"table of {name}", table, paper.tables)
    rows = paper.tables[table].rows
    found = [each for known, each in rows.items() if not row or known == row or known.startswith(f"{row}/")]
    if not found:
        raise unknown_name(f"row of {name}/{table}", row, rows)
    return found


def table_of(row: Row) -> Table:
    """Return the table that a row is in."""
    name, table, _ = row.path.split("/", 2)
    return papers()[name].tables[table]


def _paper(name: str, content: dict[str, Any]) -> Paper:
    tables = {table: _table(name, f"{name}/{table}", value) for table, value in content["tables"].items()}
    claims = tuple(
        Claim(claim, **{**value, "better": f"{name}/{value['better']}", "than": f"{name}/{value['than']}"})
        for claim, value in content.get("claims", {}).items()
    )
    return Paper(name, content["source"], content["title"], content["url"], tables, claims)


def _table(paper: str, path: str, content: dict[str, Any]) -> Table:
    rest = {key: value for key, value in content.items() if key not in ("rows", "recipe")}
    recipe = content.get("recipe", [])
    rows = {name: _row(paper, f"{path}/{name}", recipe, row) for name, row in content["rows"].items()}
    return Table(path, rows=rows, **rest)


def _row(paper: str, path: str, recipe: list[str], content: dict[str, Any]) -> Row:
    known = {key: content[key] for key in ("model", "dataset", "network", "arguments", "note") if key in content}
    same = content.get("same_as")
    return Row(
        path,
        figures={metric: _figure(metric, value) for metric, value in content["published"].items()},
        recipe=tuple(HERE.parent / each for each in content.get("recipe", recipe)),
        options=content.get("set", {}),
        same_as=None if same is None else f"{paper}/{same}",
        **known,
    )


def _figure(metric: str, content: dict[str, Any]) -> Figure:
    options = {key: value for key, value in content.items() if key not in Figure.__dataclass_fields__}
    given = {key: value for key, value in content.items() if key in Figure.__dataclass_fields__}
    spread = given.pop("spread", None)
    return Figure(
        metric, str(given.pop("value")), spread=None if spread is None else str(spread), options=options, **given
    )
