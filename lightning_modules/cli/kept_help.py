"""The help texts that take seconds to make, kept in the cache folder from their first use on.

To make one, PyTorch is imported, and Lightning for the commands that train. A kept text is shown where it is what would
be made anew. Its file is named after what the process was given: the command, Python and its path, the width of the
terminal, variables that change texts. The file lists all that was loaded to make the text, and how that stood: every
module's file and folder, all files of our packages, the folders of installed packages and their entry points. If one
of them has changed, the text is made anew.
"""

import gzip
import hashlib
import json
import os
import shutil
import sys
import time
import zlib
from collections.abc import Callable, Iterable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, TextIO

from lightning_modules.alone import HOME, load_alone
from lightning_modules.cli import COMMANDS
from lightning_modules.cli.bench import BENCHES

SLOW = {
    *((name,) for name, (module, _) in COMMANDS.items() if module == "lightning_modules.cli.training"),
    *(("bench", what) for what in BENCHES),
    *(("analyze", file.stem) for file in (HOME / "experiments/analyze/analyses").glob("[!_]*.py")),
}
"""The commands whose help is kept. For the others, nothing is imported that takes long."""

VARIABLES = ("NO_COLOR=", "FORCE_COLOR=", "TERM=", "LANG", "LC_", "PYTHON", "JSONARGPARSE_", "TORCH")
"""How those environment variables begin that may change a text or add a warning to it."""

CLOCK = 2_000_000_000
"""Nanoseconds by which the time of a change may be rounded down: the coarsest file systems count in steps of 2 s."""


def run_with_kept_help(argv: Sequence[str], run: Callable[[], int]) -> int:
    """Run ``dyc``; where nothing but the help of a slow command is asked for, print the kept text if there is one.

    Args:
        argv: The command line, without the name of the program.
        run: What runs it.
    """
    what = tuple(argv[:-1])
    if what not in SLOW or argv[-1] not in ("-h", "--help"):
        return run()
    began = time.time_ns()
    cache = load_alone("ops/backends/cache.py")
    try:
        file = _file(cache.cache_folder(), what)
    except RuntimeError:  # a user without a home folder
        return run()
    text = _read(file)
    if text is not None:
        sys.stdout.write(text)
        return 0
    out, err = _Copied(sys.stdout), _Copied(sys.stderr)
    try:
        with redirect_stdout(out), redirect_stderr(err):
            return run()
    except SystemExit as stop:
        if not stop.code and not err.text:  # a warning would be missing beside a kept text
            _write(file, out.text, began, cache.moved_into_place)
        raise


class _Copied:
    """A stream that also keeps what is written to it."""

    def __init__(self, stream: TextIO) -> None:
        self.stream, self.text = stream, ""

    def write(self, text: str) -> int:
        self.text += text
        return self.stream.write(text)

    def writelines(self, lines: Iterable[str]) -> None:
        self.write("".join(lines))

    def __getattr__(self, name: str) -> Any:  # whether it is a terminal, say
        return getattr(self.stream, name)


def _file(folder: Path, what: tuple[str, ...]) -> Path:
    """Return where the text is kept for what this process was given."""
    given = [
        what,
        [sys.version, sys.executable, str(sys.flags), sys.warnoptions, [os.path.abspath(each) for each in sys.path]],
        [shutil.get_terminal_size().columns, sys.stdout.isatty(), sys.stdout.encoding],
        sorted((name, value) for name, value in os.environ.items() if f"{name}=".startswith(VARIABLES)),
    ]
    key = hashlib.sha256(json.dumps(given).encode()).hexdigest()[:32]
    return folder / "help" / f"{'-'.join(what)}-{key}.json.gz"


def _read(file: Path) -> str | None:
    """Return the kept text; None if there is none, or if what it was made from has changed."""
    try:
        kept = json.loads(gzip.decompress(file.read_bytes()))
        return kept["text"] if kept["state"] == _state(kept["sources"]) else None
    except (OSError, EOFError, zlib.error, ValueError, KeyError, TypeError):  # no file, or a damaged one
        return None


def _write(file: Path, text: str, began: int, moved_into_place: Callable) -> None:
    """Keep a text, unless what it was made from has changed meanwhile, or the folder cannot be written."""
    sources = _sources()
    kept = {"sources": sources, "state": _state(sources), "text": text}
    try:
        # Not the folders: in those of the packages, Python itself has made __pycache__.
        if any(path.is_file() and path.stat().st_ctime_ns > began - CLOCK for path in map(Path, sources)):
            return
        with moved_into_place(file) as partial:
            partial.unlink()  # only its owner may read it; whoever shares the cache folder may read the new one
            partial.write_bytes(gzip.compress(json.dumps(kept).encode()))
    except OSError:
        return  # help is no place to complain of a cache; the next use takes as long as this one


def _sources() -> list[str]:
    """Return all files and folders that this process's texts depend on.

    A folder changes when a file comes or goes: a package is installed, or a plug-in beside those that were found.
    """
    files = {file for module in list(sys.modules.values()) if (file := _file_of(module)) and os.path.isabs(file)}
    ours = (path for name in ("ops", "dyc", "lightning_modules") for path in (HOME / name).rglob("*"))
    files |= {str(path) for path in ours if path.suffix != ".pyc" and path.is_file()}
    installed = [os.path.abspath(folder) for folder in sys.path]
    for folder in map(Path, installed):
        files |= {str(path) for kind in ("dist", "egg") for path in folder.glob(f"*.{kind}-info/entry_points.txt")}
    return sorted({*files, *map(os.path.dirname, files), *installed})


def _file_of(module: Any) -> str | None:
    """Return the file that a module was loaded from; one that waits to be loaded at its first use still waits."""
    try:
        file = object.__getattribute__(module, "__dict__").get("__file__")
    except AttributeError:  # a program may put anything into sys.modules
        return None
    return file if isinstance(file, str) else None


def _state(sources: Sequence[str]) -> str:
    """Return how files and folders stand: their sizes and the times of their last change, as Python's own cache."""
    return hashlib.sha256(json.dumps([_stamp(path) for path in sources]).encode()).hexdigest()


def _stamp(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None  # no longer there, or not yet
    return found.st_mtime_ns, found.st_size
