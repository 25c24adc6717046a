"""W&B: offline unless there are credentials, and never a prompt."""

import os
import subprocess
from pathlib import Path

import wandb
from support.forked_fits import COMMAND
from support.processes import HANGS

from lightning_modules.loggers import build_loggers, finish_wandb

KEY = "0123456789abcdef" * 2 + "01234567"

# Credentials without an offline mode are left out: W&B then talks to its server.
SCRIPT = f"""
import os
from lightning_modules.loggers import logged_in_to_wandb

nobody = logged_in_to_wandb()
os.environ.update(WANDB_API_KEY="{KEY}", WANDB_MODE="offline")
print("nobody:", nobody, "key, but offline:", logged_in_to_wandb())
"""


def test_offline_without_credentials_or_on_request_and_nobody_is_asked(tmp_path, fits):
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("WANDB_")}
    home = {"HOME": str(tmp_path), "NETRC": str(tmp_path / "none"), "WANDB_CONFIG_DIR": str(tmp_path)}
    process = subprocess.Popen(
        [*COMMAND, "-c", SCRIPT],
        stdin=subprocess.PIPE,  # a prompt would wait for this input, which never ends by itself
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=tmp_path,
        env={**inherited, **home, **fits.environment},
    )
    try:
        process.wait(timeout=HANGS)
        assert process.stdout.read().endswith("nobody: False key, but offline: False\n")
    finally:
        process.kill()
        process.communicate()


def test_each_training_of_a_process_has_a_run_of_its_own(tmp_path):
    runs = []
    for number in range(2):
        folder = tmp_path / f"version_{number}"
        folder.mkdir()
        logger = build_loggers(folder, "name", "offline", "project", [])[1]
        runs.append(logger.experiment.id)
        finish_wandb(0)
        assert wandb.run is None
        assert list(Path(folder, "wandb").glob(f"offline-run-*/run-{runs[-1]}.wandb"))
    assert runs[0] != runs[1]
