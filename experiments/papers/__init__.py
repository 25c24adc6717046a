"""Every table of the five papers, one YAML file for each paper: :func:`papers`, :func:`find`."""

from experiments.papers.catalog import Figure, Paper, Row, Table, find, papers

__all__ = ["Figure", "Paper", "Row", "Table", "find", "papers"]
