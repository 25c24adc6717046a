"""Whether the classes of some data are those that a network was trained on."""

from collections.abc import Sequence

from lightning.pytorch.utilities import rank_zero_warn

from ops import ArgumentError


def check_class_names(trained: Sequence[str] | None, there: Sequence[str] | None) -> None:
    """Raise an error where a class has another number than in the training, and warn of other names.

    Args:
        trained: Names of the classes of the training, in the order of their numbers; None if they had none.
        there: Those of the data.

    Raises:
        ArgumentError: A class of both has two numbers, so that the network's answers would count as another class.
    """
    if not trained or not there or list(trained) == list(there) or _are_numbers(trained) or _are_numbers(there):
        return
    for number, name in enumerate(there):
        if name in trained and trained.index(name) != number:
            got = f"classes whose number {number} is {name!r}, which is number {trained.index(name)} in the checkpoint"
            raise ArgumentError("data.root", got, f"the checkpoint's order: {_listed(trained)}")
    if len(trained) == len(there):
        number = next(i for i, (old, new) in enumerate(zip(trained, there)) if old != new)
        rank_zero_warn(
            f"data.root: class {number} is {there[number]!r}, and {trained[number]!r} in the checkpoint; the figures "
            "are right only if both mean the same"
        )


def _are_numbers(names: Sequence[str]) -> bool:
    """Tell whether classes without names are called by their numbers."""
    return list(names) == [str(i) for i in range(len(names))]


def _listed(names: Sequence[str], shown: int = 8) -> str:
    return ", ".join(names[:shown]) + (", ..." if len(names) > shown else "")
