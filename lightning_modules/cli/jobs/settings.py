"""What a command line of ``dyc fit`` sets, read without building its parser, which takes seconds."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from lightning_modules.cli.imports import read_config
from lightning_modules.cli.yaml_value import yaml_value

EPOCHS = 100
"""Epochs that ``dyc fit`` trains where nothing else is set."""

BATCH = 128
"""Images of its batches where nothing else is set."""


def settings_of(arguments: Sequence[str]) -> dict[str, Any]:
    """Return what arguments and their configuration files set, nested as in a file; later ones replace earlier ones.

    Example:
        >>> settings_of(["--data.batch_size=8", "--model.model", "resnet18", "--data.batch_size=16"])
        {'data': {'batch_size': 16}, 'model': {'model': 'resnet18'}}
    """
    found: dict[str, Any] = {}
    for name, value in pairs(arguments):
        if name in ("config", "c"):
            _merge(found, read_config(Path(value)))
            continue
        *groups, last = name.split(".")
        place = found
        for group in groups:
            inner = place.get(group)
            place[group] = place = inner if isinstance(inner, dict) else {}
        loaded = yaml_value(value)
        if last.endswith("+"):
            last, loaded = last[:-1], [*(place.get(last[:-1]) or []), loaded]
        if isinstance(loaded, dict) and isinstance(place.get(last), dict):
            _merge(place[last], loaded)
        else:
            place[last] = loaded
    return found


def setting(settings: dict[str, Any], name: str, default: Any = None) -> Any:
    """Return one setting by its dotted name.

    Example:
        >>> setting({"data": {"batch_size": 8}}, "data.batch_size")
        8
    """
    value: Any = settings
    for key in name.split("."):
        if not isinstance(value, dict) or value.get(key) is None:
            return default
        value = value[key]
    return value


def flat(settings: dict[str, Any], above: str = "") -> dict[str, Any]:
    """Return settings by their dotted names.

    Example:
        >>> flat({"data": {"batch_size": 8}, "name": "run"})
        {'data.batch_size': 8, 'name': 'run'}
    """
    found: dict[str, Any] = {}
    for key, value in settings.items():
        found.update(flat(value, f"{above}{key}.") if isinstance(value, dict) and value else {f"{above}{key}": value})
    return found


def pairs(arguments: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield name and value of each option of a command line.

    Example:
        >>> list(pairs(["--name=run", "--data.root", "."]))
        [('name', 'run'), ('data.root', '.')]
    """
    left = list(arguments)
    while left:
        name, equals, value = left.pop(0).partition("=")
        if not equals:
            value = left.pop(0) if left and not left[0].startswith("--") else "true"
        yield name.lstrip("-"), value


def _merge(into: dict[str, Any], values: dict[str, Any]) -> None:
    for key, value in values.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = value
