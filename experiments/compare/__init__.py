"""``dyc compare``: training runs side by side, from their folders, from W&B, or from W&B's files."""
