"""Everything that the report says, whatever it is written as."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from experiments import kept_analyses
from experiments.curves import Epoch
from experiments.papers.catalog import find
from experiments.papers.entries import Paper
from experiments.records import Record
from experiments.report.cells import Grid, table_grid
from experiments.report.claims import KINDS, RULE, Verdict, claims_grid, sentence, verdicts
from experiments.report.gaps import RULES
from experiments.report.measured import measurements
from experiments.report.observations import AnalysisPart, ObservationPart, analysis_parts, observation_parts
from experiments.report.observed import RULE as OBSERVED
from experiments.report.observed import in_short
from experiments.report.photos import Photo, photos
from experiments.report.plots import Drawn, pictures
from experiments.report.summary import anchor, claims_in_short, overview, trainings

TITLE = "Dynamic convolution: published figures beside measured ones"


@dataclass(frozen=True)
class TablePart:
    """A table of a paper: its path, title, note, figures and pictures, and those that its trainings drew."""

    path: str
    anchor: str
    title: str
    note: str
    grid: Grid
    pictures: Sequence[Drawn]
    photos: Sequence[Photo]


@dataclass(frozen=True)
class PaperPart:
    """A paper, or comparisons of our own: name and source, verdicts on its claims, its tables, what was trained."""

    name: str
    title: str
    source: str | None
    url: str | None
    verdicts: Sequence[Verdict]
    claims: Grid
    tables: Sequence[TablePart]
    trainings: Grid | None


@dataclass(frozen=True)
class Content:
    """The report: title and first sentences, measured claims with their colour, what is measured, inside and outside.

    Inside networks, that is observations and the analyses that looked for them; outside, the papers' figures.
    """

    title: str
    claims: str
    observed: str
    made: str
    rules: Sequence[str]
    notes: Sequence[str]
    sentences: Sequence[tuple[str, str]]
    overview: Grid
    observations: Sequence[ObservationPart]
    analyses: Sequence[AnalysisPart]
    papers: Sequence[PaperPart]


def content(
    papers: Sequence[Paper],
    records: Sequence[Record],
    epochs: Mapping[str, Sequence[Epoch]],
    results: Path,
    draw: bool = True,
) -> Content:
    """Return the report of some papers.

    Args:
        papers: The papers.
        records: All records.
        epochs: Learning curves by the paper's name.
        results: Folder of the records. Pictures of trainings lie inside it, analyses beside it.
        draw: Whether pictures are wanted, which take a second or so for each.
    """
    found = measurements(records)
    parts = [
        PaperPart(
            paper.name,
            paper.title,
            paper.source,
            paper.url,
            [each for claim in paper.claims for each in verdicts(claim, found)],
            claims_grid(paper, found),
            [
                TablePart(
                    table.path,
                    anchor(table.path),
                    table.title,
                    table.note,
                    table_grid(table, found),
                    pictures(table, found, epochs.get(paper.name, ())) if draw else (),
                    photos(table, results) if draw else (),
                )
                for table in paper.tables.values()
            ],
            trainings(paper, found),
        )
        for paper in papers
    ]
    folder = kept_analyses.folder_beside(results)
    observations = observation_parts(papers, folder)
    own = [record for record in records if record.paper in {paper.name for paper in papers}]
    known = {row.path for paper in papers for row in find(paper.name)}
    strangers = list(dict.fromkeys(record.path for record in own if record.path not in known))
    dates = [record.date for record in own if record.date]
    made = f"{len(own):,} records" + (f", the last of {max(dates)}." if dates else ".")
    return Content(
        TITLE,
        claims_in_short(each for part in parts for each in part.verdicts),
        in_short([each.verdict for each in observations]) if observations else "",
        made,
        (*RULES, RULE, *([OBSERVED] if observations else [])),
        [f"Records of rows that no table has, which are left out: {', '.join(strangers)}."] if strangers else [],
        [(KINDS[each.word], sentence(each)) for part in parts for each in part.verdicts if each.measured is not None],
        overview(papers, found),
        observations,
        analysis_parts(papers, folder, draw),
        parts,
    )
