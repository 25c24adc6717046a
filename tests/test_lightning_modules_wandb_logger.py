"""What W&B's logger does where Lightning's own would end the training or draw another chart."""

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import wandb
from support.wandb_file import read_run

from lightning_modules.loggers import finish_wandb
from lightning_modules.wandb_logger import STEPS_AFTER_CHECKPOINT, RunWandbLogger, axis_of


class Broken:
    """A run whose service is gone."""

    def __getattr__(self, name):
        raise BrokenPipeError("the service is gone")


def test_figures_of_epochs_lie_over_epochs_and_those_of_steps_over_steps():
    epochs = [
        "train/loss",
        "val/top1",
        "test/top1",
        "test_best/loss",
        "attention/entropy",
        "channels/closed",
        "lr-SGD/pg1",
    ]
    assert {axis_of(key) for key in epochs} == {"epoch"}
    assert {axis_of(key) for key in ("train/loss_step", "gpu/memory")} == {"trainer/global_step"}


def test_a_failure_is_said_once_and_raised_never(tmp_path, capsys):
    logger = RunWandbLogger(tmp_path, "offline", project="project")
    logger._experiment = Broken()
    for step in range(3):
        logger.log_metrics({"val/top1": 0.5}, step)
    logger.log_hyperparams({"lr": 0.1})
    said = capsys.readouterr().err
    assert said == "W&B failed (the service is gone); the training goes on without it\n"


def test_a_network_decides_tags(tmp_path):
    logger = RunWandbLogger(tmp_path, "offline", project="project", tags=["mine"])
    logger.log_hyperparams({"attention": "static", "backend": None, "lr": 0.1})
    try:
        assert set(logger.experiment.tags) == {"mine", "attention-static"}
    finally:
        finish_wandb(0)


def test_where_not_even_offline_works_nothing_is_logged(tmp_path, monkeypatch, capsys):
    init = wandb.init

    def only_disabled(**options):
        if options["mode"] != "disabled":
            raise wandb.Error(f"no {options['mode']}\nand more lines")
        return init(**options)

    monkeypatch.setattr(wandb, "init", only_disabled)
    logger = RunWandbLogger(tmp_path, "online", project="project")
    try:
        logger.log_metrics({"val/top1": 0.5}, 0)
        assert not logger.failed
    finally:
        finish_wandb(0)
    said = capsys.readouterr().err
    assert "W&B cannot be used (no online); this run is logged offline\n" in said
    assert said.endswith("W&B cannot be used (no offline); this run is not logged there\n")


def test_a_state_names_the_run_and_a_step_that_it_never_reached(tmp_path):
    first = RunWandbLogger(tmp_path, "offline", project="project", name="name")
    state = first.state()
    second = RunWandbLogger(tmp_path, "offline", state, project="project", name="name")
    assert second._wandb_init["id"] == state["id"] == first._wandb_init["id"]
    assert state["step"] == STEPS_AFTER_CHECKPOINT
    assert RunWandbLogger(tmp_path, "offline", project="project").state()["id"] != state["id"]


class Refuses(BaseHTTPRequestHandler):
    """A server that takes nothing, as where a quota is full."""

    def do_POST(self):
        self.send_response(403)
        self.end_headers()

    def log_message(self, *args):
        """Keep the terminal clean."""


@pytest.mark.exhaustive
def test_a_server_that_refuses_the_run_leaves_it_offline(tmp_path, monkeypatch, capsys):
    server = HTTPServer(("127.0.0.1", 0), Refuses)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("WANDB_API_KEY", "0123456789abcdef" * 2 + "01234567")
    wandb.teardown()  # it reads its variables once
    logger = RunWandbLogger(tmp_path, "online", project="project")
    try:
        logger.log_metrics({"val/top1": 0.5}, 0)
        assert logger.experiment.offline
        assert not logger.failed
    finally:
        finish_wandb(0)
        wandb.teardown()
        server.shutdown()
        server.server_close()
    assert "error 403" in capsys.readouterr().err
    (folder,) = tmp_path.glob("wandb/offline-run-*")
    assert [row["val/top1"] for row in read_run(folder).history] == [0.5]


def test_a_run_from_another_current_folder_has_its_file(tmp_path, monkeypatch):
    """W&B's service keeps the current folder of the first run of a process."""
    for name in ("first", "second"):
        here = tmp_path / name
        (here / "run").mkdir(parents=True)
        monkeypatch.chdir(here)
        logger = RunWandbLogger(Path("run"), "offline", project="project")
        logger.log_metrics({"val/top1": 0.5}, 0)
        finish_wandb(0)
        (folder,) = (here / "run/wandb").glob("offline-run-*")
        assert read_run(folder).status == 0
