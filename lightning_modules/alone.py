"""Loading one file of a package without the package, whose import would bring PyTorch along."""

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

HOME = Path(__file__).parents[1]
"""Where the packages lie side by side."""


def load_alone(path: str, name: str | None = None) -> ModuleType:
    """Return the module of a file that imports nothing but the standard library.

    Args:
        path: The file, from the folder that the packages are in: ``"dyc/own_packages.py"``.
        name: The module's full name, by which its package takes it over if that is imported later, so that its classes
            exist once; by default, nobody else gets the module.
    """
    if name in sys.modules:
        return sys.modules[name]
    file = HOME / path
    spec = spec_from_file_location(name or file.stem, file)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    if name is not None:
        sys.modules[name] = module
    return module
