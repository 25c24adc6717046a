"""The report of W&B, built without a network."""

import json

import pytest
from support.run_folders import write_run

from experiments.compare import publish as module
from experiments.compare.folders import find, read_all
from experiments.compare.groups import Group, group_by_settings, summarise
from experiments.compare.publish import build, publish
from experiments.compare.settings import differences

interface = pytest.importorskip("wandb_workspaces.reports.v2.interface")


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """The arguments of ``build`` for a static and a dynamic network, with keys of W&B."""
    from dataclasses import replace

    root = tmp_path_factory.mktemp("runs")
    write_run(root, "static/seed0", 0)
    for seed in (0, 1):
        write_run(root, f"dyc/seed{seed}", seed, dynamic=True)
    runs = [replace(run, key=f"id{index}") for index, run in enumerate(read_all(find(["static", "dyc"], root))[0])]
    layers = {f"attention/entropy/{name}": {1: 0.5} for name in ("layer1.0.conv1", "layer1.0.conv2", "head")}
    runs[-1] = replace(runs[-1], curves={**runs[-1].curves, **layers})
    groups = group_by_settings(runs)
    return (
        groups,
        [summarise(each, "test/top1") for each in groups],
        "test/top1",
        differences([each.runs for each in groups]),
    )


def spec(report, monkeypatch):
    """Return what would be sent; the server is asked for the number of the project alone."""
    monkeypatch.setattr(interface, "execute_graphql", lambda *_: {"project": {"internalId": "1"}})
    monkeypatch.setattr(interface, "_get_api", lambda: None)
    return json.loads(report._to_model().spec.model_dump_json(by_alias=True, exclude_none=True))


def test_panels_and_run_sets(compared, monkeypatch):
    report = build("me/dyc", *compared)
    assert (report.entity, report.project, report.title) == ("me", "dyc", "test/top1: static, dyc")
    table, grid = [block for block in spec(report, monkeypatch)["blocks"] if block["type"] != "paragraph"]
    assert "| static | 75.00% |" in json.dumps(table)
    panels = grid["metadata"]["panelBankSectionConfig"]["panels"]
    charts = {panel["config"]["chartTitle"]: panel["config"] for panel in panels}
    assert {title: config.get("metrics") for title, config in charts.items() if "metrics" in config} == {
        "learning curves": ["val/top1"],
        "training loss": ["train/loss"],
        "attention: temperature": ["attention/temperature"],
        "attention: entropy, mean of the layers": ["attention/entropy"],
        "attention: entropy, head": ["attention/entropy/head"],
        "attention: entropy, layer1": ["attention/entropy/layer1.0.conv1", "attention/entropy/layer1.0.conv2"],
    }
    assert {config["xAxis"] for config in charts.values() if "metrics" in config} == {"epoch"}
    sizes = [charts[f"test/top1 against {what}"] for what in ("MACs", "parameters")]
    assert [(c["xAxis"], c["yAxis"], c["xAxisLogScale"]) for c in sizes] == [
        (f"config:{what}.value", "summary:test/top1", True) for what in ("macs", "parameters")
    ]
    places = [(panel["layout"]["x"], panel["layout"]["y"]) for panel in panels]
    assert len(set(places)) == len(panels) == 8
    sets = grid["metadata"]["runSets"]
    assert [each["name"] for each in sets] == ["static", "dyc"]
    assert [key in json.dumps(sets[1]["filters"]) for key in ("id0", "id1", "id2")] == [False, True, True]


def test_what_runs_log_at_their_end_has_panels(compared, monkeypatch):
    from dataclasses import replace

    def kinds(groups, summaries, **settings):
        changed = [
            Group(each.name, [replace(run, settings={**run.settings, **settings}) for run in each.runs])
            for each in groups
        ]
        blocks = spec(build("me/dyc", changed, summaries, "test/top1", {}), monkeypatch)["blocks"]
        panels = next(block for block in blocks if block["type"] == "panel-grid")["metadata"]["panelBankSectionConfig"]
        text = [json.dumps(panel) for panel in panels["panels"]]
        names = ("attention/kernels", "predictions/confusion_table", "predictions/worst")
        return [name for each in text for name in names if f'"{name}"' in each]

    groups, summaries, *_ = compared
    assert kinds(groups, summaries) == []
    assert kinds(groups, summaries, wandb_media=False) == []
    own = kinds(groups, summaries, wandb_media=True)
    assert own == ["attention/kernels", "predictions/confusion_table", "predictions/worst"]
    assert kinds(groups[:1], summaries[:1], wandb_media=True) == own[1:]  # static


def test_static_networks_have_no_charts_of_attention(compared):
    groups, summaries, metric, _ = compared
    grid = build("me/dyc", groups[:1], summaries[:1], metric, {}).blocks[-1]
    assert [panel.title for panel in grid.panels] == [
        "learning curves", "training loss", "test/top1 against MACs", "test/top1 against parameters",
    ]  # fmt: skip


def test_a_long_title_is_cut(compared):
    groups, *rest = compared
    long = [Group("n" * 100, group.runs) for group in groups]
    assert len(build("me/dyc", long, *rest).title) == 128


def test_a_report_that_cannot_be_saved_is_one_line(compared, monkeypatch, raises):
    def fail(*_, **__):
        raise Exception("not logged in to W&B,\ntry `wandb login --relogin`")

    monkeypatch.setattr(interface.Report, "save", fail)
    with raises("--publish", "the report was not saved (not logged in to W&B, try `wandb login --relogin`); check"):
        publish("me/dyc", *compared)


def test_a_saved_report_has_an_address(compared, monkeypatch):
    monkeypatch.setattr(interface.Report, "save", lambda self: setattr(self, "id", "abc"))
    monkeypatch.setattr(interface, "get_app_url", lambda _: "https://wandb.example")
    monkeypatch.setattr(interface, "_get_api", lambda: None)
    assert publish("me/dyc", *compared).startswith("https://wandb.example/me/dyc/reports/")


def test_the_package_is_named_where_it_is_missing(compared, monkeypatch, raises):
    import sys

    monkeypatch.setitem(sys.modules, "wandb_workspaces.reports.v2", None)
    monkeypatch.setitem(sys.modules, "wandb_workspaces.expr", None)
    with raises("--publish", "pip install 'dyc[report]'"):
        module.build("me/dyc", *compared)
