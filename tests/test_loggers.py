"""W&B: offline unless there are credentials, and never a prompt."""

import os
import subprocess
import sys

import pytest

SCRIPT = "from lightning_modules.loggers import logged_in_to_wandb; print(logged_in_to_wandb())"


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, "False"),
        ({"WANDB_API_KEY": "0123456789abcdef" * 2 + "01234567"}, "True"),
        ({"WANDB_API_KEY": "0123456789abcdef" * 2 + "01234567", "WANDB_MODE": "offline"}, "False"),
    ],
    ids=["nobody", "key", "offline"],
)
def test_credentials_decide_and_nobody_is_asked(tmp_path, environment, expected):
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("WANDB_")}
    home = {"HOME": str(tmp_path), "NETRC": str(tmp_path / "none"), "WANDB_CONFIG_DIR": str(tmp_path)}
    # A prompt would wait for this input, which never ends by itself.
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env={**inherited, **home, **environment},
    ) as process:
        process.wait(timeout=60)
        assert process.stdout.read().split()[-1] == expected, process.stderr.read()
