"""The report as Markdown."""

from collections.abc import Iterator

from dyc.text_table import markdown
from experiments.report.cells import Cell, Grid
from experiments.report.claims import sentence
from experiments.report.content import Content
from experiments.report.observations import AnalysisPart


def write(report: Content, mark: str) -> str:
    """Return the report; pictures are only on the page."""
    return "\n\n".join([mark, *_parts(report)]) + "\n"


def _parts(report: Content) -> Iterator[str]:
    yield f"# {report.title}"
    yield " ".join(filter(None, (report.claims, report.observed, report.made)))
    yield from report.notes
    yield "## How to read this"
    yield "\n".join(f"* {rule}" for rule in report.rules)
    yield "## What is measured"
    yield _table(report.overview)
    if report.observations:
        yield "## Observations inside networks"
    for each in report.observations:
        yield f"### {each.text}"
        found = f"Found is `{each.column}` in `{each.table}`."
        parts = (f"{each.place}.", f"Published: {each.published}.", f"Here: **{each.verdict}**.", each.note, found)
        yield " ".join(filter(None, parts))
        yield _table(each.grid)
    if report.analyses:
        yield "## Analyses"
        yield "\n".join(_analysis(each) for each in report.analyses)
    for paper in report.papers:
        yield f"## {paper.title}"
        if paper.source:
            yield paper.source + (f", <{paper.url}>." if paper.url else ".")
        if paper.verdicts:
            yield "### Claims"
            yield "\n".join(f"* {sentence(each)}" for each in paper.verdicts)
        for table in paper.tables:
            yield f"### {table.title}"
            yield f"`dyc run {table.path}`" + (f". {table.note}" if table.note else "")
            yield _table(table.grid)
        if paper.trainings:
            yield "### Trainings"
            yield _table(paper.trainings)


def _analysis(each: AnalysisPart) -> str:
    numbers = f" Numbers: {', '.join(f'`{table}`' for table in each.tables)}." if each.tables else ""
    return f"* {each.title}: `{each.command}` ({each.made}).{numbers}"


def _table(grid: Grid) -> str:
    right = [title for title in grid.titles if title not in grid.left]
    return markdown(grid.titles, [[_text(cell) for cell in row] for row in grid.rows], right)


def _text(cell: Cell) -> str:
    small = f" ({cell.small})" if cell.small else ""
    return cell.text + small + (" *quick*" if cell.quick else "")
