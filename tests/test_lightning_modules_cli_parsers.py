"""``--help`` comes before anything is imported that takes seconds."""

import json
import os
import sys
from pathlib import Path

from support.processes import run

SCRIPT = """
import json, sys
from contextlib import redirect_stdout
from io import StringIO
from lightning_modules.cli import COMMANDS, main
from lightning_modules.cli.kept_help import SLOW

found = {}
for command in ([], *([name] for name in COMMANDS if (name,) not in SLOW)):
    shown = StringIO()
    with redirect_stdout(shown):
        try:
            main([*command, "--help"])
        except SystemExit:
            pass
    found[" ".join(command)] = [shown.getvalue().split(chr(10))[0], "torch" in sys.modules]
print(json.dumps(found))
"""


def test_help_imports_no_pytorch():
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    done = run([sys.executable, "-c", SCRIPT], env=env)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert {"", "models", "compact", "build", "bench", "run"} <= set(found)
    for command, (first, loaded) in found.items():
        assert first.startswith(f"usage: dyc {command}".rstrip())
        assert not loaded, command
