"""How the YAML file of a paper is read. Its name is the paper's name in commands, as in ``dyc run dyc/table1``.

.. code-block:: yaml

    title: Dynamic Channel-wise Convolution
    source: DYC (Jung 2020)              # as published.csv names it; null for comparisons of our own
    url: null
    datasets:                            # what all rows of a data set have in common, by its printed name
      CIFAR10:
        recipe: [dyc_report/cifar10.yaml]    # configuration files of `dyc fit`, in the folder experiments
        set: {data.download: true}           # further options of `dyc fit`
        arguments: {stem_stride: 1}          # of the networks
        image_size: 32                       # where they are counted or timed, or [180, 240]; and num_classes
        benchmark: {batch_size: 1}           # where they are timed
        quick: {arguments: {stage2_stride: 2}, note: ...}    # what `--protocol quick` changes: arguments, set
    tables:
      table1:
        source: table1_accuracy          # as published.csv names it
        title: Top-1 accuracy
        status: quoted                   # of its figures; published unless said otherwise; ours, with source: null
        reason: needs ...                # why nothing of it is measured; left out where it is
        metrics:                         # what all figures of a metric have in common
          top1_accuracy: {unit: fraction}
          macs: {unit: G, convention: macs}
        rows:
          cifar10/dyc:
            model: DYC-MobileNetV2       # as printed
            dataset: CIFAR10             # as printed
            network: dyc_mobilenetv2_cifar   # its name in timm
            published: {top1_accuracy: '0.9308', macs: {value: '0.1', note: a misprint}}
    claims:
      dyc_beats_dy_cifar100:
        text: DYC is more accurate than DY on CIFAR-100.
        better: table1/cifar100/dyc
        than: table1/cifar100/dy
        figure: top1_accuracy
        factor: 0.5                      # for "takes less than half the time"; 1 unless said otherwise
    analyses: ...                        # and observations: experiments/papers/observations.py says how

Numbers are quoted, so that they keep the digits that are printed. How a figure is measured follows from its metric
(``metrics.py``). A row can repeat each key of its data set: ``recipe``, ``image_size`` and ``num_classes`` replace it,
``set``, ``arguments``, ``segmentation``, ``benchmark`` and ``quick`` are added to it, and ``over:
[selectconv/selective.yaml]`` lists files that are laid over the recipe. ``same_as: TABLE/ROW`` stands in place of all
of these, where papers print one network in several tables: the row has that row's network and shares its runs.
``reason`` may stand in a table, a row or a figure.

A figure may be a mapping with ``value``, ``spread``, ``note``, ``status``, ``reason``; ``model`` and ``dataset``, if it
is printed with other names than its row; and what measuring needs: for counts ``convention`` (see
``dyc/counting/conventions.py``; left out for parameters), ``classifier: false`` if that is not counted,
``binary: true`` if M means 2^20, ``operations_per_mac: 2``; for figures that follow from others, ``ratio: [ROW, ROW]``
or ``difference: [ROW, ROW]``, the first by (or minus) the second, and ``of``, the metric of those rows.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from experiments.papers.entries import Claim, Figure, Paper, Row, Shortened, Table
from experiments.papers.observations import read_analyses, read_observations

Content = Mapping[str, Any]

FILES = Path(__file__).parents[1]
"""The folder that recipes are named from."""

REPLACED, ADDED = ("recipe", "image_size", "num_classes"), ("set", "arguments", "segmentation", "benchmark", "quick")
MEASURED = ("network", "over", *REPLACED, *ADDED)
"""What says how a row is measured."""

FOLLOWS = ("ratio", "difference")
PRINTED = ("spread", "note", "status", "reason", "model", "dataset")


def read_paper(path: Path) -> Paper:
    """Read the file of one paper."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    content = yaml.load(path.read_text(encoding="utf-8"), loader)
    name = path.stem
    reader = _Reader(name, content.get("datasets", {}), content["tables"])
    claims = (_claim(name, claim, each) for claim, each in content.get("claims", {}).items())
    tables = {table: reader.table(table) for table in content["tables"]}
    analyses = read_analyses(content)
    observations = read_observations(name, content, analyses)
    return Paper(
        name, content["source"], content["title"], content["url"], tables, tuple(claims), analyses, tuple(observations)
    )


def _claim(paper: str, name: str, content: Content) -> Claim:
    return Claim(name, **{**content, "better": f"{paper}/{content['better']}", "than": f"{paper}/{content['than']}"})


class _Reader:
    def __init__(self, paper: str, datasets: Mapping[str, Content], tables: Mapping[str, Content]):
        self.paper, self.datasets, self.tables = paper, datasets, tables

    def table(self, name: str) -> Table:
        content = self.tables[name]
        rest = {key: content[key] for key in content if key not in ("rows", "metrics", "status", "reason")}
        rows = {row: self._row(name, row) for row in content["rows"]}
        return Table(f"{self.paper}/{name}", rows=rows, **rest)

    def _row(self, table: str, name: str) -> Row:
        content = dict(self.tables[table]["rows"][name])
        same = content.pop("same_as", None)
        own = dict(content)
        if same is not None:
            if set(content) & set(MEASURED):
                raise ValueError(f"{self.paper}/{table}/{name} is measured as {same} and cannot differ from it")
            other, _, row = same.partition("/")
            own = self.tables[other]["rows"][row]
        printed = {key: content.pop(key) for key in ("model", "dataset", "note") if key in content}
        published, reason = content.pop("published"), content.pop("reason", "")
        figures = {metric: self._figure(table, metric, each, reason) for metric, each in published.items()}
        known = self._measured(own)
        if set(content) - set(MEASURED):
            raise ValueError(f"{self.paper}/{table}/{name}: unknown {sorted(set(content) - set(MEASURED))}")
        return Row(
            f"{self.paper}/{table}/{name}",
            figures=figures,
            same_as=None if same is None else f"{self.paper}/{same}",
            **known,
            **printed,
        )

    def _measured(self, row: Content) -> dict[str, Any]:
        """Return the arguments of :class:`Row` that say how it is measured."""
        common = self.datasets.get(row["dataset"], {})
        replaced = {key: row.get(key, common.get(key)) for key in REPLACED}
        if isinstance(replaced["image_size"], list):
            replaced["image_size"] = tuple(replaced["image_size"])
        added = {key: {**common.get(key, {}), **row.get(key, {})} for key in ADDED}
        files = [*(replaced.pop("recipe") or ()), *row.get("over", ())]
        recipe, options = tuple(FILES / file for file in files), added.pop("set")
        quick = added.pop("quick")
        if set(quick) - {"arguments", "set", "note"}:
            raise ValueError(f"{self.paper}: quick takes arguments, set and note, not {sorted(quick)}")
        added["quick"] = Shortened(quick.get("arguments", {}), quick.get("set", {}), quick.get("note", ""))
        return {"network": row.get("network"), "recipe": recipe, "options": options, **replaced, **added}

    def _figure(self, table: str, metric: str, content: str | Content, reason: str) -> Figure:
        content = content if isinstance(content, Mapping) else {"value": content}
        common = self.tables[table]
        given = {"reason": reason or common.get("reason", ""), "status": common.get("status", "published")}
        given |= {**common.get("metrics", {}).get(metric, {}), **content}
        value, unit = given.pop("value"), given.pop("unit")
        printed = {key: given.pop(key) for key in PRINTED if key in given}
        given |= {key: tuple(f"{self.paper}/{row}" for row in given[key]) for key in FOLLOWS if key in given}
        if not isinstance(value, str) or not isinstance(printed.get("spread", ""), str):
            raise ValueError(f"{self.paper}/{table}: {metric} {content} must be quoted, to keep its digits")
        return Figure(metric, value, unit, options=given, **printed)
