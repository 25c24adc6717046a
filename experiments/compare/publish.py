"""A report of W&B about runs that are in W&B: the table, and charts that its readers can turn and filter."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from experiments.compare.groups import Group, Summary
from experiments.compare.plots import colour, curve_metric
from experiments.compare.table import markdown_page
from lightning_modules.layer_groups import ENTROPY, by_group
from ops import ArgumentError

if TYPE_CHECKING:
    from wandb_workspaces.reports.v2 import Report
    from wandb_workspaces.reports.v2.interface import Panel

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
    stages = by_group(name.removeprefix(ENTROPY) for name in known if name.startswith(ENTROPY))
    lines = [
        (title, names)
        for title, names in (
            ("learning curves", [curve_metric(groups, metric)]),
            ("training loss", ["train/loss"]),
            ("attention: temperature", ["attention/temperature"]),
            ("attention: entropy, mean of the layers", ["attention/entropy"]),
            *((f"attention: entropy, {stage}", [ENTROPY + name for name in own]) for stage, own in stages.items()),
        )
        if set(names) & set(known)
    ]
    panels = [reports.LinePlot(title=title, x="epoch", y=names, max_runs_to_show=100) for title, names in lines]
    for title, setting in (("MACs", "macs"), ("parameters", "parameters")):
        x, y = reports.Config(setting), reports.SummaryMetric(metric)
        panels.append(reports.ScatterPlot(title=f"{metric} against {title}", x=x, y=y, log_x=True))
    panels += _media(reports, groups, "attention/entropy" in known)
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


def _media(reports: Any, groups: Sequence[Group], with_attention: bool) -> "list[Panel]":
    """Return panels of what runs log when they end, if one of these does: see ``dyc fit --wandb_media``."""
    if not any(run.settings.get("wandb_media") for group in groups for run in group.runs):
        return []
    kernels = reports.MediaBrowser(title="attention: mean weight of each kernel", media_keys=["attention/kernels"])
    confusion = reports.CustomChart(
        chart_name="wandb/confusion_matrix/v1",
        query={"summaryTable": {"tableKey": "predictions/confusion_table"}},
        chart_fields={name: name for name in ("Actual", "Predicted", "nPredictions")},
        chart_strings={"title": "confusion matrix"},
    )
    worst = reports.WeavePanelSummaryTable(table_name="predictions/worst")
    return [*([kernels] if with_attention else []), confusion, worst]


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
