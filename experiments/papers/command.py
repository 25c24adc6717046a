"""The words after ``dyc`` that train a row."""

import json
from collections.abc import Sequence
from os import PathLike

from experiments.papers.entries import Row
from ops import ArgumentError


def command(
    row: Row, seed: int, *, name: str, protocol: Sequence[str | PathLike[str]] = (), options: Sequence[str] = ()
) -> list[str]:
    """Return ``["fit", "--config=...", ...]``, for ``lightning_modules.cli.main`` or after ``dyc``.

    The recipe comes first, then the protocol, then what belongs to the row: so a protocol can shorten a recipe, but
    not take the network of the row from it.

    Args:
        row: The row.
        seed: Seed of the training.
        name: Name of the run.
        protocol: Configuration files that are laid over the recipe.
        options: Further words, which come last.

    Raises:
        ArgumentError: The row has no network that is trained.

    Example:
        >>> from experiments.papers import find
        >>> command(find("dyc/table1/cifar10/dyc")[0], 1, name="mine")[2:5]
        ['--name=mine', '--seed_everything=1', '--model.model=dyc_mobilenetv2_cifar']
    """
    if not row.measured_by("train") or row.network is None:
        reasons = {figure.reason for figure in row.figures.values() if figure.reason}
        raise ArgumentError("row", sentence=f"{row.path} is not trained{''.join(f': {each}' for each in reasons)}")
    words = ["fit", *(f"--config={file}" for file in (*row.recipe, *protocol))]
    words += [f"--name={name}", f"--seed_everything={seed}", f"--model.model={row.network}"]
    words += [f"--model.model_kwargs.{argument}={_text(value)}" for argument, value in row.arguments.items()]
    words += [f"--{option}={_text(value)}" for option, value in row.options.items()]
    return [*words, *options]


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
