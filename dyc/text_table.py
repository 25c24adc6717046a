"""Tables: as text in columns, and as Markdown. Every table that the package prints is made here."""

from collections.abc import Collection, Sequence

Row = Sequence[str]


def line(titles: Row, cells: Row, widths: Sequence[int], right: Collection[str] = ()) -> str:
    """Return one line of a table, its columns two spaces apart; for tables that are printed row by row.

    Args:
        titles: Title of each column.
        cells: The row, or the titles themselves for the heading.
        widths: Characters of each column; a longer cell moves those after it.
        right: Titles of the columns that are aligned to the right.

    Example:
        >>> line(["layer", "MACs"], ["conv", "27"], [6, 5], right=["MACs"])
        'conv       27'
    """
    pads = (str.rjust if title in right else str.ljust for title in titles)
    return "  ".join(pad(cell, width) for pad, cell, width in zip(pads, cells, widths)).rstrip()


def aligned(
    titles: Row, rows: Sequence[Row | None], right: Collection[str] = (), running_on: Collection[tuple[int, str]] = ()
) -> str:
    """Return a table as text, every column as wide as its widest cell.

    Args:
        titles: Title of each column.
        rows: Cells of each row; None is an empty line between two groups.
        right: Titles of the columns that are aligned to the right.
        running_on: Row number and title of cells that may run on over the next columns, whose width they do not change.
    """
    shown = [(number, row) for number, row in enumerate(rows) if row is not None]
    widths = [
        max(len(title), *(len(row[i]) for number, row in shown if (number, title) not in running_on))
        for i, title in enumerate(titles)
    ]
    return "\n".join("" if row is None else line(titles, row, widths, right) for row in (titles, *rows))


def markdown(titles: Row, rows: Sequence[Row | None], right: Collection[str] = ()) -> str:
    """Return a table as Markdown; rows of None are left out, other arguments as in :func:`aligned`.

    Example:
        >>> print(markdown(["a", "b"], [["x|y", "1"]], right=["b"]))
        | a | b |
        | --- | ---: |
        | x\\|y | 1 |
    """
    rule = ["---:" if title in right else "---" for title in titles]
    lines = [titles, rule, *(row for row in rows if row is not None)]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in lines)
