"""Seeds of the random number generators, for every step of a training."""

import numpy as np
from timm.utils import random_seed


def seed_generators(*position: int) -> None:
    """Seed Python, NumPy and PyTorch from some numbers, 0 or greater: different ones give unrelated seeds."""
    # Not Lightning's seed_everything, which would also change the seed that the run is known by.
    random_seed(int(np.random.SeedSequence(position).generate_state(1)[0]), rank=0)
