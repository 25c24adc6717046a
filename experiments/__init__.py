"""The papers' tables: what they print, how to measure it here, what was measured, and how both are compared."""

from pathlib import Path

RESULTS = Path("experiments/results/papers")
"""Where records are kept, from the current folder."""
