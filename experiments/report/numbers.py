"""Numbers as the report writes them."""

from experiments.papers.entries import Figure
from experiments.papers.units import SHARES

MINUS = "\N{MINUS SIGN}"


def decimals(printed: str) -> int:
    """Return the number of digits behind the point.

    Example:
        >>> decimals("0.928"), decimals("2296922")
        (3, 0)
    """
    return len(printed.partition(".")[2])


def plain(value: float, digits: int) -> str:
    """Return a number with so many digits behind the point, and thousands set apart.

    Example:
        >>> plain(2296922, 0), plain(-0.5, 2)
        ('2,296,922', '−0.50')
    """
    return f"{value:,.{digits}f}".replace("-", MINUS)


def signed(value: float, digits: int) -> str:
    """Return a number with its sign.

    Example:
        >>> signed(1.03, 2), signed(-0.001, 2)
        ('+1.03', '0.00')
    """
    text = f"{value:+,.{digits}f}"
    return (text.lstrip("+-") if not text.strip("+-0.,") else text).replace("-", MINUS)


def digits_of(figure: Figure) -> int:
    """Return with how many digits our value of a figure is shown: at least those that are printed."""
    printed = decimals(figure.value or "")
    if figure.unit in SHARES:
        return max(printed, 4 if figure.unit == "fraction" else 2)
    return printed + 2 if printed or figure.unit not in ("count", "MACs", "ops") else 0


def three_figures(value: float) -> str:
    """Return a time or a ratio to three figures.

    Example:
        >>> three_figures(0.02834), three_figures(12.34), three_figures(1234.5)
        ('0.0283', '12.3', '1,234')
    """
    if value >= 999.5:
        return f"{value:,.0f}"
    return f"{value:#.3g}".rstrip(".")


def points(figure: Figure) -> float:
    """Return how many percentage points one of a figure's unit is: of accuracies and errors."""
    return 100 / SHARES[figure.unit]
