"""What a training wrote for W&B offline, as tests look at it."""

import json
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from support.processes import HANGS

from experiments.compare.offline import entries


def values(items: Any) -> dict[str, Any]:
    """Return the values of a record's items by their key; nested keys are joined with a dot."""
    return {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in items}


def read_run(folder: Path) -> SimpleNamespace:
    """Return the run of one offline folder of W&B: run, config, summary, history, axes and exit status.

    The run must have been finished. W&B's service may write the end of its file a little later.
    """
    deadline = time.monotonic() + HANGS
    while (found := _read(folder)).status is None and time.monotonic() < deadline:
        time.sleep(0.1)
    return found


def _read(folder: Path) -> SimpleNamespace:
    (path,) = folder.glob("*.wandb")
    found = SimpleNamespace(run=None, config={}, summary={}, history=[], axes={}, status=None, files=folder / "files")
    for kind, content in entries(path):
        if kind == "run":
            found.run = content
            found.config |= values(content.config.update)
        elif kind == "config":
            found.config |= values(content.update)
        elif kind == "summary":
            found.summary |= values(content.update)
        elif kind == "history":
            found.history.append({**values(content.item), "_step": content.step.num})
        elif kind == "metric":
            found.axes[content.name.replace("\\.", ".") or content.glob_name] = content.step_metric
        elif kind == "exit":
            found.status = content.exit_code
    return found
