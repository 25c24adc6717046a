"""``--import``: a user's own Python files and modules, which register models, attentions, backends and callbacks.

Only what the command line, its configuration files or the ``config.yaml`` of a run below ``--runs`` names is run. A
checkpoint names what its run imported, but nothing is run because of that: whoever sends one could run anything.
"""

import argparse
import importlib
import importlib.util
import json
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning_modules.errors import ArgumentError

HELP = (
    "A Python file or module of yours to import first, with models, attentions, backends or callbacks; may be repeated."
)


def refused(*got_and_need: str, **sentence: str) -> ValueError:
    """Return an :class:`ops.ArgumentError` of the option."""
    return ArgumentError("import", *got_and_need, **sentence)


def import_named(argv: Sequence[str]) -> tuple[list[str], list[dict[str, Any]]]:
    """Import what a command line and its configuration files name.

    Returns:
        The command line with all of it in one ``--import=[...]``, files by their full paths; and the contents of the
        configuration files.
    """
    given, rest = take(argv, "--import")
    files, _ = take(rest, "--config", "-c")
    configs = [(Path(file), read_config(Path(file))) for file in files]
    names = [resolve(name, file.parent, f"{file} names it") for file, config in configs for name in named_in(config)]
    names += [resolve(name) for text in given for name in (json.loads(text) if text.startswith("[") else [text])]
    names = list(dict.fromkeys(names))
    import_all(names)
    return rest + ([f"--import={json.dumps(names)}"] if names else []), [config for _, config in configs]


def import_first(argv: Sequence[str]) -> list[str]:
    """Import what a command line names, and return the rest of it: for parsers that list what is registered."""
    given, rest = take(argv, "--import")
    import_all([resolve(name) for name in given])
    return rest


def add_import(parser: argparse.ArgumentParser) -> None:
    """Add the option to a parser of argparse's."""
    help = HELP[0].lower() + HELP[1:].removesuffix(".")
    parser.add_argument("--import", dest="imports", action="append", default=[], metavar="FILE.py|MODULE", help=help)


def import_given(options: argparse.Namespace) -> bool:
    """Import what the option names; tell whether it was given."""
    import_all([resolve(name) for name in options.imports])
    return bool(options.imports)


def take(argv: Sequence[str], *options: str) -> tuple[list[str], list[str]]:
    """Return the values of an option, and the other arguments."""
    values, rest, left = [], [], iter(argv)
    for argument in left:
        name, equals, value = argument.partition("=")
        if name.removesuffix("+") not in options:
            rest.append(argument)
            continue
        value = value if equals else next(left, "")
        if not value or value.startswith("--"):
            raise refused(sentence=f"{name} needs a value")
        values.append(value)
    return values, rest


def read_config(file: Path) -> dict[str, Any]:
    """Return what a configuration file holds; nothing for one that the parser will refuse, with its reason."""
    import yaml  # not needed to predict by an ONNX file

    try:
        content = yaml.safe_load(file.read_text())
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return content if isinstance(content, dict) else {}


def named_in(config: dict[str, Any]) -> list[str]:
    """Return what the key ``import`` of a configuration names."""
    names = config.get("import") or []
    names = [names] if isinstance(names, str) else names
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise refused(names, "Python files or modules, as a list or one alone")
    return names


def import_from_run(checkpoint: Path, runs: Path, noted: Sequence[str] = ()) -> list[str]:
    """Import what the ``config.yaml`` of a checkpoint's run names, and return it.

    Args:
        checkpoint: The checkpoint's file.
        runs: The folder of all runs. Nothing is imported for a checkpoint from elsewhere.
        noted: What the checkpoint says that its run imported. It is only printed, if the run's folder is elsewhere.
    """
    settings = checkpoint.resolve().parent.parent / "config.yaml"
    if runs.resolve() not in settings.parents or not settings.is_file():
        if noted:
            print(
                f"note: the run of {checkpoint} imported {', '.join(noted)}; for a checkpoint outside {runs}, give "
                "--import yourself if its network is not found",
                file=sys.stderr,
            )
        return []
    reason = f"{os.path.relpath(settings)} names it; --import replaces that"
    names = [resolve(name, settings.parent, reason) for name in named_in(read_config(settings))]
    import_all(names, reason)
    return names


def resolve(name: str, folder: Path | None = None, reason: str = "") -> str:
    """Return a module's name as it is, and a file's full path.

    Args:
        name: A module, or a file: it ends with ``.py``.
        folder: Where a relative path is looked for first; then in the current folder.
        reason: Why it is wanted, for the error.
    """
    if not name.endswith(".py"):
        return name
    path = Path(name).expanduser()
    places = [place / path for place in (folder, Path.cwd()) if place is not None]
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise refused(f"{name!r}, which does not exist{_shown(reason)}", "a Python file or a module")
    return str(found.resolve())


def _shown(reason: str) -> str:
    return f" ({reason})" if reason else ""


def import_all(names: Sequence[str], reason: str = "") -> None:
    """Import modules by name and files by path, each once."""
    for name in names:
        module = _module_of(Path(name)) if name.endswith(".py") else name
        if os.getcwd() not in sys.path:
            sys.path.append(os.getcwd())  # last: a folder of the user's hides no installed package
        try:
            importlib.import_module(module)
        except (Exception, SystemExit) as error:  # whatever the user's code raises, a script's sys.exit() too
            raise refused(sentence=_failure(name, reason, error)) from error


def _failure(name: str, reason: str, error: Exception) -> str:
    if isinstance(error, ModuleNotFoundError) and f"{name}.".startswith(f"{error.name}."):
        return f"no module {name!r} is found{_shown(reason)}; a file's name ends with .py"
    frames = traceback.extract_tb(error.__traceback__)
    frame = next((each for each in reversed(frames) if each.filename == name), frames[-1])  # the user's own line
    place = f"{frame.filename}, line {frame.lineno}"
    if isinstance(error, SyntaxError):
        place = f"{error.filename}, line {error.lineno}"
        error = SyntaxError(error.msg)
    said = " ".join(str(error).split())
    said = f"{type(error).__name__}: {said}" if said else type(error).__name__
    return f"{name!r} cannot be imported{_shown(reason)}: {said} ({place})"


def _module_of(path: Path) -> str:
    """Return the name under which a file is imported: its own, so that ``my_models.MyCallback`` is found in it."""
    if "." in path.stem:
        raise refused(f"{str(path)!r}, whose name would be read as a package and a module", "another file name")
    importlib.invalidate_caches()  # the file may be younger than the process
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))  # last: its neighbours can be imported, but hide nothing
    known = sys.modules.get(path.stem)
    spec = importlib.util.find_spec(path.stem) if known is None else known.__spec__
    if spec is None or spec.origin is None or Path(spec.origin).resolve() != path:
        raise refused(f"{str(path)!r}, but there is a module {path.stem!r} already", "another file name")
    return path.stem
