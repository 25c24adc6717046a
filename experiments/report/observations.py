"""What the report says of observations inside networks, and of the analyses that looked for them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from experiments import kept_analyses
from experiments.pages import as_data
from experiments.papers.catalog import find
from experiments.papers.entries import Paper
from experiments.papers.observations import FOLDER, Analysis, Observation
from experiments.report.cells import NOT_MEASURED, Cell, Grid
from experiments.report.claims import KINDS
from experiments.report.observed import Observed, observed, together

TITLES = ("network", "found", "holds if it is", "verdict", "analysis", "remarks")
LEFT = ("network", "found", "holds if it is", "verdict", "analysis", "remarks")


@dataclass(frozen=True)
class ObservationPart:
    """An observation: where it is published, what is printed, the verdict with its colour, what was found."""

    anchor: str
    text: str
    place: str
    published: str
    verdict: str
    kind: str
    note: str
    table: str
    column: str
    grid: Grid


@dataclass(frozen=True)
class AnalysisPart:
    """An analysis: what it shows, its command, its making, where its tables are, and its picture for the page."""

    name: str
    anchor: str
    title: str
    command: str
    made: str
    tables: Sequence[str]
    picture: str


def observation_parts(papers: Sequence[Paper], folder: Path) -> list[ObservationPart]:
    """Return the observations of some papers; ``folder`` is that of the kept analyses."""
    return [_observation(paper, each, observed(each, folder)) for paper in papers for each in paper.observations]


def _observation(paper: Paper, each: Observation, found: Sequence[Observed]) -> ObservationPart:
    verdict, kind = together(found)
    return ObservationPart(
        f"observation-{each.path.replace('/', '-')}",
        each.text.rstrip("."),
        f"{paper.title}, {each.place}",
        _published(each),
        verdict,
        kind,
        each.note,
        each.file,
        each.value,
        _grid([_cells(one) for one in found]),
    )


def _grid(rows: Sequence[Sequence[Cell]]) -> Grid:
    """Return a table without columns that say nothing."""
    kept = [i for i, title in enumerate(TITLES) if title != "remarks" or any(row[i].text for row in rows)]
    return Grid([TITLES[i] for i in kept], [[row[i] for i in kept] for row in rows], LEFT)


def _published(each: Observation) -> str:
    if isinstance(each.published, str):
        return each.published
    figures = [(row, figure) for path in each.published for row in find(path) for figure in row.figures.values()]
    return "; ".join(f"{figure.value} {figure.unit} ({figure.model or row.model})" for row, figure in figures)


def _cells(found: Observed) -> list[Cell]:
    return [
        Cell(found.network),
        Cell(found.found, quick=bool(found.found) and found.analysis.quick, value=found.value),
        Cell(found.condition),
        Cell(found.word, kind=KINDS[found.word]),
        Cell(found.analysis.name, link=f"#{_anchor(found.analysis)}"),
        Cell(found.reason),
    ]


def _anchor(analysis: Analysis) -> str:
    return f"analysis-{analysis.name}"


def analysis_parts(papers: Sequence[Paper], folder: Path, draw: bool) -> list[AnalysisPart]:
    """Return the analyses of some papers, with their pictures where these are wanted."""
    parts = []
    for analysis in (each for paper in papers for each in paper.analyses.values()):
        place = folder / analysis.name
        picture, about = place / analysis.picture, kept_analyses.about(place)
        names = {"date": "", "cpu": "", "torch": "torch ", "commit": "commit "}
        facts = [f"{word}{about[name]}" for name, word in names.items() if name in about]
        parts.append(
            AnalysisPart(
                analysis.name,
                _anchor(analysis),
                analysis.title,
                analysis.command,
                ", ".join(facts) if place.is_dir() else NOT_MEASURED,
                [f"{FOLDER}/{analysis.name}/{name}" for name in kept_analyses.files(place)],
                as_data(picture) if draw and picture.exists() else "",
            )
        )
    return parts
