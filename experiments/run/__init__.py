"""``dyc run``: measure rows of the papers' tables, and keep what was measured."""
