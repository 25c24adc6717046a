"""What the papers claim, and whether what was measured bears it out."""

from collections.abc import Iterator
from dataclasses import dataclass

from experiments.papers.catalog import find
from experiments.papers.entries import Claim, Figure, Paper, Row
from experiments.report.cells import NOT_MEASURED, Cell, Grid
from experiments.report.measured import All, Measured
from experiments.report.numbers import plain, points, signed
from experiments.report.results import measured_of, spread_of_difference

HOLDS, FAILS, OPEN = "holds", "does not hold", "not decided"
KINDS = {HOLDS: "within", FAILS: "outside", OPEN: "unknown", NOT_MEASURED: "none"}

NOISE = 0.03
"""Share by which two times must differ; what is timed twice in one run differs by less."""

RULE = (
    "A claim about accuracies is decided if the difference of the two means is larger than its own standard deviation, "
    "which is that of the two networks' seeds together (the root of the sum of their squares), so it takes two seeds "
    f"of each. Times are decided if they are more than {NOISE:.0%} away from the limit. Counts are exact."
)
"""When a claim is decided."""


@dataclass(frozen=True)
class Verdict:
    """A claim by one way of measuring both of its rows.

    Args:
        claim: The claim.
        published: The printed difference or ratio.
        ours: The measured one.
        word: ``holds``, ``does not hold``, ``not decided`` or ``not measured``.
        measured: Of the row that is claimed to be better; None where either is not measured.
        reason: Why it is not decided or not measured.
    """

    claim: Claim
    published: str
    ours: str
    word: str
    measured: Measured | None = None
    reason: str = ""

    @property
    def evidence(self) -> str:
        """The protocol and the number of seeds."""
        if self.measured is None:
            return ""
        seeds = self.measured.seeds
        word = {"count": "counted", "latency": "timed"}.get(self.measured.protocol, self.measured.protocol)
        return word + (f", {seeds} seed{'s' * (seeds > 1)}" if seeds else "")


def verdicts(claim: Claim, found: All) -> list[Verdict]:
    """Return a verdict for each protocol and machine by which both rows were measured; one without any if none was."""
    better, than = find(claim.better)[0], find(claim.than)[0]
    figures = better.figures[claim.figure], than.figures[claim.figure]
    printed = ""
    if all(figure.value for figure in figures):
        printed = _compared(claim, figures[0], *(float(figure.value) for figure in figures))
    pairs = list(_pairs(better, than, figures, found))
    if not pairs:
        reason = "; ".join(dict.fromkeys(figure.reason for figure in figures if figure.reason))
        return [Verdict(claim, printed, "", NOT_MEASURED, reason=reason)]
    return [_verdict(claim, figures[0], printed, *pair, notes=_notes(better, than, pair[0])) for pair in pairs]


def _pairs(better: Row, than: Row, figures: tuple[Figure, Figure], found: All) -> Iterator[tuple[Measured, Measured]]:
    for one in measured_of(better, figures[0], found):
        for two in measured_of(than, figures[1], found):
            if one.how == two.how:
                yield one, two


def _notes(better: Row, than: Row, measured: Measured) -> list[str]:
    notes = [row.quick.note for row in (better, than) if measured.quick and row.quick.note]
    return [f"quick: {note}" for note in dict.fromkeys(notes)]


def _verdict(
    claim: Claim, figure: Figure, printed: str, better: Measured, than: Measured, *, notes: list[str]
) -> Verdict:
    ours = _compared(claim, figure, better.mean, than.mean)
    reason, margin = "", abs(better.mean - claim.factor * than.mean)
    if figure.kind.how == "train":
        spread = spread_of_difference(better, than)
        if spread is None:
            reason = "one seed has no spread"
        else:
            ours = ours.replace(" pp", f" ± {spread * points(figure):.2f} pp")
            reason = "within the spread" if not margin > spread else ""
    elif figure.kind.how == "latency" and margin <= NOISE * claim.factor * than.mean:
        reason = f"within {NOISE:.0%}"
    word = OPEN if reason else HOLDS if claim.holds(better.mean, than.mean) else FAILS
    return Verdict(claim, printed, ours, word, better, "; ".join([*filter(None, [reason]), *notes]))


def _compared(claim: Claim, figure: Figure, better: float, than: float) -> str:
    """Return the difference of two accuracies in percentage points, positive where the claim is right, or a ratio."""
    if figure.kind.how == "train":
        sign = -1 if figure.kind.smaller_is_better else 1
        return f"{signed(sign * points(figure) * (better - than), 2)} pp"
    return f"{plain(better / than, 2 if better / than >= 1.995 else 3)} times"


TITLES = ("claim", "published", "ours", "verdict", "protocol", "remarks")


def claims_grid(paper: Paper, found: All) -> Grid:
    """Return the claims of a paper with their verdicts."""
    rows = [
        [
            Cell(each.claim.text),
            Cell(each.published),
            Cell(each.ours, quick=each.measured is not None and each.measured.quick),
            Cell(each.word, kind=KINDS[each.word]),
            Cell(each.evidence),
            Cell("; ".join(filter(None, (each.reason, each.claim.note)))),
        ]
        for claim in paper.claims
        for each in verdicts(claim, found)
    ]
    return Grid(TITLES, rows, ("claim", "verdict", "protocol", "remarks"))


def sentence(verdict: Verdict) -> str:
    """Return a verdict as one sentence."""
    ours = f"; {verdict.evidence}: {verdict.ours}" if verdict.measured is not None else ""
    printed = f"{verdict.published} published" if verdict.published else "not printed"
    reason = f" ({verdict.reason})" if verdict.reason else ""
    return f"{verdict.claim.text.rstrip('.')}: {printed}{ours}: {verdict.word}{reason}."
