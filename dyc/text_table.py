"""Text in columns."""

from collections.abc import Collection, Sequence


def aligned(
    titles: Sequence[str],
    rows: Sequence[Sequence[str]],
    right: Collection[str] = (),
    running_on: Collection[tuple[int, str]] = (),
) -> str:
    """Return a table as text, its columns two spaces apart.

    Args:
        titles: Title of each column.
        rows: Cells of each row.
        right: Titles of the columns that are aligned to the right.
        running_on: Row number and title of cells that may run on over the next columns, whose width they do not change.
    """
    widths = [
        max(len(title), *(len(row[i]) for number, row in enumerate(rows) if (number, title) not in running_on))
        for i, title in enumerate(titles)
    ]
    pads = [str.rjust if title in right else str.ljust for title in titles]
    lines = ("  ".join(pad(cell, width) for pad, cell, width in zip(pads, row, widths)) for row in (titles, *rows))
    return "\n".join(line.rstrip() for line in lines)
