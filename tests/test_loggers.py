"""W&B: offline unless there are credentials, and never a prompt."""

import os
import subprocess
import sys

import pytest

SCRIPT = "from lightning_modules.loggers import logged_in_to_wandb; print(logged_in_to_wandb())"


KEY = "0123456789abcdef" * 2 + "01234567"


# Credentials without an offline mode are left out: W&B then talks to its server.
@pytest.mark.parametrize(
    "environment", [{}, {"WANDB_API_KEY": KEY, "WANDB_MODE": "offline"}], ids=["nobody", "key, but offline"]
)
def test_offline_without_credentials_or_on_request_and_nobody_is_asked(tmp_path, environment):
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("WANDB_")}
    home = {"HOME": str(tmp_path), "NETRC": str(tmp_path / "none"), "WANDB_CONFIG_DIR": str(tmp_path)}
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT],
        stdin=subprocess.PIPE,  # a prompt would wait for this input, which never ends by itself
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=tmp_path,
        env={**inherited, **home, **environment},
    )
    try:
        process.wait(timeout=120)
        assert process.stdout.read().split()[-1] == "False"
    finally:
        process.kill()
        process.communicate()
