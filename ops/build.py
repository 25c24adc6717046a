"""Compile the C++ sources once and keep the result, keyed by everything that it depends on.

One call of the compiler, without a build tool: the file is written under a temporary name and moved into place, so that
processes which compile at the same moment do not disturb each other.
"""

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

from ops.errors import BackendUnavailable

SOURCES = Path(__file__).parent / "csrc"
FLAGS = (
    *("-O3", "-march=native", "-std=c++20", "-Wno-psabi"),
    *("-fPIC", "-shared", "-fopenmp", "-DAT_PER_OPERATOR_HEADERS"),
)
LIBRARIES = ("-ltorch_cpu", "-lc10")


def compiler() -> str | None:
    """Return the C++ compiler: that of the variable ``CXX``, else c++, g++ or clang++ (None if there is none)."""
    names = [os.environ["CXX"]] if os.environ.get("CXX") else ["c++", "g++", "clang++"]
    return next((path for name in names if (path := shutil.which(name))), None)


def cache_folder() -> Path:
    """Return the folder of compiled files: ``DYC_CACHE``, else ``dyc`` in the user's cache folder."""
    root = os.environ.get("DYC_CACHE")
    return Path(root) if root else Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "dyc"


def _processor() -> str:
    """Return what ``-march=native`` depends on."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith(("flags", "Features"))), platform.processor())


def build(name: str) -> Path:
    """Return the shared library of ``csrc/NAME.cpp``, compiling it unless that was done before.

    Raises:
        BackendUnavailable: There is no compiler, or it failed; holds the end of its output.
    """
    cxx = compiler()
    if cxx is None:
        raise BackendUnavailable("got no C++ compiler; need g++ or clang++ on PATH (Debian: apt-get install g++)")
    home = Path(torch.__file__).parent
    include = (f"-I{home / 'include'}", f"-I{home / 'include/torch/csrc/api/include'}")
    command = [cxx, *FLAGS, *include, str(SOURCES / f"{name}.cpp"), f"-L{home / 'lib'}", *LIBRARIES]
    text = b"".join(path.read_bytes() for path in sorted([*SOURCES.glob("*.cpp"), *SOURCES.glob("*.h")]))
    facts = repr((FLAGS, LIBRARIES, cxx, torch.__version__, _processor()))
    key = hashlib.sha256(text + facts.encode()).hexdigest()[:16]
    target = cache_folder() / f"{name}-{key}.so"
    if target.is_file():
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, partial = tempfile.mkstemp(suffix=".so", dir=target.parent)
    except OSError as error:
        raise BackendUnavailable(
            f"got no place to keep the compiled file ({error}); need a writable DYC_CACHE"
        ) from error
    os.close(handle)
    print(f"dyc: compiling {name}.cpp for this machine, once (kept in {target.parent})", file=sys.stderr, flush=True)
    done = subprocess.run([*command, "-o", partial], capture_output=True, text=True)
    if done.returncode != 0:
        os.unlink(partial)
        raise BackendUnavailable(f"got an error of {cxx}:\n{done.stderr[-2000:]}\nneed a compiler for C++20")
    os.replace(partial, target)
    return target
