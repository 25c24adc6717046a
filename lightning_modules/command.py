"""The entry point of the console script ``dyc``: what has to happen before PyTorch is loaded, then the command itself.

Nothing is imported here that imports PyTorch.
"""

import os
import sys

from lightning_modules.allocator import keep_freed_memory
from lightning_modules.alone import load_alone

THREADS = {"GOMP_SPINCOUNT": "1000"}
"""How PyTorch's threads wait for their next work, read once, when PyTorch is loaded.

By default they spin for milliseconds. Beside one other busy process that is time taken from the thread they wait for.
These few rounds are too short for that, and yet catch most of the next work: dyc/README.md has the measurements.
"""

DECIDED_BY = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
"""The variables by which users say how threads wait; whoever set one of them has decided."""

REPEATING = ("fit", "validate", "test", "predict", "analyze")
"""The commands whose steps ask for the same memory over and over."""


PAPERS = ("run", "compare", "report", "analyze")
"""The commands of the package ``experiments``, a name that many a user's folder has."""


def set_threads() -> None:
    """Set the variables of ``THREADS`` for this process and those that it starts, unless the user has decided."""
    if not any(name in os.environ for name in DECIDED_BY):
        os.environ.update(THREADS)


def main() -> int:
    """Run the command that the program's arguments name, and return its exit status: 2 if it cannot be found."""
    set_threads()
    if sys.argv[1:2] and sys.argv[1] in REPEATING:
        keep_freed_memory()
    own_packages = load_alone("dyc/own_packages.py")  # dyc may itself be somebody else's
    for name in ("ops", "dyc", *(("experiments",) if sys.argv[1:2] and sys.argv[1] in PAPERS else ())):
        problem = own_packages.foreign_package(name)
        if problem is not None:
            print(f"dyc: error: {problem}", file=sys.stderr)
            return 2
    from lightning_modules.cli import main as run
    from lightning_modules.cli.kept_help import run_with_kept_help

    if "torch" in sys.modules:  # called by a program, which may have added to what a help text lists
        return run()
    return run_with_kept_help(sys.argv[1:], run)


if __name__ == "__main__":  # how processes of several trainings are started
    sys.exit(main())
