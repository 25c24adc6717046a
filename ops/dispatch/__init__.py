"""The one place where a backend is chosen: what there is, what a call asks for, and in which order they are tried."""
