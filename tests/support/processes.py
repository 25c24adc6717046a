"""Processes that tests start."""

import subprocess

HANGS = 3600.0
"""Seconds after which a process hangs for certain, on however busy a machine; no result depends on them."""


def run(command: list, **options) -> subprocess.CompletedProcess:
    """Run a command, and return what it said and how it ended."""
    return subprocess.run(command, **{"capture_output": True, "text": True, "timeout": HANGS, **options})
