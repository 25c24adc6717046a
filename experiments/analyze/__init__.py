"""``dyc analyze``: what trained networks do inside, as tables and pictures; each analysis is a file of ``analyses``."""
