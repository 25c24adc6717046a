"""Everything that times: operators, layers and whole networks, each beside its static counterpart in the same run."""
