"""Whether masks hold the classes that they should, and nothing else."""

from collections import Counter
from collections.abc import Mapping, Sequence

from lightning.pytorch.utilities import rank_zero_warn

from lightning_modules.data.segmentation.classes import Classes
from lightning_modules.data.segmentation.survey import Facts, more_such
from ops import ArgumentError


def check_masks(facts: Mapping[str, Facts], classes: Classes) -> None:
    """Raise an ArgumentError for masks with a value that is no class, or for one whose palette is unlike others'.

    Args:
        facts: What is in the masks, by their files.
        classes: The classes.
    """
    known = {*classes.values, *classes.void}
    wrong = {path: sorted(each.counts.keys() - known) for path, each in facts.items()}
    wrong = {path: values for path, values in wrong.items() if values}
    if wrong:
        (path, values), *others = wrong.items()
        counts = facts[path].counts
        pixels = f"{sum(counts[value] for value in values):,} of {sum(counts.values()):,} pixels"
        more = more_such("mask", [other for other, _ in others], "with such values")
        got = f"the mask {path!r} with the value {', '.join(map(str, values[:5]))} ({pixels}){more}"
        need = f"{_ranges(classes.values)} for {len(classes.values)} classes"
        need += f", or {_ranges(classes.void)} for void" if classes.void else ""
        raise ArgumentError("data.root", got, f"{need}; data.void names the values of pixels without a class")
    colours: dict[int, tuple[tuple[int, ...], str]] = {}
    for path, each in facts.items():
        for value, colour in (each.colours or {}).items():
            first, other = colours.setdefault(value, (colour, path))
            if first != colour and value not in classes.void:
                got = f"{path!r}, where the palette shows the value {value} as {colour}, and {other!r} as {first}"
                raise ArgumentError("data.root", got, "masks of one palette, or else a value means several classes")


def _ranges(values: Sequence[int]) -> str:
    """Write numbers with ranges for those that follow each other: ``0 to 10, 12``."""
    runs: list[list[int]] = []
    for value in sorted(values):
        if runs and value == runs[-1][1] + 1:
            runs[-1][1] = value
        else:
            runs.append([value, value])
    return ", ".join(str(a) if a == b else f"{a} to {b}" for a, b in runs)


def check_occurring(facts: Mapping[str, Facts], classes: Classes) -> None:
    """Warn of classes that no training mask has; raise an ArgumentError if there is one class, or none.

    Args:
        facts: What is in the training masks.
        classes: The classes.
    """
    there = sum((Counter(each.counts) for each in facts.values()), Counter())
    trained = [value for value in classes.values if value not in classes.void]
    never = [name for name, value in zip(classes.names, classes.values) if value in trained and not there[value]]
    if len(trained) - len(never) < 2:
        void = sorted(there.keys() & set(classes.void))
        got = f"training masks with the values {_ranges(list(there))}"
        got += f", of which {_ranges(void)} means void" if void else ""
        need = "two classes at least: number them from 0, and say in data.void which values have none"
        raise ArgumentError("data.root", got, need)
    if never:
        rank_zero_warn(f"data.root: never in the training masks, so that it cannot be learned: {', '.join(never)}")
