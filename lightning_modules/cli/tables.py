"""Tables of measurements on the terminal, as text or as Markdown."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from dyc.text_table import aligned, markdown


@dataclass
class Table:
    """A table whose first ``left`` columns are labels and whose others are figures; ``print`` it for text.

    Args:
        columns: Title of each column.
        left: Number of labels.
        rows: Cells of each row; None is an empty line between two groups.
        title: Line above the table.
    """

    columns: Sequence[str]
    left: int
    rows: list[Sequence[str] | None] = field(default_factory=list)
    title: str = ""

    def __str__(self) -> str:
        rows: list[Sequence[str] | None] = []
        above: Sequence[str] = ()
        common = self.left - 1  # the last label tells the rows of a group apart
        for row in self.rows:
            shared = row is not None and row[:common] == above[:common]
            rows.append([*[""] * common, *row[common:]] if shared else row)
            above = row or ()
        text = aligned(self.columns, rows, right=self.columns[self.left :])
        return f"{self.title}\n{text}" if self.title else text

    def markdown(self) -> str:
        """Return the table as Markdown, without its title."""
        return markdown(self.columns, self.rows, right=self.columns[self.left :])
