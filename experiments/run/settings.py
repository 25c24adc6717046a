"""The arguments of ``dyc fit`` for a row, and whether a run that was begun had the same."""

import json
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import torch

from experiments.papers.command import command
from experiments.papers.entries import Row
from lightning_modules.cli.jobs import history
from lightning_modules.cli.jobs.settings import BATCH, flat, setting, settings_of
from lightning_modules.cli.jobs.training import Training
from ops import ArgumentError

PROTOCOLS = Path(__file__).parents[1] / "protocols"
"""Their files; those of segmentation that differ lie in a folder of that name."""

FREE = (
    "name",
    "runs",
    "import",
    "wandb*",
    "checkpoint_every",
    "data.root",
    "data.dataset",
    "data.in_memory",
    "data.download",
    "data.num_workers",
    "data.reader_kwargs*",
    "trainer.accelerator",
    "trainer.devices",
    "trainer.num_nodes",
    "trainer.strategy",
    "trainer.logger*",
    "trainer.enable_progress_bar",
)
"""Options that say where the images are and where a training runs, not what it is."""

OWN = ("name", "runs")
"""Of these, what ``dyc run`` sets itself."""

SOURCES = ("folder", "wds/*", "hfds/*")
"""Values of ``data.dataset`` that may be the same images from elsewhere; any other is another data set."""

STEP = ("data.batch_size", "trainer.accumulate_grad_batches", "trainer.devices", "trainer.num_nodes")
"""Options whose product is the number of images of a step, which belongs to the recipe."""


def arguments_of(row: Row, protocol: str, seed: int, further: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the arguments of ``dyc fit`` that train a row, without name and folder.

    Args:
        row: The row.
        protocol: ``full`` is the recipe; another one's file is laid over it.
        seed: The seed.
        further: ``OPTION=VALUE``.

    Raises:
        ArgumentError: There is no such protocol.
    """
    files = [] if protocol == "full" else [_protocol(row, protocol)]
    for path in files:
        if not path.is_file():
            raise ArgumentError("protocol", f"{protocol!r}, but {path} does not exist", "full")
    quick = protocol == "quick"
    options = [*(fast_precision() if quick else ()), *(f"--{each}" for each in further)]
    _, *words = command(row, seed, name="", protocol=files, quick=quick, options=options)
    return tuple(word for word in words if word != "--name=")


def _protocol(row: Row, protocol: str) -> Path:
    own = PROTOCOLS / "segmentation" / f"{protocol}.yaml"
    return own if row.segmentation and own.is_file() else PROTOCOLS / f"{protocol}.yaml"


def fast_precision() -> tuple[str, ...]:
    """Return the option for bfloat16 where the processor or GPU computes with it; elsewhere it would be slower."""
    if torch.cuda.is_available():
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        # PyTorch has no public name for these; a version without them trains in float32.
        asked = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
        fast = any(getattr(torch.cpu, name, bool)() for name in asked)
    return ("--trainer.precision=bf16-mixed",) if fast else ()


def check_free(options: Sequence[str]) -> None:
    """Raise ArgumentError unless every ``OPTION=VALUE`` leaves the recipe as it is."""
    for option in options:
        name, equals, value = option.partition("=")
        if not equals:
            raise ArgumentError("set", repr(option), "OPTION=VALUE, such as trainer.accelerator=cpu")
        if name in OWN:
            raise ArgumentError("set", sentence=f"{name} follows from the row; --runs is the folder of all runs")
        if name == "data.dataset" and not any(fnmatch(value, source) for source in SOURCES):
            need = "folder, wds/NAME or hfds/NAME with the images of the row"
            raise ArgumentError("set", f"{option!r}, whose images would be recorded as those of the row", need)
        if not _free(name) and name not in STEP:
            sentence = f"{name} would change the recipe, whose figures are kept; train with it by dyc fit --config"
            raise ArgumentError("set", sentence=sentence)


def check_step(row: Row, protocol: str, options: Sequence[str]) -> None:
    """Raise ArgumentError unless a step has as many images with ``OPTION=VALUE`` as without."""
    if not {option.partition("=")[0] for option in options} & {*STEP}:
        return
    need, got = (_images_of_a_step(arguments_of(row, protocol, 0, further)) for further in ((), options))
    if got != need:
        sentence = (
            f"a step of {row.path} would have {got} images where the recipe has {need}; data.batch_size is that of "
            "one device, and is multiplied by trainer.devices and trainer.accumulate_grad_batches"
        )
        raise ArgumentError("set", sentence=sentence)


def _images_of_a_step(arguments: Sequence[str]) -> int:
    settings = settings_of(arguments)
    batch, parts, devices, nodes = (setting(settings, name) for name in STEP)
    if isinstance(devices, str) and "," in devices:
        devices = devices.split(",")
    if devices == -1:
        devices = torch.cuda.device_count()
    many = len(devices) if isinstance(devices, list) else devices if isinstance(devices, int) else 1
    return (batch or BATCH) * (parts or 1) * many * (nodes or 1)


def fixed(training: Training) -> dict[str, Any]:
    """Return the settings of a training that its figures depend on, by their dotted names."""
    return {name: value for name, value in flat(training.settings).items() if not _free(name)}


def changed_since(training: Training) -> str:
    """Say what is no longer as it was when a training was begun; nothing if all is."""
    before, now = history.read(training).get("settings"), json.loads(json.dumps(fixed(training)))
    if not before:
        return ""
    names = [name for name in sorted(before.keys() | now.keys()) if before.get(name) != now.get(name)]
    shown = [f"{name} {before.get(name)!r} where it is {now.get(name)!r} now" for name in names[:3]]
    return ", ".join(shown) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _free(name: str) -> bool:
    return any(fnmatch(name.removesuffix("+"), pattern) for pattern in FREE)
