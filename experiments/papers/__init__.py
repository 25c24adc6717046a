"""Every table of the papers, and comparisons of our own, one YAML file for each: :func:`papers`, :func:`find`."""

from experiments.papers.catalog import find, papers, table_of
from experiments.papers.entries import Claim, Figure, Paper, Row, Table

__all__ = ["Claim", "Figure", "Paper", "Row", "Table", "find", "papers", "table_of"]
