"""The papers' tables: what they print, how to measure it here, what was measured, and how both are compared."""
