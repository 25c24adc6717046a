"""The built-in backends, in the order in which ``"auto"`` tries them."""

from ops.backends.cpp_backend import CPP
from ops.backends.eager import EAGER

BUILT_IN = (EAGER, CPP)
