"""How many cases hypothesis tries: a few hundred, the same ones each time, unless ``DYC_HYPOTHESIS`` asks for more.

``DYC_HYPOTHESIS=10000 pytest -k properties`` tries about that many over all tests of properties, other ones at each
run; what fails is printed with the line that repeats it.
"""

import os
from datetime import timedelta

from hypothesis import HealthCheck, Phase, settings

WANTED = int(os.environ.get("DYC_HYPOTHESIS", "0"))
USUAL = 700  # cases of the suite, over all tests of properties; their shares add up to 1


def cases(share: float) -> settings:
    """Return the settings of a test that takes this share of all cases."""
    return settings(
        max_examples=max(1, round((WANTED or USUAL) * share)),
        derandomize=not WANTED,
        database=None,
        deadline=timedelta(seconds=60) if WANTED else None,
        print_blob=True,
        phases=(Phase.explicit, Phase.generate, Phase.shrink),
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),  # tensors are slow to draw, and fixtures hold compiled code
    )
