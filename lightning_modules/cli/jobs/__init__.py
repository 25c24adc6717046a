"""Several trainings, each a process of ``dyc fit``: which are done, which go on, and how far all are."""
