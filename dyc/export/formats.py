"""The formats of ``dyc export`` by name. A new one is a file in this folder that calls :func:`register_format`."""

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from dyc.export.model_card import ModelCard
from ops import ArgumentError, unknown_name

MODULES = "_format"
"""Files of this folder whose names end so are imported when the formats are asked for."""


@dataclass(frozen=True)
class Request:
    """What is to be exported.

    Args:
        network: The network.
        path: The file or folder to write.
        input_size: ``(C, H, W)`` of one image in pixels.
        form: ``"auto"``, ``"kernels"`` or ``"features"``: how dynamic layers are written, where the format can choose.
        batch: Images at a time that ``"auto"`` chooses for.
        preparation: How images are prepared: ``input_size``, ``mean``, ``std``, ``interpolation``, ``crop_pct``,
            ``crop_mode``, ``class_names``; or None.
        card: What a model card says.
        progress: Called with what is done next.
    """

    network: nn.Module
    path: Path
    input_size: tuple[int, int, int]
    form: str = "auto"
    batch: int = 1
    preparation: Mapping[str, Any] | None = None
    card: ModelCard = field(default_factory=ModelCard)
    progress: Callable[[str], None] = print


@dataclass(frozen=True)
class Format:
    """A format of files.

    Args:
        save: Writes the file, and returns what is printed about it.
        suffix: What the file's name ends with; empty for a folder.
        help: What it is.
    """

    save: Callable[[Request], Any]
    suffix: str
    help: str


FORMATS: dict[str, Format] = {}


def register_format(name: str, format: Format) -> None:
    """Make a format usable as ``dyc export --format NAME``.

    Raises:
        ArgumentError: The name is taken.
    """
    if name in FORMATS:
        raise ArgumentError("name", repr(name), "the name of a format that does not exist yet")
    FORMATS[name] = format


def check_format(name: str) -> Format:
    """Return a format by name; raise with suggestions for unknown names."""
    from dyc import export

    for info in pkgutil.iter_modules(export.__path__):
        if info.name.endswith(MODULES):
            importlib.import_module(f"{export.__name__}.{info.name}")
    if name not in FORMATS:
        raise unknown_name("--format", name, FORMATS)
    return FORMATS[name]
