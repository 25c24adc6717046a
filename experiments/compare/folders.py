"""Runs that lie on this machine: find their folders, and read them."""

import csv
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePath
from typing import Any

import yaml

from experiments.compare.offline import offline_files, read_offline
from experiments.compare.run import Run, flat, number, state_by_age, tidy
from ops import ArgumentError, unknown_name

FILES = ("config.yaml", "hparams.yaml", "metrics.csv", "test.csv")
KINDS = {"name": str, "ckpt_path": str, "parameters": int, "macs": int}
"""The settings that are worked with, and what they are."""

PREFIXES = {"last epoch": "test/", "best on validation": "test_best/"}
"""How the logs name the figures of the rows of test.csv."""


def find(names: Sequence[str], root: Path) -> list[Path]:
    """Return the run folders of names below ``root``, folders, and patterns of either.

    Raises:
        ArgumentError: A name leads to no run; names those that are alike.
    """
    found: dict[Path, None] = {}
    for name in names:
        folders = [run for place in _places(name, root) for run in run_folders(place)]
        if not folders:
            known = {_name(run.relative_to(root)) for run in run_folders(root)}
            raise unknown_name("RUN", name, sorted(known), listing=f"a run below {str(root)!r}, or a folder of runs")
        found.update(dict.fromkeys(folders))
    return list(found)


def _name(path: PurePath) -> str:
    return str(path.parent if path.name.startswith("version_") else path)


def _places(name: str, root: Path) -> list[Path]:
    if not name:  # a variable of the shell that is not set, say; all runs are '*' or '.'
        return []
    try:
        for path in (root / name, Path(name)):
            if path.exists():
                return [path]
        bases = ((Path("/"), name.lstrip("/")),) if name.startswith("/") else ((root, name), (Path(), name))
        for base, pattern in bases:
            if matches := sorted(base.glob(pattern), key=_natural) if pattern else []:
                return matches
    except ValueError as error:  # of glob: ** with something beside it
        raise ArgumentError("RUN", f"{name!r} ({error})", "a name, a folder, or a pattern with *") from error
    except OSError as error:
        raise ArgumentError("RUN", f"{name!r} ({error.strerror})", "a name, a folder, or a pattern with *") from error
    return []


def _natural(path: Path) -> list[tuple[bool, int, str]]:
    """Return a key that puts version_10 after version_9."""
    return [(part.isdigit(), int(part) if part.isdigit() else 0, part) for part in re.split(r"(\d+)", str(path))]


def run_folders(folder: Path) -> Iterator[Path]:
    """Yield a folder, or those inside it, that hold a run each."""
    if not folder.is_dir():
        return
    inside = set(os.listdir(folder))
    own = bool(inside & set(FILES)) or re.fullmatch(r"version_\d+", folder.name)
    if own or len({path.name for path in offline_files(folder)}) == 1:
        yield folder
        return
    for name in sorted(inside, key=lambda name: _natural(Path(name))):
        above = folder.resolve()
        turns_back = (folder / name).is_symlink() and (folder / name).resolve() in (above, *above.parents)
        if not name.startswith(".") and not turns_back:
            yield from run_folders(folder / name)


def read_all(folders: Sequence[Path]) -> tuple[list[Run], list[str]]:
    """Return the runs of folders, and a line for each folder that cannot be read.

    A run that was resumed in a folder of its own is one run, with the epochs of both.
    """
    runs: dict[Path, Run] = {}
    problems: list[str] = []
    continued: set[Path] = set()
    for folder in folders:
        try:
            runs[folder] = read(folder)
            for before, earlier in _before(folder, runs[folder]):
                runs[folder] = earlier.continued_by(runs[folder])
                continued.add(before)
        except ArgumentError as error:
            problems.append(str(error))
    kept = [run for folder, run in runs.items() if run.state == "finished" or folder not in continued]
    problems = list(dict.fromkeys(problems))
    return kept, problems


def _before(folder: Path, run: Run) -> Iterator[tuple[Path, Run]]:
    """Yield the runs that this one resumed, with their folders, the newest first; they lie beside it."""
    seen = {folder}
    while (checkpoint := run.settings.get("ckpt_path")) is not None:
        before = folder.parent / PurePath(checkpoint).parent.parent.name
        own_name = run.name.rpartition("/")[0].rpartition("/")[2]
        if before in seen or not before.is_dir() or PurePath(checkpoint).parent.parent.parent.name != own_name:
            return
        seen.add(before)
        run = read(before)
        yield before, run


def read(folder: Path) -> Run:
    """Return the run in a folder, from its own files or, without metrics.csv, from those of W&B.

    Raises:
        ArgumentError: The run is damaged; says which file, and how.
    """
    if not (folder / "metrics.csv").exists() and not (folder / "test.csv").exists() and offline_files(folder):
        return read_offline(folder)
    settings = _settings(folder)
    curves, figures = tidy(_rows(folder / "metrics.csv"))
    for row in _rows(folder / "test.csv"):
        prefix = PREFIXES.get(row.get("network", ""), "")
        values = {name: number(value) for name, value in row.items() if prefix and name.startswith("test/")}
        figures.update({name.replace("test/", prefix, 1): v for name, v in values.items() if v is not None})
    name = f"{settings.get('name', folder.parent.name)}/{folder.name}"
    state = "finished" if (folder / "test.csv").exists() else state_by_age(folder, curves)
    return Run(name, settings, curves, figures, state)


def _settings(folder: Path) -> dict[str, Any]:
    """Return the settings: of hparams.yaml, which has the network's size too, or of config.yaml."""
    hparams = _yaml(folder / "hparams.yaml")
    if hparams:
        return _checked(flat(hparams), folder / "hparams.yaml")
    config = _yaml(folder / "config.yaml")
    if not config:
        raise ArgumentError(str(folder), sentence="there is neither hparams.yaml nor config.yaml")
    try:
        trainer = config.get("trainer") or {}
        callbacks = {
            each["class_path"].rpartition(".")[2]: each.get("init_args") or {}
            for each in trainer.get("callbacks") or []
        }
        parts = {**(config.pop("model", None) or {}), **(config.pop("data", None) or {}), **config}
    except (AttributeError, KeyError, TypeError) as error:
        sentence = "model, data or trainer are not as `dyc fit` writes them"
        raise ArgumentError(str(folder / "config.yaml"), sentence=sentence) from error
    return _checked(flat({**parts, "trainer": {**trainer, "callbacks": callbacks}}), folder / "config.yaml")


def _checked(settings: dict[str, Any], path: Path) -> dict[str, Any]:
    for key, kind in KINDS.items():
        value = settings.get(key)
        if value is not None and not isinstance(value, kind):
            what = "text" if kind is str else "a whole number"
            raise ArgumentError(str(path), sentence=f"it is damaged: {key} is {str(value)[:40]!r}, which is not {what}")
    return settings


def _yaml(path: Path) -> dict[str, Any]:
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ArgumentError(str(path), sentence=f"it cannot be read ({' '.join(str(error).split())})") from error
    if found is not None and not isinstance(found, dict):
        raise ArgumentError(str(path), sentence="it holds no settings")
    return found or {}


def _rows(path: Path) -> Iterator[dict[str, str]]:
    """Yield the rows of a CSV file; a last line that is not written to its end is left out.

    Raises:
        ArgumentError: The file is damaged; names the line.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return
    except (OSError, UnicodeDecodeError) as error:
        raise ArgumentError(str(path), sentence=f"it cannot be read ({error})") from error
    whole = text[: text.rfind("\n") + 1].splitlines()
    reader = csv.reader(whole)
    titles = next(reader, [])
    for cells in reader:
        if len(cells) != len(titles):
            got = f"{len(cells)} cells where its first line has {len(titles)}"
            raise ArgumentError(str(path), sentence=f"line {reader.line_num} is damaged: {got}")
        row = {title: cell for title, cell in zip(titles, cells) if cell}
        for title, cell in row.items():
            if title != "network" and number(cell) is None:
                sentence = f"line {reader.line_num} is damaged: {title} is {cell[:40]!r}, which is no number"
                raise ArgumentError(str(path), sentence=sentence)
        yield row
