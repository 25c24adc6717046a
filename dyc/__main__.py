"""Run a Python script or module with this package's models registered with timm: ``python -m dyc train.py ...``."""

import builtins
import os
import runpy
import sys
from importlib.machinery import SourceFileLoader
from importlib.util import find_spec
from types import ModuleType
from zipfile import is_zipfile

USAGE = """\
usage: python -m dyc [--help] SCRIPT [ARGUMENT ...]
       python -m dyc [--help] -m MODULE [ARGUMENT ...]

Run a Python program as `python SCRIPT ...` or `python -m MODULE ...` would, with the models of this package
registered with timm, so that timm's train.py, validate.py or benchmark.py find them by name:

  python -m dyc train.py --model dyc_mobilenetv2 --data-dir ...
  torchrun --nproc-per-node=4 -m dyc train.py --model dyc_mobilenetv2 ...

SCRIPT is a file, or a folder or zip file with a __main__.py. Arguments after it, --help included, are the program's.
To train and evaluate with this package's own commands, see `dyc --help`.
"""


def _fail(problem: str) -> int:
    print(f"python -m dyc: {problem}\n\n{USAGE}", end="", file=sys.stderr)
    return 2


def _module_exists(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError as error:  # a package above it
        if not f"{name}.".startswith(f"{error.name}."):
            raise
        return False


def _has_main(folder: str) -> bool:
    return any(os.path.isfile(os.path.join(folder, f"__main__.py{compiled}")) for compiled in ("", "c"))


def _run_path(path: str) -> None:
    """Run a file, folder or zip file as ``python PATH`` does, in the module that is ``__main__`` to everybody."""
    if not getattr(sys.flags, "safe_path", sys.flags.isolated):  # as of Python 3.11; else there is none to replace
        del sys.path[0]  # the current folder, which -m put there
    full = os.path.abspath(path)
    if not os.path.isfile(full) or is_zipfile(full):
        runpy.run_path(full, run_name="__main__")  # with the folder or zip file first in sys.path
        return
    if not getattr(sys.flags, "safe_path", sys.flags.isolated):
        sys.path.insert(0, os.path.dirname(os.path.realpath(full)))
    loader = SourceFileLoader("__main__", full)
    module = sys.modules["__main__"] = ModuleType("__main__")
    module.__dict__.update(__builtins__=builtins, __file__=full, __loader__=loader, __spec__=None)
    exec(loader.source_to_code(loader.get_data(full), full), module.__dict__)


def main(arguments: list[str]) -> int:
    """Run the program that ``arguments`` name; return an exit code if there is none to run.

    What the program raises, ``SystemExit`` with its code included, passes through.
    """
    program = arguments[0] if arguments else ""
    if program in ("-h", "--help"):
        print(USAGE, end="")
        return 0
    if program == "-m":
        if len(arguments) < 2:
            return _fail("-m needs the name of a module")
        if not _module_exists(arguments[1]):
            return _fail(f"there is no module named {arguments[1]!r}")
        sys.argv = arguments[1:]
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    elif not program or program.startswith("-"):
        return _fail(f"unknown option {program!r}" if program else "which script?")
    elif not os.path.exists(program):
        return _fail(f"there is no script {program!r}")
    elif os.path.isdir(program) and not _has_main(program):
        return _fail(f"there is no __main__.py in the folder {program!r}")
    else:
        sys.argv = arguments
        _run_path(program)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
