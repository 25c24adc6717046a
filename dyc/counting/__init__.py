"""Parameters and operations: counted, in the papers' ways of counting, and beside what the papers print.

:func:`dyc.profile` counts; what is here describes the counts and compares them.
"""

from dyc.counting.conventions import CONVENTIONS, Convention
from dyc.counting.profile import Profile
from dyc.counting.published import FIGURES, Figure, figures
from dyc.counting.rows import ElementCount, LayerProfile

__all__ = [
    "CONVENTIONS",
    "FIGURES",
    "Convention",
    "ElementCount",
    "Figure",
    "LayerProfile",
    "Profile",
    "figures",
]
