"""The classes of a set of masks: their number, names and colours."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning_modules.data.segmentation.catalog import KnownMasks, voc_colours
from lightning_modules.data.segmentation.palette import Colour
from lightning_modules.data.segmentation.survey import Facts
from ops import ArgumentError

NAMES = "classes.txt"
"""The file in a folder of images and masks that names their classes, one in each line."""


@dataclass(frozen=True)
class Classes:
    """Names and colours of the classes, the value of each in mask files, and the values that mean void."""

    names: list[str]
    palette: list[Colour]
    values: tuple[int, ...]
    void: tuple[int, ...]


def knows_classes(known: KnownMasks, root: Path, *, names: Any, number: int | None, **rest: Any) -> bool:
    """Tell whether the number of classes is known without the training masks; arguments of :func:`settle_classes`."""
    return bool(known.values or names or number or (root / NAMES).exists())


def settle_classes(
    known: KnownMasks,
    root: Path,
    facts: Mapping[str, Facts],
    *,
    names: Sequence[str] | None,
    number: int | None,
    palette: list[Colour] | None,
    void: tuple[int, ...] | None,
) -> Classes:
    """Decide what the classes are, from what the user says, the data set, and the masks, in this order.

    Args:
        known: What is known of the data set.
        root: Its folder.
        facts: What is in the masks, by their files; those of training if neither user nor data set know the classes.
        names: The user's names of the classes.
        number: The user's number of classes.
        palette: The user's colours.
        void: The user's values of void.

    Raises:
        ArgumentError: Nobody knows the classes, or what is said contradicts itself.
    """
    void = known.void if void is None else void
    if names:
        _check_names(names, range(1, len(names) + 1), "data.class_names", "names, of which numbers")
    names = list(names or known.colours) or _names_in(root / NAMES)
    if names is None and number is None:
        number = _count(facts, void)
    count = len(known.values) or number or len(names)
    if number is not None and number != count:
        raise ArgumentError("data.num_classes", number, f"{count}, the classes of the data set")
    if names is not None and len(names) != count:
        raise ArgumentError("data.class_names", f"{len(names)} names", f"{count}, one for each class")
    if not 2 <= count <= 255:
        raise ArgumentError("data.num_classes", count, "from 2 to 255 classes")
    if palette is not None and len(palette) != count:
        raise ArgumentError("data.palette", f"{len(palette)} colours", f"{count}, one for each class")
    colours = palette or list(known.colours.values()) or _colours_in(facts, count)
    return Classes(names or [str(i) for i in range(count)], colours, known.values or tuple(range(count)), void)


def _names_in(path: Path) -> list[str] | None:
    if not path.exists():
        return None
    lines = enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
    names = {number: line.strip() for number, line in lines if line.strip()}
    if not names:
        raise ArgumentError("data.root", f"{str(path)!r}, which is empty", "the name of a class in each line")
    _check_names(names.values(), names, "data.root", f"{str(path)!r}, whose lines")
    return list(names.values())


def _check_names(names: Iterable[str], places: Iterable[int], argument: str, what: str) -> None:
    """Raise an ArgumentError if two classes have one name: figures of both would be written under it."""
    seen: dict[str, int] = {}
    for place, name in zip(places, names):
        first = seen.setdefault(name, place)
        if first != place:
            raise ArgumentError(argument, f"{what} {first} and {place} are both {name!r}", "a name of its own for each")


def _count(facts: Mapping[str, Facts], void: tuple[int, ...]) -> int:
    """Return the number of classes of masks that use each of them, and refuse to guess from others."""
    there = sorted(set().union(*(each.counts for each in facts.values())) - set(void))
    if not there or there != list(range(len(there))):
        shown = ", ".join(map(str, there[:12])) + (", ..." if len(there) > 12 else "")
        beyond = [value for place, value in enumerate(there) if value > place]  # from the first gap on
        path = next(path for path, each in facts.items() if not there or beyond[0] in each.counts)
        such_as = f", such as {path!r}" if not there else f", of which {path!r} has {beyond[0]}"
        got = f"training masks with the values {shown or 'of void only'}{such_as}"
        need = f"the names of the classes in {NAMES}, data.class_names or data.num_classes, as values are left out"
        raise ArgumentError("data.num_classes", got, need)
    return len(there)


def _colours_in(facts: Mapping[str, Facts], count: int) -> list[Colour]:
    """Return the colours that the masks' own palettes show; Pascal VOC's for masks or classes that have none."""
    shown = {value: colour for each in facts.values() for value, colour in (each.colours or {}).items()}
    return [shown.get(value, colour) for value, colour in enumerate(voc_colours(count))]
