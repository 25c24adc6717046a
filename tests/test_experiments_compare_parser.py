"""``dyc compare --help`` comes before anything is imported that takes seconds."""

import os
import sys
from pathlib import Path

from support.processes import run

SCRIPT = """
import sys
from lightning_modules.cli import main
try:
    main(["compare", "--help"])
finally:
    print([name for name in ("torch", "matplotlib", "wandb", "yaml") if name in sys.modules])
"""


def test_help_imports_nothing_heavy():
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    done = run([sys.executable, "-c", SCRIPT], env=env)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("usage: dyc compare")
    assert done.stdout.endswith("[]\n")
