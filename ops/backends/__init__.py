"""The built-in backends, in the order in which ``"auto"`` tries those that were not measured on a device."""

from ops.backends.compiled.backend import COMPILE
from ops.backends.cpp.backend import CPP
from ops.backends.cupy.backend import CUPY
from ops.backends.eager import EAGER

BUILT_IN = (EAGER, CPP, COMPILE, CUPY)
