"""Whether what papers observe inside networks is there in the networks that were analysed."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from experiments.kept_analyses import Lookup, Row
from experiments.papers.observations import Analysis, Condition, Observation
from experiments.report.cells import NOT_MEASURED
from experiments.report.claims import FAILS, HOLDS, KINDS, OPEN
from experiments.report.numbers import plain, signed

ERRORS = 2
"""Standard errors by which two values must differ."""

RULE = (
    "An observation inside a network is decided if the two values that its rule compares differ by more than "
    f"{ERRORS} standard errors of their difference, and by what the rule asks for. Where the analysis gives no "
    "standard error, the latter alone decides."
)
"""When an observation is decided."""


@dataclass(frozen=True)
class Observed:
    """An observation in one network.

    Args:
        observation: The observation.
        analysis: The analysis that looked at the network.
        network: Its label there; empty where the analysis is not kept.
        word: ``holds``, ``does not hold``, ``not decided`` or ``not measured``.
        found: What was found.
        value: The same as a number.
        condition: What it is if the observation holds.
        reason: Why it is not decided.
    """

    observation: Observation
    analysis: Analysis
    network: str
    word: str
    found: str = ""
    value: float | None = None
    condition: str = ""
    reason: str = ""


def observed(observation: Observation, folder: Path) -> list[Observed]:
    """Return what was found in each network; of an analysis that is not kept, that it is not measured.

    Args:
        observation: The observation.
        folder: Where analyses are kept.

    Raises:
        ArgumentError: A table has no such row or column.
    """
    found = []
    for analysis, networks in observation.found_in.items():
        place = folder / analysis.name
        if not place.is_dir():
            found += [Observed(observation, analysis, network, NOT_MEASURED) for network in networks]
            continue
        table = Lookup(place / observation.file, observation.path)
        found += [_observed(observation, analysis, network, table) for network in networks]
    return found


def _observed(observation: Observation, analysis: Analysis, network: str, table: Lookup) -> Observed:
    own = {"network": network} if table.has("network") else {}
    where = {**own, **observation.where}
    [row] = table.find(where)
    mine = _Value(observation, table, row)
    decided = [_decided(observation, condition, mine, table, where) for condition in observation.holds]
    words, texts, reasons = zip(*decided)
    word = FAILS if FAILS in words else OPEN if OPEN in words else HOLDS
    reason = "; ".join(dict.fromkeys(filter(None, reasons))) if word == OPEN else ""
    return Observed(observation, analysis, network, word, mine.text, mine.value, " and ".join(texts), reason)


class _Value:
    """A number of a table with its standard error, which is None where there is no column for it or none is known."""

    def __init__(self, observation: Observation, table: Lookup, row: Row):
        value = table.number(row, observation.value)
        if value is None:
            raise table.error(f"needs a number in the column {observation.value}, and the cell is empty")
        self.value, self.unit = value, observation.unit
        self.error = table.number(row, observation.error) if observation.error else None

    @property
    def text(self) -> str:
        return shown(self.value, self.unit, self.error)


def shown(value: float, unit: str, error: float | None = None) -> str:
    """Return a value as it is read.

    Example:
        >>> shown(0.2333, "%", 0.0113), shown(-0.018, "points"), shown(0.8388, "")
        ('23.3 ± 1.1 %', '−1.8 points', '0.839')
    """
    digits, scale = (1, 100) if unit else (3, 1)
    text = signed(value * scale, digits) if unit == "points" else plain(value * scale, digits)
    spread = "" if error is None else f" ± {plain(error * scale, digits)}"
    return f"{text}{spread} {unit}".rstrip()


def _decided(
    observation: Observation, condition: Condition, mine: _Value, table: Lookup, where: dict
) -> tuple[str, str, str]:
    """Return whether a condition is met, what it says, and why it is not decided."""
    sign = 1 if condition.above else -1
    sense = "above" if condition.above else "below"
    factor = "" if condition.times == 1 else f"{condition.times:g} of "
    if isinstance(condition.than, (int, float)):
        limits = [(condition.than * condition.times, 0.0, shown(condition.than, observation.unit))]
    else:
        limits = []
        for row in table.find({**where, **condition.than}):
            other = _Value(observation, table, row)
            name = ", ".join(row[column] for column in condition.than)
            error = None if other.error is None else other.error * condition.times
            limits.append((other.value * condition.times, error, f"{other.text} ({name})"))
    limit, error, text = max(limits, key=lambda each: sign * each[0])  # the strictest one
    by = f" by {shown(condition.by, observation.unit)}" if condition.by else ""
    text = f"{sense} {factor}{text}{by}"
    difference = sign * (mine.value - limit)
    if observation.error:
        if mine.error is None or error is None:
            return OPEN, text, "one seed has no spread"
        if not abs(difference) > ERRORS * math.hypot(mine.error, error):
            return OPEN, text, f"within {ERRORS} standard errors"
    if condition.by and not abs(difference) > condition.by:
        return OPEN, text, f"closer than {shown(condition.by, observation.unit)}"
    return (HOLDS if difference > 0 else FAILS), text, ""


def together(found: Sequence[Observed]) -> tuple[str, str]:
    """Return one verdict on an observation in all networks, and its colour.

    Example: ``does not hold``, or ``holds in 3 and not decided in 1 of 4 networks``.
    """
    counts = Counter(each.word for each in found)
    if len(counts) == 1:
        [word] = counts
        return word, KINDS[word]
    words = [word for word in (HOLDS, FAILS, OPEN, NOT_MEASURED) if word in counts]
    parts = [f"{word} in {counts[word]}" for word in words]
    return f"{', '.join(parts[:-1])} and {parts[-1]} of {len(found)} cases", KINDS[OPEN]


def in_short(verdicts: Sequence[str]) -> str:
    """Return how many observations hold, by the verdicts of :func:`together`."""
    counts = Counter(word if word in KINDS else "" for word in verdicts)
    words = {HOLDS: "hold", FAILS: "do not hold", "": "differ between networks", OPEN: "are not decided"}
    parts = [f"{counts.pop(word, 0)} {text}" for word, text in words.items()]
    return f"Of what they observe inside networks, {', '.join(parts)}, and {sum(counts.values())} are not measured."
