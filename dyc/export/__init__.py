"""Trained networks for other programs: files of weights, and programs that run without this package."""
