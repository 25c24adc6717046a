"""The report as one page of HTML that needs nothing beside it."""

from dataclasses import fields

from markupsafe import Markup

from experiments.pages import render
from experiments.report.content import Content


def write(report: Content, mark: str) -> str:
    """Return the page."""
    return render(
        "report/page.html", mark=Markup(mark), **{each.name: getattr(report, each.name) for each in fields(report)}
    )
