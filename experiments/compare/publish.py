"""A report of W&B about runs that are in W&B: the table, and charts that its readers can turn and filter."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from experiments.compare.groups import Group, Summary
from experiments.compare.plots import colour, curve_metric
from experiments.compare.table import markdown_page
from ops import ArgumentError

if TYPE_CHECKING:
    from wandb_workspaces.reports.v2 import Report

WIDTH, HEIGHT = 12, 8
"""Of a chart, in W&B's units: a report is 24 wide."""


def build(
    path: str, groups: Sequence[Group], summaries: Sequence[Summary], metric: str, found: Mapping[str, Sequence[str]]
) -> "Report":
    """Return the report, which is not saved: this needs no network.

    Args:
        path: ``ENTITY/PROJECT``.
        groups: What is compared; each is a run set of the report, in the colour that the pictures give it.
        summaries: Their figures.
        metric: The metric that is compared.
        found: The settings that differ.

    Raises:
        ArgumentError: The package wandb-workspaces is not installed.
    """
    try:
        import wandb_workspaces.expr as expr
        import wandb_workspaces.reports.v2 as reports
    except ImportError as error:
        sentence = "needs the package wandb-workspaces; run: pip install 'dyc[report]'"
        raise ArgumentError("--publish", sentence=sentence) from error
    entity, project = path.split("/")
    runsets = [
        reports.Runset(
            entity=entity,
            project=project,
            name=group.name,
            filters=expr.And(expr.Metric("ID").isin([run.key for run in group.runs])),
            run_settings={run.key: reports.RunSettings(color=colour(index)) for run in group.runs},
        )
        for index, group in enumerate(groups)
    ]
    known = sorted({name for group in groups for run in group.runs for name in run.curves})
    layers = entropies(known)
    lines = [
        (title, names)
        for title, names in (
            ("learning curves", [curve_metric(groups, metric)]),
            ("training loss", ["train/loss"]),
            ("attention: temperature", ["attention/temperature"]),
            ("attention: entropy, mean of the layers", ["attention/entropy"]),
            *((f"attention: entropy, {part}", names) for part, names in layers.items()),
        )
        if set(names) & set(known)
    ]
    panels = [reports.LinePlot(title=title, x="epoch", y=names, max_runs_to_show=100) for title, names in lines]
    for title, setting in (("MACs", "macs"), ("parameters", "parameters")):
        x, y = reports.Config(setting), reports.SummaryMetric(metric)
        panels.append(reports.ScatterPlot(title=f"{metric} against {title}", x=x, y=y, log_x=True))
    for index, panel in enumerate(panels):
        panel.layout = reports.Layout(x=WIDTH * (index % 2), y=HEIGHT * (index // 2), w=WIDTH, h=HEIGHT)
    title = f"{metric}: {', '.join(group.name for group in groups)}"
    return reports.Report(
        entity=entity,
        project=project,
        title=title if len(title) <= 128 else f"{title[:127]}…",
        width="fluid",
        blocks=[
            reports.MarkdownBlock(markdown_page(summaries, metric, found, [])),
            reports.PanelGrid(runsets=runsets, panels=panels),
        ],
    )


def entropies(names: Sequence[str]) -> dict[str, list[str]]:
    """Return the metrics of the attention's entropy in each layer, by the part of the network that the layer is in.

    Example:
        >>> entropies(["attention/entropy", "attention/entropy/layer1.0.conv1", "attention/entropy/layer1.0.conv2"])
        {'layer1': ['attention/entropy/layer1.0.conv1', 'attention/entropy/layer1.0.conv2']}
    """
    found: dict[str, list[str]] = {}
    for name in names:
        _, _, layer = name.partition("attention/entropy/")
        if layer:
            found.setdefault(layer.partition(".")[0], []).append(name)
    return found


def publish(
    path: str, groups: Sequence[Group], summaries: Sequence[Summary], metric: str, found: Mapping[str, Sequence[str]]
) -> str:
    """Save the report in W&B and return its address; arguments as for :func:`build`.

    Raises:
        ArgumentError: The package is not installed, or W&B refuses the report or cannot be reached.
    """
    report = build(path, groups, summaries, metric, found)
    try:
        report.save()
    except Exception as error:  # the package raises W&B's errors, those of requests, and plain exceptions
        reason = " ".join(str(error).split()) or type(error).__name__
        sentence = f"the report was not saved ({reason}); check the key and the network, and that you may write there"
        raise ArgumentError("--publish", sentence=sentence) from error
    return report.url
