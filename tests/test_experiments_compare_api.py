"""Runs read back from W&B's server: a stand-in has the methods and attributes of W&B's own classes."""

import inspect
from types import SimpleNamespace

import pytest
import wandb
import yaml
from support.run_folders import write_run
from wandb.apis.public import Run as RunOfWandb
from wandb.sdk.lib.service.service_connection import WandbApiFailedError

from experiments.compare.api import connect, read_project
from experiments.compare.folders import find, read_all
from experiments.compare.groups import group_by_settings, summarise
from experiments.compare.settings import differences
from lightning_modules.cli import main


class Server:
    """A stand-in for ``wandb.Api`` that has the runs of a folder."""

    def __init__(self, root):
        self.asked = []
        self.found = []
        for folder in find(["static", "dyc"], root):
            config = yaml.safe_load((folder / "hparams.yaml").read_text())
            lines = (folder / "metrics.csv").read_text().splitlines()
            titles = lines[0].split(",")
            cells = [dict(zip(titles, line.split(","))) for line in lines[1:]]
            rows = [{k: float(v) for k, v in row.items() if v} for row in cells]
            rows = [{"_step": step, "_timestamp": 1e9, **row} for step, row in enumerate(rows)]
            rows.append({"media": {"_type": "image-file"}, "epoch": 1})
            self.found.append(
                SimpleNamespace(
                    id=folder.parent.name,
                    name=f"{config['name']}/version_0",
                    state="finished",
                    config={**config, "_wandb": {}, "attention": "dyc"},
                    summary_metrics={"best": {"epoch": 2}, "_runtime": 3},
                    scan_history=lambda rows=rows: iter(rows),
                )
            )

    def runs(self, path, filters, lazy):
        self.asked.append((path, filters, lazy))
        return self.found


@pytest.fixture
def root(tmp_path):
    for seed in (0, 1):
        write_run(tmp_path, f"static/seed{seed}", seed, test=0.6 + seed / 10)
    write_run(tmp_path, "dyc/seed0", dynamic=True)
    return tmp_path


def test_the_table_is_that_of_the_folders(root):
    server = Server(root)
    groups = [
        group_by_settings(runs) for runs in (read_project("me/dyc", api=server)[0], read_all(find(["."], root))[0])
    ]
    found, own = ({each.name: summarise(each, "test/top1") for each in group} for group in groups)
    assert found == own
    assert set(found) == {"static", "dyc"}
    settings = [differences([each.runs for each in group]) for group in groups]
    assert settings[0].keys() == settings[1].keys() == {"dynamic"}
    assert server.asked == [("me/dyc", {}, False)]


def test_group_and_names_choose_runs(root, raises):
    server = Server(root)
    assert [run.name for run in read_project("me/dyc", "cifar", ["static"], server)[0]] == [
        "static/seed0/version_0",
        "static/seed1/version_0",
    ]
    assert server.asked == [("me/dyc", {"group": "cifar"}, False)]
    assert len(read_project("me/dyc", None, ["*seed0*"], server)[0]) == 2
    with raises("RUN", "'statik/seed0' (did you mean 'static/seed0'", "a run of me/dyc"):
        read_project("me/dyc", None, ["statik/seed0"], server)
    server.found = []
    with raises("--wandb", "me/dyc has no runs of the group 'none'"):
        read_project("me/dyc", "none", [], server)


def test_wandb_has_what_is_used():
    assert {"path", "filters", "lazy"} <= set(inspect.signature(wandb.Api.runs).parameters)
    used = ("id", "name", "state", "config", "summary_metrics", "scan_history")
    assert [name for name in used if not hasattr(RunOfWandb, name)] == []
    assert "timeout" in inspect.signature(wandb.Api).parameters


def test_states(root):
    server = Server(root)
    for run, state in zip(server.found, ("running", "crashed", "finished")):
        run.state = state
    assert [run.state for run in read_project("me/dyc", api=server)[0]] == ["running", "stopped", "finished"]


@pytest.mark.parametrize("error", [wandb.errors.CommError, WandbApiFailedError, ValueError, OSError])
def test_a_server_that_cannot_be_reached_is_one_line(root, raises, error):
    server = Server(root)

    def fail(*_, **__):
        raise error("no network")

    server.runs = fail
    with raises("--wandb", "me/dyc cannot be read (no network); check name, key and network"):
        read_project("me/dyc", api=server)


def test_a_run_that_cannot_be_read_is_named_and_the_rest_is_there(root):
    server = Server(root)

    def fail():
        raise ValueError("no history")

    server.found[0].scan_history = fail
    runs, problems = read_project("me/dyc", api=server)
    assert len(runs) == 2
    assert len(problems) == 1
    assert "me/dyc/seed0 cannot be read (no history)" in problems[0]


def test_nobody_is_asked_for_a_key(capsys, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    with pytest.raises(ValueError, match="run `wandb login`"):
        connect()
    assert main(["compare", "--wandb", "me/dyc", "--publish"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
