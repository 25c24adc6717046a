"""The built-in backends, a folder or file each, in the order in which ``"auto"`` tries those not measured on a device.

To add one: a folder here, and its line below.
"""

from ops.backends.compiled.backend import COMPILE
from ops.backends.cpp.backend import CPP
from ops.backends.cupy.backend import CUPY
from ops.backends.eager import EAGER

BUILT_IN = (EAGER, CPP, COMPILE, CUPY)
