"""What trainings drew, for the page: segmented images beside the truth."""

from dataclasses import dataclass
from pathlib import Path

from experiments import kept_pictures
from experiments.pages import as_data
from experiments.papers.entries import Table


@dataclass(frozen=True)
class Photo:
    """A picture: what it shows, and all of its file as an address."""

    title: str
    address: str


def photos(table: Table, results: Path) -> list[Photo]:
    """Return the pictures that are kept of the rows of a table; ``results`` is the folder of the records."""
    return [
        Photo(f"{row.model}: the {each.name} image of the test, {each.protocol}", as_data(each.path))
        for row in table.rows.values()
        if not row.same_as
        for each in kept_pictures.kept(row.path, results)
    ]
